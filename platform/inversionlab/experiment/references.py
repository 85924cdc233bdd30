"""What sections of an experiment say of each other: the generator that an attack means, a sweep's defense."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from inversionlab.attacks import ATTACKS, AttackSettings
from inversionlab.core.settings import ConfigError, assign
from inversionlab.core.views import Scores, WhiteBox
from inversionlab.defenses import DefenseSettings
from inversionlab.experiment.sections import ExperimentSections
from inversionlab.generators import GENERATORS, GeneratorSettings


def attacker_generator(experiment: ExperimentSections, attack: AttackSettings) -> GeneratorSettings:
    """The generator that an attack searches.

    Raises:
        ValueError: it names none of `generators`, or there is none that has what the attack needs.
    """
    own: GeneratorSettings = experiment.generator
    if attack.generator is not None:
        named = _labelled(experiment, attack.generator, f"attacks ({attack.title})")
        if GENERATORS[named.name].learns_from_target and not _may_learn_from_target(attack):
            raise ValueError(
                f"attacks ({attack.title}): generator = {attack.generator}: `{named.name}` learns "
                "from whole score vectors, which this attacker does not see; give another one"
            )
        if not _suits(named, attack):
            raise ValueError(
                f"attacks ({attack.title}): generator = {attack.generator}: {_lack(attack)}"
            )
        return named
    # One that learns from the model only for who needs what only such a one has.
    choice = sorted(
        (own, *experiment.generators.values()), key=lambda g: GENERATORS[g.name].learns_from_target
    )
    for settings in choice:
        if _suits(settings, attack):
            return settings
    raise ValueError(f"attacks ({attack.title}): {_lack(attack)}")


def defender_generator(
    experiment: ExperimentSections, defense: DefenseSettings
) -> GeneratorSettings:
    """The structure of the generator that a defense trains on public pictures.

    Raises:
        ValueError: it names none of `generators`, or there is none with a critic.
    """
    label = getattr(defense, "generator", None)
    every: list[GeneratorSettings] = [experiment.generator, *experiment.generators.values()]
    every.sort(key=lambda g: GENERATORS[g.name].learns_from_target)
    if label is not None:
        named = _labelled(experiment, label, f"({defense.title})")
        if "critic" not in GENERATORS[named.name].offers:
            able = " or ".join(n for n, kind in GENERATORS.items() if "critic" in kind.offers)
            raise ValueError(
                f"({defense.title}): generator = {label}: `{named.name}` has no critic, which "
                f"`{defense.name}` needs; name one that has: {able}"
            )
        return named
    for settings in every:
        if "critic" in GENERATORS[settings.name].offers:
            return settings
    raise ValueError(
        f"({defense.title}): `{defense.name}` needs a generator with a critic; give one under `generators` "
        "(for example mine: {name: wgan_gp}) and its label as the defense's `generator`"
    )


def _labelled(experiment: ExperimentSections, label: str, who: str) -> GeneratorSettings:
    """The generator that somebody names by its label."""
    if label not in experiment.generators:
        known = ", ".join(experiment.generators) or "none"
        raise ValueError(f"{who}: generator = {label}: is not one of `generators` (there: {known})")
    found: GeneratorSettings = experiment.generators[label]
    return found


def defense_at(experiment: ExperimentSections, value: int | float | None) -> Any:
    """The defense's settings with the swept setting at `value` (None: as the recipe has them).

    Raises:
        ValueError: the sweep names no setting of the defense, or a value that it refuses.
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
        reason = _reason(error) if isinstance(error, ValidationError) else str(error)
        known = ", ".join(f"defense.{k}" for k in type(experiment.defense).model_fields)
        raise ValueError(
            f"sweep of {experiment.sweep.setting} at {value}: {reason} (the settings of "
            f"`{experiment.defense.name}` are: {known})"
        ) from error


def _reason(error: ValidationError) -> str:
    fault = error.errors()[0]
    if fault["type"] == "extra_forbidden":
        return "there is no such setting"
    return fault["msg"].replace("Input should ", "the value should ", 1)


def _suits(settings: GeneratorSettings, attack: AttackSettings) -> bool:
    kind = GENERATORS[settings.name]
    wants: frozenset[str] = ATTACKS[attack.name].wants
    return wants <= kind.offers and (not kind.learns_from_target or _may_learn_from_target(attack))


def _may_learn_from_target(attack: AttackSettings) -> bool:
    """Whether the attacker sees whole score vectors, from which a taught generator learns."""
    view = ATTACKS[attack.name].view_at(attack)
    return view in (Scores, WhiteBox) and getattr(attack, "truncate", None) is None


def _lack(attack: AttackSettings) -> str:
    wants = ATTACKS[attack.name].wants
    able = " or ".join(name for name, kind in GENERATORS.items() if wants <= kind.offers)
    return (
        f"`{attack.name}` needs a generator with {' and '.join(sorted(wants))}; give one under "
        f"`generators` (for example mine: {{name: {able}}})"
    )


def null_attacks() -> tuple[str, ...]:
    """Names of the attacks that never look at the model."""
    return tuple(name for name, attack in ATTACKS.items() if attack.view is None)
