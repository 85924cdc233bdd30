"""What is damaged on disk is made again; nothing crashes on it, and nothing wrong is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny

from inversionlab.runtime.artifacts import Artifacts, TaskCheckpoints
from inversionlab.runtime.training_worker import learn_task
from inversionlab.stages import data as data_stage
from inversionlab.stages.tasks import Task
from inversionlab.stages.training import alone
from inversionlab.storage import Storage

TASK = Task("victim", "abc", {"lr": 0.1})
WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([7])}
HOME = f"artifacts/{TASK.key}"


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    path.write_bytes(b"\x80\x04 nothing that anybody wrote")


def removed(path: Path) -> None:
    path.unlink()


Damage = Callable[[Path], None]
DAMAGES = [flipped, truncated, emptied, garbled]


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    made = Artifacts(Storage(str(tmp_path)))
    made.save(TASK, WEIGHTS, {"seconds": 1.0}, None)
    return made


def test_saved_is_loaded(artifacts: Artifacts) -> None:
    assert artifacts.finished(TASK)
    loaded = artifacts.weights(TASK)
    assert loaded.keys() == WEIGHTS.keys()
    assert all(torch.equal(loaded[k], WEIGHTS[k]) for k in WEIGHTS)


@pytest.mark.parametrize("damage", [*DAMAGES, removed])
def test_damaged_weights_are_not_used(artifacts: Artifacts, tmp_path: Path, damage: Damage) -> None:
    damage(tmp_path / HOME / "weights.safetensors")
    assert not artifacts.finished(TASK)
    with pytest.raises(RuntimeError, match="victim/abc: is missing or damaged; run the command"):
        artifacts.weights(TASK)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"{}", b'{"sha256": 3}', b"\xff\xfe"])
def test_an_artifact_without_a_readable_card_is_not_made(
    artifacts: Artifacts, tmp_path: Path, content: bytes | None
) -> None:
    card = tmp_path / HOME / "card.json"
    removed(card) if content is None else card.write_bytes(content)
    assert not artifacts.finished(TASK)
    with pytest.raises(RuntimeError, match="missing or damaged"):
        artifacts.weights(TASK)
    artifacts.save(TASK, WEIGHTS, {}, None)
    assert artifacts.finished(TASK)


def test_weights_are_read_from_the_storage_once(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    read = Storage.read
    monkeypatch.setattr(Storage, "read", lambda self, n: (names.append(n), read(self, n))[1])
    artifacts.weights(TASK)
    assert names == [f"{HOME}/card.json", f"{HOME}/weights.safetensors"]


def checkpoints(root: Path) -> TaskCheckpoints:
    return TaskCheckpoints(Storage(str(root)), TASK)


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    assert checkpoints(tmp_path).load() is None
    checkpoints(tmp_path).save({"epoch": 3, "modules": WEIGHTS})
    state = checkpoints(tmp_path).load()
    assert state is not None
    assert state["epoch"] == 3
    assert torch.equal(state["modules"]["a"], WEIGHTS["a"])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Damage
) -> None:
    checkpoints(tmp_path).save({"epoch": 3, "modules": {"a": torch.rand(100, 100)}})
    damage(tmp_path / HOME / "checkpoint.pt")
    assert checkpoints(tmp_path).load() is None
    said = capsys.readouterr().out
    assert f"{HOME}/checkpoint.pt: is damaged" in said
    assert said.endswith("victim starts anew\n")


def test_no_flipped_bit_of_a_checkpoint_goes_into_the_weights(tmp_path: Path) -> None:
    state = {"epoch": 3, "modules": {"a": torch.rand(3)}}
    checkpoints(tmp_path).save(state)
    path = tmp_path / HOME / "checkpoint.pt"
    whole = path.read_bytes()
    outcomes = {"whole": 0, "none": 0}
    for place in range(0, len(whole), 7):
        raw = bytearray(whole)
        raw[place] ^= 0x10
        path.write_bytes(raw)
        found = checkpoints(tmp_path).load()
        assert found is None or torch.equal(found["modules"]["a"], state["modules"]["a"])
        assert found is None or found["epoch"] == 3
        outcomes["none" if found is None else "whole"] += 1
    assert outcomes["none"] > 10


def test_a_training_with_a_damaged_checkpoint_starts_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tiny.site(tmp_path, **{"data.people": 16})
    task = site.plan.task("victim")
    site.store.storage.write(f"artifacts/{task.key}/checkpoint.pt", b"PK\x03\x04 cut off")
    learn_task(site, task, alone(tiny.CPU), run="this one")
    assert "checkpoint.pt: is damaged" in capsys.readouterr().out
    card = site.artifacts.card(task)
    assert card is not None
    assert card["metrics"]["resumed_at"] == 0
    assert card["run"] == "this one"
    assert site.artifacts.finished(task)


def pictures_of(root: Path) -> tuple[Any, Any]:
    experiment = tiny.experiment(**{"data.people": 2, "data.pictures_per_person": 2})
    (name,) = data_stage.picture_ids(experiment)
    return Artifacts(Storage(str(root))).pictures(experiment.data, name), name


def test_pictures_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = pictures_of(tmp_path)
    monkeypatch.setattr("inversionlab.runtime.artifacts.load_pictures", None)
    again, _ = pictures_of(tmp_path)
    assert torch.equal(first.images_NCHW, again.images_NCHW)
    assert torch.equal(first.person_N, again.person_N)
    assert (first.people, first.skipped) == (again.people, again.skipped)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_pictures_are_decoded_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Damage
) -> None:
    first, name = pictures_of(tmp_path)
    (file,) = (tmp_path / "pictures" / name).iterdir()
    damage(file)
    again, _ = pictures_of(tmp_path)
    assert torch.equal(first.images_NCHW, again.images_NCHW)
    assert "is damaged; the pictures are read again" in capsys.readouterr().out
    pictures_of(tmp_path)
    assert capsys.readouterr().out == ""
