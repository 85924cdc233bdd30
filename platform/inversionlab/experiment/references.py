"""Resolves what sections of an experiment refer to: the generator of an attack or defense, a sweep's defense."""

import json
from typing import Any

from pydantic import ValidationError

from inversionlab.attacks import ATTACKS, AttackSettings
from inversionlab.core.settings import ConfigError, assign
from inversionlab.core.views import Scores, WhiteBox
from inversionlab.defenses import DEFENSES, DefenseSettings
from inversionlab.experiment.sections import ExperimentSections
from inversionlab.generators import GENERATORS, GeneratorSettings


def attacker_generator(experiment: ExperimentSections, attack: AttackSettings) -> GeneratorSettings:
    """The generator that an attack searches.

    Raises:
        ValueError: the attack's label is not in `generators`, or no generator offers what the attack needs.
    """
    kind, where = ATTACKS[attack.name], f"attacks ({attack.title})"
    # A generator that learns from the target learns from whole score vectors.
    whole, view = getattr(attack, "truncate", None) is None, kind.view_at(attack)

    def can_learn(generator: Any) -> bool:
        enough = (WhiteBox,) if generator.needs_gradients else (Scores, WhiteBox)
        return not generator.learns_from_target or (whole and view in enough)

    able = " or ".join(name for name, g in GENERATORS.items() if kind.wants <= g.offers)
    lack = (
        f"`{attack.name}` needs a generator with {' and '.join(sorted(kind.wants))}; give one under "
        f"`generators` (for example mine: {{name: {able}}})"
    )
    if (label := attack.generator) is not None:
        named = _labelled(experiment, label, where)
        generator = GENERATORS[named.name]
        if not can_learn(generator):
            what = "gradients" if generator.needs_gradients else "whole score vectors"
            raise ValueError(
                f"{where}: generator = {label}: `{named.name}` learns "
                f"from {what}, which this attacker does not see; give another one"
            )
        if not kind.wants <= generator.offers_at(named):
            raise ValueError(f"{where}: generator = {label}: {lack}")
        return named
    for settings in _in_order(experiment):
        generator = GENERATORS[settings.name]
        offered = generator.offers_at(settings)
        if kind.wants <= offered and can_learn(generator):
            return settings
    raise ValueError(f"{where}: {lack}")


def defender_generator(
    experiment: ExperimentSections, defense: DefenseSettings
) -> GeneratorSettings:
    """The structure of the generator that a defense trains on public pictures.

    Raises:
        ValueError: the defense's label is not in `generators`, or no generator offers what the defense needs.
    """
    label, wants = getattr(defense, "generator", None), DEFENSES[defense.name].wants
    able = [name for name, g in GENERATORS.items() if g.trains and wants <= g.offers]
    lacked = " and ".join(sorted(wants))
    article = "an" if lacked.startswith("e") else "a"
    if label is not None:
        named = _labelled(experiment, label, f"({defense.title})")
        if not GENERATORS[named.name].trains:
            raise ValueError(
                f"({defense.title}): generator = {label}: `{named.name}` is not trained, and a defender trains a "
                f"generator of its own; name one that is: {' or '.join(able)}"
            )
        if named.name not in able:
            raise ValueError(
                f"({defense.title}): generator = {label}: `{named.name}` has no {lacked}, which "
                f"`{defense.name}` needs; name one that has: {' or '.join(able)}"
            )
        return _from_pictures(named, defense)
    for settings in _in_order(experiment):
        if settings.name in able:
            return _from_pictures(settings, defense)
    raise ValueError(
        f"({defense.title}): `{defense.name}` needs a generator with {article} {lacked}; give one under "
        f"`generators` (for example mine: {{name: {able[-1]}}}) and its label as the defense's `generator`"
    )


def _from_pictures(settings: GeneratorSettings, defense: DefenseSettings) -> GeneratorSettings:
    """The generator; ValueError where it shall be the attackers' and each attacker's is another one."""
    if getattr(defense, "shared_generator", False) and GENERATORS[settings.name].learns_from_target:
        raise ValueError(
            f"({defense.title}): shared_generator = true: `{settings.name}` learns from the model under attack, "
            "so attackers have another one for each model; name a generator that learns from pictures alone"
        )
    return settings


def _labelled(experiment: ExperimentSections, label: str, where: str) -> GeneratorSettings:
    if label not in experiment.generators:
        known = ", ".join(experiment.generators) or "none"
        raise ValueError(
            f"{where}: generator = {label}: is not one of `generators` (there are: {known})"
        )
    return experiment.generators[label]


def _in_order(experiment: ExperimentSections) -> list[GeneratorSettings]:
    """All generators of an experiment; those that learn from the target come last."""
    every = [experiment.generator, *experiment.generators.values()]
    return sorted(every, key=lambda settings: GENERATORS[settings.name].learns_from_target)


def defense_at(experiment: ExperimentSections, value: int | float | None) -> Any:
    """The defense's settings with the swept setting at `value`; None: as in the recipe.

    Raises:
        ValueError: the sweep names no setting of the defense, or the defense refuses the value.
    """
    if value is None or experiment.sweep is None:
        return experiment.defense
    head, _, rest = experiment.sweep.setting.partition(".")
    if head != "defense" or not rest:
        raise ValueError(f"sweep.setting = {experiment.sweep.setting}: must begin with `defense.`")
    data = experiment.defense.model_dump(mode="json")
    try:
        assign(data, rest, value)
        return type(experiment.defense).model_validate_json(json.dumps(data))
    except (ValidationError, ConfigError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = first["msg"].replace("Input should ", "the value should ", 1)
            if first["type"] == "extra_forbidden":
                reason = "there is no such setting"
        known = ", ".join(f"defense.{k}" for k in type(experiment.defense).model_fields)
        raise ValueError(
            f"sweep of {experiment.sweep.setting} at {value}: {reason} (the settings of "
            f"`{experiment.defense.name}` are: {known})"
        ) from error


def null_attacks() -> tuple[str, ...]:
    """Names of the attacks that never query the model."""
    return tuple(name for name, attack in ATTACKS.items() if attack.view is None)
