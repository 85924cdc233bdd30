"""How far Khosravy's clones are from the mean faces that they start from."""

import numpy as np
import torch

from inversionlab.attacks import AttackJobs
from inversionlab.attacks.pixel_gray_box import PixelGrayBox
from inversionlab.core.images import from_png
from inversionlab.metrics import Estimate
from inversionlab.metrics.mean_by_person import mean_by_person
from inversionlab.pipeline.session import Session

REPEATS = 10
"""Clones of each person that are looked at."""
CLONE_CHANGE = "clone_change"


def clone_change(session: Session) -> dict[str, Estimate]:
    """By the attack's title the mean absolute change of a pixel, in levels of 255; the unit is the person."""
    found = {}
    for cell in session.plan.cells:
        if cell.attack.name != "pixel_gray_box" or not cell.baseline:
            continue
        attack = PixelGrayBox(cell.attack, session.builder.attacker_context(cell))
        rows = session.store.reconstructions([cell.id]).select(["target", "repeat", "picture"])
        changes, people = [], []
        for row in rows.to_pylist():
            if row["repeat"] < REPEATS:
                jobs = AttackJobs(torch.tensor([row["target"]]), torch.tensor([row["repeat"]]))
                apart = from_png(row["picture"]).float() - 255 * attack.starts(jobs)[0].cpu()
                changes.append(float(apart.abs().mean()))
                people.append(row["target"])
        if changes:
            found[cell.attack.title] = mean_by_person(np.array(changes), np.array(people))
    return found
