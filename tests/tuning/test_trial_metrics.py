"""What attacks have found, and which of them is the strongest, by hand. No cluster needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inversionlab.metrics import Estimate, by_person
from inversionlab.tuning.trial_metrics import defended_cells, leak
from tests import tiny

HITS = {
    "pixel_gray_box": {"same": 2, "disjoint": 6},
    "latent_white_box": {"same": 4, "disjoint": 5},
}
"""Of 8 reconstructions, how many each evaluator puts among its first five."""


def hits_of(count: int) -> Estimate:
    """The share where the first `count` of 8 jobs are hits, two jobs a person."""
    return by_person(np.arange(8) < count, np.arange(8) // 2)


@pytest.mark.parametrize(
    ("headline", "attack", "evaluator", "hits"),
    [("first", "latent_white_box", "same", 4), ("worst", "pixel_gray_box", "disjoint", 6)],
)
def test_the_headline_evaluator_decides(
    tmp_path: Path, headline: str, attack: str, evaluator: str, hits: int
) -> None:
    session = tiny.session(tmp_path, sweep=None, headline=headline)
    cells = defended_cells(session)
    jobs = [(target, repeat) for target in session.plan.targets for repeat in range(2)]
    ranks = {
        cell.id: {
            job: {name: 5 if i < n else 6 for name, n in HITS[cell.attacker].items()}
            for i, job in enumerate(jobs)
        }
        for cell in cells
    }
    found = leak(session, cells, session.plan.targets, ranks)
    assert found.reconstructions == 16
    assert found.success["pixel_gray_box"]["disjoint"] == hits_of(6)
    assert found.strongest.attack == attack
    assert session.experiment.evaluators[found.strongest.evaluator].name == evaluator
    assert found.strongest.success == hits_of(hits)
    # The first two people have four jobs, all of them hits of the first evaluator on one attack.
    few = leak(session, cells, session.plan.targets[:2], ranks)
    assert few.success["latent_white_box"]["same"] == by_person(np.full(4, True), np.arange(4) // 2)


def test_a_cell_of_which_nothing_is_stored_is_an_error(tmp_path: Path) -> None:
    session = tiny.session(tmp_path, sweep=None)
    cells = defended_cells(session)
    with pytest.raises(ValueError, match="no reconstruction is stored"):
        leak(session, cells, session.plan.targets, {cell.id: {} for cell in cells})
