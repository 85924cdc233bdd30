"""Parallel coordinates: every trial as a line through its settings and its results."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inversionlab.report.charts.axes import linear, nice_ticks
from inversionlab.report.search.wording import DRAWN, short_names, style, summary, value_text
from inversionlab.results.search import SHARES, SearchRecord, TrialRecord
from inversionlab.results.wording import MISSING, words

TOP, BOTTOM, MARGIN = 46, 320, 80
STEP = 140
"""Distance between two axes."""
LETTERS = 15
"""Longest text at an axis; the whole text is in the hover text."""
TICKS = 20
"""Most values named at one axis."""


@dataclass(frozen=True)
class Axis:
    """One vertical axis."""

    x: float
    title: str
    name: str
    """The whole name, for the hover text."""
    ticks: tuple[tuple[float, str, str], ...]
    """(y, short text, whole text)."""


@dataclass(frozen=True)
class Thread:
    """One trial's line."""

    trial: TrialRecord
    style: str
    """See `report.search.wording.style`."""
    path: str
    title: str


@dataclass(frozen=True)
class Parallel:
    """The chart; width and height are those of the box."""

    width: float
    height: float
    axes: tuple[Axis, ...]
    threads: tuple[Thread, ...]
    """In drawing order, so the recommended one is on top."""


@dataclass(frozen=True)
class _Scale:
    """The places of one axis's values: numbers in a range, or named values."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    values: tuple[str, ...] = ()

    def place(self, value: Any) -> float | None:
        """The y of a value; None where it has no place."""
        if value is None:
            return None
        if self.values:
            name = value_text(value)
            return self.level(self.values.index(name)) if name in self.values else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not math.isfinite(value) or (self.log and value <= 0):
            return None
        bend = math.log10 if self.log else float
        if self.low == self.high:
            return (TOP + BOTTOM) / 2
        return linear(bend(self.low), bend(self.high), BOTTOM, TOP)(bend(value))

    def level(self, index: int) -> float:
        """The y of a named value, by its place among them."""
        return round(BOTTOM - (index + 0.5) / len(self.values) * (BOTTOM - TOP), 1)

    def ticks(self, share: bool) -> list[tuple[float, str, str]]:
        """(y, short text, whole text) of the values that are named at the axis; shares are in percent."""
        if self.values:
            named = list(enumerate(self.values))[:: math.ceil(len(self.values) / TICKS)]
            return [(self.level(i), _cut(v, LETTERS), v) for i, v in named]
        texts = [(v, f"{v * 100:.4g}%" if share else f"{v:.4g}") for v in self._round_values()]
        return [(y, text, text) for v, text in texts if (y := self.place(v)) is not None]

    def _round_values(self) -> list[float]:
        if self.low == self.high:
            return [self.low]
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            powers = [10.0**p for p in range(first, last + 1) if self.low <= 10.0**p <= self.high]
            return powers if len(powers) > 1 else [self.low, self.high]
        return [t for t in nice_ticks(self.low, self.high) if self.low <= t <= self.high]


def parallel_chart(search: SearchRecord) -> Parallel | None:
    """The chart of every trial that has a result; None where there is none, or no setting was searched."""
    goals = {"accuracy": "max", "attack_success": "min", **search.objectives}
    ended = [t for t in search.trials if t.state in ("complete", "stopped")]
    trials = [t for t in ended if any(t.metric(m) is not None for m in goals)]
    if not trials or not search.axes:
        return None
    columns: list[tuple[_Scale, list[Any]]] = []
    axes: list[Axis] = []

    def add(title: str, name: str, kind: Mapping[str, Any], values: list[Any], share: bool) -> None:
        scale, x = _scale(kind, values), MARGIN + len(axes) * STEP
        columns.append((scale, values))
        axes.append(Axis(x, _cut(title, LETTERS + 3), name, tuple(scale.ticks(share))))

    for path, name in short_names(search.axes).items():
        kind = search.space.kinds.get(path, {})
        add(name, path, kind, [t.settings.get(path) for t in trials], share=False)
    for metric, mode in goals.items():
        title = f"{words(metric)} {'↑' if mode == 'max' else '↓'}"
        add(title, metric, {}, [t.metric(metric) for t in trials], share=metric in SHARES)
    threads = []
    for i, trial in enumerate(trials):
        path = _path([scale.place(values[i]) for scale, values in columns])
        threads.append(Thread(trial, style(search, trial), path, summary(search, trial)))
    threads.sort(key=lambda t: DRAWN.index(t.style))
    width = 2 * MARGIN + (len(axes) - 1) * STEP
    return Parallel(float(width), BOTTOM + 24.0, tuple(axes), tuple(threads))


def _scale(kind: Mapping[str, Any], values: Sequence[Any]) -> _Scale:
    """The scale of a domain, widened to the values that were tried; without a domain, of those alone."""
    known = [v for v in values if v is not None]
    choices = kind.get("values")
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
    if choices is not None or not numeric:
        named = dict.fromkeys(value_text(v) for v in [*(choices or []), *known])
        return _Scale(values=tuple(named))
    ends = [v for v in [*known, kind.get("low"), kind.get("high")] if v is not None]
    if not ends:
        return _Scale(values=(MISSING,))
    return _Scale(min(ends), max(ends), log=bool(kind.get("log")) and min(ends) > 0)


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _path(ys: Sequence[float | None]) -> str:
    """A trial's line through one y per axis, broken where it is None."""
    path, pen = "", "M"
    for i, y in enumerate(ys):
        path, pen = (f"{path}{pen}{MARGIN + i * STEP} {y}", "L") if y is not None else (path, "M")
    return path
