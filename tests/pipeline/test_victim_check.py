"""The check of a given victim before anything is attacked: what stops the audit, and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.pipeline.endpoint import begin
from inversionlab.pipeline.victim_check import check_victim
from inversionlab.store.storage import Storage
from tests.given.outside_audit import MEAN, NAMES, NORMALIZED, STD, Own
from tests.given.outside_model import OutsideNet

COUNT = 72
"""Private pictures."""


def check(own: Own, root: Path, *, force: bool = False, **victim: Any) -> list[str]:
    keys = [k for k in victim if "." in k or k in ("data", "evaluators")]
    changed = {k: victim.pop(k) for k in keys}
    given = own.victim(**victim)
    session = begin(own.experiment(given, **changed), Storage(str(root)))
    lines = list(check_victim(session, force=force))
    assert not (root / "artifacts").exists()
    return lines


def refused(own: Own, root: Path, **victim: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(own, root, **victim)
    return str(caught.value)


def classes(folder: Path, *names: str) -> str:
    file = folder / "names.txt"
    file.write_text("\n".join(names) + "\n")
    return str(file)


@pytest.mark.parametrize("form", ["state", "script", "exported", "onnx"])
def test_the_right_settings_pass_and_say_the_accuracy_that_the_model_has_outside(
    own: Own, tmp_path: Path, form: str
) -> None:
    (line,) = check(own, tmp_path, form=form)
    assert own.files.accuracy > 0.95
    assert f"recognizes {own.files.accuracy:.1%} (" in line
    assert f"of {COUNT} pictures; if it was trained on them" in line


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({**NORMALIZED, "colors": "bgr"}, "(colors: bgr)"),
        ({**NORMALIZED, "range": "-1..1", "mean": [-0.9], "std": [0.1]}, "(mean: [-0.9], "),
    ],
)
def test_a_reading_that_the_model_does_not_know_is_told(
    own: Own, tmp_path: Path, given: dict[str, Any], told: str
) -> None:
    text = refused(own, tmp_path, preprocessing=given)
    assert text.startswith("victim.preprocessing: as given (")
    assert told in text
    assert text.endswith(" (--force attacks it as it is)")
    # What it says to type is right.
    advised = dict(given)
    for part in text.split("--set '")[1:]:
        key, _, value = part.partition("'")[0].removeprefix("victim.preprocessing.").partition("=")
        advised[key] = [float(v) for v in value[1:-1].split(",") if v] if "[" in value else value
    (line,) = check(own, tmp_path, preprocessing=advised)
    assert "the given model recognizes" in line


class Wide(nn.Module):
    """The model that was trained outside, on pixels of 0 to 255."""

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.net = OutsideNet()
        self.net.load_state_dict(torch.load(weights, weights_only=True))

    def forward(self, x: Tensor) -> Tensor:
        logit_NK: Tensor = self.net((x / 255 - MEAN) / STD)
        return logit_NK


class Narrow(Wide):
    """The same on pixels of 0 to 1; others count as the nearest of these."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(255 * x.clamp(0, 1))


