"""The cluster over time: nodes, workers, queue and results, in one panel each."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from inversionlab.report.charts.figure import Figure
from inversionlab.report.charts.panels import panel_chart
from inversionlab.report.charts.theme import WIDE

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


def timeline_figure(samples: Sequence[Mapping[str, Any]] | None) -> Figure | None:
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
    size, unit = next((s, name) for least, s, name in UNITS if end - start >= least)
    # One sample, the last, for each unit of width: more cannot be seen.
    thinned = list({round((s["seconds"] - start) / (end - start) * WIDE): s for s in kept}.values())
    rows: list[dict[str, Any]] = []
    peaks = []
    for panel, lines in PANELS:
        for key, name in lines:
            peak = max(s[key] for s in kept)
            if peak > 0 or len(lines) == 1:
                rows += [
                    {"panel": panel, "series": name, "x": round(x / size, 4), "y": y}
                    for x, y in _changes(thinned, key)
                ]
                peaks.append(f"{peak:,g} {name}")
    spans = [
        {"x": round(a / size, 4), "x2": round(b / size, 4), "text": "a network was being trained"}
        for a, b in _training(kept)
    ]
    shaded = " Shaded: a network was being trained." if spans else ""
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    return Figure(
        name="timeline",
        title="Nodes, workers and results",
        about=f"At most {', '.join(peaks)}.{shaded}",
        rows=rows,
        drawing=panel_chart(rows, spans, panels=panels, unit=unit),
        wide=True,
    )


def _numbers(sample: Mapping[str, Any]) -> Sample:
    """The finite numbers of a sample; other keys count as 0."""
    numbers = {k: float(v) for k, v in sample.items() if isinstance(v, int | float)}
    return defaultdict(float, {k: v for k, v in numbers.items() if math.isfinite(v)})


def _changes(samples: Sequence[Sample], key: str) -> list[tuple[float, float]]:
    """(seconds, value) of the first and last sample and of each that changes."""
    found = [(samples[0]["seconds"], samples[0][key])]
    for sample in samples[1:]:
        if sample[key] != found[-1][1] or sample is samples[-1]:
            found.append((sample["seconds"], sample[key]))
    return found


def _training(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """The spans from each sample with a training to the next sample; touching spans are joined."""
    found: list[tuple[float, float]] = []
    for now, then in pairwise(samples):
        if now["training"]:
            begun = found.pop()[0] if found and found[-1][1] == now["seconds"] else now["seconds"]
            found.append((begun, then["seconds"]))
    return found
