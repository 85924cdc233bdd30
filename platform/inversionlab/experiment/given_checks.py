"""Checks of an experiment whose victim, or one of whose evaluators, is given and not trained here."""

from collections.abc import Iterable

from inversionlab.attacks import ATTACKS
from inversionlab.core.views import VIEWS, Labels, Scores, View, WhiteBox, shows, view_word
from inversionlab.defenses import DEFENSES, Layer
from inversionlab.defenses.composition import chain
from inversionlab.experiment.sections import EvaluatorSettings, ExperimentSections
from inversionlab.given.settings import LIVE, GivenModelSettings


def most_shown(victim: GivenModelSettings) -> type[View]:
    """The view that shows most of a given victim, as far as its settings tell."""
    if victim.answers == "labels":
        return Labels
    if victim.access != "auto":
        return VIEWS[victim.access]
    return Scores if victim.endpoint is not None or victim.answers == "top_k" else WhiteBox


def given_faults(experiment: ExperimentSections) -> Iterable[str]:
    """All faults of what is given, one line each: the key, and what would be right."""
    if isinstance(experiment.victim, GivenModelSettings):
        yield from _attack_faults(experiment, experiment.victim)
        yield from _defense_faults(experiment, experiment.victim)
    yield from _data_faults(experiment)
    for index, evaluator in enumerate(experiment.evaluators):
        for fault in _evaluator_faults(evaluator):
            yield f"evaluators.{index} ({evaluator.name}): {fault}"


def _data_faults(experiment: ExperimentSections) -> Iterable[str]:
    if experiment.data is not None:
        if not experiment.evaluators:
            yield "evaluators: are missing; with private pictures at hand, name at least one"
        return
    if not isinstance(experiment.victim, GivenModelSettings):
        yield "data: is missing; a victim that is trained here needs people to learn"
        return
    if experiment.public_data is None:
        yield "public_data: is missing; without `data` the attacker still needs pictures of other people"
    if experiment.victim.gallery == "private":
        yield "victim.gallery = private: there is no `data`; name the folder of the enrolled people"
    if experiment.evaluators:
        yield "evaluators: cannot judge without `data`, the pictures of the model's people; leave them out"
    for attack in experiment.attacks:
        if ATTACKS[attack.name].inverts_outputs_at(attack):
            yield (
                f"attacks ({attack.title}): inverts answers to private pictures, and there is no `data`"
            )


def _attack_faults(experiment: ExperimentSections, victim: GivenModelSettings) -> Iterable[str]:
    most = most_shown(victim)
    for attack in experiment.attacks:
        view = ATTACKS[attack.name].view_at(attack)
        if view is not None and not shows(most, view):
            yield (
                f"attacks ({attack.title}): needs the model's {view_word(view).replace('_', ' ')} view, but this "
                f"victim shows {view_word(most).replace('_', ' ')} at most; leave the attack out"
            )
        elif view is Scores and victim.answers == "top_k" and not getattr(attack, "truncate", None):
            yield (
                f"attacks ({attack.title}): needs whole score vectors, but this victim answers with its largest "
                "scores only; set `truncate` to their number, or leave the attack out"
            )


def _defense_faults(experiment: ExperimentSections, victim: GivenModelSettings) -> Iterable[str]:
    for key, defense in experiment.every_defense():
        for part in chain(defense):
            kind = DEFENSES[part.name]
            if kind.layer != Layer.VICTIM:
                continue
            if "victim" not in kind.needs:
                yield (
                    f"{key} ({part.title}): trains a recognizer anew in the victim's place, but the given model's "
                    "own training is not known here; train the victim here (victim.network), or use a defense "
                    "that fine-tunes it or changes its outputs"
                )
            elif not may_train(victim):
                what = victim.model or "an endpoint"
                yield (
                    f"{key} ({part.title}): fine-tunes the victim, and {what} cannot be trained; give it as a "
                    "module (package.module:Class with weights), or use a defense that changes its outputs"
                )


def may_train(victim: GivenModelSettings) -> bool:
    """Whether a given model can be fine-tuned, as far as its settings tell."""
    if victim.model is None:
        return False
    return victim.model == LIVE or ":" in victim.model


def _evaluator_faults(evaluator: EvaluatorSettings) -> Iterable[str]:
    given, protocol = evaluator.given, evaluator.protocol
    if protocol not in ("embedding", "given"):
        if given is not None:
            yield (
                f"given: an evaluator of protocol {protocol} is trained here; use protocol `embedding` or `given`"
            )
        return
    if protocol == "given" and given is None:
        yield "protocol = given: needs the model; name it under `given` (model, weights, ...)"
    if given is None:
        return
    if (protocol == "embedding") != (given.answers == "embedding"):
        yield (
            f"given.answers = {given.answers}: protocol {protocol} needs "
            f"{'an embedding' if protocol == 'embedding' else 'a classifier of the targets'}"
        )
    if protocol == "embedding" and given.gallery != "private":
        yield "given.gallery: an evaluator's gallery is made of held-out private pictures; set `private`"
    if given.endpoint is not None or given.model == LIVE:
        yield "given: an evaluator is a file or an import path; an endpoint or a live module cannot judge"
