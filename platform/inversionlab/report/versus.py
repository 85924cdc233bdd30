"""Two runs side by side: what each attack finds on each model in both, and which settings differ."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from inversionlab.metrics import Estimate
from inversionlab.metrics.difference import Difference, difference, paired_difference
from inversionlab.report.audit.sentence import headline_sentence
from inversionlab.report.frame import fill, publish
from inversionlab.results.load import load_run
from inversionlab.results.models import models_of
from inversionlab.results.rows import Row
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import MISSING, estimate_text, span, words
from inversionlab.store.storage import Storage


@dataclass(frozen=True)
class Line:
    """One attack on one model, or a model's accuracy, in both runs; None where a run has not got it."""

    what: str
    model: str
    first: Estimate | None
    second: Estimate | None
    apart: Difference | None
    """How much larger it is in the second run."""

    @property
    def verdict(self) -> str:
        """Whether the runs differ, in a word."""
        if self.apart is None or math.isnan(self.apart.value):
            return MISSING
        if self.apart.low > 0:
            return "more"
        return "less" if self.apart.high < 0 else "not clearly different"


@dataclass(frozen=True)
class Versus:
    """Two runs."""

    runs: tuple[RunResults, RunResults]
    same: bool
    """Whether both attacked the same people of the same data, so that differences are paired by person."""
    success: tuple[Line, ...]
    accuracy: tuple[Line, ...]
    settings: tuple[tuple[str, str, str], ...]
    """Those that differ: dotted path, and the values as text."""

    @property
    def doubts(self) -> list[str]:
        """Why figures may not be comparable."""
        first, second = self.runs
        found = []
        names = [r.evaluators[r.headline_evaluator] if r.evaluators else "none" for r in self.runs]
        if names[0] != names[1]:
            found.append(f"The headline evaluators differ: “{names[0]}” and “{names[1]}”.")
        if first.guesses != second.guesses:
            found.append(
                f"Success is top-{first.guesses} in one, top-{second.guesses} in the other."
            )
        if not self.same:
            found.append(
                "The people or the data differ, so the differences are not paired by person."
            )
        return found


def write_comparison(root: str, first: str, second: str) -> str:
    """Write `runs/FIRST/versus-SECOND.html` and print the table; returns the page's place. It names nobody.

    Raises:
        ConfigError: the storage holds no such run.
    """
    storage = Storage(root)
    runs = [RunResults.of(load_run(storage, name), frechet=False) for name in (first, second)]
    found = compare((runs[0], runs[1]))
    context = {"found": found, "names": (first, second), "headlines": map(headline_sentence, runs)}
    page = fill("versus.html.j2", context, scripts=[], pictures=False, charts=False)
    place = f"runs/{first}/versus-{second}.html"
    table = _table(found, first, second)
    return publish(storage, place, page, table, kind="Page", warnings=found.doubts)


def compare(runs: tuple[RunResults, RunResults]) -> Versus:
    """What two runs found, by their headline evaluators."""
    records = [r.run.record for r in runs]
    same = records[0].data == records[1].data and records[0].jobs.targets == records[1].jobs.targets
    success: dict[tuple[str, str], list[Row | None]] = {}
    accuracy: dict[str, list[Estimate | None]] = {}
    for place, results in enumerate(runs):
        for row in results.rows:
            if row.by_evaluator:
                success.setdefault((row.attack, row.label), [None, None])[place] = row
        known = models_of(results.run)
        for protected, rows in results.models.items():
            model = known.get(protected)
            share = model.accuracy_all if model else None
            accuracy.setdefault(rows[0].model, [None, None])[place] = share
    return Versus(
        runs,
        same,
        tuple(_success(runs, same, *key, *both) for key, both in success.items()),
        tuple(
            Line("accuracy on all people", model, a, b, difference(b, a) if a and b else None)
            for model, (a, b) in accuracy.items()
        ),
        tuple(_settings(records[0].experiment, records[1].experiment)),
    )


def _success(
    runs: tuple[RunResults, RunResults],
    same: bool,
    attack: str,
    model: str,
    first: Row | None,
    second: Row | None,
) -> Line:
    found = [
        row.by_evaluator[results.headline_evaluator] if row else None
        for row, results in zip((first, second), runs, strict=True)
    ]
    one, other = (result.success if result else None for result in found)
    apart = None
    if found[0] and found[1]:
        shares, of = (
            (found[1].success, found[0].success),
            (found[1].success_of, found[0].success_of),
        )
        apart = paired_difference(*shares, *of) if same else difference(*shares)
    return Line(words(attack), model, one, other, apart)


def _settings(first: Any, second: Any, path: str = "") -> list[tuple[str, str, str]]:
    """The settings whose values differ; an attack or evaluator that one run lacks is one line."""
    one, other = _named(first), _named(second)
    if one is None or other is None:
        return [] if first == second else [(path, _value(first), _value(second))]
    found = []
    for key in dict.fromkeys([*one, *other]):
        # Two recipes are called differently anyway.
        if path or key != "name":
            place = f"{path}.{key}" if path else key
            found += _settings(one.get(key, MISSING), other.get(key, MISSING), place)
    return found


def _named(value: Any) -> Mapping[str, Any] | None:
    """A section, or a list of sections by their labels or names; None for any other value."""
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        names = [str(item.get("label") or item.get("name") or i) for i, item in enumerate(value)]
        alike = len(set(names)) < len(names)
        names = [f"{name} {i}" for i, name in enumerate(names)] if alike else names
        return dict(zip(names, value, strict=True))
    return value if isinstance(value, Mapping) else None


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "is there"
    return value if isinstance(value, str) else json.dumps(value)


def _table(found: Versus, first: str, second: str) -> Table:
    table = Table(title=escape(f"{first} and {second}"))
    for heading in ("What", "Model", "First", "Second", "More in the second", ""):
        table.add_column(heading, justify="left" if heading in ("What", "Model", "") else "right")
    for line in (*found.success, *found.accuracy):
        apart = MISSING if line.apart is None else span(line.apart)
        shares = (estimate_text(line.first), estimate_text(line.second))
        table.add_row(*map(escape, (line.what, line.model, *shares, apart, line.verdict)))
    return table
