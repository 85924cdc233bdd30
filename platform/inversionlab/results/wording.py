"""Numbers as text, the same everywhere."""

import math
from collections.abc import Sequence

from inversionlab.metrics import Estimate
from inversionlab.metrics.difference import Difference

MISSING = "–"
"""Stands for a number that is not known."""
IF_STRIPPED = "if a white-box attacker takes the perturbation off"
"""Stands after the name of an attack on a stripped model."""


def percent(share: float) -> str:
    """0.8333 as "83.3%"."""
    return MISSING if math.isnan(share) else f"{share * 100:.1f}%"


def interval(estimate: Estimate) -> str:
    """The ends of the interval as "72.0–90.7"."""
    return f"{estimate.low * 100:.1f}–{estimate.high * 100:.1f}"


def estimate_text(estimate: Estimate | None) -> str:
    """Value and interval as "83.3% (72.0–90.7)"."""
    if estimate is None or not estimate.count:
        return MISSING
    return f"{percent(estimate.value)} ({interval(estimate)})"


def span(found: Difference) -> str:
    """A difference of two shares as "25.0 points, 2.1 to 48.0"."""
    value, low, high = (points(100 * x) for x in (found.value, found.low, found.high))
    return f"{value} points, {low} to {high}"


def apart(found: Difference) -> str:
    """A difference of two shares as "a difference of 25.0 points, 2.1 to 48.0"."""
    return f"a difference of {span(found)}"


def spread_text(spread: tuple[float, float] | None) -> str:
    """The least and the most of several victims as " [71.3–74.0]"; "" for one."""
    return f" [{spread[0] * 100:.1f}–{spread[1] * 100:.1f}]" if spread else ""


def number(value: float | None) -> str:
    """A number to 3 significant digits; from 100 on, a whole number with thousands separators."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def measure(value: float) -> str:
    """A distance to exactly 3 significant digits: "1.00"."""
    return MISSING if not math.isfinite(value) else f"{value:#.3g}".rstrip(".")


def points(loss: float) -> str:
    """Percentage points lost, "0.4"; a gain is negative."""
    return MISSING if math.isnan(loss) else f"{loss:z.1f}"


def points_span(lost: Difference | None) -> str:
    """The interval of points lost, "-0.3 to 1.1"; "" where it is not known, or is a single number."""
    if lost is None or math.isnan(lost.low) or lost.low == lost.high:
        return ""
    return f"{points(lost.low * 100)} to {points(lost.high * 100)}"


def change(loss: float) -> str:
    """Percentage points lost in words: "0.4 points lost" or "2.1 points gained"."""
    lost = points(loss)
    return f"{lost.removeprefix('-')} points {'gained' if lost.startswith('-') else 'lost'}"


def quantity(value: float | None, unit: str = "") -> str:
    """A large number to 3 significant digits, "11.2 M" or, with the unit "B", "3.4 kB"."""
    if value is None or not math.isfinite(value):
        return MISSING
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{number(value / size)} {prefix}{unit}"
    return f"{number(value)} {unit}".rstrip()


def duration(seconds: float) -> str:
    """Seconds as "42 s", "12 min 5 s" or "3 h 10 min"."""
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 60:
        return f"{number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def words(name: str) -> str:
    """A registered name for reading: "latent_white_box" as "latent white box"."""
    return name.replace("_", " ")


def attacker(access: str) -> str:
    """What an attack's access means: "the attacker sees scores"."""
    holds = access.replace("_", " ") == "white box"
    return "the attacker holds the weights" if holds else f"the attacker sees {words(access)}"


def among(k: int) -> str:
    """Where the right person must stand in an evaluator's ranking for a try to succeed."""
    return "first in the evaluator’s ranking" if k == 1 else f"among the evaluator’s top {k}"


def listed(texts: Sequence[str]) -> str:
    """ "a", "a and b" or "a, b and c"."""
    return " and ".join([", ".join(texts[:-1]), *texts[-1:]]) if len(texts) > 1 else "".join(texts)
