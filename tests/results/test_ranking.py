"""The one rule of what is strongest, on hand-made shares."""

from __future__ import annotations

import pytest

from inversionlab.metrics import Estimate, wilson
from inversionlab.results.ranking import Headline, strongest

Shares = tuple[Estimate, ...]


def shares(*counts: tuple[int, int]) -> Shares:
    """Each evaluator's share, of (successes, tries)."""
    return tuple(wilson(k, n) for k, n in counts)


ATTACKS: dict[str, Shares] = {
    "plain": shares((5, 10), (9, 10)),
    "better": shares((6, 10), (2, 10)),
    "outputs": shares((10, 10), (10, 10)),
}


@pytest.mark.parametrize(
    ("headline", "attack", "evaluator", "value"),
    [("first", "better", 0, 0.6), ("worst", "plain", 1, 0.9)],
)
def test_the_headline_evaluator_decides(
    headline: Headline, attack: str, evaluator: int, value: float
) -> None:
    found = strongest(ATTACKS, ATTACKS.__getitem__, headline=headline, aside="outputs".__eq__)
    assert found is not None
    assert (found.attack, found.evaluator, found.success.value) == (attack, evaluator, value)


def test_an_attack_on_outputs_counts_only_where_there_is_no_other() -> None:
    found = strongest(["outputs"], ATTACKS.__getitem__, aside="outputs".__eq__)
    assert found is not None
    assert found.attack == "outputs"


def test_of_equals_the_one_with_the_larger_lower_end_is_stronger() -> None:
    tied = {"few": shares((1, 2)), "many": shares((50, 100)), "many again": shares((50, 100))}
    found = strongest(tied, tied.__getitem__)
    assert found is not None
    assert found.attack == "many"


def test_what_was_not_evaluated_does_not_count() -> None:
    none: dict[str, Shares] = {"begun": (), "empty": shares((0, 0))}
    assert strongest(none, none.__getitem__) is None
    found = strongest([*none, "plain"], {**none, **ATTACKS}.__getitem__)
    assert found is not None
    assert found.attack == "plain"
