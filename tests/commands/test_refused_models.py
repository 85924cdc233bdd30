"""Models that cannot be audited end `inversionlab audit` with exit code 2, by name, before anything is trained."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from inversionlab.commands.main import app
from inversionlab.core.yaml_io import dump_yaml
from tests.given.outside_audit import NAMES, Own
from tests.given.outside_model import OutsideNet

NET = "tests.given.outside_model:OutsideNet"
BAD = """
import sys, torch
from tests.given.outside_model import OutsideNet

class AllNaN(OutsideNet):
    def forward(self, x):
        return super().forward(x) * float("nan")

class Detached(OutsideNet):
    def forward(self, x):
        return super().forward(x).detach()

class Gray(OutsideNet):
    def __init__(self):
        super().__init__(channels=1)

class Fixed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3 * 32 * 32, 6)

    def forward(self, x):
        return self.head(x.flatten(1))
"""


@pytest.fixture(autouse=True)
def here(own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: people, strangers, and modules of the user's own."""
    os.symlink(own.people, tmp_path / "people")
    os.symlink(own.strangers, tmp_path / "strangers")
    (tmp_path / "il_bad_models.py").write_text(BAD)
    (tmp_path / "il_bad_exit.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "il_bad_import.py").write_text("raise BaseException('no licence')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def refused(here: Path, *typed: str) -> str:
    words = ["audit", "--data", "people", "--public", "strangers", "--image-size", "16"]
    words += ["--storage", "runs", *typed]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    assert not (here / "runs" / "artifacts").exists()
    assert "Traceback" not in done.output
    return done.stderr


def saved(here: Path, net: nn.Module) -> str:
    torch.save(net.state_dict(), here / "net.pth")
    return "net.pth"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("il_bad_exit:Net", "model = il_bad_exit:Net: cannot be imported: it calls sys.exit(0)"),
        ("il_bad_import:Net", "model = il_bad_import:Net: cannot be imported: BaseException: no"),
        ("il_bad_gone:Net", "model = il_bad_gone:Net: cannot be imported: there is no module `il"),
        ("tests.given.users_models:Exits", "cannot be built with arguments {}: it calls sys.exit"),
        (NET, f"model = {NET}: has random weights (`features.0.weight` and "),
    ],
)
def test_code_that_gives_no_model(here: Path, model: str, told: str) -> None:
    assert told in refused(here, "--model", model)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("AllNaN", "answered NaN or infinite numbers to picture 0 of 9 example pictures; its"),
        ("Detached", "breaks the gradient between its answers and the pictures (argmax, .detach()"),
        (
            "Gray",
            "it takes pictures with preprocessing.colors: gray: write that, or add --set 'vic",
        ),
        (
            "Fixed",
            "it takes pictures with preprocessing.size: 32: write that, or add --set 'victim.",
        ),
    ],
)
def test_a_model_that_cannot_be_asked(here: Path, model: str, told: str) -> None:
    import il_bad_models  # type: ignore[import-not-found]

    weights = saved(here, getattr(il_bad_models, model)())
    said = refused(here, "--model", f"il_bad_models:{model}", "--weights", weights)
    assert f"model = il_bad_models:{model}: " in said
    assert told in said


def test_a_model_of_colours_for_gray_pictures(here: Path, own: Own, tmp_path: Path) -> None:
    for folder in ("people", "strangers"):
        source = getattr(own, folder)
        (here / folder).unlink()
        for file in source.glob("*/*.png"):
            path = here / folder / file.relative_to(source)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.open(file).convert("L").save(path)
    said = refused(here, "--model", NET, "--weights", str(own.files.state))
    assert "it takes pictures with preprocessing.colors: rgb: write that, or add --set" in said


def test_a_state_dict_of_another_width(here: Path) -> None:
    said = refused(here, "--model", NET, "--weights", saved(here, OutsideNet(width=12)))
    assert "net.pth: does not fit the model: " in said
    assert "of another shape: `features.0.weight` (file (12, 3, 3, 3), model (8, 3, 3, 3))" in said


def test_weights_that_are_nan(here: Path, own: Own) -> None:
    net = OutsideNet()
    with torch.no_grad():
        net.head.bias[0] = torch.nan
    said = refused(here, "--model", NET, "--weights", saved(here, net))
    assert "net.pth: holds weights 1 with NaN or infinite numbers: `head.bias`" in said


class Canary:
    """Leaves a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.file), "w")


@pytest.mark.parametrize("name", ["net.pth", "net.pt"])
def test_a_pickle_that_would_run_code_does_not(here: Path, name: str) -> None:
    canary = here / "canary"
    torch.save({"state_dict": {"head.bias": Canary(canary)}}, here / name)
    said = refused(here, "--model", NET, "--weights", name)
    assert f"{name}: holds " in said
    assert "reading that would run code from the file; it was not executed" in said
    if name == "net.pt":
        said = refused(here, "--model", name)
        assert "an object that would have to be unpickled and was not" in said
    assert not canary.exists()
    torch.load(here / name, weights_only=False)
    assert canary.exists(), "a canary that never sings proves nothing"


def test_zero_epochs_without_weights(here: Path, own: Own) -> None:
    recipe = own.recipe({"training": {"epochs": 0}})
    (here / "recipe.yaml").write_text(dump_yaml(recipe))
    done = CliRunner().invoke(app, ["audit", "recipe.yaml", "--storage", "runs"])
    assert done.exit_code == 2
    assert "victim.training.epochs = 0: " in done.stderr
    assert not (here / "runs" / "artifacts").exists()


def test_a_wrong_order_ends_with_2_and_nothing_is_stored(here: Path, own: Own) -> None:
    names = list(NAMES)
    names[1], names[4] = names[4], names[1]
    (here / "names.txt").write_text("\n".join(names))
    mean, std = "victim.preprocessing.mean=[0.4]", "victim.preprocessing.std=[0.25]"
    typed = ["--model", NET, "--weights", str(own.files.state), "--classes", "names.txt"]
    typed += ["--set", mean, "--set", std, "--set", "targets.count=2"]
    said = refused(here, *typed)
    assert (
        "2 people are mixed up: the model recognizes pictures of `p3` as `p10`; `p10` as `p3`"
        in said
    )
    assert "(--force attacks it as it is)" in said
    shutil.rmtree(here / "runs")
    assert "2 people are mixed up" in refused(here, *typed, "--write", "again.yaml", "--plan")
