"""How many attack workers there may be while trainings wait or train; Ray's answers are made up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import RayError

from inversionlab.distributed import training_queue
from inversionlab.distributed.cluster import Gpus
from inversionlab.distributed.scheduler import Scheduler
from inversionlab.distributed.training_queue import TrainingQueue
from inversionlab.experiment.sections import RuntimeSettings
from inversionlab.pipeline.session import Session
from inversionlab.pipeline.train import TrainingError
from inversionlab.pipeline.training_order import needed_by
from tests import tiny
from tests.processes import HANG, wait_until

NO_GPUS = Gpus(train=False, attack=False)


class FakeStorage:
    """Holds nothing but the file that says that a training has begun."""

    def __init__(self) -> None:
        self.begun = False

    def exists(self, name: str) -> bool:
        return self.begun


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A cluster of one node with four CPUs; the dict holds what is free there."""
    available = {"CPU": 4.0}
    node = {"Alive": True, "Resources": {"CPU": 4.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [node])
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0})
    monkeypatch.setattr(ray, "available_resources", lambda: dict(available))
    return available


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def session(storage: FakeStorage) -> Any:
    return SimpleNamespace(artifacts=SimpleNamespace(storage=storage))


def test_a_training_that_fits_is_given_time_to_begin(
    free: dict[str, float], session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = TrainingQueue(RuntimeSettings(train_cpus=2), NO_GPUS)
    with queue._waiting(session, ["victim/1"]):
        assert not queue.need_room({"CPU": 3.0})
    monkeypatch.setattr(training_queue, "PATIENCE", 0.0)
    with queue._waiting(session, ["victim/1"]):
        assert queue.need_room({"CPU": 3.0})
    assert not queue.need_room({"CPU": 3.0})


def test_a_training_without_room_gets_it_until_it_has_begun(
    free: dict[str, float], session: Any, storage: FakeStorage
) -> None:
    queue = TrainingQueue(RuntimeSettings(train_cpus=2), NO_GPUS)
    free["CPU"] = 1.0
    with queue._waiting(session, ["victim/1"]):
        assert queue.need_room({"CPU": 3.0})
        # Its resources are reserved, but it has not begun.
        free["CPU"] = 0.0
        assert queue.need_room({"CPU": 0.0})
        storage.begun = True
        wait_until(lambda: not queue.need_room({"CPU": 0.0}), HANG, "the begin is noticed")


def test_workers_that_hold_too_little_are_left_alone(free: dict[str, float], session: Any) -> None:
    """More nodes, or the end of another training, is what this training needs."""
    queue = TrainingQueue(RuntimeSettings(train_cpus=4), NO_GPUS)
    free["CPU"] = 1.0
    with queue._waiting(session, ["victim/1"]):
        assert not queue.need_room({"CPU": 2.0})
        assert queue.need_room({"CPU": 3.0})


def test_a_cluster_that_does_not_answer_changes_nothing(
    free: dict[str, float], session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = TrainingQueue(RuntimeSettings(train_cpus=2), NO_GPUS)
    free["CPU"] = 1.0

    def silent() -> dict[str, float]:
        raise RayError("no answer")

    with queue._waiting(session, ["victim/1"]):
        monkeypatch.setattr(ray, "available_resources", silent)
        assert not queue.need_room({"CPU": 3.0})
        monkeypatch.setattr(ray, "available_resources", lambda: dict(free))
        assert queue.need_room({"CPU": 3.0})


@pytest.fixture
def limit(free: dict[str, float]) -> Iterator[Any]:
    """The limit of a scheduler with these settings and so many groups that train."""
    schedulers: list[Scheduler] = []

    def limit(groups: int = 0, **settings: Any) -> int:
        scheduler = Scheduler(RuntimeSettings(**settings), NO_GPUS)
        schedulers.append(scheduler)
        scheduler._trainings._groups = [{f"victim/{n}"} for n in range(groups)]
        return scheduler._worker_limit()

    yield limit
    for scheduler in schedulers:
        scheduler.close()


def test_there_are_as_many_workers_as_set_or_as_fit(limit: Any) -> None:
    assert limit() == 4
    assert limit(attack_cpus=1.5) == 2
    assert limit(attack_cpus=8) == 1
    assert limit(attack_workers=7) == 7


def test_workers_leave_trainings_their_cpus_where_both_share_the_machines(limit: Any) -> None:
    assert limit(1, train_cpus=1) == 3
    assert limit(2, train_cpus=1) == 2
    assert limit(1, train_cpus=1, attack_workers=2) == 2
    # A training's CPUs are cut to the node's four.
    assert limit(1, train_cpus=16) == 0
    assert limit(1, train_cpus=16, train_resources={"train": 1}) == 4
    assert limit(1, train_cpus=16, attack_resources={"attack": 1}) == 4
    assert limit(1, train_cpus=16, grows=True, attack_workers=9) == 9


def test_there_are_no_workers_while_a_training_needs_room(
    free: dict[str, float], session: Any
) -> None:
    free["CPU"] = 2.0
    with Scheduler(RuntimeSettings(train_cpus=2, attack_workers=3), NO_GPUS) as scheduler:
        assert scheduler._worker_limit() == 3
        free["CPU"] = 0.0
        with scheduler._trainings._waiting(session, ["victim/1"]):
            scheduler._pool._workers = [SimpleNamespace(ready=True)] * 2  # type: ignore[list-item]
            assert scheduler._worker_limit() == 0
        assert scheduler._worker_limit() == 3
        scheduler._pool._workers = []
    assert not [t for t in threading.enumerate() if t.name == "begin of a training"]


class FakeGroups:
    """Stands for Ray Train: notes the keys of each group, and stores networks without training them."""

    def __init__(self, together: int, broken: str = "") -> None:
        """The first so many groups wait for each other; the training of the network `broken` fails."""
        self.groups: list[list[str]] = []
        self._together, self._broken = threading.Barrier(together, timeout=HANG), broken
        self.noted: Callable[[], bool] = lambda: True
        """Whether the failure is noted; until then the others of those groups go on."""

    def __call__(self, session: Session, keys: Sequence[str], *, gpu: bool) -> str:
        self.groups.append(list(keys))
        if len(self.groups) <= self._together.parties:
            self._together.wait()
        for spec in session.plan.specs:
            if spec.key in keys:
                if spec.key == self._broken:
                    raise TrainingError("its loss became nan")
                card = {"seconds": 0.0, "metrics": {}, "workers": 1, "run": "fake"}
                untrained = spec.pack(spec.build(session.builder))
                session.artifacts.save(spec, untrained, card, None)
        wait_until(self.noted, HANG, "the failure is noted")
        return "fake"


@pytest.fixture
def two_victims(tmp_path: Path, free: dict[str, float]) -> Session:
    return tiny.session(tmp_path, seeds=[0, 1])


def test_networks_that_do_not_need_each_other_are_trained_at_once(
    two_victims: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeGroups(together=2)
    monkeypatch.setattr(training_queue, "train_group", fake)
    trained = TrainingQueue(RuntimeSettings(train_groups=2), NO_GPUS).run(two_victims)
    plan = two_victims.plan
    assert sorted(trained) == sorted(spec.key for spec in plan.specs)
    assert sum(map(len, fake.groups)) == len(plan.specs), "each of them once"
    # The victims; the evaluators; the prior; each victim's dummy, which needs its GAN and not the victim.
    assert sorted(map(len, fake.groups)) == [1, 2, 2, 2, 2]
    roles = {spec.key: spec.role for spec in plan.specs}
    dummies = [group for group in fake.groups if roles[group[-1]] == "defense"]
    assert [[roles[key] for key in group] for group in dummies] == [
        ["defense_generator", "defense"]
    ] * 2


def test_what_a_network_needs_is_stored_before_it_is_begun(
    two_victims: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, stored = two_victims.plan, two_victims.artifacts.finished
    fake = FakeGroups(together=1)

    def checked(session: Session, keys: Sequence[str], *, gpu: bool) -> str:
        for spec in plan.specs:
            if spec.key in keys:
                assert all(stored(need) or need.key in keys for need in needed_by(spec, plan))
        return fake(session, keys, gpu=gpu)

    monkeypatch.setattr(training_queue, "train_group", checked)
    TrainingQueue(RuntimeSettings(train_groups=3), NO_GPUS).run(two_victims)
    assert len(fake.groups) > 3


def test_one_group_trains_all_of_them_where_no_more_are_allowed(
    two_victims: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeGroups(together=1)
    monkeypatch.setattr(training_queue, "train_group", fake)
    TrainingQueue(RuntimeSettings(), NO_GPUS).run(two_victims)
    assert fake.groups == [[spec.key for spec in two_victims.plan.specs]]


def test_after_a_failure_what_is_in_training_is_stored_and_nothing_else_is_begun(
    two_victims: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, broken, *evaluators = [spec.key for spec in two_victims.plan.specs[:4]]
    fake = FakeGroups(3, broken)
    monkeypatch.setattr(training_queue, "train_group", fake)
    queue = TrainingQueue(RuntimeSettings(train_groups=3), NO_GPUS)
    fake.noted = lambda: bool(queue._broken)
    with pytest.raises(TrainingError, match="its loss became nan"):
        queue.run(two_victims)
    assert sorted(fake.groups) == sorted([[victim, broken], *([one] for one in evaluators)])
    stored = [spec.key for spec in two_victims.plan.specs if two_victims.artifacts.finished(spec)]
    assert stored == [victim, *evaluators]
    with pytest.raises(TrainingError, match="its loss became nan"):
        queue.run(two_victims)
