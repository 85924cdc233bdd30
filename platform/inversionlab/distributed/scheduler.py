"""The foreman: trains the networks that are missing and has cells attacked, for one audit or for many trials.

One crew of attack workers and one queue serve everybody who asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import ray

from inversionlab.distributed.actor_pool import ActorPool, ActorPoolError
from inversionlab.distributed.attack_worker import AttackWorker, WorkContext, WorkItem
from inversionlab.distributed.cluster import Gpus
from inversionlab.distributed.missing_work import MissingWork, lot, missing_measures
from inversionlab.distributed.object_cache import ObjectCache
from inversionlab.distributed.shard_queue import Batch, ShardQueue
from inversionlab.distributed.timeline import Timeline
from inversionlab.distributed.training_queue import TrainingQueue
from inversionlab.experiment import RuntimeSettings
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session


class Scheduler:
    """Has the work of one storage root done; its methods may be called from many threads."""

    def __init__(self, runtime: RuntimeSettings, gpus: Gpus) -> None:
        """Take charge; nobody is hired yet. Close it, or use it as a context.

        Args:
            runtime: how the work is laid out.
            gpus: which work takes GPUs.
        """
        self._runtime, self._gpus = runtime, gpus
        self._shelf = ObjectCache()
        self._shelf_lock = threading.Lock()
        self._start_lock = threading.Lock()
        self._measured: set[str] = set()
        self._queue: ShardQueue[WorkItem] = ShardQueue(
            shard_seconds=runtime.shard_seconds,
            shard_size=runtime.shard_size,
            workers=lambda: self._crew.most,
        )
        self._crew: ActorPool[WorkItem] = ActorPool(self._hire, self._limit)
        self._thread: threading.Thread | None = None
        self._training_queue = TrainingQueue(runtime, gpus, self._held)
        self.timeline = Timeline(self._now)

    def __enter__(self) -> Scheduler:
        self.timeline.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, whatever is left, and let the workers go."""
        self._queue.close()
        self._crew.stop()
        if self._thread is not None:
            self._thread.join()
        self._crew.dismiss()
        self.timeline.stop()

    @property
    def attack_seconds(self) -> float:
        """Working time of the attack workers so far, all together."""
        return self._queue.spent_seconds

    def train(self, session: Session) -> list[str]:
        """Train every network of the plan that is missing; returns the keys of those trained for this call.

        Raises:
            TrainingError: a training cannot go on; networks that were finished before it are stored.
        """
        return self._training_queue.run(session)

    def missing(self, session: Session) -> list[NetworkSpec]:
        """Networks of the plan that are not stored whole."""
        return self._training_queue.missing(session)

    def missing_work(
        self, session: Session, cells: Sequence[Cell], targets: Sequence[int] | None = None
    ) -> MissingWork:
        """What the store lacks of some cells; their networks must be there.

        Args:
            session: the experiment.
            cells: which of its cells.
            targets: which of its targets; None: all.
        """
        chosen = session.plan.targets if targets is None else targets
        context = self._brief(session)
        measures = list(missing_measures(session, cells, context, self._measured))
        # An attack on a stripped model and on what is left of it are one piece of work.
        work = {cell.id: cell for cell in cells}
        return MissingWork(
            measures, [lot(session, cell, chosen, context) for cell in work.values()]
        )

    def attack(
        self,
        missing_work: MissingWork,
        on_done: Callable[[int, float], None] = lambda jobs, seconds: None,
    ) -> Batch[WorkItem]:
        """Have what is lacking measured and attacked.

        Args:
            missing_work: what `missing_work` returned.
            on_done: called with (reconstructions, seconds) as they come, from another thread.
        """
        batch = self._queue.put(missing_work.measures, missing_work.lots, on_done)
        if not batch.finished.is_set():
            self._start()
        return batch

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="crew")
                self._thread.start()

    def _brief(self, session: Session) -> WorkContext:
        with self._shelf_lock:
            splits, networks = self._shelf.splits(session), self._shelf.networks(session)
        return WorkContext(session.spec, session.plan.data_id, splits, networks)

    def _work(self) -> None:
        try:
            self._crew.run(self._queue)
        except ActorPoolError as error:
            self._queue.give_up(error)
        except Exception as error:
            self._queue.give_up(ActorPoolError(f"the crew's own fault: {error!r}"))
            raise

    def _hire(self) -> Any:
        runtime = self._runtime
        share = runtime.attack_gpu_share if self._gpus.attack else 0.0
        actor = ray.remote(AttackWorker).options(
            num_cpus=runtime.attack_cpus,
            num_gpus=share,
            resources=dict(runtime.attack_resources),
            max_restarts=0,
            max_task_retries=0,
        )
        return actor.remote(gpu=self._gpus.attack)

    def _held(self) -> dict[str, float]:
        """What the attack workers hold."""
        runtime, count = self._runtime, self._crew.ready
        held = {"CPU": count * runtime.attack_cpus}
        if self._gpus.attack:
            held["GPU"] = count * runtime.attack_gpu_share
        return held | {kind: count * amount for kind, amount in runtime.attack_resources.items()}

    def _limit(self) -> int:
        return self._training_queue.pool_limit(self._most_workers())

    def _most_workers(self) -> int:
        """How many attack workers there may be: as set, or for as many as the cluster has room now."""
        runtime = self._runtime
        if runtime.attack_workers is not None:
            return runtime.attack_workers
        has = ray.cluster_resources()
        if self._gpus.attack:
            return max(1, int(has.get("GPU", 0) / runtime.attack_gpu_share))
        return max(1, int(has.get("CPU", 0) / runtime.attack_cpus))

    def _now(self) -> dict[str, float]:
        """What the timeline notes beside the cluster's size."""
        return {
            "workers": self._crew.ready,
            "training": len(self._training_queue),
            "queued": self._queue.waiting(),
            "done": self._queue.done_jobs,
        }
