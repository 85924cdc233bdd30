"""Figures, differences and verdicts as text, the same on the page and in the Markdown."""

import math

from inversionlab.papers.compare import ComparedCell, ComparedClaim, ComparedTable
from inversionlab.papers.finder import Value
from inversionlab.results.wording import number, percent

MADE_UP = (
    "Made-up faces and networks of a few thousand weights stand in for everything: this shows that it runs. "
    "Its figures say nothing about the paper."
)
MOST_NAMED = 6
"""Cells beyond noise that a sentence names; more are counted."""
NO_REASON = "The reason is not known."
MOST_REASONS = 4
"""Reasons for missing figures that are told."""


def ours_text(value: Value) -> str:
    """One of our figures with its interval, where it has one."""
    estimate = value.estimate
    if value.share:
        whole = f"{percent(estimate.value)}"
        ends = f"{estimate.low * 100:.1f}–{estimate.high * 100:.1f}"
    else:
        whole, ends = number(estimate.value), f"{number(estimate.low)}–{number(estimate.high)}"
    known = math.isfinite(estimate.low) and math.isfinite(estimate.high)
    return f"{whole} ({ends})" if known else whole


def apart_text(cell: ComparedCell) -> str:
    """Ours less the paper's with its interval; "" where one of them is missing."""
    apart = cell.apart
    if apart is None:
        return ""
    points = cell.unit == "%"
    scale = 100 if points else 1
    value, low, high = (
        f"{x * scale:+.1f}" if points else f"{x:+.3g}" for x in (apart.value, apart.low, apart.high)
    )
    unit = " points" if points else ""
    known = math.isfinite(apart.low) and math.isfinite(apart.high)
    return f"{value}{unit} ({low} to {high})" if known else f"{value}{unit}, no interval"


def claim_text(compared: ComparedClaim, scale: str) -> str:
    """A claim with what our figures say of it, unless they are of made-up faces."""
    text = f"(ours) {compared.claim.text}" if compared.claim.ours else compared.claim.text
    if scale == "tiny":
        return text
    said = {
        "shown": "shown here",
        "contradicted": "contradicted here",
        "open": "open: the interval holds both",
        "not run": "not run",
    }[compared.verdict]
    if compared.p is not None:
        said += f", by the sign-flip test of the same people (p = {compared.p:.2g})"
    return f"{text}: {said}"


def noise_sentence(table: ComparedTable) -> str:
    """How many of our figures differ from the paper's beyond noise; "" where nothing can be compared."""
    beside = [cell for cell in table.cells if cell.ours is not None and cell.printed is not None]
    if not beside:
        return ""
    judged = [c for c in beside if c.apart is not None and math.isfinite(c.apart.low)]
    beyond = [cell for cell in judged if cell.beyond_noise]
    if not judged:
        return "No figure of ours can be set beside one of the paper’s with an interval."
    text = f"Of our {len(beside)} figures beside the paper’s, {len(judged)} can be compared with an interval"
    return f"{text}, and {len(beyond)} of these differ beyond noise{':' if beyond else '.'}"


def noise_reasons(table: ComparedTable) -> list[str]:
    """Each reason why figures differ beyond noise, with the cells that it is about; the first cells of many."""
    cells: dict[str, list[str]] = {}
    for cell in table.cells:
        if cell.beyond_noise:
            why = cell.reason or NO_REASON
            cells.setdefault(why, []).append(f"{cell.row}, {cell.column} ({cell.beyond_noise})")
    found = []
    for why, mine in cells.items():
        named = mine[:MOST_NAMED]
        if len(mine) > MOST_NAMED:
            named.append(f"{len(mine) - MOST_NAMED} more")
        found.append(f"{'; '.join(named)}: {why}")
    return found


def status_text(table: ComparedTable, scale: str) -> str:
    """A table's status in one line, with its claims counted; on made-up faces none is shown or contradicted."""
    if scale == "tiny":
        idle = table.status in ("not run", "pictures")
        return table.status if idle else "runs; says nothing about the paper"
    said = []
    for ours in (False, True):
        claims = [claim for claim in table.claims if claim.claim.ours == ours]
        shown = sum(claim.verdict == "shown" for claim in claims)
        if claims:
            said.append(f"{shown} of {len(claims)} claims{' of ours' if ours else ''}")
    if table.victims:
        said.append("one victim" if table.victims == 1 else f"{table.victims} victims")
    return f"{table.status} ({', '.join(said)})" if said else table.status


def missing_reasons(table: ComparedTable) -> list[str]:
    """Why figures of ours are missing, each reason once, with the number of cells; the first reasons of many."""
    counts: dict[str, int] = {}
    for cell in table.cells:
        if cell.ours is None and cell.why != table.table.why_not:
            counts[cell.why] = counts.get(cell.why, 0) + 1
    said = [f"{count} not run: {why}" for why, count in counts.items()]
    if len(said) <= MOST_REASONS:
        return said
    rest = sum(counts.values()) - sum([*counts.values()][:MOST_REASONS])
    return [*said[:MOST_REASONS], f"{rest} more not run; the CSV says why"]
