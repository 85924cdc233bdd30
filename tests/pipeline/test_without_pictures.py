"""An audit of a given victim without private pictures, stage by stage in this process, up to its page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from inversionlab.core.settings import ConfigError, validate
from inversionlab.distributed.attack_worker import AttackWorker
from inversionlab.distributed.run_record import WorkDone, describe, store_real, write_record
from inversionlab.distributed.train_worker import train_network
from inversionlab.distributed.work_items import Shard, WorkContext, missing_measurements
from inversionlab.experiment import Experiment
from inversionlab.experiment.sections import ExperimentSections
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.pipeline import measure
from inversionlab.pipeline.endpoint import begin
from inversionlab.pipeline.given_record import given_victim_record
from inversionlab.pipeline.session import Session, missing_jobs, store_given
from inversionlab.pipeline.train import alone
from inversionlab.pipeline.victim_check import check_victim
from inversionlab.report.audit.page import render
from inversionlab.report.audit.sentence import headline_sentence
from inversionlab.results.load import RunData, load_run
from inversionlab.results.run_results import RunResults
from inversionlab.store.storage import Storage
from inversionlab.tuning.space import check_space, load_space
from tests import tiny
from tests.given.outside_model import OutsideNet

PEOPLE = tuple(f"somebody {letter}" for letter in "abcdef")


def recipe(folder: Path, **changed: Any) -> dict[str, Any]:
    """A given model of six people, whose names alone are known."""
    torch.manual_seed(0)
    torch.save(OutsideNet(len(PEOPLE), 1).state_dict(), folder / "net.pth")
    (folder / "classes.txt").write_text("\n".join(PEOPLE))
    victim = {
        "model": "tests.given.outside_model:OutsideNet",
        "arguments": {"classes": len(PEOPLE), "channels": 1},
        "weights": str(folder / "net.pth"),
        "classes": str(folder / "classes.txt"),
        "preprocessing": {"mean": [0.5], "std": [0.5]},
    }
    public = {**tiny.RECIPE["data"], "seed": 5}
    made = tiny.recipe(victim=victim, public_data=public, evaluators=[], sweep=None)
    return {**made, "data": None, "split": {}, "defense": {"name": "none"}, **changed}


def experiment(folder: Path, **changed: Any) -> Experiment:
    return validate(Experiment, recipe(folder, **changed), origin="recipe")


def audited(session: Session) -> None:
    """Train, measure and attack whatever is missing, as workers do."""
    store_given(session)
    store_real(session)
    for spec in session.plan.specs:
        if not session.artifacts.finished(spec):
            train_network(session, spec, alone(tiny.CPU))
    worker = AttackWorker(gpu=False)
    context = WorkContext(session.spec, session.plan.data_id, None, {})
    for item in missing_measurements(session, session.plan.cells, context, set()):
        worker.run(item)
    for cell in session.plan.work.values():
        jobs, _ = missing_jobs(session, cell, session.plan.targets)
        if work := tuple(jobs):
            worker.run(Shard(context, cell.id, work))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    folder = tmp_path_factory.mktemp("unjudged")
    threads = torch.get_num_threads()
    session = begin(experiment(folder), Storage(str(folder / "runs")))
    assert describe(session).startswith("6 people by name alone (0 training and 0 test pictures)")
    checked = list(check_victim(session))
    assert checked == [
        "no private pictures: the model's accuracy is not known, and success cannot be judged"
    ]
    given = given_victim_record(session, checked)
    try:
        audited(session)
    finally:
        torch.set_num_threads(threads)
    name = write_record(session, {}, WorkDone(), given)
    return load_run(session.store.storage, name)


def test_the_models_row_says_that_its_accuracy_is_not_known(run: RunData) -> None:
    (row,) = run.models.to_pylist()
    assert (row["correct_all"], row["total_all"]) == (0, 0)
    assert (row["correct_targets"], row["total_targets"]) == (0, 0)
    assert math.isnan(row["distortion"])
    assert row["milliseconds"] > 0, "measured on public pictures"
    # Six people: the largest score is at least a sixth.
    assert 1 / 6 <= json.loads(row["facts"])["stranger_score"] <= 1


def test_attacks_ran_and_nobody_judged_them(run: RunData) -> None:
    rows = run.reconstructions.to_pylist()
    assert len(rows) == (2 + 2) * 4 * 2
    assert all(row["verdicts"] == [] and row["picture"] for row in rows)
    assert {row["person"] for row in rows} <= set(PEOPLE)
    by_attack: dict[str, list[float]] = {}
    for row in rows:
        by_attack.setdefault(row["attack"], []).append(row["confidence"])
    assert all(
        math.isnan(c) for name in ("random_latent", "random_public") for c in by_attack[name]
    )
    assert all(0 <= c <= 1 for c in by_attack["latent_white_box"])
    assert (run.references.num_rows, run.evaluators.num_rows, run.features.num_rows) == (0, 0, 0)


def test_its_page_and_headline_say_so(run: RunData) -> None:
    assert not run.record.judged
    results = RunResults.of(run)
    assert headline_sentence(results).startswith("Success cannot be judged")
    page = render(run, pictures=True)
    assert page.count("<img") == 4 * 4, "four targets; two attacks and two null attacks"
    closed = render(run, pictures=False)
    assert "<img" not in closed
    assert not [name for name in PEOPLE if name in closed]


def test_the_record_says_what_the_victim_is(run: RunData) -> None:
    given = run.record.given
    assert given is not None
    assert (given.model, given.weights) == ("tests.given.outside_model:OutsideNet", "net.pth")
    assert (given.answers, given.shows, given.people) == ("logits", "white box", 6)
    assert given.preprocessing == "size as it is; gray; range 0..1; mean 0.5; std 0.5; NCHW"
    assert (given.why, given.fault) == ("", "")
    by_role = {a.role.partition(" ")[0]: a.given for a in run.record.artifacts}
    assert by_role == {"victim": True, "generator": False}


def test_a_search_is_refused(tmp_path: Path) -> None:
    space = load_space(Path("search_spaces/uniform_noise.py"))
    defended = experiment(tmp_path, defense={"name": "uniform_noise"})
    with pytest.raises(ConfigError) as refused:
        check_space(space, defended)
    said = str(refused.value)
    assert "evaluators: the recipe `tiny` has none, and a search compares models by" in said
    assert "name the folder of the people whom the model knows as `data`" in said


def test_an_endpoint_is_asked_for_no_footprint_and_no_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = begin(experiment(tmp_path), Storage(str(tmp_path / "runs")))
    victim = session.builder.recognizer("victim")
    monkeypatch.setattr(victim, "features", lambda x: pytest.fail("it was asked"))
    behind = EndpointSettings(url="http://127.0.0.1:9/identify")
    monkeypatch.setattr(ExperimentSections, "endpoint", property(lambda self: behind))
    cell = next(c for c in session.plan.cells if c.defense is not None)
    measure.measure_model(session, cell)
    (row,) = session.store.read("models", measure.model_key(session, cell.protected)).to_pylist()
    unknown = ("milliseconds", "networks", "parameters", "memory")
    assert [row[name] for name in unknown] == [None] * 4
    assert (row["facts"], row["total_all"]) == ("{}", 0)
