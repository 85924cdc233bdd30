"""The desk of a search: one actor on the head node that has the work of all trials done, by one foreman."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from inversionlab.defenses.none import NoneSettings
from inversionlab.distributed.cluster import Gpus
from inversionlab.distributed.run_record import store_real
from inversionlab.distributed.scheduler import Foreman
from inversionlab.pipeline.plan import Cell, protected_id
from inversionlab.pipeline.session import Address, Site, beside, open_site
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


class Desk:
    """Takes trials' steps, many at once; all that it knows is in the store, so it may be started anew."""

    def __init__(
        self, address: Address, bounds: Mapping[str, float], step_targets: int, gpus: Gpus
    ) -> None:
        """Open the experiment that the trials are variations of.

        Args:
            address: that experiment.
            bounds: the constraints, for the score.
            step_targets: targets in a step.
            gpus: which work takes GPUs.
        """
        torch.set_num_threads(1)
        self._base = open_site(address, torch.device("cpu"))
        self._bounds, self._size = dict(bounds), step_targets
        self._foreman = Foreman(self._base.experiment.runtime, gpus)
        self._foreman.timeline.start()

    def baseline(self) -> None:
        """Train victim, judges and generator, and attack the undefended victim.

        Raises:
            AttacksFailedError: an attack failed.
            CrewError: there are no attack workers to be had.
            TrainingError: a training cannot go on.
        """
        site = undefended(self._base)
        store_real(site)
        self._foreman.train(site)
        self._attack(site, site.plan.cells, site.plan.targets)

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
        site = beside(self._base, experiment_at(self._base.experiment, settings))
        self._foreman.train(site)
        cells = defended_cells(site)
        so_far = site.plan.targets[: (step + 1) * self._size]
        self._attack(site, cells, so_far)
        found = metrics(site, leak(site, cells, so_far), so_far, self._bounds)
        return found | {"seconds": time.monotonic() - began}

    def _attack(self, site: Site, cells: Sequence[Cell], targets: Sequence[int]) -> None:
        failures = self._foreman.attack(self._foreman.lacking(site, cells, targets)).wait()
        if failures:
            raise AttacksFailedError(
                f"{len(failures)} orders failed; the first: {failures[0].reason}"
            )

    def summary(self) -> dict[str, Any]:
        """Close, and say how the cluster and the work in it changed."""
        self._foreman.close()
        return {"timeline": self._foreman.timeline.samples}


def undefended(site: Site) -> Site:
    """The experiment without its defense."""
    plain = site.experiment.model_copy(
        update={"defense": NoneSettings(), "defenses": (), "sweep": None}
    )
    return beside(site, plain)


def metrics(
    site: Site, found: Leak, targets: Sequence[int], bounds: Mapping[str, float]
) -> dict[str, float]:
    """What a trial reports of its stored reconstructions; see `space.METRICS`.

    Args:
        site: the trial's experiment.
        found: what its attacks found.
        targets: the targets attacked so far.
        bounds: the constraints.
    """
    victim = protected_id(site.plan, NoneSettings())
    released = defended_cells(site)[0].protected
    with_defense = accuracy(site, released).value
    numbers = {
        "accuracy": with_defense,
        "accuracy_loss": 100 * (accuracy(site, victim).value - with_defense),
        "log_distortion": log_distortion(site, released),
        "attack_success": found.worst.value,
        "attack_success_low": found.worst.low,
        "attack_success_high": found.worst.high,
        "targets": len(targets),
        "reconstructions": found.reconstructions,
    }
    return numbers | {"score": score(found.worst.value, numbers, bounds)}
