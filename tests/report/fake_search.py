"""A random but plausible search, for tests and for looking at its page."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from inversionlab.metrics import wilson
from inversionlab.store.tables import Store
from tests.report.fake_run import face

ATTACKS = ("pixel_gray_box", "latent_white_box")
EVALUATORS = ("same_people", "person_disjoint")
TESTS, STEP = 600, 5
PAPER = {"defense.alpha": 0.25, "defense.sigma": 1.0, "defense.rate": 0.001, "defense.kind": "soft"}
SPACE = {
    "module": "dummy_recognizer",
    "domains": {
        "defense.alpha": "uniform 0.05 to 1",
        "defense.sigma": "one of 0.7, 1, 1.4",
        "defense.rate": "log-uniform 0.0001 to 0.1",
        "defense.kind": "one of soft, hard",
    },
    "kinds": {
        "defense.alpha": {"kind": "float", "low": 0.05, "high": 1.0, "log": False},
        "defense.sigma": {"kind": "choice", "values": [0.7, 1.0, 1.4]},
        "defense.rate": {"kind": "float", "low": 0.0001, "high": 0.1, "log": True},
        "defense.kind": {"kind": "choice", "values": ["soft", "hard"]},
    },
    "start": [PAPER],
}


def share(hits: float, count: int) -> dict[str, float]:
    """A share with its interval, as the record has it."""
    estimate = wilson(round(min(max(hits, 0), 1) * count), count)
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def measured(accuracy: float, success: float, targets: int, repeats: int) -> dict[str, Any]:
    """What a trial's record says of its results, from the true shares."""
    shares = {
        a: {e: share(success * (1 - 0.3 * i) * (1 - 0.2 * k), targets * repeats)
            for k, e in enumerate(EVALUATORS)}
        for i, a in enumerate(reversed(ATTACKS))
    }  # fmt: skip
    curve = [
        {"targets": n, **share(success + 0.1 / n * (-1) ** n, n * repeats)}
        for n in range(STEP, targets + 1, STEP)
    ]
    return {
        "accuracy": share(accuracy, TESTS),
        "attack_success": share(success, targets * repeats),
        "strongest": {"attack": ATTACKS[1], "judge": EVALUATORS[0]},
        "success": shares,
        "targets": targets,
        "reconstructions": targets * repeats * len(ATTACKS),
        "curve": curve,
        "log_distortion": 2.0,
        "protects": "white box, scores, labels",
        "left": "",
    }


def trial(number: int, settings: dict[str, Any], state: str, **more: Any) -> dict[str, Any]:
    """A trial's record without results."""
    return {
        "number": number,
        "settings": settings,
        "state": state,
        "start": number == 0,
        "paper": number == 0,
        "fault": "",
        "accuracy": None,
        "accuracy_loss": None,
        "log_distortion": None,
        "attack_success": None,
        "score": None,
        "strongest": None,
        "protects": None,
        "left": None,
        "success": {},
        "targets": 0,
        "reconstructions": 0,
        "protected": f"protected{number}",
        "cells": {a: f"{a}-{number}" for a in ATTACKS},
        "trained": [],
        "seconds": 0.4,
        "curve": [],
        **more,
    }


def front_of(trials: list[dict[str, Any]]) -> list[int]:
    """Numbers of the complete trials that no other beats in both objectives."""
    done = [t for t in trials if t["state"] == "complete"]
    pairs = [(t["number"], t["accuracy"]["value"], t["attack_success"]["value"]) for t in done]
    return [
        n
        for n, a, s in pairs
        if not any(b >= a and r <= s and (b > a or r < s) for _, b, r in pairs)
    ]


def fake_search(
    *, trials: int = 60, targets: int = 20, repeats: int = 3, single: bool = False, seed: int = 0
) -> dict[str, Any]:
    """A search's record as it is stored; change it to see what the page makes of what is missing.

    Every seventh trial after the first is an error; with `single`, every third is stopped early.
    """
    rng = np.random.default_rng(seed)
    made = [_random_trial(rng, n, targets, repeats, single) for n in range(trials)]
    bare = {**measured(0.884, 0.97, targets, repeats), "accuracy_loss": 0.0, "state": "complete"}
    bare |= {"cells": {a: f"{a}-open" for a in ATTACKS}, "protected": "open", "seconds": 40.0}
    fitting = [t for t in made if t["state"] == "complete" and t["accuracy_loss"] <= 1.0]
    best = min(fitting, key=lambda t: t["attack_success"]["value"], default=None)
    trained = sum(len(t["trained"]) for t in made)
    return {
        "search": "lfw-1a2b3c4d",
        "name": "lfw",
        "created": "2026-02-11T09:30:00+00:00",
        "seconds": 3311.0,
        "space": SPACE,
        "objectives": {"score": "min"} if single else {"accuracy": "max", "attack_success": "min"},
        "constraints": {"accuracy_loss": 1.0},
        "single": single,
        "options": {"trials": trials, "max_concurrent": 4, "time_budget": None}
        | {"sampler": "tpe", "seed": 0, "step_targets": STEP},
        "experiment": {
            "name": "lfw",
            "seed": 0,
            "defense": {"name": "dummy_recognizer"},
            "evaluators": [{"name": e} for e in EVALUATORS],
            "headline": "first",
        },
        "provenance": {"version": "0.1.0", "git": "4be1c0d", "ray": "2.60.0", "machine": "2 CPU"},
        "data": {"private_people": 158, "test_pictures": TESTS, "skipped": []},
        "trials": made,
        "undefended": bare,
        "null": {"random_latent": {"same_people": share(0.05, targets * repeats)}},
        "real": {"same_people": share(0.988, TESTS)},
        "front": front_of(made),
        "recommended": best["number"] if best else None,
        "rejudged": None,
        "importance": {
            "accuracy": {"defense.alpha": 0.71, "defense.rate": 0.2, "defense.sigma": 0.09},
            "attack_success": {"defense.sigma": 0.1, "defense.alpha": 0.88, "defense.kind": 0.02},
        },
        "trainings": {"trials": trials, "networks": trained},
        "cost": {"train": {"cpu_seconds": 2400.0, "gpu_seconds": 0.0}}
        | {"attack": {"cpu_seconds": 4100.0, "gpu_seconds": 0.0}},
        "timings": {"data": 12.0, "baseline": 140.0, "search": 3159.0},
        "timeline": timeline(),
        "targets": list(range(targets)),
        "repeats": repeats,
        "tables": {"real": "real-key"},
    }


