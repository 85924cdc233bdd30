"""The defended models side by side, and what each of them needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inversionlab.results.models import Model, models_of
from inversionlab.results.recommendation import strongest
from inversionlab.results.rows import Row
from inversionlab.results.run_data import RunData


@dataclass(frozen=True)
class Column:
    """One released model, and all attacks on it."""

    name: str
    protected: str
    kind: str
    model: Model | None
    """None where it has not been measured yet."""
    rows: tuple[Row, ...]

    def strongest(self, judge: int) -> Row | None:
        """The attack that succeeds most often by a judge, on the stripped model too."""
        return strongest(self.rows, judge)

    def by(self, attack: str) -> list[Row]:
        """The rows of one attack: on the model as it is released, then on what is left of it."""
        return [row for row in self.rows if row.attack == attack]

    def error(self, attack: str) -> float:
        """Error a pixel of an attack on the released model; NaN where it has none."""
        return next((r.error for r in self.by(attack) if not r.stripped), math.nan)


@dataclass(frozen=True)
class SideBySide:
    """Models as columns, attacks as rows."""

    columns: tuple[Column, ...]
    attacks: tuple[str, ...]
    facts: tuple[str, ...]
    """What some of the models tell of themselves."""
    inverting: tuple[str, ...]
    """Those attacks that invert overheard outputs."""

    @property
    def stripped(self) -> bool:
        """Whether a white-box attacker takes some of the models' defenses off."""
        return any(row.stripped for column in self.columns for row in column.rows)


def columns(run: RunData, rows: Iterable[Row]) -> tuple[Column, ...]:
    """Every released model, the undefended one first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.kind != "null":
            found.setdefault(row.protected, []).append(row)
    models = models_of(run)
    made = [
        Column(group[0].model, name, group[0].kind, models.get(name), tuple(group))
        for name, group in found.items()
    ]
    return tuple(sorted(made, key=lambda column: column.kind != "undefended"))


def side_by_side(
    run: RunData, rows: Sequence[Row], recommended: str | None = None
) -> SideBySide | None:
    """The comparison; None where there is no defended model outside a sweep, or one and a single attack.

    Of a sweep the marked and the recommended value stand beside the others.
    """
    shown = [c for c in columns(run, rows) if _is_shown(c, recommended)]
    attacks = tuple(dict.fromkeys(row.attack for column in shown for row in column.rows))
    apart = sum(c.kind == "defended" and c.rows[0].point is None for c in shown)
    if not apart or (apart == 1 and len(attacks) < 2):
        return None
    facts = dict.fromkeys(name for c in shown if c.model for name in c.model.facts)
    inverting = [a for a in attacks if any(not math.isnan(c.error(a)) for c in shown)]
    return SideBySide(tuple(shown), attacks, tuple(facts), tuple(inverting))


def _is_shown(column: Column, recommended: str | None) -> bool:
    first = column.rows[0]
    return first.point is None or first.marked or column.protected == recommended
