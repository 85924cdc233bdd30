"""The defended models side by side, and what each of them needs."""

import math
from dataclasses import dataclass

from inversionlab.results.models import Model, models_of
from inversionlab.results.ranking import Strongest
from inversionlab.results.rows import Row
from inversionlab.results.run_results import RunResults


@dataclass(frozen=True)
class Column:
    """One released model, and all attacks on it."""

    results: RunResults
    protected: str
    model: Model | None
    """None where it has not been measured yet."""
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """The model in words."""
        return self.rows[0].model

    def strongest(self, evaluator: int | None = None) -> Strongest[Row] | None:
        """The strongest attack by an evaluator, or else by the headline one, on the stripped model too."""
        return self.results.strongest(self.rows, evaluator)

    def rows_of(self, attack: str) -> list[Row]:
        """The rows of one attack: on the model as it is released, then on what is left of it."""
        return [row for row in self.rows if row.attack == attack]

    def error(self, attack: str) -> float:
        """Error per pixel of an attack on the released model; NaN where it has none."""
        return next((r.error for r in self.rows_of(attack) if not r.stripped), math.nan)


@dataclass(frozen=True)
class SideBySide:
    """Models as columns, attacks as rows."""

    columns: tuple[Column, ...]
    attacks: tuple[str, ...]
    facts: tuple[str, ...]
    """Names of the models' own numbers."""
    inverting: tuple[str, ...]
    """The attacks that invert outputs."""

    @property
    def stripped(self) -> bool:
        """Whether a white-box attacker takes some of the models' defenses off."""
        return any(row.stripped for column in self.columns for row in column.rows)


def columns(results: RunResults) -> tuple[Column, ...]:
    """Every released model, the undefended one first."""
    known = models_of(results.run)
    models = results.models.items()
    return tuple(Column(results, name, known.get(name), tuple(rows)) for name, rows in models)


def side_by_side(results: RunResults) -> SideBySide | None:
    """The comparison; None without a defended model outside a sweep, or with one and a single attack.

    Of a sweep only the marked and the recommended value are compared.
    """
    shown = [
        c
        for c in columns(results)
        if c.rows[0].point is None or c.rows[0].marked or c.protected == results.recommended
    ]
    attacks = tuple(dict.fromkeys(row.attack for column in shown for row in column.rows))
    apart = sum(c.rows[0].kind == "defended" and c.rows[0].point is None for c in shown)
    if not apart or (apart == 1 and len(attacks) < 2):
        return None
    facts = dict.fromkeys(name for c in shown if c.model for name in c.model.facts)
    inverting = [a for a in attacks if any(not math.isnan(c.error(a)) for c in shown)]
    return SideBySide(tuple(shown), attacks, tuple(facts), tuple(inverting))