def _random_trial(
    rng: np.random.Generator, number: int, targets: int, repeats: int, single: bool
) -> dict[str, Any]:
    alpha = 0.05 + 0.95 * rng.random() ** 1.6
    settings = {
        "defense.alpha": float(alpha),
        "defense.sigma": float(rng.choice([0.7, 1.0, 1.4])),
        "defense.rate": float(10 ** rng.uniform(-4, -1)),
        "defense.kind": str(rng.choice(["soft", "hard"])),
    }
    settings = PAPER if number == 0 else settings
    if number % 7 == 6:
        return trial(
            number, settings, "error", fault="TrainingError: the loss became NaN in epoch 3"
        )
    alpha, kind = settings["defense.alpha"], settings["defense.kind"]
    lost = 0.45 * max(0.0, 0.35 - alpha) ** 1.5 + (0.012 if kind == "hard" else 0.0)
    lost += 0.01 * abs(np.log10(settings["defense.rate"]) + 3) + rng.normal(0, 0.003)
    success = 0.05 + 0.9 * alpha**1.2 + 0.05 * settings["defense.sigma"] * rng.random()
    stopped = single and number % 3 == 2
    accuracy = float(np.clip(0.884 - lost, 0.02, 1))
    found = measured(accuracy, success, STEP if stopped else targets, repeats)
    loss = 100 * (share(0.884, TESTS)["value"] - found["accuracy"]["value"])
    excess = max(0.0, loss - 1)
    return trial(
        number,
        settings,
        "stopped" if stopped else "complete",
        **found,
        accuracy_loss=loss,
        score=1 + excess / 100 if excess else found["attack_success"]["value"],
        trained=[f"defense/{number:08x}"] if number % 6 == 0 else [],
        seconds=float(rng.uniform(30, 90)),
    )


def timeline() -> list[dict[str, Any]]:
    """A cluster that grows from one node to nine and shrinks again, a sample every 5 seconds."""
    samples = []
    for i in range(400):
        nodes = 1 + min(max(i - 60, 0) // 20, 8) - min(max(i - 320, 0) // 8, 8)
        samples.append(
            {"seconds": 5.0 * i, "nodes": nodes, "cpus": 2 * nodes, "gpus": 0}
            | {"workers": max(0, 2 * nodes - 2), "training": int(i < 60 or 150 < i < 170)}
            | {
                "queued": max(0, 300 - abs(i - 150) * 2) if i > 60 else 0,
                "done": 20 * max(0, i - 60),
            }
        )
    return samples


def fill_store(store: Store, record: dict[str, Any], person: str = "person") -> None:
    """Made-up pictures for every cell of the undefended victim and of two trials, and real ones."""
    rng = np.random.default_rng(1)
    wanted = [record["undefended"]]
    wanted += [t for t in record["trials"] if t["paper"] or t["number"] == record["recommended"]]
    for entry in [e for e in wanted if e]:
        success = entry["attack_success"]["value"] if entry["attack_success"] else 0.5
        for attack, cell in entry["cells"].items():
            rows = [
                _row(rng, cell, attack, target, repeat, success, person)
                for target in record["targets"]
                for repeat in range(record["repeats"])
            ]
            store.write_shard(cell, rows)
    real = [
        {"kind": "real", "protected": "", "target": t, "person": f"{person}_{t:03d}"}
        | {"picture": _face(rng, t, 0.0)}
        for t in record["targets"]
    ]
    store.write("references", record["tables"]["real"], real)


def _face(rng: np.random.Generator, target: int, blur: float) -> bytes:
    return face(rng, (200 - 5 * target, 150 + 3 * target, 120), blur)


def _row(
    rng: np.random.Generator,
    cell: str,
    attack: str,
    target: int,
    repeat: int,
    success: float,
    person: str,
) -> dict[str, Any]:
    verdicts = [
        {"evaluator": e, "rank": int(1 if rng.random() < success else 1 + rng.geometric(0.02))}
        | {"score": 0.5, "nearest": 1.0, "feature": [0.0, 1.0]}
        for e in EVALUATORS
    ]
    return {
        "cell": cell,
        "attack": attack,
        "defense": "dummy_recognizer",
        "protected": cell,
        "attack_settings": "{}",
        "defense_settings": json.dumps({}),
        "target": target,
        "person": f"{person}_{target:03d}",
        "repeat": repeat,
        "picture": _face(rng, target, 1 - success),
        "confidence": float(rng.random()),
        "converged": True,
        "steps": 200,
        "queries": 9000,
        "seconds": 1.0,
        "verdicts": verdicts,
    }
