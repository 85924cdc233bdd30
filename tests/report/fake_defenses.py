"""A random but plausible run of several defenses side by side, one of which a white-box attacker takes off."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pyarrow as pa

from inversionlab.results.load import RunData
from tests.report.fake_run import (
    MODELS,
    NULLS,
    RECONSTRUCTIONS,
    _reconstructions,
    fake_run,
    with_record,
)

ATTACKS = {
    "latent_white_box": "white box",
    "mirror": "white box",
    "plug_and_play": "scores",
    "inversion_model": "scores",
}
DEFENSES = {
    "none": ("none", "none", 1.0),
    "gand": ("gan_fake_samples", "GAN-D", 0.1),
    "noise": ("adversarial_noise", "Ad-mi", 0.2),
    "dp": ("dp_sgd", "dp_sgd", 0.5),
}
"""Registered name, title and how much is left, by the released model's id."""


def defended_cells() -> list[dict[str, Any]]:
    """Every attack on every model; white-box attacks on Ad-mi a second time, stripped: the victim's cells."""
    found = [
        {"cell": n, "attack": n, "defense": "", "title": "", "protected": "", "label": n}
        | {"point": None, "baseline": True, "stripped": False, "access": ""}
        for n in NULLS
    ]
    for attack, access in ATTACKS.items():
        for protected, (defense, title, _) in DEFENSES.items():
            cell = {
                "cell": f"{attack}@{protected}",
                "attack": attack,
                "defense": defense,
                "title": title,
                "protected": protected,
                "label": f"{attack} on {title}",
                "point": None,
                "baseline": defense == "none",
                "access": access,
                "stripped": False,
                "knows_defense": False,
                "inverts_outputs": attack == "inversion_model",
            }
            found.append(cell)
            if protected == "noise" and access == "white box":
                found.append({**cell, "cell": f"{attack}@none", "stripped": True})
    return found


def defended_run(*, targets: int = 6, repeats: int = 2, seed: int = 1) -> RunData:
    """A run without a sweep."""
    base = fake_run(alphas=(), targets=targets, repeats=repeats)
    rng, cells = np.random.default_rng(seed), defended_cells()
    people = [f"person_{t:03d}" for t in range(targets)]
    rows = []
    for cell in {c["cell"]: c for c in cells if not c["stripped"]}.values():
        left = DEFENSES.get(cell["protected"], ("", "", 1.0))[2]
        made = _reconstructions(
            rng, {**cell, "point": left}, people, repeats, ("same_people", "person_disjoint")
        )
        for row in made:
            row["error"] = 0.3 - 0.2 * left if cell["attack"] == "inversion_model" else None
        rows += made
    return dataclasses.replace(
        with_record(base, sweep=None, cells=cells, name="table_of_defenses"),
        reconstructions=pa.Table.from_pylist(rows, RECONSTRUCTIONS),
        models=pa.Table.from_pylist([_model(name) for name in DEFENSES], MODELS),
    )


def _model(protected: str) -> dict[str, Any]:
    defense, _, left = DEFENSES[protected]
    output = protected == "noise"
    return {
        "protected": protected,
        "defense": defense,
        "defense_settings": "{}",
        "correct_all": 571 if output else round(600 * (0.952 - 0.4 * (protected == "dp"))),
        "total_all": 600,
        "correct_targets": 95 - 30 * (protected == "dp"),
        "total_targets": 100,
        "milliseconds": 20.5 if output else 1.4,
        "networks": 1 + output,
        "parameters": 11_173_962 * (1 + output),
        "memory": 4_400_000 if output else 1_300_000,
        "distortion": 0.0 if protected == "none" else 1.2 - left,
        "log_distortion": 0.0 if protected == "none" else 2.2 - left,
        "protects": {"none": "", "noise": "scores, labels"}.get(
            protected, "white box, scores, labels"
        ),
        "left": "none" if output else "",
        "facts": json.dumps({"epsilon": 8.0} if protected == "dp" else {}),
    }
