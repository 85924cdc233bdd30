"""A random but plausible run, for tests and for looking at the page."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from inversionlab.results.load import RunData
from inversionlab.results.run_record import RunRecord
from inversionlab.store.tables import SCHEMAS

ALPHAS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)
ATTACKS = ("latent_white_box", "plug_and_play", "label_only")
NULLS = ("random_latent", "random_public")
EVALUATOR_NAMES = ("same_people", "person_disjoint")

RECONSTRUCTIONS = SCHEMAS["reconstructions"]
MODELS = SCHEMAS["models"]
EVALUATORS = SCHEMAS["evaluators"]
REFERENCES = SCHEMAS["references"]
FEATURES = SCHEMAS["features"]
GALLERIES = SCHEMAS["galleries"]


def face(rng: np.random.Generator, skin: Sequence[int], blur: float, size: int = 48) -> bytes:
    """A cartoon face as PNG bytes; `blur` in [0, 1] is the share of noise."""
    picture = Image.new("RGB", (size, size), (70, 90, 110))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((10, 6, 38, 44), fill=tuple(skin))
    for x in (18, 30):
        draw.ellipse((x - 2, 18, x + 2, 22), fill=(20, 20, 20))
    draw.arc((18, 26, 30, 36), 20, 160, fill=(120, 30, 30), width=2)
    noise = rng.normal(0, 60 * blur, (size, size, 3))
    pixels = np.clip((1 - 0.6 * blur) * np.asarray(picture) + 40 * blur + noise, 0, 255)
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def cells(alphas: Sequence[float], attacks: Sequence[str]) -> list[dict[str, Any]]:
    """The record's cells: every attack undefended and at every alpha, and the nulls."""
    found = []
    for attack in attacks:
        for alpha in (None, *alphas):
            protected = "none" if alpha is None else f"mix{alpha:g}"
            found.append(
                {
                    "cell": f"{attack}@{protected}",
                    "attack": attack,
                    "defense": "none" if alpha is None else "dummy_recognizer",
                    "protected": protected,
                    "label": f"{attack} on {protected}",
                    "point": alpha,
                    "baseline": alpha is None,
                    "knows_defense": False,
                    "inverts_outputs": False,
                    "victim_share": None if alpha is None else "alpha",
                }
            )
    nulls = [
        {"cell": n, "attack": n, "defense": "", "protected": "", "label": n}
        | {"point": None, "baseline": True, "null": True}
        for n in NULLS
    ]
    return found + nulls


def _verdict(rng: np.random.Generator, evaluator: str, success: float, centre: np.ndarray) -> Any:
    hit = rng.random() < success
    return {
        "evaluator": evaluator,
        "rank": int(rng.choice([1, 1, 1, 2, 3, 5]) if hit else 1 + rng.geometric(0.01)),
        "score": float(rng.uniform(0.4, 0.9) if hit else rng.uniform(0, 0.2)),
        "nearest": float(rng.normal(0.7 if hit else 1.2, 0.05)),
        "feature": (centre + rng.normal(0, 1.2 - 0.6 * success, len(centre))).tolist(),
    }


def _reconstructions(
    rng: np.random.Generator,
    cell: dict[str, Any],
    people: Sequence[str],
    repeats: int,
    evaluators: Any,
) -> list[dict[str, Any]]:
    null = cell["attack"] in NULLS
    strength = {"latent_white_box": 0.85, "plug_and_play": 0.7, "label_only": 0.45}
    alpha = 1.0 if cell["point"] is None else cell["point"]
    success = 0.06 if null else 0.06 + strength.get(cell["attack"], 0.5) * min(alpha, 1.0) ** 1.3
    rows = []
    for target, person in enumerate(people):
        for repeat in range(repeats):
            skin = (200 - 5 * target, 150 + 3 * target, 120)
            rows.append(
                {k: cell[k] for k in ("cell", "attack", "defense", "protected")}
                | {
                    "defense_settings": json.dumps({"alpha": alpha}),
                    "attack_settings": "{}",
                    "person": person,
                    "target": target,
                    "repeat": repeat,
                    "picture": face(rng, skin, 1 - success),
                    "confidence": float("nan") if null else float(rng.uniform(0.8, 1)),
                    "converged": bool(rng.random() < 0.8),
                    "steps": 0 if null else int(rng.integers(200, 300)),
                    "queries": 0 if null else int(rng.integers(8000, 12000)),
                    "seconds": 0.01 if null else float(rng.uniform(1, 2)),
                    "verdicts": [
                        _verdict(rng, e, success * (1 - 0.1 * i), np.full(16, 0.2 * target))
                        for i, e in enumerate(evaluators)
                    ],
                }
            )
    return rows


