"""What a white-box attacker takes off a defense, in words."""

from __future__ import annotations

from collections.abc import Sequence

from inversionlab.report.choice import strongest
from inversionlab.report.compare import Column, columns
from inversionlab.report.models import Model
from inversionlab.report.run_data import RunData
from inversionlab.report.tables import Row
from inversionlab.report.wording import listed, percent, words


def partial_protection(run: RunData, rows: Sequence[Row]) -> list[str]:
    """A line for each defense that comes off, wholly or in part; one for all alike that nobody has attacked so."""
    attacked: list[str] = []
    spared: dict[tuple[str, str], list[str]] = {}
    for (title, left), group in _groups(run, rows).items():
        name = f"“{group[0].name if len(group) == 1 else words(title)}”"
        worst = strongest(row for column in group for row in column.rows if row.stripped)
        stops = _stops(group[0].model)
        if worst is None:
            spared.setdefault((stops, left), []).append(name)
        else:
            attacked.append(f"{name} {stops}: {_taken(left)} {_found(worst, group)}")
    return attacked + [_spared(names, *kind) for kind, names in spared.items()]


def _groups(run: RunData, rows: Sequence[Row]) -> dict[tuple[str, str], list[Column]]:
    """The columns of each defense, by what is left of it."""
    found: dict[tuple[str, str], list[Column]] = {}
    for column in columns(run, rows):
        left = column.model.left if column.model else ""
        if left or any(row.stripped for row in column.rows):
            found.setdefault((column.rows[0].title, left), []).append(column)
    return found


def _found(worst: Row, group: Sequence[Column]) -> str:
    same = [r for c in group for r in c.by(worst.attack) if not r.stripped and r.judgements]
    shares = sorted(r.judgements[0].top5.value for r in same)
    found = percent(worst.judgements[0].top5.value)
    line = f"The attack “{words(worst.attack)}” then has {found} top-5 success"
    span = " to ".join(dict.fromkeys(percent(s) for s in (*shares[:1], *shares[-1:])))
    return f"{line}, against {span} on what is released." if span else f"{line}."


def _spared(names: Sequence[str], stops: str, left: str) -> str:
    verb, _, rest = stops.partition(" ")
    stop, it = (stops, "it") if len(names) == 1 else (f"{verb.removesuffix('s')} {rest}", "them")
    nobody = f"Nobody who holds the weights has attacked {it} in this run."
    return f"{listed(names)} {stop}: {_taken(left)} {nobody}"


def _taken(left: str) -> str:
    rest = {"": "less", "none": "the undefended model"}.get(left, f"“{words(left)}”")
    return f"who holds the weights takes the perturbation off and is left with {rest}."


def _stops(model: Model | None) -> str:
    seen = model.protects if model else ""
    if not seen:
        return "protects in some views only"
    if "white box" in seen:
        return "comes off in part"
    return f"protects only against attackers who see no more than {seen.replace(', ', ' or ')}"
