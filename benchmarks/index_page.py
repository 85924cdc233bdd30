"""Seconds to build the index of a storage, and the size of the page, over the number of runs.

    python -m benchmarks.index_page                     # 10 and 100 runs, and ten times fewer searches
    python -m benchmarks.index_page --runs 10 1000

The runs are made up: 24 people, three attacks on two models, two evaluators, features of 64 numbers. CPU-seconds
are those of this process; other work on the machine slows the clock down more.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inversionlab.report.index import write_index
from inversionlab.store.storage import Storage
from inversionlab.store.tables import Store

PEOPLE, FEATURES = 24, 64
ATTACKS = ("latent_white_box", "ami", "label_only")
MODELS = {"none": "none", "dummy": "dummy_recognizer"}
EVALUATORS = ("sface", "same_people")


def made_run(store: Store, number: int) -> None:
    """A run with pictures' verdicts and no pictures."""
    rng = np.random.default_rng(number)
    name, cells = f"made-{number:08x}", list[dict[str, Any]]()
    for attack in ATTACKS:
        for protected, defense in MODELS.items():
            cell = f"{number:06d}{len(cells):02d}"
            base = {"cell": cell, "attack": attack, "defense": defense, "protected": protected}
            cells.append({**base, "baseline": defense == "none", "knows_defense": False})
            rows = [
                {**base, "target": target, "repeat": 0, "person": str(target), "queries": 300}
                | {"confidence": 0.9, "seconds": 1.0, "steps": 30, "verdicts": _verdicts(rng)}
                for target in range(PEOPLE)
            ]
            store.write_shard(cell, rows)
    key = f"{number:08x}"
    store.write(
        "models",
        key,
        [
            {"protected": p, "correct_all": 880 - n, "total_all": 1000}
            | {"correct_targets": 9, "total_targets": 10}
            for n, p in enumerate(MODELS)
        ],
    )
    store.write(
        "evaluators", key, [{"evaluator": e, "correct": 95, "total": 100} for e in EVALUATORS]
    )
    record: dict[str, Any] = {
        "run": name,
        "name": "made",
        "created": f"2026-01-01T00:00:{number % 60:02d}+00:00",
        "seconds": 60.0,
        "cells": cells,
        "jobs": {"targets": list(range(PEOPLE)), "repeats": 1},
        "tables": {"models": [key], "evaluators": [key]},
        "data": {"private_people": 100},
    }
    store.storage.write_json(f"runs/{name}/run.json", record)


def _verdicts(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"evaluator": name, "rank": int(rng.geometric(0.1)), "score": 0.5, "nearest": 1.0}
        | {"feature": rng.normal(size=FEATURES).tolist()}
        for name in EVALUATORS
    ]


def made_search(storage: Storage, number: int) -> None:
    """A search of thirty trials."""
    share = {"value": 0.3, "low": 0.2, "high": 0.42}
    trial = {"state": "complete", "accuracy": share, "attack_success": share, "accuracy_loss": 0.5}
    record = {
        "search": f"made-{number}",
        "name": "made",
        "created": f"2026-01-02T00:00:{number % 60:02d}+00:00",
        "trials": [{**trial, "number": n, "settings": {"a": n}} for n in range(30)],
        "undefended": {"accuracy": share, "attack_success": {**share, "value": 0.9, "low": 0.8}},
        "recommended": 3,
    }
    storage.write_json(f"searches/made-{number}/search.json", record)


def measured(runs: int) -> dict[str, float]:
    """Seconds and bytes of an index of so many runs."""
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(folder)
        for number in range(runs):
            made_run(Store(storage), number)
        for number in range(runs // 10):
            made_search(storage, number)
        began, worked = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            place = write_index(folder)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - worked
        page = Path(place).read_bytes()
    return {
        "runs": runs,
        "searches": runs // 10,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "cpu_milliseconds_a_run": round(1000 * cpu_seconds / runs, 1),
        "kilobytes": round(len(page) / 1000, 1),
        "kilobytes_compressed": round(len(gzip.compress(page)) / 1000, 1),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print, a line of JSON a number of runs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 100])
    for runs in parser.parse_args(words).runs:
        print(json.dumps(measured(runs)))


if __name__ == "__main__":
    main()