def _record(
    alphas: Sequence[float], found: list[dict[str, Any]], repeats: int, targets: int
) -> dict[str, Any]:
    return {
        "run": "2f1c9a7be0d34455",
        "name": "kotsuji_sweep",
        "created": "2026-02-11T09:30:00+00:00",
        "seconds": 5123.4,
        "experiment": {
            "name": "kotsuji_sweep",
            "seed": 7,
            "data": {"name": "folder", "root": "/data/faces", "image_size": 64},
            "defense": {"name": "dummy_recognizer", "alpha": 0.25, "generator": {"name": "dcgan"}},
            "attacks": [{"name": a, "steps": 300} for a in ATTACKS],
            "repeats": repeats,
            "targets": targets,
        },
        "provenance": {
            "version": "0.1.0",
            "git": "4be1c0d",
            "python": "3.11.7",
            "torch": "2.11.0",
            "ray": "2.50.0",
            "machine": "Linux x86_64, 2 cores",
        },
        "data": {
            "description": "folder of faces, 64 px",
            "private_people": 120,
            "private_pictures": 2400,
            "public_people": 400,
            "public_pictures": 8000,
            "evaluator_people": 300,
            "test_pictures": 600,
            "skipped": ["broken/file.jpg: is not a picture"],
        },
        "sweep": {"setting": "defense.alpha", "values": list(alphas), "marked": 0.25}
        if alphas
        else None,
        "cells": found,
        "artifacts": [
            {"role": "victim", "id": "9d00aa11", "seconds": 812.0, "trained": True}
            | {"metrics": {"accuracy": 0.952, "loss": 0.21}},
            {"role": "generator", "id": "77ab0123", "seconds": 1630.5, "trained": False}
            | {"metrics": {"g_loss": 1.2}},
        ],
        "timings": {"train": 2442.5, "protect": 12.1, "attack": 2410.0, "evaluate": 201.0},
        "warnings": [],
    }


def fake_run(
    *,
    alphas: Sequence[float] = ALPHAS,
    attacks: Sequence[str] = ATTACKS,
    evaluators: Sequence[str] = EVALUATOR_NAMES,
    targets: int = 20,
    repeats: int = 3,
    people: Sequence[str] | None = None,
    seed: int = 0,
) -> RunData:
    """A run with every table filled; take rows away to see how the report bears it."""
    rng = np.random.default_rng(seed)
    people = people or [f"person_{t:03d}" for t in range(targets)]
    found = cells(alphas, attacks)
    rows = [r for c in found for r in _reconstructions(rng, c, people, repeats, evaluators)]
    models = [_model("none", 1.0), *(_model(f"mix{a:g}", a) for a in alphas)]
    measured = [
        {"evaluator": e, "protocol": e, "network": "resnet18", "correct": 570 - 20 * i}
        | {"total": 600, "within_person": 0.62 + 0.1 * i}
        for i, e in enumerate(evaluators)
    ]
    references = [
        {"kind": kind, "protected": protected, "target": t, "person": p}
        | {"picture": face(rng, (200 - 5 * t, 150 + 3 * t, 120), 0.0 if kind == "real" else 0.3)}
        for kind, protected in (("real", ""), ("synthetic", "mix0.25"))
        for t, p in enumerate(people)
    ]
    features = [
        {"evaluator": e, "target": t, "feature": rng.normal(0.2 * t, 0.5, 16).tolist()}
        for e in evaluators
        for t in range(len(people))
        for _ in range(6)
    ]
    return RunData(
        record=RunRecord.model_validate(_record(alphas, found, repeats, len(people))),
        reconstructions=pa.Table.from_pylist(rows, RECONSTRUCTIONS),
        models=pa.Table.from_pylist(models, MODELS),
        evaluators=pa.Table.from_pylist(measured, EVALUATORS),
        references=pa.Table.from_pylist(references, REFERENCES),
        features=pa.Table.from_pylist(features, FEATURES),
        galleries=GALLERIES.empty_table(),
    )


def with_record(run: RunData, **changes: Any) -> RunData:
    """The run with some keys of its record changed."""
    record = RunRecord.model_validate({**run.record.model_dump(), **changes})
    return dataclasses.replace(run, record=record)


def cells_of(run: RunData) -> list[dict[str, Any]]:
    """The cells of the run's record, to be changed and put back by `with_record`."""
    return [cell.model_dump() for cell in run.record.cells]


def _model(protected: str, alpha: float) -> dict[str, Any]:
    return {
        "protected": protected,
        "defense": "none" if protected == "none" else "dummy_recognizer",
        "defense_settings": json.dumps({"alpha": alpha}),
        "correct_all": round(600 * (0.952 - 0.06 * max(0.0, 1 - alpha) ** 4)),
        "total_all": 600,
        "correct_targets": round(100 * (0.95 - 0.08 * max(0.0, 1 - alpha) ** 4)),
        "total_targets": 100,
        "milliseconds": 1.4 if protected == "none" else 2.9,
    }
