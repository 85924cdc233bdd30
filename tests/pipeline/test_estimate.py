"""What a plan says of time and disk, from cards and rows with figures of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inversionlab.pipeline import estimate
from inversionlab.pipeline.paces import Paces
from inversionlab.pipeline.session import Session
from tests import tiny


def card(session: Session, spec: Any, seconds: float, **metrics: float) -> None:
    folder = f"artifacts/{spec.key}"
    plain = {"inputs": spec.inputs, "seconds": seconds, "metrics": metrics}
    session.store.storage.write_json(f"{folder}/card.json", plain)
    session.store.storage.write(f"{folder}/weights.safetensors", b"x" * 5000)


def test_a_training_takes_what_one_like_it_took_by_its_epochs(tmp_path: Path) -> None:
    short = tiny.session(tmp_path, **{"victim.training.epochs": 3})
    card(short, short.plan.spec("victim"), 60.0, epochs=3.0)
    long = tiny.session(tmp_path, **{"victim.training.epochs": 12, "seed": 5})
    found = estimate.trainings(long, [long.plan.spec("victim"), long.plan.spec("generator")])
    assert found.seconds == pytest.approx(0.0)
    assert found.unknown == ("victim", "generator vae"), "other people: the seed draws them"
    longer = tiny.session(tmp_path, **{"victim.training.epochs": 12})
    found = estimate.trainings(longer, [longer.plan.spec("victim"), longer.plan.spec("generator")])
    assert found.seconds == pytest.approx(240.0)
    assert found.size == 5000
    assert found.unknown == ("generator vae",)


def test_a_training_that_was_resumed_counts_from_there(tmp_path: Path) -> None:
    session = tiny.session(tmp_path)
    victim = session.plan.spec("victim")
    card(session, victim, 10.0, epochs=3.0, resumed_at=2.0)
    assert estimate.trainings(session, [victim]).seconds == pytest.approx(30.0)


def test_a_wider_network_is_another_one(tmp_path: Path) -> None:
    narrow = tiny.session(tmp_path)
    card(narrow, narrow.plan.spec("victim"), 60.0, epochs=3.0)
    wide = tiny.session(tmp_path, **{"victim.network.width": 12})
    assert estimate.trainings(wide, [wide.plan.spec("victim")]).unknown == ("victim",)


def test_attacks_take_what_is_known_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tiny.session(tmp_path)
    assert estimate.attacks(session, session.plan.cells).unknown
    paces = Paces()
    cells = [*session.plan.work.values()]
    for cell in cells:
        paces.note(estimate.kind_of(cell), 2.0)
    monkeypatch.setattr(estimate, "_paces", lambda session: paces)
    found = estimate.attacks(session, cells)
    jobs = len(cells) * 4 * 2
    assert found.seconds == pytest.approx(2.0 * jobs)
    assert found.size == jobs * (estimate.ROW + 16 * 16)
    said = [*estimate.lines(session, [session.plan.spec("victim")])]
    train, attack = said
    assert train == "train: time unknown; no stored work resembles victim"
    assert attack.startswith(f"attack: about {2 * jobs // 60}:{2 * jobs % 60:02d} by 1 worker,")


def test_damaged_cards_tell_nothing(tmp_path: Path) -> None:
    session = tiny.session(tmp_path)
    victim = session.plan.spec("victim")
    for wrong in ([], {"inputs": []}, {"inputs": victim.inputs, "metrics": {"epochs": "x"}}):
        session.store.storage.write(f"artifacts/{victim.key}/card.json", json.dumps(wrong).encode())
        assert estimate.trainings(session, [victim]).unknown == ("victim",)
