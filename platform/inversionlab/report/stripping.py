"""What a white-box attacker takes off a defense, in words."""

from __future__ import annotations

from collections.abc import Sequence

from inversionlab.report.audit.compare import Column, columns
from inversionlab.results.recommendation import strongest
from inversionlab.results.rows import Row
from inversionlab.results.run_data import RunData
from inversionlab.results.wording import listed, percent, words


def partial_protection(run: RunData, rows: Sequence[Row]) -> list[str]:
    """A line for each defense that comes off, wholly or in part; one for all alike that nobody has attacked so."""
    attacked: list[str] = []
    spared: dict[tuple[str, str], list[str]] = {}
    for (title, left), group in _groups(run, rows).items():
        name = f"“{group[0].name if len(group) == 1 else words(title)}”"
        worst = strongest(row for column in group for row in column.rows if row.stripped)
        seen = group[0].model.protects if group[0].model else ""
        if worst is None:
            spared.setdefault((seen, left), []).append(name)
        else:
            attacked.append(told([name], seen, left, _found(worst, group)))
    return attacked + [told(names, *kind) for kind, names in spared.items()]


def told(
    names: Sequence[str], protects: str, left: str, found: str = "", *, where: str = "run"
) -> str:
    """The line on defenses that come off, wholly or in part.

    Args:
        names: what they are called.
        protects: the attackers that they stop by their own word.
        left: what a white-box attacker is left with; "": not known.
        found: what such an attack found; "": there was none.
        where: in what nobody has attacked so.
    """
    stops = _stops(protects)
    verb, _, rest = stops.partition(" ")
    stop, it = (stops, "it") if len(names) == 1 else (f"{verb.removesuffix('s')} {rest}", "them")
    nobody = f"Nobody who holds the weights has attacked {it} in this {where}."
    return f"{listed(names)} {stop}: {_taken(left)} {found or nobody}"


def found_then(attack: str, share: float, released: Sequence[float]) -> str:
    """What an attack finds on what is left, against its shares on the models as they are released."""
    line = f"The attack “{words(attack)}” then has {percent(share)} top-5 success"
    ends = (min(released), max(released)) if released else ()
    span = " to ".join(dict.fromkeys(percent(s) for s in ends))
    return f"{line}, against {span} on what is released." if span else f"{line}."


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
    shares = [r.judgements[0].top5.value for r in same]
    return found_then(worst.attack, worst.judgements[0].top5.value, shares)


def _taken(left: str) -> str:
    rest = {"": "less", "none": "the undefended model"}.get(left, f"“{words(left)}”")
    return f"who holds the weights takes the perturbation off and is left with {rest}."


def _stops(seen: str) -> str:
    if not seen:
        return "protects in some views only"
    if "white box" in seen:
        return "comes off in part"
    return f"protects only against attackers who see no more than {seen.replace(', ', ' or ')}"
