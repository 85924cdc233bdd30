"""The cluster over time: nodes, workers, queue and results, in one panel each."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from inversionlab.report.charts.axes import Scale, linear, nice_ticks

WIDTH, LEFT, RIGHT, TOP = 860, 64, 844, 22
PANEL, GAP = 84, 34
"""Height of a panel, and the gap between its foot and the next one's top."""

PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Nodes, CPUs and GPUs", (("nodes", "nodes"), ("cpus", "CPUs"), ("gpus", "GPUs"))),
    ("Attack workers ready", (("workers", "workers"),)),
    ("Shards waiting", (("queued", "shards"),)),
    ("Reconstructions done", (("done", "reconstructions"),)),
)
"""The title of each panel, and its lines as (key of the sample, name)."""

UNITS = ((7200.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
"""(Shortest span in seconds, seconds of one unit, its name)."""
Sample = defaultdict[str, float]
"""The state of the cluster at one time."""


@dataclass(frozen=True)
class Trace:
    """One stepped line."""

    name: str
    style: str
    path: str
    peak: float


@dataclass(frozen=True)
class Panel:
    """One small chart; all panels share the horizontal axis."""

    title: str
    top: float
    foot: float
    traces: tuple[Trace, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Timeline:
    """The chart."""

    height: float
    panels: tuple[Panel, ...]
    training: tuple[tuple[float, float], ...]
    """(x, width) of each span in which networks were trained."""
    x_ticks: tuple[tuple[float, str], ...]
    unit: str
    about: str


def timeline_chart(samples: Sequence[Mapping[str, Any]] | None) -> Timeline | None:
    """The chart of a record's `timeline`; None with fewer than two usable samples.

    Args:
        samples: each {seconds, nodes, cpus, gpus, workers, training, queued, done}; a key that is
            missing counts as 0, a sample without a finite time is left out.
    """
    timed = [row for sample in samples or () if "seconds" in (row := _numbers(sample))]
    kept = sorted(timed, key=lambda s: s["seconds"])
    if len(kept) < 2 or kept[0]["seconds"] == kept[-1]["seconds"]:
        return None
    start, end = kept[0]["seconds"], kept[-1]["seconds"]
    place_x = linear(start, end, LEFT, RIGHT)
    size, unit = next((s, name) for least, s, name in UNITS if end - start >= least)
    ticks = [t for t in nice_ticks(start / size, end / size) if start <= t * size <= end]
    # One sample, the last, for each unit of width: more cannot be seen.
    thinned = list({round(place_x(s["seconds"])): s for s in kept}.values())
    panels = [_panel(i, thinned, kept, place_x) for i in range(len(PANELS))]
    peaks = [f"{t.peak:,g} {t.name}" for p in panels for t in p.traces]
    return Timeline(
        height=panels[-1].foot + 44,
        panels=tuple(panels),
        training=tuple(_training(kept, place_x)),
        x_ticks=tuple((place_x(t * size), f"{t:g}") for t in ticks),
        unit=unit,
        about=f"At most {', '.join(peaks)}.",
    )


def _numbers(sample: Mapping[str, Any]) -> Sample:
    """The finite numbers of a sample; other keys count as 0."""
    numbers = {k: float(v) for k, v in sample.items() if isinstance(v, int | float)}
    return defaultdict(float, {k: v for k, v in numbers.items() if math.isfinite(v)})


def _panel(index: int, samples: Sequence[Sample], every: Sequence[Sample], place_x: Scale) -> Panel:
    title, lines = PANELS[index]
    top = float(TOP + index * (PANEL + GAP))
    peaks = {key: max(s[key] for s in every) for key, _ in lines}
    ticks = nice_ticks(0.0, max(1.0, *peaks.values()))
    ticks = ticks if len(ticks) <= 5 else ticks[::2]
    highest = max(ticks[-1], *peaks.values(), 1.0)
    place_y = linear(0.0, highest, top + PANEL, top)
    traces = []
    for i, (key, name) in enumerate(lines):
        if peaks[key] > 0 or len(lines) == 1:
            path = _stepped([(place_x(s["seconds"]), place_y(s[key])) for s in samples])
            traces.append(Trace(name, f"s{i}", path, peaks[key]))
    return Panel(
        title=title,
        top=top,
        foot=top + PANEL,
        traces=tuple(traces),
        ticks=tuple((place_y(t), f"{t:,g}") for t in ticks if t == round(t)),
    )


def _stepped(spots: Sequence[tuple[float, float]]) -> str:
    """A path where a value holds until the next sample; runs of the same value are one stroke."""
    path, last = f"M{spots[0][0]} {spots[0][1]}", spots[0][1]
    for x, y in spots[1:]:
        if y != last:
            path, last = f"{path}H{x}V{y}", y
    return f"{path}H{spots[-1][0]}"


def _training(samples: Sequence[Sample], place_x: Scale) -> list[tuple[float, float]]:
    """The spans from each sample with a training to the next sample; touching spans are joined."""
    found: list[tuple[float, float]] = []
    for now, then in pairwise(samples):
        if not now["training"]:
            continue
        x, end = place_x(now["seconds"]), place_x(then["seconds"])
        if found and round(sum(found[-1]), 1) >= x:
            x = found.pop()[0]
        found.append((x, round(end - x, 1)))
    return found
