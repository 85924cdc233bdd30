"""Damaged files are made again; nothing crashes on them, and nothing wrong is used."""

from __future__ import annotations

import io
import re
import resource
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from inversionlab.distributed.train_worker import train_network
from inversionlab.pipeline.artifacts import Artifacts, NetworkCheckpoints
from inversionlab.pipeline.compiled import best_precision
from inversionlab.pipeline.recognizer_specs import victim_spec
from inversionlab.pipeline.train import alone
from inversionlab.recognizers import RecognizerSettings
from inversionlab.store.storage import Storage, StorageError
from tests import tiny

SPEC = victim_spec("data", 0, RecognizerSettings())
WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([7])}
HOME = f"artifacts/{SPEC.key}"


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


def circular(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)


Damage = Callable[[Path], None]
DAMAGES = [flipped, truncated, emptied, garbled]


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    made = Artifacts(Storage(str(tmp_path)))
    made.save(SPEC, WEIGHTS, {"seconds": 1.0}, None)
    return made


def test_saved_is_loaded(artifacts: Artifacts) -> None:
    assert artifacts.finished(SPEC)
    loaded = artifacts.weights(SPEC)
    assert loaded.keys() == WEIGHTS.keys()
    assert all(torch.equal(loaded[k], WEIGHTS[k]) for k in WEIGHTS)


@pytest.mark.parametrize("damage", [*DAMAGES, removed, circular])
def test_damaged_weights_are_not_used(artifacts: Artifacts, tmp_path: Path, damage: Damage) -> None:
    damage(tmp_path / HOME / "weights.safetensors")
    assert not artifacts.finished(SPEC)
    with pytest.raises(RuntimeError, match=f"{SPEC.key}: is missing or damaged; run the command"):
        artifacts.weights(SPEC)


CARDS = [None, b"", b"{", b"[1]", b"{}", b'{"sha256": 3}', b"\xff\xfe", b"[" * 100_000]


@pytest.mark.parametrize("content", CARDS, ids=range(len(CARDS)))
def test_an_artifact_without_a_readable_card_is_not_made(
    artifacts: Artifacts, tmp_path: Path, content: bytes | None
) -> None:
    card = tmp_path / HOME / "card.json"
    removed(card) if content is None else card.write_bytes(content)
    assert not artifacts.finished(SPEC)
    with pytest.raises(RuntimeError, match="missing or damaged"):
        artifacts.weights(SPEC)
    artifacts.save(SPEC, WEIGHTS, {}, None)
    assert artifacts.finished(SPEC)


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors"])
def test_a_circular_link_is_not_an_artifact_and_is_replaced(
    artifacts: Artifacts, tmp_path: Path, name: str
) -> None:
    circular(tmp_path / HOME / name)
    assert not artifacts.finished(SPEC)
    artifacts.save(SPEC, WEIGHTS, {}, None)
    assert artifacts.finished(SPEC)


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors", "checkpoint.pt"])
@pytest.mark.parametrize("made", [True, False])
def test_a_folder_in_a_files_place_is_told_before_anything_is_trained(
    artifacts: Artifacts, tmp_path: Path, name: str, made: bool
) -> None:
    if not made:
        removed(tmp_path / HOME / "card.json")
    folder(tmp_path / HOME / name)
    with pytest.raises(StorageError, match=rf"/{HOME}/{name}: is a folder, .*; remove it and run"):
        checkpoints(tmp_path).load() if name == "checkpoint.pt" else artifacts.finished(SPEC)


