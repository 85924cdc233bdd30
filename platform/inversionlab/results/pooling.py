"""Several victims of one run: which of its cells are the same attack on the same model, from other seeds.

Such cells are one row of the tables. A share is that of all tries, and its interval counts people: the tries at
one person, on whichever victim, are one cluster (`metrics/by_person.py`). A distance between sets of pictures
depends on how many there are, so it is the mean of the victims' own.
"""

from collections.abc import Hashable, Iterable

from inversionlab.results.run_record import CellRecord

OF_ONE_VICTIM = {"cell": "", "protected": "", "label": "", "seed": None}
"""What tells a cell from those of other victims, with a value that tells nothing."""


def pooled(cells: Iterable[CellRecord]) -> list[tuple[CellRecord, ...]]:
    """The cells that are one row, in the record's order; each alone where the run has one victim."""
    groups: dict[Hashable, list[CellRecord]] = {}
    for place, cell in enumerate(cells):
        key = place if cell.seed is None else cell.model_copy(update=OF_ONE_VICTIM)
        groups.setdefault(key, []).append(cell)
    return [tuple(group) for group in groups.values()]


def pooled_models(cells: Iterable[CellRecord]) -> dict[str, tuple[str, ...]]:
    """The ids of every victim's model by the id of the first victim's, which stands for all of them."""
    attacked = (group for group in pooled(cells) if not group[0].null)
    return {group[0].protected: tuple(cell.protected for cell in group) for group in attacked}
