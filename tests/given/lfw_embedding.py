"""A face embedding that is trained outside of the platform, on LFW, for an audit of an embedding with a gallery.

    python -m tests.given.lfw_embedding ../shared/data/lfw64 WORK

makes four folders in WORK: `strangers`, whom the embedding learns; `gallery` and `people`, 40 others of whom some
pictures are enrolled and the others at hand; `public`, for the attacker: people whom nothing else shows. It trains
on the strangers and writes `embedding.pt` and this module. docs/own_models.md has the audit and what it found.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

ENROLLED, ENROLLED_PICTURES, MOST = 40, 8, 60
EPOCHS, BATCH, MARGIN, SCALE = 26, 64, 0.3, 24.0


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(size_in, size_out, 3, 2, 1, bias=False),
            nn.BatchNorm2d(size_out),
            nn.ReLU(),
            nn.Conv2d(size_out, size_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(size_out),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(size_in, size_out, 1, bias=False))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Half the side."""
        summed: Tensor = self.body(x_NCHW) + self.shortcut(x_NCHW)
        return functional.relu(summed)


class FaceEmbedding(nn.Module):
    """Pictures (N, 3, 64, 64) in [0, 1] to embeddings (N, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 5, 2, 2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            Block(32, 48),
            Block(48, 96),
            Block(96, 192),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(192 * 16, 128, bias=False),
            nn.BatchNorm1d(128),
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """The embeddings."""
        embedding_ND: Tensor = self.body(2 * x_NCHW - 1)
        return embedding_ND


def cut(source: Path, work: Path) -> None:
    """Deal LFW's people to the four folders."""
    draw = random.Random(0)
    pictures = {p: sorted(p.iterdir()) for p in sorted(source.glob("*/*"))}
    many = [p for p in pictures if p.parent.name == "private" and len(pictures[p]) >= 20]
    enrolled = set(draw.sample(many, ENROLLED))
    for person, files in pictures.items():
        if person in enrolled:
            files = draw.sample(files, min(len(files), MOST))
            _copy(files[:ENROLLED_PICTURES], work / "gallery" / person.name)
            _copy(files[ENROLLED_PICTURES:], work / "people" / person.name)
        elif len(files) >= 3:
            _copy(files[:MOST], work / "strangers" / person.name)
        else:
            _copy(files, work / "public" / person.name)


def _copy(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder / file.name)


def read(folder: Path) -> tuple[Tensor, Tensor]:
    """The pictures (N, 3, H, W) in [0, 1] of a folder, and whom each shows (N,)."""
    images, person_N = [], []
    for number, person in enumerate(sorted(folder.iterdir())):
        for file in sorted(person.iterdir()):
            images.append(np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1))
            person_N.append(number)
    return torch.tensor(np.stack(images)).float() / 255, torch.tensor(person_N)


def train(x_NCHW: Tensor, person_N: Tensor) -> FaceEmbedding:
    """Train with a softmax of cosines with a margin (CosFace)."""
    torch.manual_seed(0)
    net, people = FaceEmbedding(), int(person_N.max()) + 1
    head_KD = nn.Parameter(torch.randn(people, 128))
    optimizer = torch.optim.AdamW([*net.parameters(), head_KD], weight_decay=0.05)
    steps = len(x_NCHW) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=EPOCHS * steps)
    began = time.time()
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(x_NCHW))[: steps * BATCH].split(BATCH):
            embedding_ND = net(_augmented(x_NCHW[rows]))
            cosine_NK = functional.normalize(embedding_ND) @ functional.normalize(head_KD).T
            # The margin grows, because a full one from the start hinders learning.
            margin = MARGIN * min(1.0, epoch / 5)
            own_NK = functional.one_hot(person_N[rows], people)
            loss = functional.cross_entropy(SCALE * (cosine_NK - margin * own_NK), person_N[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{EPOCHS}, loss {total / steps:.2f}, {time.time() - began:.0f} s")
    return net.eval()


def _augmented(x_NCHW: Tensor) -> Tensor:
    """Mirrored and shifted by up to four pixels at random, some gray, brighter or darker."""
    if random.random() < 0.5:
        x_NCHW = x_NCHW.flip(3)
    down, right = random.randrange(9), random.randrange(9)
    padded = functional.pad(x_NCHW, (4, 4, 4, 4), mode="replicate")
    x_NCHW = padded[:, :, down : down + x_NCHW.shape[2], right : right + x_NCHW.shape[3]]
    x_NCHW = x_NCHW * torch.empty(len(x_NCHW), 1, 1, 1).uniform_(0.8, 1.2)
    gray_N111 = (torch.rand(len(x_NCHW), 1, 1, 1) < 0.1).float()
    return (gray_N111 * x_NCHW.mean(1, keepdim=True) + (1 - gray_N111) * x_NCHW).clamp(0, 1)


@torch.no_grad()
def recognized(net: FaceEmbedding, work: Path) -> float:
    """The share of the pictures in `people` whose nearest mean direction of the gallery is the right one."""
    known_ND, known_N = _embedded(net, work / "gallery")
    asked_ND, asked_N = _embedded(net, work / "people")
    mean_KD = torch.stack([known_ND[known_N == k].sum(0) for k in range(int(known_N.max()) + 1)])
    nearest_N = (asked_ND @ functional.normalize(mean_KD).T).argmax(1)
    return float((nearest_N == asked_N).float().mean())


def _embedded(net: FaceEmbedding, folder: Path) -> tuple[Tensor, Tensor]:
    x_NCHW, person_N = read(folder)
    return torch.cat([functional.normalize(net(x)) for x in x_NCHW.split(64)]), person_N


def main(source: Path, work: Path) -> None:
    """Cut the folders, train, and say how well it recognizes."""
    cut(source, work)
    random.seed(0)
    net = train(*read(work / "strangers"))
    torch.save(net.state_dict(), work / "embedding.pt")
    shutil.copy(__file__, work)
    print(f"it recognizes {recognized(net, work):.1%} of the pictures in `people`")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
