"""`inversionlab.audit`, whole: a module at hand, text that names one, a recipe, and failed attacks."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import inversionlab
from inversionlab.core.images import to_bytes
from tests import tiny
from tests.given.outside_model import OutsideNet, made_up_people

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SHORT = {"epochs": 2, "batch_size": 16}
SMALL = {"network": {"name": "small_resnet", "width": 4, "blocks": [1], "feature_size": 16}}
MEAN = {"mean": [0.5], "std": [0.5]}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OutsideNet]:
    """A folder with pictures of six people and of strangers, and a model that was trained on the people."""
    folder = tmp_path_factory.mktemp("given")
    pictures, labels = made_up_people()
    rng = torch.Generator().manual_seed(1)
    strangers = torch.rand(12, 3, 16, 16, generator=rng)
    for name, images, numbers in (
        ("people", pictures, labels),
        ("strangers", strangers, torch.arange(12) + 100),
    ):
        for index, (image, number) in enumerate(
            zip(to_bytes(images), numbers.tolist(), strict=True)
        ):
            path = folder / name / f"p{number}" / f"{index:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    torch.manual_seed(0)
    net = OutsideNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(net((pictures - 0.5) / 0.5), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    torch.save(net.state_dict(), folder / "net.pth")
    return folder, net


def arguments(folder: Path, **more: Any) -> dict[str, Any]:
    """Few targets, short trainings, short attacks."""
    return {
        "data": folder / "people",
        "public": folder / "strangers",
        "image_size": 16,
        "preprocessing": MEAN,
        "attacks": [
            {"name": "latent_white_box", "steps": 5},
            {"name": "label_only", "steps": 2},
        ],
        "generator": {"name": "vae", "latent_size": 8, "width": 4, "training": SHORT},
        "evaluators": [
            {
                "name": "same_people",
                "protocol": "same_people",
                "recognizer": {**SMALL, "training": SHORT},
            }
        ],
        "targets": {"count": 2, "repeats": 2},
        "settings": {"runtime.train_cpus": 1, "runtime.attack_workers": 1},
        "storage": folder / "runs",
        **more,
    }


def test_a_module_at_hand_gives_a_report_and_stays_as_it_is(
    given: tuple[Path, OutsideNet], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, net = given
    net.train()
    before = copy.deepcopy(net.state_dict())
    report = inversionlab.audit(net, **arguments(folder, quiet=True))
    assert capfd.readouterr().out == ""
    assert net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    table = report.table
    assert table["attack"].tolist() == [
        "latent_white_box",
        "label_only",
        "random_latent",
        "random_public",
        "real held-out pictures",
        "chance",
    ]
    assert table["complete"].all()
    assert (table["top5_low"] <= table["top5"]).all()
    # The model's accuracy is that of its test pictures; it knows all of these people well.
    assert report.models["accuracy"].iloc[0] > 0.9
    assert report.rows.num_rows == 4 * 4
    assert report.pictures("latent_white_box").shape == (4, 3, 16, 16)
    assert "<img" in report._repr_html_()
    # A second call finds everything, and so does its name.
    again = inversionlab.load_report(report.run, folder / "runs")
    assert again.table.equals(table)


@pytest.mark.slow
def test_text_that_names_the_same_model_gives_the_same_rows(
    given: tuple[Path, OutsideNet],
) -> None:
    folder, net = given
    said: list[str] = []
    named = {"model": "tests.given.outside_model:OutsideNet", "weights": folder / "net.pth"}
    report = inversionlab.audit(**arguments(folder, **named, say=said.append))
    assert "Chosen for tests.given.outside_model:OutsideNet:" in said
    live = inversionlab.audit(net, **arguments(folder, quiet=True))
    assert report.run != live.run
    assert report.rows["target"] == live.rows["target"]
    # The generator is shared, and the networks are equal.
    mine, theirs = (r.pictures("latent_white_box") for r in (report, live))
    np.testing.assert_allclose(mine.numpy(), theirs.numpy(), atol=1.01 / 255)


@pytest.mark.slow
def test_another_module_is_another_model(given: tuple[Path, OutsideNet]) -> None:
    folder, net = given
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.head.bias += torch.linspace(-0.2, 0.2, 6)
    mine, theirs = (inversionlab.audit(n, **arguments(folder, quiet=True)) for n in (net, other))
    cells = [set(report.rows["cell"].to_pylist()) for report in (mine, theirs)]
    # Null attacks ask no model.
    assert len(cells[0] & cells[1]) == 2
    assert len(cells[0] - cells[1]) == 2


@pytest.mark.slow
def test_a_wrong_order_of_classes_stops_it_unless_it_is_forced(
    given: tuple[Path, OutsideNet],
) -> None:
    folder, net = given
    swapped = arguments(folder, classes=["p1", "p0", "p2", "p3", "p4", "p5"], quiet=True)
    with pytest.raises(inversionlab.ConfigError, match="p0"):
        inversionlab.audit(net, **swapped)
    assert inversionlab.audit(net, **swapped, force=True).table["complete"].all()


@pytest.mark.slow
def test_without_private_pictures_there_is_confidence_alone(
    given: tuple[Path, OutsideNet],
) -> None:
    folder, net = given
    names = [f"p{i}" for i in range(6)]
    without = arguments(folder, data=None, classes=names, evaluators=(), quiet=True)
    report = inversionlab.audit(net, **without)
    assert "top5" not in report.table.columns
    assert report.table["confidence"].between(0, 1).any()
    assert report.models["accuracy"].isna().all()
    assert "success cannot be judged" in report._repr_html_()


class FailsOnFive(OutsideNet):
    """Fails on a batch of five pictures, which no check sends."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 5:
            raise RuntimeError("five are too many")
        return super().forward(x)


@pytest.mark.slow
def test_a_failed_attack_raises_with_the_report_of_the_rest(
    given: tuple[Path, OutsideNet],
) -> None:
    folder, net = given
    failing = FailsOnFive()
    failing.load_state_dict(net.state_dict())
    attacks = [{"name": "latent_white_box", "steps": 2}]
    one = arguments(folder, attacks=attacks, targets={"count": 1, "repeats": 5}, quiet=True)
    with pytest.raises(inversionlab.AuditError, match="five are too many") as failed:
        inversionlab.audit(failing, **one)
    report = failed.value.report  # type: ignore[attr-defined]
    assert report.run in str(failed.value)
    attacked = report.table[~report.table["kind"].isin(["real", "chance"])]
    done = attacked.set_index("attack")["complete"].to_dict()
    assert done == {"latent_white_box": False, "random_latent": True, "random_public": True}


@pytest.mark.slow
def test_a_recipe_is_audited_with_changed_settings(tmp_path: Path) -> None:
    plain = {
        "defense": {"name": "none"},
        "sweep": None,
        "evaluators": tiny.RECIPE["evaluators"][:1],
    }
    report = inversionlab.audit(
        recipe=tiny.recipe(**plain),
        settings={"targets.count": 2, "targets.repeats": 1},
        storage=str(tmp_path),
        quiet=True,
    )
    assert report.rows.num_rows == 4 * 2
    assert report.record.name == "tiny"
    assert (tmp_path / "runs" / report.run / "run.json").is_file()
