"""The trial runner: one actor on the head node that passes the work of all trials to one scheduler."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from inversionlab.distributed.cluster import Gpus
from inversionlab.distributed.run_record import store_real
from inversionlab.distributed.scheduler import Scheduler
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session, SessionSpec, open_session, with_experiment
from inversionlab.tuning.space import experiment_at
from inversionlab.tuning.trial_metrics import defended_cells, leak, trial_metrics, undefended


class AttacksFailedError(RuntimeError):
    """Some attacks of a trial failed for good; the text says why."""


class TrialRunner:
    """Runs steps of many trials at once. All of its state is in the store, so Ray may restart it."""

    def __init__(
        self, spec: SessionSpec, bounds: Mapping[str, float], step_targets: int, gpus: Gpus
    ) -> None:
        """Open the experiment `spec`, whose variations the trials are; a step attacks `step_targets` targets.

        `bounds` are the constraints, for the score; `gpus` says which work takes GPUs.
        """
        torch.set_num_threads(1)
        self._base = open_session(spec, torch.device("cpu"))
        self._bounds, self._step_targets = dict(bounds), step_targets
        self._scheduler = Scheduler(self._base.experiment.runtime, gpus)

    def baseline(self) -> None:
        """Train victim, evaluators and generators, and attack the undefended victim.

        Raises:
            AttacksFailedError: an attack failed.
            ActorPoolError: no attack worker can be started.
            TrainingError: a training cannot continue.
        """
        session = undefended(self._base)
        store_real(session)
        self._scheduler.train(session)
        self._attack(session, session.plan.cells, session.plan.targets)

    def step(self, settings: dict[str, Any], step: int) -> dict[str, float]:
        """Attack the targets of a trial's step (0, 1, ...); returns its metrics over all targets so far.

        `settings` maps dotted paths to values. The errors are those of `baseline`.
        """
        began = time.monotonic()
        session = with_experiment(self._base, experiment_at(self._base.experiment, settings))
        self._scheduler.train(session)
        cells = defended_cells(session)
        so_far = session.plan.targets[: (step + 1) * self._step_targets]
        self._attack(session, cells, so_far)
        numbers = trial_metrics(session, leak(session, cells, so_far), so_far, self._bounds)
        return numbers | {"seconds": time.monotonic() - began}

    def _attack(self, session: Session, cells: Sequence[Cell], targets: Sequence[int]) -> None:
        missing = self._scheduler.missing_work(session, cells, targets)
        failures = self._scheduler.attack(missing).wait()
        if failures:
            raise AttacksFailedError(
                f"{len(failures)} work items failed; the first: {failures[0].reason}"
            )

    def close(self) -> list[dict[str, float]]:
        """Stop the scheduler; returns the timeline: how the cluster and the work in it changed."""
        self._scheduler.close()
        return self._scheduler.timeline
