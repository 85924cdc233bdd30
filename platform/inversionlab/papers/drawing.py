"""A figure as inline SVG: lines of shares over a number, or points. Swapped for another drawing in one place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 170, 14, 40
SHADES = ("#0b62b8", "#c2410c", "#0f7a55", "#7c3aed", "#8a6a00", "#be185d")


@dataclass(frozen=True)
class Drawn:
    """A drawn figure, for the page."""

    title: str
    svg: str


def lines_svg(
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str,
    *,
    joined: bool = True,
    guides: Sequence[tuple[str, float]] = (),
) -> str:
    """Lines (or points) of pairs (x, y in [0, 1]) by name as an SVG; "" without any point.

    `guides` are dashed lines: ("x" or "y", where).
    """
    pairs = [p for points in series.values() for p in points if all(map(math.isfinite, p))]
    if not pairs:
        return ""
    low, high = min(x for x, _ in pairs), max(x for x, _ in pairs)
    span = (high - low) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + across * (x - low) / span, HEIGHT - BOTTOM - up * min(max(y, 0.0), 1.0)

    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        (left, height), (right, _) = at(low, tick), at(high, tick)
        parts.append(
            f'<path d="M{left:.1f} {height:.1f}H{right:.1f}" stroke="currentColor" opacity="0.15"/>'
        )
        parts.append(f'<text x="4" y="{height + 4:.1f}">{tick * 100:g} %</text>')
        place = low + span * tick
        parts.append(f'<text x="{at(place, 0)[0] - 10:.1f}" y="{HEIGHT - 20}">{place:.3g}</text>')
    for axis, where in guides:
        one, other = (
            (at(where, 0), at(where, 1)) if axis == "x" else (at(low, where), at(high, where))
        )
        parts.append(
            f'<path d="M{one[0]:.1f} {one[1]:.1f}L{other[0]:.1f} {other[1]:.1f}" stroke="currentColor" '
            'stroke-dasharray="4 4" opacity="0.6"/>'
        )
    for number, (name, points) in enumerate(series.items()):
        shade = SHADES[number % len(SHADES)]
        placed = [at(*p) for p in sorted(points) if all(map(math.isfinite, p))]
        if joined and placed:
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
            parts.append(f'<path d="{path}" fill="none" stroke="{shade}" stroke-width="2"/>')
        if not joined or len(placed) < 20:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{shade}"/>' for x, y in placed
            ]
        parts.append(
            f'<text x="{WIDTH - RIGHT + 10}" y="{TOP + 16 + 18 * number}" fill="{shade}">{escape(name)}</text>'
        )
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 4}">{escape(x_label)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(x_label)}" font-size="12" fill="currentColor">{"".join(parts)}</svg>'
    )
