"""The trainings of an audit or a search: each network once, each training with room to begin.

Where a training competes with the attack workers for the same machines, the crew leaves it room as long as it
lasts: all of it until it has begun, what it does not need from then on. Without that a crew with enough to do
would keep a training waiting for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from inversionlab.distributed.cluster import Gpus
from inversionlab.distributed.trainer import (
    TrainingLostError,
    train_missing,
    training_begun,
    training_needs,
)
from inversionlab.experiment import RuntimeSettings
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.session import Session
from inversionlab.pipeline.train import TrainingError
from inversionlab.store.storage import StorageError

PATIENCE = 20.0
"""Seconds that a training for which there is room has to begin, before the crew makes more."""
Resources = dict[str, float]


class TrainingQueue:
    """Has networks trained for whoever asks, from any thread; two who need the same one share its training."""

    def __init__(self, runtime: RuntimeSettings, gpus: Gpus, held: Callable[[], Resources]) -> None:
        """Nothing is trained yet.

        Args:
            runtime: how the work is laid out.
            gpus: which work takes GPUs.
            held: what the attack workers hold now.
        """
        self._runtime, self._gpus, self._held = runtime, gpus, held
        self._turn = threading.Condition()
        self._groups: list[set[str]] = []
        self._broken: dict[str, str] = {}
        self._sound: set[str] = set()
        self._waiting: set[object] = set()

    def __len__(self) -> int:
        """Trainings at work or waiting for their place."""
        return len(self._groups)

    def run(self, session: Session) -> list[str]:
        """Train every network of the plan that is missing; returns the keys of those trained for this call.

        Raises:
            TrainingError: a training cannot go on; networks that were finished before it are stored.
            StorageError: the storage cannot be written to.
        """
        while True:
            missing = [spec.key for spec in self.missing(session)]
            with self._turn:
                broken = [self._broken[key] for key in missing if key in self._broken]
                if broken:
                    raise TrainingError(broken[0])
                if not missing:
                    return []
                shared = any(group & set(missing) for group in self._groups)
                mine = not shared and len(self._groups) < self._runtime.train_groups
                if mine:
                    self._groups.append(set(missing))
                else:
                    self._turn.wait(1.0)
            if mine:
                return self._train(session, missing)

    def pool_limit(self, most: int) -> int:
        """How many of `most` attack workers there may be beside the trainings."""
        runtime = self._runtime
        if self._waiting:
            return 0
        if not self._groups or runtime.grows or runtime.train_resources or runtime.attack_resources:
            return most
        has, needs = ray.cluster_resources(), training_needs(runtime, gpu=self._gpus.train)
        kind, share = (
            ("GPU", runtime.attack_gpu_share) if self._gpus.attack else ("CPU", runtime.attack_cpus)
        )
        left = has.get(kind, 0.0) - len(self._groups) * needs.get(kind, 0.0)
        return max(0, min(most, int(left / share + 1e-9)))

    def missing(self, session: Session) -> list[NetworkSpec]:
        """Networks of the plan that are not stored whole; each is read through once, and remembered."""
        for spec in session.plan.specs:
            if spec.key not in self._sound and session.artifacts.finished(spec):
                self._sound.add(spec.key)
        return [spec for spec in session.plan.specs if spec.key not in self._sound]

    def _train(self, session: Session, keys: list[str]) -> list[str]:
        """Train `keys`, of which nobody else trains one."""
        try:
            return train_missing(
                session, gpu=self._gpus.train, room=lambda mine: self._room(session, mine)
            )
        except TrainingLostError:
            # The cluster's fault, not the network's: another try may do.
            raise
        except TrainingError as error:
            # Trainings are deterministic: nobody else need try it in this run.
            left = self.missing(session)
            if left:
                self._broken[left[0].key] = str(error)
            raise
        finally:
            with self._turn:
                self._groups.remove(set(keys))
                self._turn.notify_all()

    @contextmanager
    def _room(self, session: Session, keys: list[str]) -> Iterator[None]:
        """While a training waits for its place, keep the crew out of its way if that can help."""
        needs = training_needs(self._runtime, gpu=self._gpus.train)
        over = threading.Event()

        def watch() -> None:
            deadline = time.monotonic() + (
                PATIENCE if _fits(needs, ray.available_resources()) else 0
            )
            while not over.wait(0.5):
                try:
                    begun = training_begun(session, keys)
                    # More nodes, or another training's end, is what it needs if that would not do.
                    helps = _fits(needs, _sum(ray.available_resources(), self._held()))
                except (RayError, StorageError, OSError):
                    continue
                if not begun and helps and time.monotonic() > deadline:
                    self._waiting.add(over)
                elif begun:
                    self._waiting.discard(over)

        watcher = threading.Thread(target=watch, daemon=True, name="room for a training")
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            self._waiting.discard(over)


def _fits(needs: Resources, room: Resources) -> bool:
    return all(room.get(kind, 0.0) >= amount - 1e-9 for kind, amount in needs.items())


def _sum(some: Resources, more: Resources) -> Resources:
    return {kind: some.get(kind, 0.0) + more.get(kind, 0.0) for kind in {*some, *more}}
