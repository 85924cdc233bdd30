"""The trial runner: one actor on the head node that passes the work of all trials to one scheduler."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from inversionlab.distributed.cluster import Gpus
from inversionlab.distributed.run_record import store_real
from inversionlab.distributed.scheduler import Scheduler
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.session import Session, SessionSpec, open_session, with_experiment
from inversionlab.results.models import MODEL_METRICS
from inversionlab.tuning.space import experiment_at
from inversionlab.tuning.trial_metrics import (
    defended_cells,
    leak,
    refuse_unknown,
    trial_metrics,
    undefended,
)


class AttacksFailedError(RuntimeError):
    """Some attacks of a trial failed for good; the text says why."""


class TrialRunner:
    """Runs steps of many trials at once. All of its state is in the store, so Ray may restart it."""

    def __init__(
        self,
        spec: SessionSpec,
        bounds: Mapping[str, float],
        step_targets: int,
        gpus: Gpus,
        objectives: Collection[str] = (),
    ) -> None:
        """Open the experiment `spec`, whose variations the trials are; a step attacks `step_targets` targets.

        `bounds` are the constraints, for the score; `objectives` are metrics that each trial must know as well;
        `gpus` says which work takes GPUs.
        """
        torch.set_num_threads(1)
        self._base = open_session(spec, torch.device("cpu"))
        self._bounds, self._step_targets = dict(bounds), step_targets
        self._objectives, self._named = tuple(objectives), {*bounds, *objectives}
        runtime = self._base.experiment.runtime
        self._scheduler = Scheduler(runtime, gpus)

    def baseline(self) -> None:
        """Train victim, evaluators and generators, and attack the undefended victim.

        Raises:
            ConfigError: an objective or a constraint is not known of the undefended victim.
            AttacksFailedError: an attack failed.
            ActorPoolError: no attack worker can be started.
            TrainingError: a training cannot continue.
        """
        session = undefended(self._base)
        store_real(session)
        self._scheduler.train(session)
        self._attack(session, session.plan.cells, session.plan.targets)
        self._numbers(session, session.plan.targets)

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
        return self._numbers(session, so_far) | {"seconds": time.monotonic() - began}

    def _numbers(self, session: Session, targets: Sequence[int]) -> dict[str, float]:
        """The metrics of the session's own model over these targets."""
        cells = defended_cells(session)
        found = leak(session, cells, targets)
        numbers = trial_metrics(session, found, targets, self._bounds, self._objectives)
        defense = session.experiment.defense
        name = "the undefended victim" if cells[0].baseline else f"the model of `{defense.title}`"
        refuse_unknown(numbers, self._named, name)
        return numbers

    def _attack(self, session: Session, cells: Sequence[Cell], targets: Sequence[int]) -> None:
        measured = [metric.key for metric in MODEL_METRICS if metric.key in self._named]
        missing = self._scheduler.missing_work(session, cells, targets, measured)
        failures = self._scheduler.attack(missing).wait()
        if failures:
            raise AttacksFailedError(
                f"{len(failures)} work items failed; the first: {failures[0].reason}"
            )

    def close(self) -> list[dict[str, float]]:
        """Stop the scheduler; returns the timeline: how the cluster and the work in it changed."""
        self._scheduler.close()
        return self._scheduler.timeline
