"""The record of a search, made from a store that was filled by hand. No cluster needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from inversionlab.defenses.none import NoneSettings
from inversionlab.distributed.cluster import Gpus
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.measure import evaluator_key, measure_model, model_key
from inversionlab.pipeline.session import Session, with_experiment
from inversionlab.results.search import SearchRecord
from inversionlab.tuning import search_record
from inversionlab.tuning.search import SearchOptions, SearchOutcome, TrialOutcome
from inversionlab.tuning.space import SearchSpace, experiment_at
from inversionlab.tuning.trial_metrics import undefended
from tests import tiny
from tests.golden.collect import golden

AMPLITUDE = "defense.amplitude"
SPACE = SearchSpace(
    "uniform_noise",
    {AMPLITUDE: tune.loguniform(0.01, 1.0)},
    ({AMPLITUDE: 0.1},),
    {"log_distortion": "min", "attack_success": "min"},
    {"log_distortion": 50.0},
)


def trained(root: Path, **changed: Any) -> Session:
    session = tiny.session(
        root,
        defense={"name": "uniform_noise"},
        attacks=[{"name": "label_only", "steps": 4}],
        sweep=None,
        **changed,
    )
    tiny.train_all(session)
    return session


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return trained(tmp_path_factory.mktemp("store"))


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
    return searched(base, lambda cell: 1 if cell.baseline else 30)


def searched(base: Session, rank: Callable[[Cell], int]) -> SearchRecord:
    """The record of such a search with the same rank in all rows of a cell."""
    settings = {AMPLITUDE: 0.1}
    trial = with_experiment(base, experiment_at(base.experiment, settings))
    for session in (undefended(base), trial):
        for cell in session.plan.cells:
            fill(session, cell, rank(cell))
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
        patch.setattr(search_record, "machine", str)
        return search_record.write_search(outcome)


def test_it_records_which_attackers_the_defense_stops_and_what_is_left(
    record: SearchRecord,
) -> None:
    assert record.recommended == 0
    trial, failed = record.trials
    assert (trial.protects, trial.left) == ("scores, labels", NoneSettings().title)
    assert (failed.protects, failed.left) == (None, None)
    assert record.undefended is not None
    assert record.undefended.left == ""


def test_it_records_how_many_real_pictures_each_evaluator_recognizes(base: Session) -> None:
    measured, other = (e.name for e in base.experiment.evaluators)
    rows = [
        {"evaluator": measured, "person": person, "rank": rank, "similarity": 0.5}
        for person, rank in enumerate((1, 1, 2, 30))
    ]
    key = evaluator_key(base, measured)
    base.store.write("held_out", key, rows)
    found = searched(base, lambda cell: 30)
    # With few people a try has one guess. Nothing is known of the other evaluator.
    assert found.guesses == 1
    assert other not in found.real
    assert found.real[measured].value == 0.5


def test_the_change_of_log_scores_is_an_objective_like_any_other(record: SearchRecord) -> None:
    assert record.undefended is not None
    assert record.undefended.log_distortion == 0.0
    assert record.trials[0].log_distortion is not None
    assert 0 < record.trials[0].log_distortion < 50
    assert record.front == [0]


def test_the_file_has_the_keys_that_it_always_had(base: Session, record: SearchRecord) -> None:
    plain = base.store.storage.read_json("searches/tiny/search.json")
    known = [key.split(".") for key in golden("records.json", dict)["search.json"]]
    # The golden search is too short for importance.
    later = {"guesses", "aware", "aware_attack", "real", "people"}
    assert set(plain) - {"importance"} - later == {key.removesuffix("[]") for key, *_ in known}
    for where, part in (("trials[]", plain["trials"][0]), ("undefended", plain["undefended"])):
        below = {key[1].removesuffix("[]") for key in known if key[0] == where and len(key) > 1}
        assert set(part) - {"by_chance"} == below
    assert plain["trials"][0]["strongest"] == {"attack": "label_only", "judge": "same"}
    # Of four people all or none says too little.
    assert (record.helps, plain["rejudged"]) == (False, None)


RECIPE = "searches/tiny/recommended.yaml"


def test_only_what_is_clearly_better_than_undefended_gets_a_recipe(tmp_path: Path) -> None:
    base = trained(tmp_path, **{"targets.count": 6})
    store = base.store.storage
    known = {"evaluator": "same", "people": 16}
    base.store.write("evaluators", evaluator_key(base, "same"), [known])
    # Undefended all six people are found, defended none.
    record = searched(base, lambda cell: 1 if cell.baseline else 30)
    assert record.helps
    # All of six differences have one sign, and there was no other model to choose.
    assert (record.best.by_chance, record.by_chance) == (1 / 64, 1 / 64)
    assert record.undefended.by_chance is None
    assert record.people == {"same": 16}
    assert record.audited is not None
    assert store.read(RECIPE).startswith(b"# Trial 0 of the search tiny")
    record = searched(base, lambda cell: 1)
    assert not record.helps
    assert (record.recommended, record.audited) == (0, None)
    assert not store.exists(RECIPE)


def test_what_is_read_is_written_again_as_it_was(base: Session, record: SearchRecord) -> None:
    plain = base.store.storage.read_json("searches/tiny/search.json")
    again = SearchRecord.model_validate(plain)
    whole = again.model_dump(mode="json", by_alias=True)
    assert {k: v for k, v in whole.items() if k != "undefended"} == {
        k: v for k, v in plain.items() if k != "undefended"
    }
    assert again.best is again.trials[0]
    assert record.best is not None
    assert again.best.metric("attack_success") == record.best.metric("attack_success")


def test_a_search_over_several_victims_records_the_pooled_figures(tmp_path: Path) -> None:
    base = trained(tmp_path, seeds=[0, 5])
    # The undefended victims and the null attacks are found; of the defended ones the second.
    found = searched(base, lambda cell: 1 if cell.baseline or cell.seed == 5 else 30)
    trial = found.trials[0]
    assert trial.attack_success is not None
    assert trial.attack_success.value == 0.5
    assert (trial.targets, trial.reconstructions) == (4, 2 * 8)
    assert trial.complete
    plan = with_experiment(base, experiment_at(base.experiment, trial.settings)).plan
    first = next(c for c in plan.cells if not c.baseline and c.seed == 0)
    assert (trial.cells, trial.protected) == ({"label_only": first.id}, first.protected)
    assert found.undefended is not None
    assert found.undefended.attack_success is not None
    assert found.undefended.attack_success.value == 1.0
    assert trial.accuracy is not None
    each = [
        base.store.read("models", model_key(base, c.protected)).to_pylist()[0]["correct_all"]
        for c in plan.cells
        if c.defense is not None and not c.baseline
    ]
    tests = len(base.builder.splits.test)
    assert trial.accuracy.value == pytest.approx(sum(each) / (2 * tests))
    assert found.experiment["seeds"] == [0, 5]
