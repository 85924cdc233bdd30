"""The curves of trainings, out of cards: those of today, of earlier versions, and damaged ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from inversionlab.report.audit.page import render
from inversionlab.report.audit.training import MOST, training_figures
from inversionlab.results.run_record import ArtifactRecord
from inversionlab.results.trainings import TrainingCurve, training_curves
from inversionlab.store.storage import Storage
from tests.report.fake_run import fake_run

NETWORK = ArtifactRecord(role="victim", id="ab12")
POINTS = {"epoch": [1.0, 2.0, 3.0], "loss": [4.0, 2.0, 1.0], "beside": [None, 1.0, math.nan]}


def test_a_card_is_found_by_the_networks_id_in_the_order_of_the_record(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write_json("artifacts/victim/ab12/card.json", {"curve": POINTS})
    storage.write_json("artifacts/evaluator-same/cd34/card.json", {"curve": POINTS})
    storage.write_json("artifacts/victim/another/card.json", {"curve": POINTS})
    storage.write("artifacts/generator/ef56/card.json", b"[")
    asked = [ArtifactRecord(role=role, id=id) for role, id in
             (("evaluator:same", "cd34"), ("victim", "ab12"), ("generator", "ef56"), ("gone", "0"))]  # fmt: skip
    curves = training_curves(storage, asked)
    assert [curve.title for curve in curves] == ["evaluator:same", "victim"]
    assert curves[1].losses == {"loss": (4.0, 2.0, 1.0), "beside": (None, 1.0, None)}
    assert training_curves(Storage(str(tmp_path / "empty")), asked) == ()


@pytest.mark.parametrize(
    "card",
    [
        *(None, [], {}, {"curve": None}, {"curve": []}, {"curve": {}}, {"curve": {"loss": [1.0]}}),
        {"curve": {"epoch": [1.0, 2.0], "loss": [1.0]}},
        {"curve": {"epoch": [1.0], "loss": "x"}},
        {"curve": {"epoch": [1.0], "loss": [None]}},
    ],
)
def test_a_card_without_a_curve_has_none(card: Any) -> None:
    assert TrainingCurve.of_card(NETWORK, card) is None


def test_a_chart_has_every_loss_and_skips_what_is_not_known() -> None:
    curve = TrainingCurve.of_card(NETWORK, {"curve": POINTS})
    assert curve is not None
    (figure,) = training_figures([curve])
    assert [(row["series"], row["x"], row["y"]) for row in figure.rows] == [
        *(("loss", 1.0, 4.0), ("loss", 2.0, 2.0), ("loss", 3.0, 1.0), ("beside", 2.0, 1.0))
    ]
    assert figure.numbers is not None
    assert figure.numbers.rows[1] == ("epoch = 2", "2", "1")
    assert "epoch" in figure.picture


def test_a_long_training_is_thinned_and_keeps_its_ends() -> None:
    epochs = tuple(float(e) for e in range(1, 451))
    curve = TrainingCurve("victim", "ab12", epochs, {"loss": tuple(1e3 / e for e in epochs)})
    (figure,) = training_figures([curve])
    xs = [row["x"] for row in figure.rows]
    assert (xs[0], xs[-1]) == (1.0, 450.0)
    assert len(xs) <= MOST + 1
    # From 1000 to 2.2: powers of ten.
    assert '"type": "log"' in str(figure.spec).replace("'", '"')


def test_the_page_has_a_section_only_where_curves_are_known() -> None:
    run = fake_run(alphas=(), targets=2, repeats=1)
    assert 'id="trainings"' not in render(run, pictures=False)
    curve = TrainingCurve("victim", "ab12", (1.0, 2.0), {"loss": (2.0, 1.0)})
    many = type(run)(**{**vars(run), "trainings": (curve,) * 6})
    page = render(many, pictures=False)
    assert "How the networks learned" in page
    assert "<summary>2 more</summary>" in page
