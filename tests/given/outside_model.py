"""A recognizer that was trained outside, in plain PyTorch: nothing here imports the package.

    python -m tests.given.outside_model FOLDER

draws made-up people, trains on them for a few seconds, and writes the model in every form that can be given.
"""

from __future__ import annotations

import io
import sys
import warnings
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE, PEOPLE = 16, 6


class OutsideNet(nn.Module):
    """A small CNN with batch normalization; its input is what torchvision's `Normalize` makes, not [0, 1]."""

    def __init__(self, classes: int = PEOPLE, channels: int = 3, width: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.1),
        )
        self.head = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K)."""
        return self.head(self.features(x))


@dataclass(frozen=True)
class OutsideFiles:
    """The same model in every form, and the network itself."""

    net: OutsideNet
    state: Path
    safetensors: Path
    script: Path
    exported: Path
    exported_fixed: Path
    """Exported for one picture at a time."""
    onnx: Path
    onnx_fixed: Path
    accuracy: float
    """Share of the training pictures that the network recognizes."""

    @property
    def arguments(self) -> dict[str, int]:
        """The constructor's arguments."""
        first = self.net.features[0]
        assert isinstance(first, nn.Conv2d)
        return {"classes": self.net.head.out_features, "channels": first.in_channels}


def made_up_people(people: int = PEOPLE, pictures: int = 12) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, SIDE, SIDE) in [0, 1] and people (N,): each person is a pattern, each picture adds noise."""
    rng = torch.Generator().manual_seed(0)
    pattern = torch.rand(people, 3, 4, 4, generator=rng).repeat_interleave(pictures, 0)
    smooth = functional.interpolate(pattern, SIDE, mode="bilinear")
    noise = 0.1 * torch.randn(smooth.shape, generator=rng)
    return (smooth + noise).clamp(0, 1), torch.arange(people).repeat_interleave(pictures)


def train_outside(
    folder: Path,
    pictures: Tensor,
    labels: Tensor,
    *,
    mean: float = 0.5,
    std: float = 0.5,
    epochs: int = 12,
    width: int = 8,
) -> OutsideFiles:
    """Train on pictures (N, C, H, W) in [0, 1], normalized by `mean` and `std`, and save in every form."""
    x = (pictures - mean) / std
    net = trained(x, labels, epochs=epochs, width=width)
    with torch.no_grad():
        accuracy = float((net(x).argmax(1) == labels).float().mean())
    with torch.random.fork_rng():
        return save_every_form(folder, net, x[:2].clone(), accuracy)


def trained(x: Tensor, labels: Tensor, *, epochs: int, width: int = 8) -> OutsideNet:
    """The network, trained on pictures (N, C, H, W) as it takes them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = OutsideNet(int(labels.max()) + 1, x.shape[1], width)
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(32):
                if len(rows) > 1:
                    loss = functional.cross_entropy(net(x[rows]), labels[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        return net.eval()


def save_every_form(folder: Path, net: OutsideNet, x: Tensor, accuracy: float) -> OutsideFiles:
    """Write the trained network as each kind of file; `x` are two example pictures as the network takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = (
        "net.pth",
        "net.safetensors",
        "net.ts",
        "net.pt2",
        "fixed.pt2",
        "net.onnx",
        "fixed.onnx",
    )
    paths = [folder / name for name in names]
    state, safe, script, exported, exported_fixed, onnx, onnx_fixed = paths
    torch.save(net.state_dict(), state)
    safetensors.torch.save_file(net.state_dict(), safe)
    any_batch = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    # Exporters talk a lot.
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.jit.script(net).save(str(script))
        torch.export.save(torch.export.export(net, (x,), dynamic_shapes=any_batch), exported)
        torch.export.save(torch.export.export(net, (x[:1],)), exported_fixed)
        torch.onnx.export(net, (x,), onnx, dynamo=True, dynamic_shapes=any_batch, verbose=False)
        torch.onnx.export(net, (x[:1],), onnx_fixed, dynamo=True, verbose=False)
    return OutsideFiles(net, *paths, accuracy)


def with_blanks(archive: Path, record: str, size: int) -> bytes:
    """A PyTorch archive with one more record, of this many blanks, compressed."""
    raw = io.BytesIO(archive.read_bytes())
    with zipfile.ZipFile(raw, "a") as file:
        root = file.namelist()[0].partition("/")[0]
        file.writestr(f"{root}/{record}", b" " * size, zipfile.ZIP_DEFLATED)
    return raw.getvalue()


if __name__ == "__main__":
    made = train_outside(Path(sys.argv[1]), *made_up_people())
    print(f"accuracy {made.accuracy:.1%}; written to {sys.argv[1]}")
