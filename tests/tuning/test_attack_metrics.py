"""Acceptance, likeness and sets of pictures as a search's metrics, from a store that is written by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.metrics.prdc import Balls, prdc
from inversionlab.pipeline.measure import evaluator_key, model_key
from inversionlab.pipeline.missing import missing_models
from inversionlab.pipeline.session import Session
from inversionlab.results.evaluator_results import METRICS
from inversionlab.tuning.attack_metrics import ATTACK_METRICS, attack_metrics, unfit_metrics
from inversionlab.tuning.trial_metrics import (
    defended_cells,
    leak,
    refuse_unknown,
    trial_metrics,
)
from tests import tiny

PRIVATE = [[1.0, 0.1 * k] for k in range(4)]
"""An evaluator's features of a target's private pictures."""
MADE = {"pixel_gray_box": [[1.0, 0.0], [0.6, 0.8]], "latent_white_box": [[0.0, 1.0], [-1.0, 0.0]]}
"""The features of each attack's two reconstructions of each of two targets."""
RANKS = {"pixel_gray_box": ([1, 3], [2, 1]), "latent_white_box": ([6, 1], [1, 1])}
"""Of each attack's two tries at a target, the ranks by both evaluators."""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Two attacks on two targets, twice each: the first evaluator has a gallery of six people."""
    evaluators = [
        {**tiny.RECIPE["evaluators"][0], "name": "near", "protocol": "nearest_identity"},
        tiny.RECIPE["evaluators"][1],
    ]
    made = tiny.session(tmp_path, sweep=None, evaluators=evaluators, **{"targets.count": 2})
    for name in ("near", "disjoint"):
        rows = [
            {"evaluator": name, "target": target, "feature": feature}
            for target in made.plan.targets
            for feature in PRIVATE
        ]
        made.store.write("features", evaluator_key(made, name), rows)
    people = [{"evaluator": "near", "person": k, "feature": [1.0, 0.0]} for k in range(6)]
    made.store.write("galleries", evaluator_key(made, "near"), people)
    for cell in defended_cells(made):
        rows = [
            {
                "cell": cell.id,
                "target": target,
                "repeat": repeat,
                "verdicts": [
                    {"evaluator": name, "rank": RANKS[cell.attacker][place][repeat], "nearest": 1.0}
                    | {"feature": MADE[cell.attacker][repeat]}
                    for place, name in enumerate(("near", "disjoint"))
                ],
            }
            for target in made.plan.targets
            for repeat in range(2)
        ]
        made.store.write_shard(cell.id, rows)
    return made


def found(session: Session, *wanted: str) -> dict[str, float]:
    return attack_metrics(session, defended_cells(session), session.plan.targets, wanted)


def test_the_attack_that_is_worst_for_the_defender_decides(session: Session) -> None:
    assert found(session) == {}
    assert found(session, "accuracy") == {}
    shares = found(session, "top1", "any_top1", "distance")
    # By the first evaluator both attacks name each person in one of two tries.
    assert shares == {"top1": 0.5, "any_top1": 1.0, "distance": pytest.approx(0.2)}
    only = attack_metrics(session, defended_cells(session)[1:], session.plan.targets, ["distance"])
    # The cosines to the gallery are 0 and -1.
    assert only == {"distance": pytest.approx(1.5)}


def test_the_other_evaluators_are_denied_by_the_first(session: Session) -> None:
    # `disjoint` takes one of two tries of the first attack for the person, which `near` ranks third: all denied.
    # Of the second attack it takes both, and `near` denies one.
    assert found(session, "denied") == {"denied": 0.5}
    first = attack_metrics(session, defended_cells(session)[:1], session.plan.targets, ["denied"])
    assert first == {"denied": 1.0}


def test_sets_of_pictures_are_compared_with_all_private_ones(session: Session) -> None:
    private = Balls.around(np.array(PRIVATE * 2))
    sets = [Balls.around(np.array(MADE[name] * 2)) for name in MADE]
    expected = [prdc(made, private) for made in sets]
    for key in ("precision", "recall", "density", "coverage"):
        wanted = max(getattr(p, key) for p in expected)
        assert found(session, key) == {key: pytest.approx(wanted)}


def test_a_rate_that_too_few_impostors_tell_is_not_known(session: Session) -> None:
    # 8 private pictures against 5 others each are 40 impostors.
    assert math.isnan(found(session, "accepted_1")["accepted_1"])
    with pytest.raises(
        ConfigError, match="accepted_1: is not known for x; it takes a headline eval"
    ):
        refuse_unknown({"accuracy": 1.0}, ["accuracy", "accepted_1"], "x")


def test_what_a_search_may_name_is_what_the_tables_hold() -> None:
    assert {*("accepted_1", "accepted_01", "any_top1", "denied", "distance")} <= set(ATTACK_METRICS)
    # A search has neither the Fréchet distance nor the distance of the means alone.
    assert {m.key for m in METRICS if m.detail} == set(ATTACK_METRICS) - {"top1"} | {"feature_mean"}
    assert {ATTACK_METRICS[key] for key in ("distance", "denied")} == {"max"}


def test_what_no_evaluator_of_the_recipe_tells_is_refused_at_load() -> None:
    plain = tiny.experiment(sweep=None)
    (told,) = unfit_metrics(plain, ["accuracy", "accepted_1"])
    assert told.startswith(
        "accepted_1: it takes a headline evaluator with a gallery (protocol `emb"
    )
    alone = tiny.experiment(sweep=None, evaluators=plain.model_dump(mode="json")["evaluators"][:1])
    assert list(unfit_metrics(alone, ["denied"])) == [
        "denied: it takes a second evaluator, which may contradict the first one"
    ]
    assert list(unfit_metrics(plain, ["denied", "precision", "others_taken"])) == []


def measured(session: Session, **numbers: Any) -> None:
    """Store what is known of the victim and of the defended model."""
    for protected in {cell.protected for cell in session.plan.cells if cell.protected}:
        row = {"protected": protected, "correct_all": 9, "total_all": 10, "facts": "{}"} | numbers
        session.store.write("models", model_key(session, protected), [row])
        session.store.write("references", model_key(session, protected), [])


def test_a_bound_that_an_old_store_lacks_is_measured_again_and_no_key_error(
    session: Session,
) -> None:
    cells, targets, known = defended_cells(session), session.plan.targets, set[str]()
    measured(session)
    told = leak(session, cells, targets)
    numbers = trial_metrics(session, told, targets, {"others_taken": 1.0})
    assert not numbers.keys() & {"score", "others_taken", "log_distortion"}
    assert missing_models(session, cells, known) == []
    assert missing_models(session, cells, known, ["others_taken"]) == cells[:1]
    measured(session, others_taken=3.0, strangers_accepted=math.nan)
    assert missing_models(session, cells, known, ["others_taken", "strangers_accepted"]) == []
    numbers = trial_metrics(session, told, targets, {"others_taken": 1.0})
    assert numbers["others_taken"] == 3
    assert numbers["score"] == pytest.approx(1.02)
    # What cannot be known is left out: every metric that a trial reports is finite.
    assert "strangers_accepted" not in numbers
    with pytest.raises(
        ConfigError,
        match=r"strangers_accepted: is not known for .*; it takes evaluator-only people",
    ):
        refuse_unknown(numbers, ["strangers_accepted"], "it")


def test_objectives_of_a_search_are_among_a_trials_metrics(session: Session) -> None:
    measured(session)
    told = leak(session, defended_cells(session), session.plan.targets)
    numbers = trial_metrics(session, told, session.plan.targets, {"any_top1": 0.5}, ["distance"])
    assert numbers["distance"] == pytest.approx(0.2)
    assert numbers["score"] == pytest.approx(1.005)
    plain = trial_metrics(session, told, session.plan.targets, {})
    assert not plain.keys() & ATTACK_METRICS.keys()
