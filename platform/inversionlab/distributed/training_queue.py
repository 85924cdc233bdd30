"""The trainings of an audit or a search: each network once, and each training gets its resources.

Busy attack workers would keep a training on the same machines waiting for ever. So the scheduler ends all of them
until a waiting training has begun, and then leaves it what it needs. This file knows which trainings wait.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import ray
from ray.exceptions import RayError

from inversionlab.distributed.cluster import Gpus, alive_nodes
from inversionlab.distributed.progress import Say, say_now
from inversionlab.distributed.room import OFTEN, Resources, WaitNotice, lacking, training_workers
from inversionlab.distributed.train_worker import begun_file
from inversionlab.distributed.trainer import TrainingLostError, in_threads, train_group
from inversionlab.experiment import RuntimeSettings
from inversionlab.pipeline.missing import Found, missing_networks
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.session import Session
from inversionlab.pipeline.train import TrainingError
from inversionlab.pipeline.training_order import needed_by, next_group
from inversionlab.store.lease import single_flight
from inversionlab.store.storage import StorageError

PATIENCE = 20.0
"""Seconds that a training has to begin if there is room for it; after that the pool makes more room."""


@dataclass(eq=False)
class _Training:
    """A worker group that waits for its resources, or has begun."""

    needs: Resources
    deadline: float
    """When it should have begun by itself."""
    begun: bool = False
    needs_room: bool = False
    """Once set, it stays set."""


class TrainingQueue:
    """Trains networks for callers in any thread; two callers that need the same network share its training."""

    def __init__(
        self,
        runtime: RuntimeSettings,
        gpus: Gpus,
        found: Found | None = None,
        say: Say = say_now,
    ) -> None:
        """`found` holds what an earlier look at the store found whole; `say` gets lines about what is missing."""
        self._runtime, self._gpus = runtime, gpus
        self._say = say
        self._found = found or Found()
        self._turn = threading.Condition()
        self._callers = 0
        self._groups: list[set[str]] = []
        self._trainings: list[_Training] = []
        self._broken: dict[str, str] = {}

    def __len__(self) -> int:
        """Groups of networks that are being trained, or wait for their resources."""
        return len(self._groups)

    def run(self, session: Session) -> list[str]:
        """Train every network of the plan that is missing; returns the keys of those trained for this call.

        Networks of which none needs another are trained at once where `runtime.train_groups` allows.

        Raises:
            TrainingError: a training cannot go on; networks that were finished before it are stored.
            StorageError: the storage cannot be written to.
        """
        over = threading.Event()
        with self._turn:
            # More groups than networks are never needed.
            groups = min(self._runtime.train_groups, len(self.missing(session)))
            self._callers += 1
        try:
            shares = in_threads([partial(self._run, session, over)] * groups)
        finally:
            with self._turn:
                self._callers -= 1
        return [key for trained in shares for key in trained]

    def _run(self, session: Session, over: threading.Event) -> list[str]:
        """Train one group of missing networks after another until none is missing, or a call with this `over`
        fails; as `run`."""
        trained: list[str] = []
        while not over.is_set():
            with self._turn:
                missing = self.missing(session)
                if not missing:
                    break
                if broken := [self._broken[m.key] for m in missing if m.key in self._broken]:
                    raise TrainingError(broken[0])
                keys = self._next(session, missing)
                if not keys:
                    self._turn.wait()
                    continue
                group = set(keys)
                self._groups.append(group)
            try:
                trained += self._train(session, keys)
            except BaseException:
                over.set()
                raise
            finally:
                with self._turn:
                    self._groups.remove(group)
                    self._turn.notify_all()
        return trained

    def _next(self, session: Session, missing: Sequence[NetworkSpec]) -> list[str]:
        """Which of these networks a group should train now; none: it has to wait for another group."""
        if len(self._groups) >= self._runtime.train_groups:
            return []
        needs = {spec.key: {need.key for need in needed_by(spec, session.plan)} for spec in missing}
        # Each of several trials that are trained at once has its part of the groups.
        at_once = max(1, self._runtime.train_groups // self._callers)
        return next_group(needs, set().union(*self._groups), at_once)

    def missing(self, session: Session) -> list[NetworkSpec]:
        """Networks of the plan that are not stored whole; a stored network is read through only once."""
        return missing_networks(session, self._found)

    def need_room(self, held: Resources) -> bool:
        """Whether a training waits for resources that the attack workers hold; `held` is what they hold now."""
        for training in list(self._trainings):
            if training.begun or training.needs_room or time.monotonic() < training.deadline:
                continue
            # If what the workers hold is not enough, it needs more nodes, or another training's end.
            with suppress(RayError):
                training.needs_room = _fits(training.needs, ray.available_resources(), held)
        return any(t.needs_room and not t.begun for t in list(self._trainings))

    def _train(self, session: Session, keys: Sequence[str]) -> list[str]:
        """Train `keys`, or wait for another run on this storage that does; returns the keys trained here."""
        artifacts, specs = session.artifacts, {spec.key: spec for spec in session.plan.specs}
        trained: list[str] = []
        left, say = list(keys), self._say
        try:
            while left:
                with single_flight(
                    artifacts.storage, left, lambda key: artifacts.finished(specs[key]), say
                ) as mine:
                    if mine:
                        with self._waiting(session, mine):
                            run = train_group(session, mine, gpu=self._gpus.train)
                        # If our lease was taken over, another run may have finished a network first.
                        cards = {key: artifacts.card(specs[key]) or {} for key in mine}
                        trained += [key for key in mine if cards[key].get("run") == run]
                left = [key for key in left if key not in mine] if mine else []
        except TrainingError as error:
            # Trainings are deterministic: unless the cluster is at fault, no other caller need try it in this run.
            missing = [spec.key for spec in self.missing(session) if spec.key in keys]
            if not isinstance(error, TrainingLostError) and missing:
                self._broken[missing[0]] = str(error)
            raise
        return trained

    @contextmanager
    def _waiting(self, session: Session, keys: list[str]) -> Iterator[None]:
        """List a training as waiting, say what it waits for, and note when it has begun."""
        workers = training_workers(self._runtime, alive_nodes(), gpu=self._gpus.train)
        needs = workers.all_needs
        patience = PATIENCE if _fits(needs, ray.available_resources()) else 0.0
        training = _Training(needs, time.monotonic() + patience)
        over, exists = threading.Event(), session.artifacts.storage.exists
        notice = WaitNotice(self._say)

        def watch() -> None:
            while not over.wait(0.5):
                with suppress(StorageError, OSError):
                    training.begun = any(exists(begun_file(key)) for key in keys)
                with suppress(RayError):
                    reason = "" if training.begun else lacking(workers, alive_nodes())
                    held = "" if training.begun else "no training worker has started yet"
                    notice.look(reason or held, 0.0 if reason else OFTEN)

        watcher = threading.Thread(target=watch, daemon=True, name="begin of a training")
        watcher.start()
        self._trainings.append(training)
        try:
            yield
        finally:
            self._trainings.remove(training)
            over.set()
            watcher.join()


def _fits(needs: Resources, *rooms: Resources) -> bool:
    """Whether the needs fit into all rooms together."""
    return all(
        sum(room.get(kind, 0.0) for room in rooms) >= amount - 1e-9
        for kind, amount in needs.items()
    )
