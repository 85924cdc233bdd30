"""Figures, differences and verdicts as text, the same on the page and in the Markdown."""

import math

from inversionlab.papers.compare import ComparedCell, ComparedClaim, ComparedTable
from inversionlab.papers.finders import Value
from inversionlab.results.wording import listed, number, percent

MADE_UP = (
    "Made-up faces and networks of a few thousand weights stand in for everything: this shows that it runs. "
    "Its figures say nothing about the paper."
)
MOST_NAMED = 6
"""Cells beyond noise that a sentence names; more are counted."""
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
    if scale == "tiny":
        return compared.claim.text
    said = {
        "shown": "shown here",
        "contradicted": "contradicted here",
        "open": "open: the interval holds both",
        "not run": "not run",
    }[compared.verdict]
    return f"{compared.claim.text}: {said}"


def noise_sentence(table: ComparedTable) -> str:
    """Which of our figures differ from the paper's beyond noise; "" where nothing can be compared."""
    pairs = [cell for cell in table.cells if cell.apart is not None]
    if not pairs:
        return ""
    judged = [cell for cell in pairs if math.isfinite(cell.apart.low)]  # type: ignore[union-attr]
    beyond = [cell for cell in judged if cell.beyond_noise]
    named = [f"{c.row}, {c.column} ({c.beyond_noise})" for c in beyond[:MOST_NAMED]]
    if len(beyond) > MOST_NAMED:
        named.append(f"{len(beyond) - MOST_NAMED} more")
    if not judged:
        return "No figure of ours beside one of the paper’s has an interval."
    text = f"Of our {len(pairs)} figures beside the paper’s, {len(judged)} have an interval"
    which = f": {listed(named)}" if beyond else ""
    return f"{text}, and {len(beyond)} of these differ beyond noise{which}."


def status_text(table: ComparedTable, scale: str) -> str:
    """A table's status in one line, with its claims counted; on made-up faces none is shown or contradicted."""
    if scale == "tiny":
        idle = table.status in ("not run", "pictures")
        return table.status if idle else "runs; says nothing of the paper"
    shown = sum(claim.verdict == "shown" for claim in table.claims)
    claims = f" ({shown} of {len(table.claims)} claims)" if table.claims else ""
    return f"{table.status}{claims}"


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
