"""The record of a search, made from a store that was filled by hand. No cluster needed."""

from __future__ import annotations

import pytest
from ray import tune

from inversionlab.defenses.none import NoneSettings
from inversionlab.distributed.cluster import Gpus
from inversionlab.pipeline.measure import measure_model
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session, with_experiment
from inversionlab.results.search import SearchRecord
from inversionlab.tuning import search_record
from inversionlab.tuning.leakage import undefended
from inversionlab.tuning.search import SearchOptions, SearchOutcome, TrialOutcome
from inversionlab.tuning.space import SearchSpace, experiment_at
from tests import tiny

AMPLITUDE = "defense.amplitude"
SPACE = SearchSpace(
    "uniform_noise",
    {AMPLITUDE: tune.loguniform(0.01, 1.0)},
    ({AMPLITUDE: 0.1},),
    {"log_distortion": "min", "attack_success": "min"},
    {"log_distortion": 50.0},
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Session:
    session = tiny.session(
        tmp_path_factory.mktemp("store"),
        defense={"name": "uniform_noise"},
        attacks=[{"name": "label_only", "steps": 4}],
        sweep=None,
    )
    tiny.train_all(session)
    return session


def fill(session: Session, cell: Cell, rank: int) -> None:
    """Rows for every job of a cell, each with the right person at this rank."""
    verdict = {"rank": rank, "score": 0.5, "nearest": 1.0, "feature": [0.0]}
    rows = [
        {
            "cell": cell.id,
            "attack": cell.attack.name,
            "target": target,
            "repeat": repeat,
            "seconds": 1.0,
            "verdicts": [{"evaluator": e.name, **verdict} for e in session.experiment.evaluators],
        }
        for target in session.plan.targets
        for repeat in range(session.experiment.targets.repeats)
    ]
    session.store.write_shard(cell.id, rows)


@pytest.fixture(scope="module")
def record(base: Session) -> SearchRecord:
    """The record of a search of two trials, of which the second never began."""
    settings = {AMPLITUDE: 0.1}
    trial = with_experiment(base, experiment_at(base.experiment, settings))
    for session in (undefended(base), trial):
        for cell in session.plan.cells:
            fill(session, cell, 1 if cell.baseline else 30)
            if cell.defense is not None:
                measure_model(session, cell)
    ended = [
        TrialOutcome(0, settings, len(base.plan.targets), "", False),
        TrialOutcome(1, {AMPLITUDE: 0.2}, 0, "it raised", False),
    ]
    options = SearchOptions(trials=2)
    outcome = SearchOutcome("tiny", base, SPACE, options, ended, Gpus(False, False), {}, [])
    with pytest.MonkeyPatch.context() as patch:
        # Which machines there were is Ray's to say, and there is none.
        patch.setattr(search_record, "provenance", dict)
        return search_record.write_search(outcome)


def test_it_says_whom_the_defense_stops_and_what_is_left_of_it(record: SearchRecord) -> None:
    assert record.recommended == 0
    trial, failed = record.trials
    assert (trial.protects, trial.left) == ("scores, labels", NoneSettings().title)
    assert (failed.protects, failed.left) == (None, None)
    assert record.undefended is not None
    assert record.undefended.left == ""


def test_the_change_of_log_scores_is_an_objective_like_any_other(record: SearchRecord) -> None:
    assert record.undefended is not None
    assert record.undefended.log_distortion == 0.0
    assert record.trials[0].log_distortion is not None
    assert 0 < record.trials[0].log_distortion < 50
    assert record.front == [0]
