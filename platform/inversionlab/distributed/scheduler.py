"""The scheduler: trains the missing networks and has cells attacked, for one audit or for many trials.

It alone decides how many attack workers there may be now, in `_worker_limit`. It tells the pool its size, and it
tells the queue among how many workers to share the work. Neither they nor the training queue ask back.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Self

import ray
from ray.exceptions import RayError

from inversionlab.distributed.actor_pool import ActorPool
from inversionlab.distributed.attack_worker import AttackWorker
from inversionlab.distributed.cluster import ClusterSampler, Gpus, alive_nodes
from inversionlab.distributed.errors import ActorPoolError
from inversionlab.distributed.object_cache import ObjectCache
from inversionlab.distributed.progress import Say, say_now
from inversionlab.distributed.ray_names import actor_name, task_name
from inversionlab.distributed.room import (
    OFTEN,
    WaitNotice,
    attack_workers,
    lacking,
    training_workers,
)
from inversionlab.distributed.shard_queue import ShardQueue, WorkRequest
from inversionlab.distributed.training_queue import TrainingQueue
from inversionlab.distributed.work_items import (
    MeasureCeiling,
    MissingWork,
    WorkContext,
    WorkItem,
    missing_measurements,
    pending_jobs,
)
from inversionlab.experiment import RuntimeSettings
from inversionlab.given.endpoint_answers import EndpointError
from inversionlab.given.ledger import BudgetError
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.missing import Found, missing_ceilings
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.session import Session, stored_cells


class Scheduler:
    """Does the work of one storage root: owns the actor pool, its queue and the trainings; thread-safe.

    It samples the cluster from the beginning and starts workers when there is work. Close it, or use it as a
    context.
    """

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
        self._workers = attack_workers(runtime, gpu=gpus.attack)
        worker = ray.remote(AttackWorker)

        def start() -> Any:
            return worker.options(
                name=actor_name("attack worker"),
                num_cpus=runtime.attack_cpus,
                num_gpus=runtime.attack_gpu_share if gpus.attack else 0.0,
                resources=dict(runtime.attack_resources),
                max_restarts=0,
                max_task_retries=0,
            ).remote(gpu=gpus.attack)

        self._pool: ActorPool[WorkItem] = ActorPool(start, task_name)
        self._queue: ShardQueue[WorkItem] = ShardQueue(
            shard_seconds=runtime.shard_seconds,
            shard_size=runtime.shard_size,
            lasting=(BudgetError.__name__, EndpointError.__name__),
        )
        self._trainings = TrainingQueue(runtime, gpus, self._found, say)
        self._cache = ObjectCache()
        self._start_lock = threading.Lock()
        self._attacking: threading.Thread | None = None
        self._sampler, self._closed = ClusterSampler(), threading.Event()
        self._sampling = threading.Thread(target=self._sample, daemon=True, name="cluster sampler")
        self._sampling.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, whatever is left to do, and end the workers."""
        self._queue.close()
        self._pool.stop()
        if self._attacking is not None:
            self._attacking.join()
        self._pool.dismiss()
        self._closed.set()
        self._sampling.join()

    @property
    def attack_seconds(self) -> float:
        """Working time of the attack workers so far, all together."""
        return self._queue.spent_seconds

    @property
    def timeline(self) -> list[dict[str, float]]:
        """Samples of the cluster's size and of the work since the beginning."""
        return self._sampler.samples

    def seconds_left(self) -> float | None:
        """Seconds that the queued attacks will take, at the paces measured so far; None: none is known."""
        return self._queue.seconds_left()

    def at_work(self) -> str:
        """Who works now, in words."""
        workers, nodes = self._pool.ready, 0.0
        if self._sampler.samples:
            nodes = self._sampler.samples[-1]["nodes"]
        return f"{workers} worker{'s' * (workers != 1)} on {nodes:.0f} node{'s' * (nodes != 1)}"

    def train(self, session: Session) -> list[str]:
        """Train the plan's missing networks; returns and raises as `TrainingQueue.run`."""
        return self._trainings.run(session)

    def missing(self, session: Session) -> list[NetworkSpec]:
        """Networks of the plan that are not stored whole."""
        return self._trainings.missing(session)

    def missing_work(
        self,
        session: Session,
        cells: Sequence[Cell],
        targets: Sequence[int] | None = None,
        measured: Collection[str] = (),
        *,
        ceilings: bool = False,
    ) -> MissingWork:
        """What the store lacks of some cells, whose networks must be stored; without `targets`, of all targets.

        Models whose stored measurements lack one of the columns `measured` are measured again. With `ceilings`
        those of the plan's generators are measured too, if the experiment asks for them.
        """
        chosen = session.plan.targets if targets is None else targets
        splits, networks = self._cache.splits(session), self._cache.networks(session)
        context = WorkContext(session.spec, session.plan.data_id, splits, networks)
        stored = self._found.measurements
        measurements = missing_measurements(session, cells, context, stored, measured)
        # An attack on a stripped model and on what is left of it are one piece of work.
        work = {cell.id: cell for cell in cells}
        cells_stored = stored_cells(session)
        pending = [
            jobs
            for cell in work.values()
            for jobs in pending_jobs(session, cell, chosen, context, cells_stored)
        ]
        asked = missing_ceilings(session, self._found.measurements) if ceilings else []
        last: list[WorkItem] = [MeasureCeiling(context, generator) for generator in asked]
        return MissingWork(measurements, pending, last)

    def attack(
        self,
        missing_work: MissingWork,
        on_done: Callable[[int, float], None] = lambda jobs, seconds: None,
    ) -> WorkRequest[WorkItem]:
        """Queue the missing measurements and attacks; `wait` on the result for their end.

        `on_done` is called from another thread with (reconstructions, seconds) of each item that is done.
        """
        work = missing_work
        request = self._queue.put(work.measurements, work.pending, on_done, work.last)
        if not request.finished.is_set():
            with self._start_lock:
                if self._attacking is None:
                    self._attacking = threading.Thread(
                        target=self._work_off, daemon=True, name="actor pool"
                    )
                    self._attacking.start()
        return request

    def _work_off(self) -> None:
        """Let the pool work off the queue, and adjust its size every moment."""
        try:
            more = True
            while more:
                limit = self._worker_limit()
                self._queue.workers = limit
                self._pool.resize(limit, self._queue.waiting())
                more = self._pool.work(self._queue)
        except ActorPoolError as error:
            self._queue.give_up(error)
        except Exception as error:
            self._queue.give_up(ActorPoolError(f"the actor pool's own fault: {error!r}"))
            raise

    def _worker_limit(self) -> int:
        """How many attack workers there may be now, by the settings, the cluster's size and the trainings."""
        runtime, count = self._runtime, self._pool.ready
        if self._trainings.need_room({k: count * n for k, n in self._workers.needs.items()}):
            return 0
        kind = "GPU" if self._gpus.attack else "CPU"
        share = self._workers.needs[kind]
        most = runtime.attack_workers
        if most is None:
            most = max(1, int(ray.cluster_resources().get(kind, 0) / share))
        apart = runtime.train_resources or runtime.attack_resources
        if not len(self._trainings) or runtime.grows or apart:
            return most
        # Trainings and attack workers share the machines, and no machine will come.
        training = training_workers(runtime, alive_nodes(), gpu=self._gpus.train)
        needs = training.all_needs.get(kind, 0.0)
        left = ray.cluster_resources().get(kind, 0.0) - len(self._trainings) * needs
        return max(0, min(most, int(left / share + 1e-9)))

    def _sample(self) -> None:
        notice = WaitNotice(self._say)
        while True:
            with suppress(RayError):
                self._say_what_is_waited_for(notice)
            closed = self._closed.is_set()
            self._sampler.sample(
                {
                    "workers": self._pool.ready,
                    "training": len(self._trainings),
                    "queued": self._queue.waiting(),
                    "done": self._queue.done_jobs,
                }
            )
            if closed:
                return
            self._closed.wait(self._sampler.every)

    def _say_what_is_waited_for(self, notice: WaitNotice) -> None:
        """Say why no attack worker has started, if there is work that they may do."""
        reason, patience = "", 0.0
        if self._queue.waiting() and self._queue.workers and not self._pool.ready:
            reason = lacking(self._workers, alive_nodes())
            if not reason:
                reason, patience = "no attack worker has started yet", OFTEN
        notice.look(reason, patience)
