"""A network of the user's own: what is refused before any training, and which edits make another network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.imported import Imported
from tests import tiny


class Detached(nn.Module):
    """Its own weights get a gradient, the picture does not."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.scale * x_NCHW.detach().mean(dim=(2, 3))


class NoGrad(nn.Module):
    @torch.no_grad()
    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.mean(dim=(2, 3))


class Argmax(nn.Module):
    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.flatten(2).argmax(dim=2).float()


class ThroughNumpy(nn.Module):
    def forward(self, x_NCHW: Tensor) -> Tensor:
        return torch.from_numpy(x_NCHW.cpu().numpy().mean((2, 3)))


class Exits(nn.Module):
    def forward(self, x_NCHW: Tensor) -> Tensor:
        raise SystemExit(4)


class ExitsAtOnce(nn.Module):
    def __init__(self) -> None:
        raise SystemExit(5)


def _refused(name: str) -> str:
    path = f"{__name__}:{name}"
    with pytest.raises(ConfigError) as caught:
        Imported(Imported.Settings(path=path), channels=3, image_size=16)
    assert str(caught.value).startswith(f"path = {path}: ")
    return str(caught.value)


@pytest.mark.parametrize("name", ["Detached", "NoGrad", "Argmax", "ThroughNumpy"])
def test_a_forward_that_breaks_the_gradient_is_refused(name: str) -> None:
    assert "its forward breaks the gradient" in _refused(name)


def test_a_class_that_exits_is_refused() -> None:
    assert "cannot be built with arguments {}: it calls sys.exit(5)" in _refused("ExitsAtOnce")
    assert "fails on pictures of shape (2, 3, 16, 16): it calls sys.exit(4)" in _refused("Exits")


def test_a_dry_run_under_no_grad_sees_the_gradient() -> None:
    settings = Imported.Settings(path="torch.nn:Flatten")
    with torch.no_grad():
        assert Imported(settings, channels=3, image_size=4).feature_size == 48


HELPER = "from torch import nn\nlayers = [nn.Flatten(), nn.Linear(256, 12)]\n"


def test_an_edit_in_an_imported_helper_makes_another_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "net_of_a_user.py").write_text(
        "from torch import nn\nimport layers_of_a_user\n\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self):\n        super().__init__(*layers_of_a_user.layers)\n"
    )
    helper, unrelated = code / "layers_of_a_user.py", code / "unrelated_of_a_user.py"
    helper.write_text(HELPER)
    unrelated.write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(code))

    def ids() -> dict[str, str]:
        network = {"name": "imported", "path": "net_of_a_user:Net"}
        plan = tiny.session(tmp_path / "runs", **{"victim.network": network}).plan
        return {spec.role: spec.id for spec in plan.specs}

    before = ids()
    unrelated.write_text("x = 2\n")
    assert ids() == before
    helper.write_text(HELPER + "# Another width will follow.\n")
    after = ids()
    assert after["victim"] != before["victim"]
    assert after["evaluator:same"] == before["evaluator:same"]
