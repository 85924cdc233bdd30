"""The standard suite: the attacks that a claim about leakage needs. It is the only list of them in code.

It holds attacks of each access, a floor (`public_look_alike`; the null attacks run in every experiment anyway),
and for every defense of the recipe the attack that knows of it, as the defense's class names it. Where the model
does not show what that attack sees, and for a given model, which may have been defended before it was given,
`distil_then_invert` takes its place. It learns scores, or labels where no more is shown. Of a given model the
suite holds only what its access allows. A recipe's attack with the title of one of the suite's stands in its
place, with its own settings.

The suite is frozen: whoever tunes a defense does not choose the attacks. A run's record names `VERSION`.
"""

import json
from collections.abc import Iterable
from typing import Any

from inversionlab.attacks import ATTACKS, AttackSettings
from inversionlab.core.views import Scores, View, WhiteBox, shows
from inversionlab.defenses import DEFENSES
from inversionlab.defenses.composition import chain
from inversionlab.experiment.given_checks import most_shown
from inversionlab.experiment.references import attacker_generator
from inversionlab.experiment.sections import ExperimentSections
from inversionlab.generators import GENERATORS, GeneratorSettings
from inversionlab.given.settings import GivenModelSettings
from inversionlab.results.run_record import SuiteRecord

VERSION = 3
"""Raise it when an attack of the suite, or one of the settings below, changes."""
STANDARD: tuple[dict[str, Any], ...] = (
    {"name": "public_look_alike"},
    # On LFW twice as many people were found with a stop at 0.9999 as with the papers' 0.99.
    {"name": "latent_white_box", "stop": 0.9999},
    {"name": "ked_mi"},
    {"name": "ppa"},
    {"name": "latent_black_box", "stop": 0.9999},
    # Yang's width of 128 takes sixteen times as long.
    {"name": "ami", "network": {"width": 32}},
    {"name": "label_only"},
)
"""The suite but for the attacks that know of a defense, as a recipe would hold them."""
GENERIC = "distil_then_invert"
"""The attack that knows of any defense, by scores where they are shown, or else by labels alone."""
AWARE: dict[str, dict[str, Any]] = {
    "ami_adaptive": {"network": {"width": 32}},
    # On LFW no other order of the candidates tells so often who is the person (docs/anonymity_set.md).
    "centre_by_centre": {"rank_by": "surrogate"},
    # On LFW a student of scores finds nearly twice as many people as one of labels.
    GENERIC: {"answers": "scores"},
}
"""Settings of attacks that know of a defense, where they are not the defaults."""


def suite_attacks(
    most: type[View], aware: Iterable[str] = (), *, whole: bool = True
) -> list[dict[str, Any]]:
    """The suite's attacks, as a recipe holds them.

    Args:
        most: what the model shows at most.
        aware: names of the attacks that know of the recipe's defenses.
        whole: whether scores are those of all classes, not a list of the largest.
    """

    def fits(attack: dict[str, Any]) -> bool:
        settings = settings_of(attack)
        return _shown(most, settings) and (whole or _bears_top_k(settings))

    seen = [attack for attack in STANDARD if _shown(most, settings_of(attack))]
    for name in aware:
        known = ({"name": n, **AWARE.get(n, {})} for n in (name, GENERIC))
        seen.append(next(filter(fits, known), {"name": GENERIC}))
    once: dict[str, dict[str, Any]] = {}
    for attack in seen:
        once.setdefault(attack["name"], attack)
    return list(once.values())


def settings_of(plain: dict[str, Any]) -> AttackSettings:
    """An attack's settings; ValidationError if they are wrong."""
    return ATTACKS[plain["name"]].Settings.model_validate_json(json.dumps(plain))


def take_suite(experiment: ExperimentSections) -> None:
    """Put the suite's attacks, and the generators that they need, into an experiment that is being made."""
    standard = _standard(experiment)
    titles, given = {a.title for a in standard}, experiment.attacks
    attacks = [a for s in standard for a in [g for g in given if g.title == s.title] or [s]]
    attacks += [a for a in given if a.title not in titles]
    # The experiment is frozen for everybody else.
    experiment.__dict__["attacks"] = tuple(attacks)
    for attack in attacks:
        if attack.title in titles and attack.generator is None:
            _add_generator(experiment, attack)


def suite_record(experiment: ExperimentSections) -> SuiteRecord | None:
    """What ran of the suite and how it was changed; None where the recipe does not state it."""
    if experiment.suite is None:
        return None
    standard = {a.title: a for a in _standard(experiment)}
    given = {a.title: a for a in experiment.attacks}
    everything = (a["name"] for a in suite_attacks(WhiteBox, _aware(experiment)))
    return SuiteRecord(
        name=experiment.suite,
        version=VERSION,
        attacks=tuple(standard),
        changed=tuple(t for t, a in standard.items() if given.get(t) != a),
        added=tuple(t for t in given if t not in standard),
        not_shown=tuple(name for name in everything if name not in standard),
    )


def _standard(experiment: ExperimentSections) -> list[AttackSettings]:
    """The suite's own attacks on an experiment's model."""
    victim, most = experiment.victim, WhiteBox
    if not isinstance(victim, GivenModelSettings):
        return [settings_of(a) for a in suite_attacks(most, _aware(experiment))]
    whole = victim.answers != "top_k"
    attacks = suite_attacks(most_shown(victim), _aware(experiment), whole=whole)
    found = [settings_of(attack) for attack in attacks]
    # Of a list of the largest scores only such attacks can be made that are told how long it is.
    return [attack for attack in found if whole or _bears_top_k(attack)]


def _bears_top_k(attack: AttackSettings) -> bool:
    scores = ATTACKS[attack.name].view_at(attack) is Scores
    return not scores or "truncate" in type(attack).model_fields


def _aware(experiment: ExperimentSections) -> list[str]:
    """The attacks that know of the defenses; for a given model that of a defense which nobody knows."""
    parts = (part for _, defense in experiment.every_defense() for part in chain(defense))
    named = [DEFENSES[part.name].aware_attack for part in parts if part.name != "none"]
    unknown = [GENERIC] if isinstance(experiment.victim, GivenModelSettings) else []
    return list(dict.fromkeys([*named, *unknown]))


def _shown(most: type[View], attack: AttackSettings) -> bool:
    view = ATTACKS[attack.name].view_at(attack)
    return view is None or shows(most, view)


def _add_generator(experiment: ExperimentSections, attack: AttackSettings) -> None:
    """Give the experiment a generator that the attack can search, by default settings, unless it has one."""
    try:
        attacker_generator(experiment, attack)
    except ValueError:
        kind = default_generator(attack.name)
        label = kind if kind not in experiment.generators else f"{kind}_of_suite"
        added: GeneratorSettings = GENERATORS[kind].Settings(name=kind)
        experiment.__dict__["generators"] = {**experiment.generators, label: added}


def default_generator(attack: str) -> str:
    """The kind of generator that an attack gets where a recipe has none that it can search."""
    wants = ATTACKS[attack].wants
    return next(k for k in ("vae", "style_gan", *GENERATORS) if wants <= GENERATORS[k].offers)