@pytest.mark.parametrize("error", [PermissionError(13, "no"), OSError("AWS Error NETWORK")])
def test_what_cannot_be_reached_does_not_count_as_not_made(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    checkpoints(tmp_path).save({"epoch": 3})

    def fail(self: Storage, name: str) -> bytes:
        raise error

    monkeypatch.setattr(Storage, "read", fail)
    for look in (artifacts.finished, artifacts.card, artifacts.weights):
        with pytest.raises(OSError, match=str(error.args[-1])):
            look(SPEC)
    with pytest.raises(OSError, match=str(error.args[-1])):
        checkpoints(tmp_path).load()


def test_weights_are_read_from_the_storage_once(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    read = Storage.read
    monkeypatch.setattr(Storage, "read", lambda self, n: (names.append(n), read(self, n))[1])
    artifacts.weights(SPEC)
    assert names == [f"{HOME}/card.json", f"{HOME}/weights.safetensors"]


def checkpoints(root: Path) -> NetworkCheckpoints:
    return NetworkCheckpoints(Storage(str(root)), SPEC)


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    assert checkpoints(tmp_path).load() is None
    checkpoints(tmp_path).save({"epoch": 3, "modules": WEIGHTS})
    state = checkpoints(tmp_path).load()
    assert state is not None
    assert state["epoch"] == 3
    assert torch.equal(state["modules"]["a"], WEIGHTS["a"])


def pickled(path: Path) -> None:
    """A checkpoint that would run something if it were unpickled."""
    torch.save({"epoch": 3, "modules": Path("/")}, path)


def list_of_one(path: Path) -> None:
    torch.save([1], path)


@pytest.mark.parametrize("damage", [*DAMAGES, circular, pickled, list_of_one])
def test_a_damaged_checkpoint_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Damage
) -> None:
    checkpoints(tmp_path).save({"epoch": 3, "modules": {"a": torch.rand(100, 100)}})
    damage(tmp_path / HOME / "checkpoint.pt")
    assert checkpoints(tmp_path).load() is None
    said = capsys.readouterr().out
    assert re.fullmatch(
        rf"/\S+/{HOME}/checkpoint.pt: is damaged \(\w+\); victim starts anew\n", said
    )


def compressed(path: Path) -> None:
    """What PyTorch would read, as an archive of a thousandth of its size."""
    sink = io.BytesIO()
    torch.save({"epoch": 3, "modules": {"a": torch.zeros(10_000_000)}}, sink)
    with zipfile.ZipFile(sink) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as small:
        for member in source.infolist():
            small.writestr(member.filename, source.read(member))


class Long:
    """A length in place of data."""

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return bytearray, (40_000_000,)


def length(path: Path) -> None:
    torch.save({"epoch": 3, "modules": Long()}, path)


@pytest.mark.parametrize("make", [compressed, length])
def test_a_small_checkpoint_does_not_cost_much_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Damage
) -> None:
    path = tmp_path / HOME / "checkpoint.pt"
    path.parent.mkdir(parents=True)
    make(path)
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        assert checkpoints(tmp_path).load() is None
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    # Kilobytes; what PyTorch takes is not Python's.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    assert "is damaged (ConfigError); victim starts anew" in capsys.readouterr().out


@pytest.mark.parametrize("content", [{}, {"epoch": 1, "modules": {"a": WEIGHTS}}])
def test_a_training_with_another_networks_checkpoint_starts_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: dict[str, Any]
) -> None:
    session = tiny.session(tmp_path, **{"data.people": 16})
    spec = session.plan.spec("victim")
    NetworkCheckpoints(session.store.storage, spec).save(content)
    train_network(session, spec, alone(tiny.CPU))
    said = f"artifacts/{spec.key}/checkpoint.pt: is damaged (not a state of this network); it starts anew\n"
    assert said in capsys.readouterr().out
    card = session.artifacts.card(spec)
    assert card is not None
    assert card["metrics"]["resumed_at"] == 0


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_a_card_says_in_which_precision_its_network_was_trained(
    tmp_path: Path, precision: str
) -> None:
    changes = {"data.people": 16, "runtime.precision": precision}
    session = tiny.session(tmp_path, **changes)
    spec = session.plan.spec("victim")
    train_network(session, spec, alone(tiny.CPU))
    card = session.artifacts.card(spec)
    assert card is not None
    assert card["precision"] == (best_precision(tiny.CPU) if precision == "auto" else precision)
    assert spec.key == tiny.session(tmp_path, **{"data.people": 16}).plan.spec("victim").key


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
    session = tiny.session(tmp_path, **{"data.people": 16})
    spec = session.plan.spec("victim")
    session.store.storage.write(f"artifacts/{spec.key}/checkpoint.pt", b"PK\x03\x04 cut off")
    train_network(session, spec, alone(tiny.CPU), run="this one")
    assert "checkpoint.pt: is damaged" in capsys.readouterr().out
    card = session.artifacts.card(spec)
    assert card is not None
    assert card["metrics"]["resumed_at"] == 0
    assert card["run"] == "this one"
    assert session.artifacts.finished(spec)
