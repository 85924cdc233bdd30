"""Whether the networks of a search's trials can be built for its data, checked before anything is trained."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inversionlab.core.settings import ConfigError, first_faults
from inversionlab.pipeline.model_builder import ModelBuilder
from inversionlab.pipeline.session import Session, with_experiment
from inversionlab.tuning.space import SearchSpace, experiment_at, point_text, refusals

MOST_CHOICES = 64
"""At most this many choices of one setting, the first ones, have their networks built."""


def check_fit(space: SearchSpace, session: Session) -> None:
    """Refuse a space with an end, a choice, a START point or a combination of choices that does not fit the data.

    Attackers' networks that learn from the protected model are not built: they differ from trial to trial, but
    their structure depends only on the attack's own settings, which no search changes.

    The space has passed `check_space`, and the networks of the experiment that the trials vary fit.

    Raises:
        ConfigError: one line for each fault: module, key, value, and what would be right.
    """
    built = {spec.key for spec in session.plan.specs}

    def refuse(settings: Mapping[str, Any], where: str) -> list[str]:
        trial = with_experiment(session, experiment_at(session.experiment, settings))
        new = [s for s in trial.plan.specs if s.key not in built and s.learns_from is None]
        plan, shared = replace(trial.plan, specs=tuple(new), cells=()), trial.builder
        weights = trial.artifacts.weights
        builder = ModelBuilder(trial.experiment, shared.splits, plan, weights, shared.device)
        try:
            builder.check()
        except ConfigError as error:
            said = point_text(settings)
            where = where if where.endswith(said) else f"{where}: {said}"
            return [f"{where}: {error}"]
        built.update(spec.key for spec in new)
        return []

    faults = refusals(space, refuse, MOST_CHOICES)
    if faults:
        raise ConfigError("\n".join(first_faults(faults)))
