"""Several models of one run: which of its cells are the same attack on the same defense, from other victims' seeds
or (`protect: each`) with a network for another person.

Such cells are one row of the tables. A share is that of all tries, and its interval counts people: the tries at
one person, on whichever victim, are one cluster (`metrics/by_person.py`). A distance between sets of pictures
depends on how many there are, so it is the mean of the victims' own.
"""

from collections.abc import Hashable, Iterable

from inversionlab.results.run_record import CellRecord

OF_ONE_MODEL = {
    "cell": "",
    "protected": "",
    "label": "",
    "seed": None,
    "target": None,
    # A generator that learns from the model is another one for every victim.
    "prior": "",
}
"""What tells a cell from those on other victims and for other people, with a value that tells nothing."""


def pooled(cells: Iterable[CellRecord]) -> list[tuple[CellRecord, ...]]:
    """The cells that are one row, in the record's order; each alone where a defense is one model."""
    groups: dict[Hashable, list[CellRecord]] = {}
    for place, cell in enumerate(cells):
        single = cell.seed is None and cell.target is None
        key = place if single else cell.model_copy(update=OF_ONE_MODEL)
        groups.setdefault(key, []).append(cell)
    return [tuple(group) for group in groups.values()]


def pooled_models(cells: Iterable[CellRecord]) -> dict[str, tuple[str, ...]]:
    """The ids of all models of a row by the id of the first one, which stands for all of them."""
    attacked = (group for group in pooled(cells) if not group[0].null)
    return {group[0].protected: tuple(cell.protected for cell in group) for group in attacked}
