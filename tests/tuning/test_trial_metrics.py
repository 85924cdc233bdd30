"""What attacks have found, and which of them is the strongest, by hand. No cluster needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inversionlab.defenses.none import NoneSettings
from inversionlab.metrics import Estimate, by_person
from inversionlab.pipeline.measure import model_key
from inversionlab.tuning.trial_metrics import (
    accuracy,
    defended_cells,
    leak,
    session_guesses,
    trial_metrics,
)
from tests import tiny

HITS = {
    "pixel_gray_box": {"same": 2, "disjoint": 6},
    "latent_white_box": {"same": 4, "disjoint": 5},
}
"""Of 8 reconstructions, how many are successes by each evaluator."""


def hits_of(count: int) -> Estimate:
    """The share where the first `count` of 8 jobs are hits, two jobs a person."""
    return by_person(np.arange(8) < count, np.arange(8) // 2)


PEOPLE = [
    pytest.param({"split.private_people": 12, "targets.pool": 12}, 5, id="many"),
    pytest.param({}, 1, id="few"),
]
"""Changes of the recipe, and how many guesses a try has then."""


@pytest.mark.parametrize(("people", "k"), PEOPLE)
@pytest.mark.parametrize(
    ("headline", "attack", "evaluator", "hits"),
    [("first", "latent_white_box", "same", 4), ("worst", "pixel_gray_box", "disjoint", 6)],
)
def test_the_headline_evaluator_decides(
    tmp_path: Path,
    headline: str,
    attack: str,
    evaluator: str,
    hits: int,
    people: dict[str, int],
    k: int,
) -> None:
    session = tiny.session(tmp_path, sweep=None, headline=headline, **people)
    assert session_guesses(session) == k
    cells = defended_cells(session)
    jobs = [(target, repeat) for target in session.plan.targets for repeat in range(2)]
    ranks = {
        cell.id: {
            job: {name: k if i < n else k + 1 for name, n in HITS[cell.attacker].items()}
            for i, job in enumerate(jobs)
        }
        for cell in cells
    }
    found = leak(session, cells, session.plan.targets, ranks=ranks)
    assert found.reconstructions == 16
    assert found.success["pixel_gray_box"]["disjoint"] == hits_of(6)
    assert found.strongest.attack == attack
    assert session.experiment.evaluators[found.strongest.evaluator].name == evaluator
    assert found.strongest.success == hits_of(hits)
    # Each person has two tries, and the first tries are the hits.
    assert list(found.success_of.values()) == [min(2, max(0, hits - 2 * i)) / 2 for i in range(4)]
    # The first two people have four jobs, all of them hits of the first evaluator on one attack.
    few = leak(session, cells, session.plan.targets[:2], ranks=ranks)
    assert few.success["latent_white_box"]["same"] == by_person(np.full(4, True), np.arange(4) // 2)


def test_a_cell_of_which_nothing_is_stored_is_an_error(tmp_path: Path) -> None:
    session = tiny.session(tmp_path, sweep=None)
    cells = defended_cells(session)
    with pytest.raises(ValueError, match="no reconstruction is stored"):
        leak(session, cells, session.plan.targets, ranks={cell.id: {} for cell in cells})


@pytest.mark.parametrize(("people", "k"), PEOPLE)
def test_a_trial_over_several_victims_is_judged_by_the_pooled_figures(
    tmp_path: Path, people: dict[str, int], k: int
) -> None:
    session = tiny.session(tmp_path, sweep=None, seeds=[0, 1], **people)
    cells = defended_cells(session)
    assert [(c.attacker, c.seed) for c in cells] == [
        (attack, seed) for seed in (0, 1) for attack in ("pixel_gray_box", "latent_white_box")
    ]
    jobs = [(target, repeat) for target in session.plan.targets for repeat in range(2)]
    hits = {0: 6, 1: 1}
    ranks = {
        cell.id: {
            job: {e.name: k if i < hits[cell.seed] else 6 for e in session.experiment.evaluators}
            for i, job in enumerate(jobs)
        }
        for cell in cells
    }
    found = leak(session, cells, session.plan.targets, ranks=ranks)
    both = np.concatenate([np.arange(8) < 6, np.arange(8) < 1])
    assert found.reconstructions == 32
    assert found.strongest.success == by_person(both, np.tile(np.arange(8) // 2, 2))
    assert found.strongest.success.value == 7 / 16
    for seed, (bare, defended) in {0: (90, 80), 1: (70, 70)}.items():
        specs = session.plan.victims[seed]
        for defense, correct in (
            (NoneSettings(), bare),
            (session.experiment.defense, defended),
        ):
            name = specs.model(defense).id
            row = {"protected": name, "correct_all": correct, "total_all": 100}
            row |= {"log_distortion": 0.5 + seed}
            session.store.write("models", model_key(session, name), [row])
    numbers = trial_metrics(session, found, session.plan.targets, {"accuracy_loss": 4.0})
    assert accuracy(session, NoneSettings()).value == 0.8
    assert numbers["accuracy"] == 0.75
    assert numbers["accuracy_loss"] == pytest.approx(5.0)
    assert numbers["log_distortion"] == 1.0
    assert numbers["score"] == pytest.approx(1.01), "one point above the bound"
