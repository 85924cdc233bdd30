"""What TensorBoard's files and services are told of trainings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from inversionlab.distributed.train_worker import train_network
from inversionlab.pipeline.artifacts import Artifacts
from inversionlab.pipeline.session import Session
from inversionlab.pipeline.train import alone
from inversionlab.store.storage import StorageError
from inversionlab.tracking import tracking
from inversionlab.tracking.log_to import LogTo
from inversionlab.tracking.tensorboard import events
from inversionlab.tracking.tracking import Tracking
from tests import tiny
from tests.tracking.test_tensorboard import only, scalars
from tests.tracking.test_tracking import Willing


class Kept(Willing):
    told: ClassVar[list[Any]] = []

    def __init__(self, address: str, subject: Any) -> None:
        self.told.append(subject.name)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.told.append(step)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, Path]:
    root = tmp_path_factory.mktemp("tracked")
    session = tiny.session(root)
    Kept.told.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tracking.SERVICES, "mlflow", Kept)
        told = Tracking(session.artifacts.storage, LogTo(("mlflow:http://x",)), print)
        for spec in session.plan.specs:
            train_network(session, spec, alone(tiny.CPU), tracking=told)
    return session, root


def test_event_files_hold_what_the_cards_hold(trained: tuple[Session, Path]) -> None:
    session, root = trained
    for spec in session.plan.specs:
        card = session.artifacts.card(spec)
        assert card is not None
        curve = card["curve"]
        found = scalars(only(root / "artifacts" / spec.key / "tensorboard"))
        for name, values in curve.items():
            if name == "epoch":
                continue
            shown = [(step, value) for step, tag, value in found if tag == f"losses/{name}"]
            assert [step for step, _ in shown] == curve["epoch"]
            assert [value for _, value in shown] == pytest.approx(values)
        tested = [value for _, tag, value in found if tag == "test/accuracy"]
        accuracy = card["metrics"].get("test_accuracy")
        assert tested == pytest.approx([accuracy] if accuracy is not None else [])


def test_generators_show_samples_and_no_others(trained: tuple[Session, Path]) -> None:
    session, root = trained
    for spec in session.plan.specs:
        file = only(root / "artifacts" / spec.key / "tensorboard")
        values = [v for event in events(file.read_bytes()) for v in event.summary.value]
        shown = [v.image.encoded_image_string for v in values if v.HasField("image")]
        if "generator" in spec.role:
            stored = session.artifacts.storage.read(f"artifacts/{spec.key}/samples.png")
            assert len(shown) >= 2
            assert shown[-1] == stored
        else:
            assert not shown


def test_services_never_see_what_learned_from_private_pictures(
    trained: tuple[Session, Path],
) -> None:
    session, _ = trained
    told: dict[str, list[Any]] = {}
    for each in Kept.told:
        if isinstance(each, str) and each not in ("closed", "failed"):
            told[each] = last = []
        else:
            last.append(each)
    assert {*told} == {spec.title for spec in session.plan.specs}
    pictured = {title for title, calls in told.items() if any(isinstance(c, tuple) for c in calls)}
    assert pictured == {spec.title for spec in session.plan.specs if spec.role == "generator"}
    assert all(calls[-1] == "closed" for calls in told.values())


def test_a_training_that_is_watched_comes_to_the_same_network(
    trained: tuple[Session, Path], tmp_path: Path
) -> None:
    session, _ = trained
    plain = tiny.session(tmp_path)
    for spec in plain.plan.specs:
        if "generator" in spec.role:
            train_network(plain, spec, alone(tiny.CPU))
            watched = session.artifacts.weights(spec)
            for name, tensor in plain.artifacts.weights(spec).items():
                torch.testing.assert_close(watched[name], tensor, rtol=0, atol=0)


def test_a_training_that_fails_is_told_to_have_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tiny.session(tmp_path)
    monkeypatch.setitem(tracking.SERVICES, "mlflow", Kept)
    Kept.told.clear()
    told = Tracking(session.artifacts.storage, LogTo(("mlflow:http://x",)), print)

    def full(self: Artifacts, *given: object) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(Artifacts, "save", full)
    with pytest.raises(StorageError):
        train_network(session, session.plan.spec("victim"), alone(tiny.CPU), tracking=told)
    assert Kept.told[-1] == "failed"
