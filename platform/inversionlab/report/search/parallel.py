"""Parallel coordinates: every trial as a line through its settings and its results."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inversionlab.report.charts.figure import Figure
from inversionlab.report.charts.trials import parallel_chart
from inversionlab.report.search.wording import DRAWN, short_names, style, summary, value_text
from inversionlab.results.search import SHARES, SearchRecord
from inversionlab.results.wording import MISSING, words

LETTERS = 15
"""Longest text at an axis; the whole text is in the hover text."""
TICKS = 20
"""Most values named at one axis."""


@dataclass(frozen=True)
class Scale:
    """The places of one axis's values, 0 to 1: numbers in a range, or named values."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: Mapping[str, Any], values: Sequence[Any]) -> "Scale":
        """The scale of a domain, widened to the values that were tried; without a domain, of those alone."""
        known = [v for v in values if v is not None]
        choices = kind.get("values")
        offered = choices if isinstance(choices, list) else []
        if offered or not all(map(_is_number, known)):
            named = dict.fromkeys(value_text(v) for v in [*offered, *known])
            return cls(values=tuple(named))
        bounds = [v for v in (kind.get("low"), kind.get("high")) if _is_number(v)]
        ends = [v for v in [*known, *bounds] if math.isfinite(v)]
        if not ends:
            return cls(values=(MISSING,))
        return cls(min(ends), max(ends), log=bool(kind.get("log")) and min(ends) > 0)

    def place(self, value: Any) -> float | None:
        """The place of a value; None where it has none."""
        if value is None:
            return None
        if self.values:
            name = value_text(value)
            return self.level(self.values.index(name)) if name in self.values else None
        if not _is_number(value):
            return None
        if not math.isfinite(value) or (self.log and value <= 0):
            return None
        if self.low == self.high:
            return 0.5
        low, high, at = (
            math.log10(v) if self.log else float(v) for v in (self.low, self.high, value)
        )
        return round((at - low) / (high - low), 4)

    def level(self, index: int) -> float:
        """The place of a named value, by its place among them."""
        return round((index + 0.5) / len(self.values), 4)

    def ticks(self, share: bool) -> list[tuple[float, str, str]]:
        """(place, short text, whole text) of the values that are named at the axis; shares are in percent."""
        if self.values:
            named = list(enumerate(self.values))[:: math.ceil(len(self.values) / TICKS)]
            return [(self.level(i), _cut(v, LETTERS), v) for i, v in named]
        texts = [(v, f"{v * 100:.4g}%" if share else f"{v:.4g}") for v in self._round_values()]
        return [(at, text, text) for v, text in texts if (at := self.place(v)) is not None]

    def _round_values(self) -> list[float]:
        if self.low == self.high:
            return [self.low]
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            powers = [10.0**p for p in range(first, last + 1) if self.low <= 10.0**p <= self.high]
            return powers if len(powers) > 1 else [self.low, self.high]
        raw = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 10) for i in range(first, last + 1)]


def parallel_figure(search: SearchRecord) -> Figure | None:
    """The chart of every trial that has a result; None where there is none, or no setting was searched."""
    goals = {"accuracy": "max", "attack_success": "min", **search.objectives}
    ended = [t for t in search.trials if t.state in ("complete", "stopped")]
    trials = [t for t in ended if any(t.metric(m) is not None for m in goals)]
    if not trials or not search.axes:
        return None
    trials.sort(key=lambda t: DRAWN.index(style(search, t)))
    said = [(t.number, style(search, t), summary(search, t)) for t in trials]
    columns: list[tuple[str, Mapping[str, Any], list[Any], bool]] = [
        (name, search.space.kinds.get(path, {}), [t.settings.get(path) for t in trials], False)
        for path, name in short_names(search.axes).items()
    ]
    for metric, mode in goals.items():
        title = f"{words(metric)} {'↑' if mode == 'max' else '↓'}"
        columns.append((title, {}, [t.metric(metric) for t in trials], metric in SHARES))
    rows: list[dict[str, Any]] = []
    ticks: list[dict[str, Any]] = []
    for axis, kind, values, share in columns:
        scale = Scale.of(kind, values)
        ticks += [
            {"axis": axis, "y": y, "label": label, "whole": whole}
            for y, label, whole in scale.ticks(share)
        ]
        rows += [
            {"axis": axis, "y": scale.place(value), "value": value_text(value)}
            | {"trial": number, "kind": drawn, "text": text}
            for value, (number, drawn, text) in zip(values, said, strict=True)
        ]
    return Figure(
        name="parallel",
        title="Every trial",
        about="",
        rows=rows,
        drawing=parallel_chart(rows, ticks),
        wide=True,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
