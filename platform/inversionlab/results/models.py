"""The released models as they were measured: how well they recognize, and what they need."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from inversionlab.metrics import Estimate, wilson
from inversionlab.results.load import RunData


@dataclass(frozen=True)
class Model:
    """One released model; NaN, None or "" where something is not known."""

    accuracy_all: Estimate | None
    accuracy_targets: Estimate | None
    networks: int | None
    """Separate networks that answer."""
    parameters: int | None
    milliseconds: float
    """Time of a query, in a batch of 64."""
    memory: float
    """Bytes a query takes beyond the weights, in a batch of 64."""
    distortion: float
    """L1 distance of its probability vectors from the undefended model's, the mean over test pictures."""
    log_distortion: float
    """Mean distance of its log-probabilities from those, a class."""
    protects: str
    """The attackers that its defense claims to stop, by what they see: "scores, labels"."""
    left: str
    """The title of what a white-box attacker is left with; "" where nothing comes off."""
    facts: dict[str, float]
    """What it says of itself, such as the epsilon spent."""


def models_of(run: RunData) -> dict[str, Model]:
    """Every measured model by its id."""
    found: dict[str, Model] = {}
    for row in run.models.to_pylist():
        found.setdefault(row["protected"], _model(row))
    return found


def undefended_accuracy(run: RunData) -> Estimate | None:
    """Recognition accuracy of the undefended model on all people, where it is known."""
    models = models_of(run)
    names = (c.protected for c in run.record.cells if c.kind == "undefended")
    return next((models[name].accuracy_all for name in names if name in models), None)


def _model(row: dict[str, Any]) -> Model:
    def share(people: str) -> Estimate | None:
        total = row[f"total_{people}"]
        return wilson(row[f"correct_{people}"], total) if total else None

    def number(column: str) -> float:
        value = row.get(column)
        return math.nan if value is None else float(value)

    return Model(
        accuracy_all=share("all"),
        accuracy_targets=share("targets"),
        networks=row.get("networks"),
        parameters=row.get("parameters"),
        milliseconds=number("milliseconds"),
        memory=number("memory"),
        distortion=number("distortion"),
        log_distortion=number("log_distortion"),
        protects=row.get("protects") or "",
        left=row.get("left") or "",
        facts=json.loads(row.get("facts") or "{}"),
    )
