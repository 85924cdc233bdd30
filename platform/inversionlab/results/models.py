"""The released models as they were measured: how well they recognize, and what they need."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from inversionlab.metrics import Estimate, wilson
from inversionlab.results.run_data import RunData


@dataclass(frozen=True)
class Model:
    """One released model; NaN, None or "" where something is not known."""

    defense: str
    accuracy_all: Estimate | None
    accuracy_targets: Estimate | None
    networks: int | None
    """Separate networks that answer."""
    parameters: int | None
    milliseconds: float
    """A query, in a batch of 64."""
    memory: float
    """Bytes a query, in a batch of 64, beyond the weights."""
    distortion: float
    """L1 distance of its probability vectors from the undefended model's, the mean over test pictures."""
    log_distortion: float
    """Mean distance of its log-probabilities from those, a class."""
    protects: str
    """The attackers that it stops by its own word, by what they see: "scores, labels"."""
    left: str
    """What a white-box attacker is left with who takes off what comes off: a title; "" where nothing does."""
    facts: dict[str, float]
    """What it tells of itself, such as the epsilon spent."""


def models_of(run: RunData) -> dict[str, Model]:
    """Every measured model by its id."""
    found: dict[str, Model] = {}
    for row in run.models.to_pylist():
        found.setdefault(row["protected"], _model(row))
    return found


def undefended_accuracy(run: RunData) -> Estimate | None:
    """Recognition accuracy of the undefended model on all people, where it is known."""
    open_models = [m for m in models_of(run).values() if m.defense in ("none", "")]
    return open_models[0].accuracy_all if open_models else None


def _model(row: dict[str, Any]) -> Model:
    return Model(
        defense=row["defense"],
        accuracy_all=_share(row, "all"),
        accuracy_targets=_share(row, "targets"),
        networks=row.get("networks"),
        parameters=row.get("parameters"),
        milliseconds=_number(row, "milliseconds"),
        memory=_number(row, "memory"),
        distortion=_number(row, "distortion"),
        log_distortion=_number(row, "log_distortion"),
        protects=row.get("protects") or "",
        left=row.get("left") or "",
        facts=json.loads(row.get("facts") or "{}"),
    )


def _share(row: dict[str, Any], who: str) -> Estimate | None:
    return wilson(row[f"correct_{who}"], row[f"total_{who}"]) if row[f"total_{who}"] else None


def _number(row: dict[str, Any], column: str) -> float:
    value = row.get(column)
    return math.nan if value is None else float(value)
