from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import ray
import torch
from safetensors.torch import save
from torch import Tensor

from inversionlab.core.rows import PictureRows
from inversionlab.distributed import object_cache
from inversionlab.distributed.object_cache import (
    CachedObject,
    ObjectCache,
    read_network,
    read_splits,
)
from inversionlab.pipeline.session import Session, with_experiment
from inversionlab.store.storage import Storage
from tests import tiny
from tests.processes import HANG, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return tiny.session(tmp_path_factory.mktemp("storage"))


@dataclass(frozen=True)
class FakeArtifacts:
    """Artifacts whose networks need no training; notes each time that one is read."""

    read: list[str]

    def packed(self, spec: Any) -> bytes:
        return save(self.weights(spec))

    def weights(self, spec: Any) -> dict[str, Tensor]:
        self.read.append(spec.key)
        seed = torch.Generator().manual_seed(len(self.read))
        return {
            "layer.weight": torch.randn(3, 5, generator=seed),
            "layer.count": torch.tensor(7),
            "key": torch.tensor(list(spec.key.encode())),
        }


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The objects that are put into the object store during the test."""
    put, noted = ray.put, list[Any]()

    def noting(value: Any) -> Any:
        noted.append(value)
        return put(value)

    monkeypatch.setattr(ray, "put", noting)
    return noted


def with_fakes(session: Session) -> tuple[Session, FakeArtifacts]:
    artifacts = FakeArtifacts([])
    filled: Any = Session(
        session.spec, session.experiment, artifacts, session.store, session.builder
    )  # type: ignore[arg-type]
    return filled, artifacts


def test_every_network_is_put_once(session: Session, puts: list[Any]) -> None:
    filled, artifacts = with_fakes(session)
    cache = ObjectCache()
    first = cache.networks(filled)
    assert sorted(first) == sorted(artifacts.read) == sorted(t.key for t in session.plan.specs)
    assert len(puts) == 6
    assert cache.networks(filled) == first
    assert len(puts) == len(artifacts.read) == 6


def test_another_trial_puts_only_the_network_that_is_new(session: Session, puts: list[Any]) -> None:
    filled, artifacts = with_fakes(session)
    cache = ObjectCache()
    first = cache.networks(filled)
    # Another alpha trains nothing; another sigma trains another dummy.
    for changed, more in (({"defense.alpha": 0.9}, 0), ({"defense.sigma": 2.5}, 1)):
        other = with_experiment(session, tiny.experiment(sweep=None, **changed))
        plan_of_other = Session(other.spec, other.experiment, artifacts, other.store, other.builder)  # type: ignore[arg-type]
        puts.clear()
        refs = cache.networks(plan_of_other)
        assert len(puts) == more
        assert set(refs) == {t.key for t in other.plan.specs}
        assert sum(ref not in first.values() for ref in refs.values()) == more


def test_a_long_search_keeps_the_latest_networks_only(
    session: Session, puts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_cache, "NETWORKS", 7)
    filled, artifacts = with_fakes(session)
    driver = ObjectCache()
    first = driver.networks(filled)
    for sigma in (2.5, 3.0, 3.5):
        other = with_experiment(session, tiny.experiment(sweep=None, **{"defense.sigma": sigma}))
        driver.networks(
            Session(other.spec, other.experiment, artifacts, other.store, other.builder)
        )  # type: ignore[arg-type]
    puts.clear()
    again = driver.networks(filled)
    # Of 6 + 3 networks two were dropped: the first two dummies. What all trials share stayed.
    shared = [t.key for t in session.plan.specs if not t.of_one_model]
    assert [again[key] for key in shared] == [first[key] for key in shared]
    assert len(puts) == 1


def test_a_network_comes_back_unchanged(session: Session) -> None:
    filled, artifacts = with_fakes(session)
    refs = ObjectCache().networks(filled)
    for number, spec in enumerate(session.plan.specs):
        found = read_network(refs, spec)
        assert found is not None
        expected = FakeArtifacts(artifacts.read[:number]).weights(spec)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].dtype == value.dtype
            assert torch.equal(found[name], value)


def test_the_splits_are_put_once_and_come_back_equal(session: Session, puts: list[Any]) -> None:
    cache = ObjectCache()
    ref = cache.splits(session)
    assert cache.splits(with_experiment(session, tiny.experiment(**{"defense.alpha": 0.9}))) is ref
    assert len(puts) == 1
    found, original = read_splits(ref, storage_of(session)), session.builder.splits
    assert found is not None
    assert found.people == original.people
    assert found.evaluator_people == original.evaluator_people
    assert found.public_people == original.public_people
    assert torch.equal(found.public_NCHW[:], original.public_NCHW[:])
    for name in ("train", "test", "evaluator_train", "evaluator_test"):
        mine, theirs = getattr(found, name), getattr(original, name)
        assert torch.equal(mine.images_NCHW[:], theirs.images_NCHW[:])
        assert torch.equal(mine.class_N, theirs.class_N)
        assert mine.class_N.dtype == theirs.class_N.dtype


def test_splits_travel_as_row_numbers(session: Session) -> None:
    ref = ObjectCache().splits(session)
    sent, splits = ref.get(), session.builder.splits
    assert sent.train.images_NCHW.row_N.shape == (len(splits.train),)
    found = read_splits(ref, storage_of(session))
    assert found is not None
    # The sets of one data set share its parts, which are opened once.
    assert isinstance(found.public_NCHW, PictureRows)
    assert isinstance(found.train.images_NCHW, PictureRows)
    assert found.public_NCHW.parts is found.train.images_NCHW.parts
    # NumPy refuses to write to what lies in the object store.
    with pytest.raises(ValueError, match="read-only"):
        sent.train.images_NCHW.row_N[0] = 0


def storage_of(session: Session) -> Storage:
    return Storage(session.spec.storage)


def test_workers_read_the_drivers_pictures(session: Session) -> None:
    ref = ObjectCache().splits(session)

    @ray.remote(num_cpus=1)
    def total(given: CachedObject) -> int:
        splits = read_splits(given, Storage(root))
        assert splits is not None
        return int(splits.train.images_NCHW[:].long().sum())

    root = session.spec.storage
    expected = int(session.builder.splits.train.images_NCHW[:].long().sum())
    assert ray.get(total.remote(ref), timeout=HANG) == expected


@ray.remote(num_cpus=0)
class Owner:
    """Another process whose objects are read, as workers read the trial runner's."""

    def put(self) -> list[Any]:
        return [ray.put(np.zeros(1_000_000))]

    def never(self) -> None:
        time.sleep(600)


@pytest.mark.parametrize("loss", ["its owner died", "it does not come"])
def test_what_is_lost_is_read_elsewhere(
    session: Session, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    owner = Owner.remote()  # type: ignore[attr-defined]
    if loss == "its owner died":
        (there,) = ray.get(owner.put.remote(), timeout=HANG)
        ray.kill(owner)
        # Ray may wait until it has noticed the loss.
        wait_until(lambda: CachedObject((there,)).get() is None, HANG, "the object is lost")
    else:
        monkeypatch.setattr(object_cache, "WAIT_SECONDS", 0.1)
        there = owner.never.remote()
    spec = session.plan.specs[0]
    assert read_splits(CachedObject((there,)), storage_of(session)) is None
    assert read_network({spec.key: CachedObject((there,))}, spec) is None
    ray.kill(owner)


def test_without_a_reference_there_is_nothing(session: Session) -> None:
    assert read_splits(None, storage_of(session)) is None
    assert read_network({}, session.plan.specs[0]) is None
