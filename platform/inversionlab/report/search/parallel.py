"""Parallel coordinates: every trial as a line through its settings and what came of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inversionlab.report.charts.axes import linear, nice_ticks
from inversionlab.report.search.wording import short_names, summary, value_text
from inversionlab.results.search import SHARES, Search, Trial
from inversionlab.results.wording import MISSING, words

TOP, BOTTOM, MARGIN = 46, 320, 80
STEP = 140
"""Distance between two axes."""
LETTERS = 15
"""Longest text at an axis; the rest is in the hover text."""
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

    trial: Trial
    style: str
    """recommended, paper, front, other or stopped."""
    path: str
    title: str


@dataclass(frozen=True)
class Parallel:
    """The chart; height is that of the box."""

    width: float
    height: float
    axes: tuple[Axis, ...]
    threads: tuple[Thread, ...]
    """In drawing order: the recommended one is on top."""


@dataclass(frozen=True)
class _Scale:
    """Where the values of one axis stand: numbers in a range, or else named values."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    values: tuple[str, ...] = ()

    def place(self, value: Any) -> float | None:
        """The y of a value; None where it has no place."""
        if self.values:
            key = _key(value)
            at = self.values.index(key) if key in self.values else None
            return None if at is None else _even(at, len(self.values))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not math.isfinite(value) or (self.log and value <= 0):
            return None
        bend = math.log10 if self.log else float
        if self.low == self.high:
            return (TOP + BOTTOM) / 2
        return linear(bend(self.low), bend(self.high), BOTTOM, TOP)(bend(value))


def parallel_chart(search: Search) -> Parallel | None:
    """Every trial that has a result; None where there is none, or nothing to search in."""
    goals = {"accuracy": "max", "attack_success": "min", **(search.record["objectives"] or {})}
    metrics = list(goals)
    ended = [t for t in search.trials if t.state in ("complete", "stopped")]
    trials = [t for t in ended if any(t.objective(m) is not None for m in metrics)]
    if not trials or not search.axes:
        return None
    columns = [_setting(search, path, trials) for path in search.axes]
    columns += [_metric(metric, trials) for metric in metrics]
    names = short_names(search.axes)
    titles = [names[p] for p in search.axes]
    titles += [f"{words(m)} {'↑' if goals[m] == 'max' else '↓'}" for m in metrics]
    axes = [
        Axis(
            MARGIN + i * STEP,
            _cut(title, LETTERS + 3),
            name,
            tuple(_ticks(scale, i >= len(names), name)),
        )
        for i, (title, name, (scale, _)) in enumerate(
            zip(titles, [*search.axes, *metrics], columns, strict=True)
        )
    ]
    threads = [_thread(search, t, [(s, v[i]) for s, v in columns]) for i, t in enumerate(trials)]
    threads.sort(key=lambda t: ("stopped", "other", "front", "paper", "recommended").index(t.style))
    width = 2 * MARGIN + (len(axes) - 1) * STEP
    return Parallel(float(width), BOTTOM + 24.0, tuple(axes), tuple(threads))


def _setting(search: Search, path: str, trials: Sequence[Trial]) -> tuple[_Scale, list[Any]]:
    values = [t.settings.get(path) for t in trials]
    kind = ((search.record["space"] or {}).get("kinds") or {}).get(path) or {}
    return _scale(kind, values), values


def _metric(metric: str, trials: Sequence[Trial]) -> tuple[_Scale, list[Any]]:
    values = [t.objective(metric) for t in trials]
    return _scale({}, values), values


def _scale(kind: Mapping[str, Any], values: Sequence[Any]) -> _Scale:
    """By the space's own description, widened to what was tried; without one, by the values."""
    known = [v for v in values if v is not None]
    listed = kind.get("values")
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
    if listed is not None or not numeric:
        return _Scale(values=tuple(dict.fromkeys(_key(v) for v in [*(listed or []), *known])))
    ends = [v for v in [*known, kind.get("low"), kind.get("high")] if v is not None]
    if not ends:
        return _Scale(values=(MISSING,))
    log = bool(kind.get("log")) and min(ends) > 0
    return _Scale(low=min(ends), high=max(ends), log=log)


def _key(value: Any) -> str:
    return value_text(value)


def _even(index: int, count: int) -> float:
    return round(BOTTOM - (index + 0.5) / count * (BOTTOM - TOP), 1)


def _ticks(scale: _Scale, metric: bool, name: str) -> list[tuple[float, str, str]]:
    if scale.values:
        step = math.ceil(len(scale.values) / TICKS)
        named = list(enumerate(scale.values))[::step]
        return [(_even(i, len(scale.values)), _cut(v, LETTERS), v) for i, v in named]
    texts = [(v, _tick_text(v, metric and name in SHARES)) for v in _tick_values(scale)]
    return [(y, text, text) for v, text in texts if (y := scale.place(v)) is not None]


def _tick_values(scale: _Scale) -> list[float]:
    if scale.low == scale.high:
        return [scale.low]
    if scale.log:
        powers = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
        whole = [10.0**p for p in powers if scale.low <= 10.0**p <= scale.high]
        return whole if len(whole) > 1 else [scale.low, scale.high]
    return [t for t in nice_ticks(scale.low, scale.high) if scale.low <= t <= scale.high]


def _tick_text(value: float, share: bool) -> str:
    return f"{value * 100:.4g}%" if share else f"{value:.4g}"


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _thread(search: Search, trial: Trial, values: Sequence[tuple[_Scale, Any]]) -> Thread:
    """The line, broken where a value is missing."""
    path, pen = "", "M"
    for i, (scale, value) in enumerate(values):
        y = scale.place(value) if value is not None else None
        path, pen = (f"{path}{pen}{MARGIN + i * STEP} {y}", "L") if y is not None else (path, "M")
    return Thread(trial, _style(search, trial), path, summary(search, trial))


def _style(search: Search, trial: Trial) -> str:
    if trial is search.recommended:
        return "recommended"
    if trial.paper:
        return "paper"
    if not trial.complete:
        return "stopped"
    return "front" if trial in search.front else "other"
