"""What is measured besides attacks, on networks of the tiny experiment; and that it is measured once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inversionlab.attacks import AttackerContext, AttackJobs
from inversionlab.attacks.pixel_gray_box import PixelGrayBox
from inversionlab.core.images import png, to_bytes, to_float
from inversionlab.papers import measures
from inversionlab.papers.clone_change import clone_change
from inversionlab.papers.measures import Measure, generator_distance, measured, score_line
from inversionlab.pipeline.session import Session
from inversionlab.results.run_record import ArtifactRecord, RunRecord
from inversionlab.store.storage import Storage
from tests import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Session:
    opened = tiny.session(tmp_path_factory.mktemp("runs"), sweep=None)
    tiny.train_all(opened)
    return opened


def test_the_line_from_a_real_to_a_synthetic_face(trained: Session) -> None:
    found = score_line(trained)
    victim, dummy, mixture = (
        torch.tensor(found[f"{name} line"], dtype=torch.float64)
        for name in ("victim", "dummy", "mixture")
    )
    # Eq. 1 at alpha = 0.5 holds of every point, so of the means too.
    torch.testing.assert_close(mixture, (victim + dummy) / 2, atol=1e-6, rtol=0)
    # At its left end are the first training pictures of the four targets.
    builder, targets = trained.builder, trained.plan.targets
    train, scores = builder.splits.train, []
    for target in targets:
        first = train.images_NCHW[train.class_N == target][:1]
        log_p = builder.recognizer("victim").log_scores(to_float(first, torch.device("cpu")))
        scores.append(float(log_p[0, target].detach().exp()))
    assert found["victim real"]["value"] == pytest.approx(sum(scores) / 4, abs=1e-5)
    assert found["victim real"]["count"] == 4
    assert found["victim line"][0] == pytest.approx(found["victim real"]["value"], abs=1e-6)


def test_the_generators_distance_is_told_by_every_evaluator(trained: Session) -> None:
    found = generator_distance(trained)
    assert found.keys() == {"same", "disjoint"}
    assert all(value["value"] > 0 and value["low"] is None for value in found.values())
    assert found == generator_distance(trained)


def test_a_measure_is_computed_once_for_the_same_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr(measures, "begin", lambda *given: opened.append(given) or "session")
    counted = Measure(1, lambda session: {"x": {"value": 1.0, "low": None}, "points": [1, 2]})
    monkeypatch.setitem(measures.MEASURES, "counted", counted)  # type: ignore[arg-type]
    storage, experiment = Storage(str(tmp_path)), tiny.experiment()
    one = RunRecord(run="r", artifacts=(ArtifactRecord(role="victim", id="a"),))
    for _ in range(2):
        found = measured("counted", experiment, one, storage, lambda line: None)
    assert len(opened) == 1
    assert found["points"] == [1, 2]
    # JSON has no NaN: an end that is not known comes back as one.
    assert found["x"]["low"] != found["x"]["low"]
    other = RunRecord(run="r", artifacts=(ArtifactRecord(role="victim", id="b"),))
    measured("counted", experiment, other, storage, lambda line: None)
    assert len(opened) == 2


def test_the_clones_change_is_that_of_their_pictures_from_the_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tiny.session(tmp_path, sweep=None)
    cell = next(c for c in session.plan.cells if c.baseline and c.attack.name == "pixel_gray_box")
    context = AttackerContext(None, session.builder.splits.public_NCHW, 1, tiny.CPU)
    monkeypatch.setattr(
        "inversionlab.pipeline.model_builder.ModelBuilder.attacker_context", lambda self, c: context
    )
    attack = PixelGrayBox(cell.attack, context)
    jobs = [(target, repeat) for target in session.plan.targets for repeat in (0, 10)]
    rows = []
    for target, repeat in jobs:
        start = attack.starts(AttackJobs(torch.tensor([target]), torch.tensor([repeat])))
        # Brighter by 10 levels; the clone of repeat 10 is not looked at.
        brighter = to_bytes(start + (10 if repeat == 0 else 100) / 255)
        rows.append(
            {"cell": cell.id, "target": target, "repeat": repeat, "picture": png(brighter[0])}
        )
    session.store.write_shard(cell.id, rows)
    (found,) = clone_change(session).values()
    assert found.value == pytest.approx(10, abs=0.3)
    assert found.count == 4
