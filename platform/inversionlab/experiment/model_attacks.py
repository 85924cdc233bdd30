"""Which attacks are chosen for a model that the user has, on how many people, and how the work is cut."""

from collections.abc import Iterator
from typing import Any

from inversionlab.attacks import ATTACKS
from inversionlab.core.views import VIEWS
from inversionlab.experiment.model_options import Choice, ModelOptions, access
from inversionlab.experiment.suite import GENERIC, settings_of, suite_attacks
from inversionlab.given.classes import read_classes

TARGETS, REPEATS = 20, 3
CHECK_QUERIES = 408
"""The most queries of an audit's check of an endpoint and of its accuracy."""
LATENT_SIZE = 64
"""The length of the generator's latent vector."""


def attack_settings(given: ModelOptions) -> list[dict[str, Any]]:
    """The attacks: those that the user names, or those of the standard suite that access and budget allow."""
    usual = {attack["name"]: attack for attack in _suite(given)}
    named = [usual.get(name, {"name": name}) for name in given.attacks]
    if given.suite:
        return [*usual.values(), *(attack for attack in named if attack["name"] not in usual)]
    if named or given.budget is None:
        return named or list(usual.values())
    count, repeats = _wanted(given)
    floors = [attack for attack in usual.values() if _floor(attack)]
    cheap, *others = sorted((a for a in usual.values() if not _floor(a)), key=_most_queries)
    kept, left, learned = [], given.budget - CHECK_QUERIES, False
    for attack in (cheap, *floors, *others):
        # The public pictures are asked about once for all that learn from the answers.
        costs = _all_queries(attack, count * repeats)
        costs += 0 if learned else _training_queries(attack, given)
        if costs <= left or attack is cheap:
            kept.append(attack)
            left -= costs
            learned |= ATTACKS[attack["name"]].trains
    return kept


def whole_suite(given: ModelOptions) -> bool:
    """Whether all of the standard suite that the access allows is attacked with."""
    names = {attack["name"] for attack in attack_settings(given)}
    return given.suite or (
        not given.attacks and names == {attack["name"] for attack in _suite(given)}
    )


def _suite(given: ModelOptions) -> list[dict[str, Any]]:
    """The standard suite on this model, with an attack that knows of a defense that the model may have."""
    return suite_attacks(VIEWS[access(given)[0]], [GENERIC], whole=given.answers != "top_k")


def attacks_and_targets(given: ModelOptions) -> Iterator[Choice]:
    """The attacks, the people, and how the work is cut."""
    seen, why = access(given)
    words = {"white_box": "scores with gradients", "scores": "scores", "labels": "labels"}
    attacks, (count, repeats) = attack_settings(given), _wanted(given)
    names = ", ".join(attack["name"] for attack in attacks)
    reason = "as said" if given.attacks else f"for an attacker who sees {words[seen]}: {why}"
    if any("stop" in attack for attack in attacks):
        reason += ". On LFW twice as many people were found with a stop at 0.9999 as with the papers' 0.99"
    for attack in _suite(given):
        if given.budget is not None and not given.attacks and attack not in attacks:
            reason += (
                f". {attack['name']}, which asks up to {_most_queries(attack):,} times for a picture, is left out "
                f"for the budget of {given.budget:,}"
            )
    if whole_suite(given):
        yield Choice(
            "suite",
            "standard",
            "The standard suite, as far as the access allows. Its attacks are listed below. Without this line, "
            "only the listed attacks run.",
        )
    yield Choice("attacks", attacks, f"{names}; {reason}.")
    known = _known(given)
    who = (
        f"{count} people, drawn by the seed" if known is None else f"{count} of the {known} people"
    )
    limit = ""
    # The recipe's own checks refuse attacks that the user named wrongly.
    if given.budget is not None and not given.attacks:
        costs = min(
            _all_queries(attack, 1) + _training_queries(attack, given)
            for attack in attacks
            if not _floor(attack)
        )
        if given.budget < CHECK_QUERIES + costs:
            limit = (
                f", although the budget of {given.budget:,} queries may not suffice for one picture"
            )
        elif count * repeats < _most_targets(given) * REPEATS:
            limit = f", which the budget of {given.budget:,} queries suffices for"
    starts = f"each from {repeats} random start{'s' if repeats > 1 else ''}"
    yield Choice(
        "targets",
        {"count": count, "repeats": repeats},
        f"{who}, {starts}{limit}; more make the intervals narrower.",
    )
    if given.endpoint is not None:
        yield Choice(
            "runtime",
            {"shard_size": 1},
            "One picture is reconstructed at a time by each worker: where the budget or the service ends in the "
            "middle, all that is finished is stored.",
        )


def _known(given: ModelOptions) -> int | None:
    """The people who can be targets, if the options tell; ConfigError as `read_classes` raises it."""
    if given.data is not None:
        return given.data.people(2)
    return None if given.classes is None else len(read_classes(given.classes))


def _most_targets(given: ModelOptions) -> int:
    known = _known(given)
    return TARGETS if known is None else min(TARGETS, known)


def _wanted(given: ModelOptions) -> tuple[int, int]:
    """People and repeats: the usual ones, or as many as the budget allows the cheapest attack."""
    count = _most_targets(given)
    if given.budget is None or given.attacks:
        return count, REPEATS
    # A floor alone finds nothing.
    cheap = min((a for a in _suite(given) if not _floor(a)), key=_most_queries)
    left = given.budget - CHECK_QUERIES - _all_queries(cheap, 0) - _training_queries(cheap, given)
    pictures = max(1, left // _most_queries(cheap))
    return min(count, pictures), min(REPEATS, max(1, pictures // count))


def _all_queries(attack: dict[str, Any], pictures: int) -> int:
    """The most queries for so many pictures, those about starts for all targets among them."""
    kind = ATTACKS[attack["name"]]
    return kind.pool_size(settings_of(attack)) + pictures * _most_queries(attack)


def _training_queries(attack: dict[str, Any], given: ModelOptions) -> int:
    """The queries about the public pictures, which serve everything that learns from the answers."""
    kind = ATTACKS[attack["name"]]
    return kind.training_queries(settings_of(attack), given.public.pictures)


def _most_queries(attack: dict[str, Any]) -> int:
    return ATTACKS[attack["name"]].most_queries(settings_of(attack), LATENT_SIZE)


def _floor(attack: dict[str, Any]) -> bool:
    return ATTACKS[attack["name"]].floor
