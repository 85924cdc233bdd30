"""The rows that stand below a search's trials: null attacks, the ceiling, and chance.

The ceiling are real held-out pictures, judged as a reconstruction is.
"""

from dataclasses import dataclass
from typing import Literal

from inversionlab.metrics import Estimate
from inversionlab.results.search import SearchRecord
from inversionlab.results.wording import words


@dataclass(frozen=True)
class SearchComparison:
    """One such row."""

    name: str
    """In words."""
    kind: Literal["null", "real", "chance"]
    success: Estimate
    """Among as many guesses as a trial's attacks have; chance has no interval."""


def search_comparisons(search: SearchRecord) -> list[SearchComparison]:
    """What is known of these rows, by the evaluator that decides on the undefended victim."""
    by = search.decides
    rows = [SearchComparison(words(a), "null", s[by]) for a, s in search.null.items() if by in s]
    if by in search.real:
        rows.append(SearchComparison("real held-out pictures", "real", search.real[by]))
    if search.chance is not None:
        share = Estimate(search.chance, search.chance, search.chance, 1)
        rows.append(SearchComparison("chance", "chance", share))
    return rows
