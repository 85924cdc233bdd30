"""The one rule that says which attack is strongest; audit, search, terminal and page use it.

At the headline evaluator the strongest attack is the one with the highest success. Of equals it is the one
whose interval has the larger lower end, then the first. The recipe names the headline evaluator by `headline`:
`first` is the recipe's first evaluator; `worst` is the evaluator that finds most.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from inversionlab.metrics import Estimate

Headline = Literal["first", "worst"]
Attack = TypeVar("Attack")


@dataclass(frozen=True)
class Strongest(Generic[Attack]):
    """The strongest attack on one model, and what it found."""

    attack: Attack
    evaluator: int
    """The headline evaluator, by its place among the recipe's."""
    success: Estimate
    """The attack's success by that evaluator."""


def strongest(
    attacks: Iterable[Attack],
    success: Callable[[Attack], Sequence[Estimate]],
    *,
    headline: Headline = "first",
    aside: Callable[[Attack], bool] = lambda attack: False,
) -> Strongest[Attack] | None:
    """The strongest attack on one model; None where no attack was evaluated.

    Args:
        attacks: the attacks on the model.
        success: an attack's success by each evaluator, in the recipe's order; empty where it was not evaluated.
        headline: which evaluator decides.
        aside: whether an attack counts only where there is no other.
    """
    evaluated = [a for a in attacks if any(e.count for e in success(a))]
    found = [
        Strongest(attack, place, estimate)
        for attack in counting(evaluated, aside)
        for place, estimate in enumerate(success(attack))
        if estimate.count and (headline == "worst" or place == 0)
    ]
    return max(found, key=lambda f: (f.success.value, f.success.low), default=None)


def counting(attacks: Iterable[Attack], aside: Callable[[Attack], bool]) -> list[Attack]:
    """The attacks that count.

    Two kinds are set aside, and count only where there is no other. An attack that inverts the model's answers to
    private pictures faces an easier question than one that starts from a class. A floor inverts nothing.
    """
    every = list(attacks)
    return [attack for attack in every if not aside(attack)] or every
