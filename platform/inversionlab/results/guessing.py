"""How many guesses an evaluator has, and what chance makes of them.

A try succeeds if the right person is among an evaluator's first k. Among few people five guesses would find
anybody: of four people each is among the first five, whatever the picture shows. So k is 5 where an evaluator
chooses among more than ten people, and else 1, and always less than half of the people. All
evaluators of a run have the same k.
"""

from collections.abc import Iterable, Mapping
from typing import Any

MANY = 5
"""k among many people."""


def guesses(people: Iterable[int | None]) -> int:
    """k, for evaluators that choose among so many people each; where that is not known (None, 0), among many."""
    fewest = min((count for count in people if count), default=None)
    return MANY if fewest is None or fewest > 2 * MANY else 1


def key_of(k: int) -> str:
    """The metric that is the success at k."""
    return f"top{k}"


def known_people(
    protocol: str | None, data: Mapping[str, Any], experiment: Mapping[str, Any], targets: int
) -> int | None:
    """Among how many people an evaluator of this protocol chooses; None where the record does not say.

    Args:
        protocol: the evaluator's.
        data: a record's data in numbers.
        experiment: its recipe.
        targets: the number of people under attack.
    """
    private, others = data.get("private_people"), data.get("evaluator_people")
    if protocol != "person_disjoint":
        return private if isinstance(private, int) else None
    # It knows the pool, by default the targets, and the evaluator-only people.
    wanted = experiment.get("targets")
    pool = wanted.get("pool") if isinstance(wanted, Mapping) else None
    return (pool or targets) + others if isinstance(others, int) else None


def guesses_of(
    data: Mapping[str, Any],
    experiment: Mapping[str, Any],
    targets: int,
    measured: Mapping[str, int | None],
) -> int:
    """k of a run or a search, from its record, and from the number of people that `measured` evaluators know."""
    judges = experiment.get("evaluators") or [{}]
    return guesses(
        measured.get(judge.get("name") or "")
        or known_people(judge.get("protocol"), data, experiment, targets)
        for judge in judges
    )
