"""A search's record as typed values; whatever the record lacks is None or empty here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inversionlab.metrics import Estimate

SHARES = ("accuracy", "attack_success", "attack_success_low", "attack_success_high")
"""Metrics that are shares in [0, 1]."""


@dataclass(frozen=True)
class Trial:
    """One setting that was tried; also the undefended victim, which has no number and no settings."""

    number: int | None
    settings: Mapping[str, Any]
    state: str
    """complete, stopped, error or unfinished."""
    start: bool
    """Whether it is one of the starting points."""
    paper: bool
    fault: str
    accuracy: Estimate | None
    loss: float | None
    """Percentage points of accuracy lost against the undefended victim."""
    success: Estimate | None
    """Top-5 share of the strongest attack by the judge that finds most."""
    score: float | None
    attack: str
    """The strongest attack, and the judge that finds most; both empty where nothing was judged."""
    judge: str
    shares: Mapping[str, float]
    """Attack -> top-5 share by the judge that finds most."""
    protects: str
    """The attackers that its defense stops by its own word, by what they see: "scores, labels"."""
    left: str
    """What a white-box attacker is left with who takes off what comes off: a title; "" where nothing does."""
    targets: int
    seconds: float | None
    cells: Mapping[str, str]
    """Attack to the id of its cell in the store."""
    trained: tuple[str, ...]
    curve: tuple[tuple[int, Estimate], ...]
    """The estimate after so many targets."""
    metrics: Mapping[str, Any]
    """The trial's plain record."""

    @property
    def complete(self) -> bool:
        """Whether every target was attacked."""
        return self.state == "complete"

    def objective(self, metric: str) -> float | None:
        """One metric's value; None where it is not known or not finite."""
        value = self.metrics.get(metric)
        return _finite(value.get("value") if isinstance(value, Mapping) else value)


@dataclass(frozen=True)
class Search:
    """One search."""

    record: Mapping[str, Any]
    """The record, with None for what it lacks at the top."""
    trials: tuple[Trial, ...]
    undefended: Trial | None
    front: tuple[Trial, ...]
    """The complete trials on the Pareto front, by rising accuracy."""
    recommended: Trial | None
    paper: Trial | None
    null: tuple[str, str, Estimate] | None
    """The guess without the model that succeeds most: attack, judge, share."""

    @property
    def axes(self) -> list[str]:
        """The searched settings' dotted paths, in the space's order."""
        space = self.record["space"] or {}
        named = dict.fromkeys([*(space.get("domains") or {}), *(space.get("kinds") or {})])
        return list(named) or list(dict.fromkeys(k for t in self.trials for k in t.settings))

    @property
    def defense(self) -> str:
        """What the searched defense is called; "" where that is not recorded."""
        defense = (self.record["experiment"] or {}).get("defense") or {}
        return str(defense.get("label") or defense.get("name") or "")

    @property
    def unseen(self) -> str:
        """What the recommended recipe is judged on: new people too, while there are some left."""
        targets = (self.record["experiment"] or {}).get("targets") or {}
        people = (self.record["data"] or {}).get("private_people")
        used = (targets.get("skip") or 0) + len(self.record["targets"] or [])
        left = not isinstance(people, int) or used < people
        return "targets and random starts" if left else "random starts (every person was attacked)"

    @property
    def max_loss(self) -> float | None:
        """The bound on the accuracy loss, percentage points."""
        return _finite((self.record["constraints"] or {}).get("accuracy_loss"))


_TOP = (
    *("search", "name", "created", "seconds", "space", "objectives", "constraints", "single"),
    *("options", "experiment", "provenance", "data", "trials", "undefended", "null", "front"),
    *("recommended", "rejudged", "importance", "trainings", "cost", "timings", "timeline"),
    *("targets", "repeats", "tables"),
)


def read_search(record: Mapping[str, Any]) -> Search:
    """The record of `searches/NAME/search.json` as typed values."""
    record = {**dict.fromkeys(_TOP), **record}
    tests = int((record["data"] or {}).get("test_pictures") or 1)
    repeats = int(record["repeats"] or 1)
    trials = tuple(_trial(t, tests, repeats) for t in record["trials"] or [])
    by_number = {t.number: t for t in trials}
    front = [by_number[n] for n in record["front"] or [] if n in by_number]
    front = [t for t in front if t.accuracy and t.success]
    open_trial = record["undefended"]
    return Search(
        record=record,
        trials=trials,
        undefended=_trial(open_trial, tests, repeats) if open_trial else None,
        front=tuple(sorted(front, key=_along_front)),
        recommended=by_number.get(record["recommended"]),
        paper=next((t for t in trials if t.paper), None),
        null=_null(record["null"] or {}, len(record["targets"] or [1]) * repeats),
    )


def _along_front(trial: Trial) -> tuple[float, float]:
    assert trial.accuracy is not None
    assert trial.success is not None
    return trial.accuracy.value, trial.success.value


def _trial(entry: Mapping[str, Any], tests: int, repeats: int) -> Trial:
    strongest, targets = entry.get("strongest") or {}, int(entry.get("targets") or 0)
    curve = [(int(p["targets"]), _estimate(p, int(p["targets"]) * repeats)) for p in
             entry.get("curve") or []]  # fmt: skip
    return Trial(
        number=entry.get("number"),
        settings=entry.get("settings") or {},
        state=str(entry.get("state") or "complete"),
        start=bool(entry.get("start")),
        paper=bool(entry.get("paper")),
        fault=str(entry.get("fault") or ""),
        accuracy=_estimate(entry.get("accuracy"), tests),
        loss=_finite(entry.get("accuracy_loss")),
        success=_estimate(entry.get("attack_success"), targets * repeats),
        score=_finite(entry.get("score")),
        attack=str(strongest.get("attack") or ""),
        judge=str(strongest.get("judge") or ""),
        shares=_shares(entry.get("success") or {}),
        protects=str(entry.get("protects") or ""),
        left=str(entry.get("left") or ""),
        targets=targets,
        seconds=_finite(entry.get("seconds")),
        cells=entry.get("cells") or {},
        trained=tuple(entry.get("trained") or ()),
        curve=tuple((n, e) for n, e in curve if e is not None),
        metrics=entry,
    )


def _shares(success: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Each attack's share by the judge that finds most."""
    found = {
        attack: [v for e in judges.values() if (v := _finite(e.get("value"))) is not None]
        for attack, judges in success.items()
    }
    return {attack: max(values) for attack, values in found.items() if values}


def _estimate(entry: Mapping[str, Any] | None, count: int) -> Estimate | None:
    """The recorded share; the record does not say the number of tries, the search's layout does."""
    parts = [_finite((entry or {}).get(k)) for k in ("value", "low", "high")]
    value, low, high = parts
    if value is None or low is None or high is None:
        return None
    return Estimate(value, low, high, max(count, 1))


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _null(judged: Mapping[str, Mapping[str, Any]], count: int) -> tuple[str, str, Estimate] | None:
    known = [
        (attack, judge, e)
        for attack, judges in judged.items()
        for judge, entry in judges.items()
        if (e := _estimate(entry, count))
    ]
    return max(known, key=lambda k: k[2].value) if known else None
