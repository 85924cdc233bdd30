"""Stored weights whose hash is right, and which are not their network's all the same: they are trained again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from inversionlab.distributed.train_worker import train_network
from inversionlab.pipeline.missing import Found, missing_networks
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.session import Session
from inversionlab.pipeline.train import alone
from tests import tiny

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Session:
    session = tiny.session(tmp_path_factory.mktemp("misfit"), **{"data.people": 16})
    train_network(session, session.plan.spec("victim"), alone(tiny.CPU))
    return session


def rewritten(session: Session, spec: NetworkSpec, packed: bytes) -> None:
    """Store weights with the hash that is theirs."""
    storage, home = session.artifacts.storage, f"artifacts/{spec.key}"
    storage.write(f"{home}/weights.safetensors", packed)
    card = storage.read_json(f"{home}/card.json")
    card["sha256"] = hashlib.sha256(packed).hexdigest()
    storage.write_json(f"{home}/card.json", card)
    assert session.artifacts.finished(spec)


def first(state: dict[str, Tensor]) -> str:
    return next(name for name, tensor in state.items() if tensor.is_floating_point())


CHANGES: dict[str, tuple[Change, str]] = {
    "a name is missing": (
        lambda s: {k: v for k, v in s.items() if k != first(s)},
        "Missing key(s) in state_dict",
    ),
    "a name too many": (lambda s: s | {"more": torch.zeros(1)}, "Unexpected key(s) in state_dict"),
    "another shape": (
        lambda s: s | {first(s): torch.zeros(3, 5, 7)},
        "size mismatch",
    ),
    "NaN": (lambda s: s | {first(s): torch.full_like(s[first(s)], torch.nan)}, "holds NaN"),
    "nothing": (lambda s: {}, "Missing key(s) in state_dict"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_weights_that_are_not_the_networks_own_are_set_aside(
    trained: Session, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    spec = trained.plan.spec("victim")
    storage, card = trained.artifacts.storage, f"artifacts/{spec.key}/card.json"
    weights, kept = storage.read(f"artifacts/{spec.key}/weights.safetensors"), storage.read(card)
    assert spec not in missing_networks(trained, Found())
    assert capsys.readouterr().out == ""
    change, told = CHANGES[name]
    rewritten(trained, spec, save(change(load(weights))))
    assert spec in missing_networks(trained, Found())
    said = capsys.readouterr().out
    assert said.startswith(f"{storage.uri(card)}: names weights that are not its network's (")
    assert told in said
    assert said.endswith("); it is trained again\n")
    # So does every other process see it.
    assert not trained.artifacts.finished(spec)
    assert json.loads(storage.read(f"{card}.damaged"))["sha256"]
    storage.write(f"artifacts/{spec.key}/weights.safetensors", weights)
    storage.write(card, kept)


def test_a_file_that_is_no_safetensors_is_set_aside_too(trained: Session) -> None:
    spec = trained.plan.spec("victim")
    storage, card = trained.artifacts.storage, f"artifacts/{spec.key}/card.json"
    weights, kept = storage.read(f"artifacts/{spec.key}/weights.safetensors"), storage.read(card)
    rewritten(trained, spec, b"no weights at all")
    assert spec in missing_networks(trained, Found())
    assert not trained.artifacts.finished(spec)
    storage.write(f"artifacts/{spec.key}/weights.safetensors", weights)
    storage.write(card, kept)


def test_it_is_trained_again_to_the_same_bits(tmp_path: Path) -> None:
    session = tiny.session(tmp_path, **{"data.people": 16})
    spec = session.plan.spec("victim")
    train_network(session, spec, alone(tiny.CPU))
    weights = session.artifacts.weights(spec)
    rewritten(session, spec, save({k: v * torch.nan for k, v in weights.items()}))
    found = Found()
    assert spec in missing_networks(session, found)
    train_network(session, spec, alone(tiny.CPU))
    assert spec not in missing_networks(session, found)
    again = session.artifacts.weights(spec)
    assert all(torch.equal(again[name], weights[name]) for name in weights)
