"""The desk of a search: one actor on the head node that has the work of all trials done, by one foreman."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from inversionlab.defenses.none import NoneSettings
from inversionlab.distributed.cluster import Gpus
from inversionlab.distributed.run_record import store_real
from inversionlab.distributed.scheduler import Scheduler
from inversionlab.pipeline.plan import Cell, model_id
from inversionlab.pipeline.session import Session, SessionSpec, open_session, with_experiment
from inversionlab.tuning.estimate import (
    Leak,
    accuracy,
    defended_cells,
    leak,
    log_distortion,
    score,
)
from inversionlab.tuning.space import experiment_at


class AttacksFailedError(RuntimeError):
    """Some orders of a trial were given up; the text says why."""


class TrialRunner:
    """Takes trials' steps, many at once; all that it knows is in the store, so it may be started anew."""

    def __init__(
        self, spec: SessionSpec, bounds: Mapping[str, float], step_targets: int, gpus: Gpus
    ) -> None:
        """Open the experiment that the trials are variations of.

        Args:
            spec: that experiment.
            bounds: the constraints, for the score.
            step_targets: targets in a step.
            gpus: which work takes GPUs.
        """
        torch.set_num_threads(1)
        self._base = open_session(spec, torch.device("cpu"))
        self._bounds, self._size = dict(bounds), step_targets
        self._foreman = Scheduler(self._base.experiment.runtime, gpus)

    def baseline(self) -> None:
        """Train victim, judges and generator, and attack the undefended victim.

        Raises:
            AttacksFailedError: an attack failed.
            CrewError: there are no attack workers to be had.
            TrainingError: a training cannot go on.
        """
        session = undefended(self._base)
        store_real(session)
        self._foreman.train(session)
        self._attack(session, session.plan.cells, session.plan.targets)

    def step(self, settings: dict[str, Any], step: int) -> dict[str, float]:
        """Attack the next targets of a trial; returns its metrics over all targets so far.

        Args:
            settings: dotted path -> value.
            step: number of the step, from 0.

        Raises:
            AttacksFailedError: an attack failed.
            CrewError: there are no attack workers to be had.
            TrainingError: the defense's training cannot go on.
        """
        began = time.monotonic()
        session = with_experiment(self._base, experiment_at(self._base.experiment, settings))
        self._foreman.train(session)
        cells = defended_cells(session)
        so_far = session.plan.targets[: (step + 1) * self._size]
        self._attack(session, cells, so_far)
        found = metrics(session, leak(session, cells, so_far), so_far, self._bounds)
        return found | {"seconds": time.monotonic() - began}

    def _attack(self, session: Session, cells: Sequence[Cell], targets: Sequence[int]) -> None:
        failures = self._foreman.attack(self._foreman.missing_work(session, cells, targets)).wait()
        if failures:
            raise AttacksFailedError(
                f"{len(failures)} work items failed; the first: {failures[0].reason}"
            )

    def summary(self) -> dict[str, Any]:
        """Close, and say how the cluster and the work in it changed."""
        self._foreman.close()
        return {"timeline": self._foreman.timeline}


def undefended(session: Session) -> Session:
    """The experiment without its defense."""
    plain = session.experiment.model_copy(
        update={"defense": NoneSettings(), "defenses": (), "sweep": None}
    )
    return with_experiment(session, plain)


def metrics(
    session: Session, found: Leak, targets: Sequence[int], bounds: Mapping[str, float]
) -> dict[str, float]:
    """What a trial reports of its stored reconstructions; see `space.METRICS`.

    Args:
        session: the trial's experiment.
        found: what its attacks found.
        targets: the targets attacked so far.
        bounds: the constraints.
    """
    victim = model_id(session.plan, NoneSettings())
    released = defended_cells(session)[0].protected
    with_defense = accuracy(session, released).value
    numbers = {
        "accuracy": with_defense,
        "accuracy_loss": 100 * (accuracy(session, victim).value - with_defense),
        "log_distortion": log_distortion(session, released),
        "attack_success": found.worst.value,
        "attack_success_low": found.worst.low,
        "attack_success_high": found.worst.high,
        "targets": len(targets),
        "reconstructions": found.reconstructions,
    }
    return numbers | {"score": score(found.worst.value, numbers, bounds)}
