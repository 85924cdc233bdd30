"""Whether the networks of a search's trials can be built for its data, asked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inversionlab.core.settings import ConfigError
from inversionlab.pipeline.model_builder import ModelBuilder
from inversionlab.pipeline.session import Session, with_experiment
from inversionlab.tuning.space import SearchSpace, experiment_at, point_text, refusals

MOST_CHOICES = 64
"""Choices of one setting whose networks are built, the first ones."""


def check_fit(space: SearchSpace, session: Session) -> None:
    """Refuse a space of which an end, a choice, a START point or a combination of choices does not fit the data.

    Args:
        space: the space, which `check_space` has found right.
        session: the experiment that the trials are variations of, whose own networks fit.

    Raises:
        ConfigError: one line a fault: module, key, value, and what would be right.
    """
    built = {spec.key for spec in session.plan.specs}

    def refuse(settings: Mapping[str, Any], where: str) -> list[str]:
        experiment = experiment_at(session.experiment, settings)
        try:
            _build(with_experiment(session, experiment), built)
        except ConfigError as error:
            said = point_text(settings)
            where = where if where.endswith(said) else f"{where}: {said}"
            return [f"{where}: {error}"]
        return []

    faults = refusals(space, refuse, MOST_CHOICES)
    if faults:
        raise ConfigError("\n".join(faults))


def _build(trial: Session, built: set[str]) -> None:
    """Build the trial's networks, untrained, but for those that were; adds their keys.

    Attackers' networks that learn from the defended model are other ones in each trial, but of the structure
    that the attack's own settings give them, which no search changes.

    Raises:
        ConfigError: one does not fit.
    """
    new = [t for t in trial.plan.specs if t.key not in built and t.learns_from is None]
    plan = replace(trial.plan, specs=tuple(new), cells=())
    shop = trial.builder
    ModelBuilder(trial.experiment, shop.splits, plan, trial.artifacts.weights, shop.device).check()
    built |= {spec.key for spec in new}