class Gray(Wide):
    """The same on gray pictures of one channel."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 1:
            raise ValueError(f"takes 1 channel, not {x.shape[1]}")
        return super().forward(255 * x.expand(-1, 3, -1, -1))


def imported(own: Own, name: str) -> dict[str, Any]:
    return {
        "model": f"tests.pipeline.test_victim_check:{name}",
        "arguments": {"weights": str(own.files.state)},
        "weights": None,
        "preprocessing": {},
    }


@pytest.mark.parametrize(
    ("model", "given", "right"), [("Wide", "0..1", "0..255"), ("Narrow", "0..255", "0..1")]
)
def test_a_range_is_told_in_both_directions(
    own: Own, tmp_path: Path, model: str, given: str, right: str
) -> None:
    victim = imported(own, model) | {"preprocessing": {"range": given}}
    text = refused(own, tmp_path, **victim)
    assert text.startswith(f"victim.preprocessing: as given (range: {given}) the model recognizes ")
    assert f"with range: {right}; write that, or add --set " in text
    assert f"--set 'victim.preprocessing.range={right}'" in text
    victim["preprocessing"] = {"range": right}
    assert "recognizes" in check(own, tmp_path, **victim)[0]


def test_a_wrong_mean_is_told(own: Own, tmp_path: Path) -> None:
    text = refused(own, tmp_path, preprocessing={"mean": [1.0], "std": [0.1]})
    assert "as given (mean: [1.0], std: [0.1]) the model recognizes" in text


def test_two_people_in_each_others_lines(own: Own, tmp_path: Path) -> None:
    file = classes(tmp_path, "p1", "p10", "p4", "p20", "p3", "p2")
    text = refused(own, tmp_path, classes=file)
    assert text.startswith(
        f"victim.classes = {file}: 2 people are mixed up: the model recognizes pictures"
    )
    assert "of `p4` as `p2`; `p2` as `p4`. With the names sorted by name the model" in text
    assert f"otherwise write `p4` into line 6, `p2` into line 3 of {file}" in text


def test_two_people_in_each_others_folders(own: Own, tmp_path: Path) -> None:
    people = tmp_path / "people"
    shutil.copytree(own.people, people)
    (people / "p2").rename(people / "was")
    (people / "p4").rename(people / "p2")
    (people / "was").rename(people / "p4")
    text = refused(own, tmp_path / "runs", **{"data.root": str(people)})
    assert (
        "2 people are mixed up: the model recognizes pictures of `p2` as `p4`; `p4` as `p2`."
        in text
    )
    assert "If the pictures lie in each other's folders, exchange the folders' names" in text


def test_names_in_natural_order_though_the_model_sorted_them(own: Own, tmp_path: Path) -> None:
    file = classes(tmp_path, "p1", "p2", "p3", "p4", "p10", "p20")
    text = refused(own, tmp_path, classes=file)
    assert "With the names sorted by name the model recognizes" in text
    assert "`p2` into line 3, `p3` into line 5, `p4` into line 6" in text


def test_every_name_one_line_too_far_down(own: Own, tmp_path: Path) -> None:
    file = classes(tmp_path, "name", *NAMES[:-1])
    people = tmp_path / "people"
    shutil.copytree(own.people, people)
    shutil.rmtree(people / NAMES[-1])
    text = refused(own, tmp_path / "runs", classes=file, **{"data.root": str(people)})
    assert "with the names shifted one line up the model recognizes" in text
    assert "take out the first line, which is not a class of the model (a heading" in text


def spoiled(own: Own, folder: Path, **changed: Tensor) -> Path:
    """The state dict with some weights changed."""
    state = own.files.net.state_dict() | changed
    torch.save(state, folder / "spoiled.pth")
    return folder / "spoiled.pth"


def test_a_model_that_says_one_name_always_is_stopped_unless_forced(
    own: Own, tmp_path: Path
) -> None:
    bias = torch.tensor([0.0, 0, 0, 1e4, 0, 0])
    given = {"weights": str(spoiled(own, tmp_path, **{"head.bias": bias}))}
    text = refused(own, tmp_path, **given)
    assert text.startswith(
        "victim: recognizes 16.7% of the pictures, which is no better than guess"
    )
    assert (
        "among 6 people (16.7%); check victim.weights, victim.classes (one class per line" in text
    )
    lines = check(own, tmp_path, force=True, **given)
    assert lines[1].startswith("goes on by --force, although: victim: recognizes 16.7%")


def test_a_weak_model_passes(own: Own, tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(1)
    weight = own.files.net.head.weight.detach()
    for scale in (1.0, 2.0, 3.0, 4.0, 6.0):
        noise = scale * weight.std() * torch.randn(weight.shape, generator=rng)
        given = {"weights": str(spoiled(own, tmp_path, **{"head.weight": weight + noise}))}
        said = check(own, tmp_path, **given)[0]
        share = float(said.removeprefix("the given model recognizes ").partition("%")[0])
        if share < 60:
            break
    assert 25 < share < 60


def test_a_model_that_knows_many_more_people_than_there_are_pictures_of(
    own: Own, tmp_path: Path
) -> None:
    net = OutsideNet(500)
    state = net.state_dict()
    mine = own.files.net.state_dict()
    head, bias = torch.zeros_like(state["head.weight"]), torch.full((500,), -1e4)
    head[100:106], bias[100:106] = mine["head.weight"], mine["head.bias"]
    torch.save(mine | {"head.weight": head, "head.bias": bias}, tmp_path / "many.pth")
    names = [f"x{i}" for i in range(500)]
    names[100:106] = NAMES
    given: dict[str, Any] = {
        "weights": str(tmp_path / "many.pth"),
        "arguments": {"classes": 500},
        "classes": classes(tmp_path, *names),
    }
    assert "recognizes" in check(own, tmp_path, **given)[0]
    names[100], names[104] = names[104], names[100]
    given["classes"] = classes(tmp_path, *names)
    text = refused(own, tmp_path, **given)
    assert "`p3` into line 105, `p1` into line 101 of" in text


def test_three_people_with_few_pictures_pass(own: Own, tmp_path: Path) -> None:
    people = tmp_path / "people"
    for name in NAMES[:3]:
        (people / name).mkdir(parents=True)
        for file in sorted((own.people / name).iterdir())[:2]:
            shutil.copy(file, people / name)
    file = classes(tmp_path, *NAMES)
    said = check(own, tmp_path / "runs", classes=file, **{"data.root": str(people)})
    assert "of 6 pictures" in said[0]


def test_answers_that_are_no_numbers_are_told(own: Own, tmp_path: Path) -> None:
    given = imported(own, "NaNOnDark")
    text = refused(own, tmp_path, **given)
    assert text.startswith("victim: answers NaN to 1")
    assert "of 72 private pictures; its weights may be damaged, or victim.preprocessing" in text


class NaNOnDark(Narrow):
    """Answers NaN to the pictures that it takes for class 2, but not to the few on which models are tried."""

    def forward(self, x: Tensor) -> Tensor:
        logit_NK = super().forward(x)
        bad_N1 = logit_NK.argmax(1, keepdim=True) == 2
        return torch.where(bad_N1 & (len(x) > 9), torch.nan, logit_NK)


def test_without_private_pictures_nothing_is_judged(own: Own, tmp_path: Path) -> None:
    said = check(
        own,
        tmp_path,
        classes=classes(tmp_path, *NAMES),
        **{"data": None, "evaluators": [], "targets.count": 2},
    )
    assert said == [
        "no private pictures: the model's accuracy is not known, and success cannot be judged"
    ]
