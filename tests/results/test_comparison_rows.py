"""Real held-out pictures and chance, which every table of success holds: by hand, and in every output."""

from __future__ import annotations

import dataclasses
import io
import math
import re

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from inversionlab.api.report import Report
from inversionlab.metrics import Estimate, by_person, wilson
from inversionlab.report.audit.page import render
from inversionlab.report.audit.terminal import terminal_table
from inversionlab.results.comparison_rows import comparison_rows, recognized
from inversionlab.results.evaluator_results import METRICS
from inversionlab.results.load import RunData
from inversionlab.results.run_results import RunResults
from inversionlab.store.tables import SCHEMAS
from tests.report.fake_run import FEATURES, GALLERIES, fake_run, with_record
from tests.report.hand_run import hand_run

RANKS = [1, 1, 2, 6, 1, 5]
"""Of real pictures of three people, two each."""
ALIKE = [0.9, 0.8, 0.6, 0.1, 0.7, 0.5]
TOP5 = METRICS[1]


def judged(run: RunData, similarity: list[float], evaluator: str = "same") -> RunData:
    """The run with an evaluator's verdicts on real pictures."""
    rows = [
        {"evaluator": evaluator, "person": i // 2, "rank": rank, "similarity": alike}
        for i, (rank, alike) in enumerate(zip(RANKS, similarity, strict=True))
    ]
    return dataclasses.replace(run, held_out=pa.Table.from_pylist(rows, SCHEMAS["held_out"]))


@pytest.fixture
def plain() -> RunData:
    run = hand_run({("a", "none"): [1, 9], ("random_latent", "none"): [9, 9]}, {"none": 950})
    return with_record(run, data={"private_people": 40, "evaluator_people": 12})


def test_the_ceiling_is_judged_as_a_reconstruction_is(plain: RunData) -> None:
    real, _ = comparison_rows(judged(plain, [math.nan] * 6))
    (found,) = real.by_evaluator
    person_N = np.arange(6) // 2
    assert found["top1"] == by_person(np.array(RANKS) == 1, person_N)
    assert found["top5"] == by_person(np.array(RANKS) <= 5, person_N)
    assert found["median_rank"] == 1.5
    assert not found.keys() & {"distance", "accepted_1", "frechet"}


def test_an_evaluators_accuracy_counts_people_and_in_an_older_store_pictures(
    plain: RunData,
) -> None:
    assert recognized(plain) == {"same": wilson(950, 1000)}
    seen = judged(plain, [math.nan] * 6)
    assert recognized(seen) == {"same": by_person(np.array(RANKS) == 1, np.arange(6) // 2)}
    unseen = plain.evaluators.to_pylist()[0] | {"correct": 0, "total": 0}
    nobody = pa.Table.from_pylist([unseen], plain.evaluators.schema)
    assert recognized(dataclasses.replace(plain, evaluators=nobody)) == {"same": None}


def test_with_a_gallery_it_says_who_a_matcher_would_accept(plain: RunData) -> None:
    # The targets' 50 private pictures against two others are 100 impostors, at a cosine of 0.65 at most.
    galleries = [
        {"evaluator": "same", "person": k, "feature": [math.cos(a), math.sin(a)]}
        for k, a in enumerate([0.0, math.acos(0.65), 1.5])
    ]
    private = [{"evaluator": "same", "target": 0, "feature": [1.0, 0.0]}] * 50
    run = dataclasses.replace(
        judged(plain, ALIKE),
        galleries=pa.Table.from_pylist(galleries, GALLERIES),
        features=pa.Table.from_pylist(private, FEATURES),
    )
    (found,) = comparison_rows(run)[0].by_evaluator
    assert found["distance"] == pytest.approx(1 - np.mean(ALIKE))
    # Equal impostors are all refused, so 0.7 and more are accepted.
    accepted = found["accepted_1"]
    assert isinstance(accepted, Estimate)
    assert accepted == by_person(np.array(ALIKE) > 0.65, np.arange(6) // 2)


def test_an_older_store_knows_how_many_are_recognized(plain: RunData) -> None:
    real, _ = comparison_rows(plain)
    assert real.by_evaluator == ({"top1": wilson(950, 1000)},)
    assert real.text(TOP5, 0) == "–"


@pytest.mark.parametrize(
    ("people", "protocol", "among"),
    [(None, "same_people", 40), (7, "same_people", 7), (None, "person_disjoint", 14)],
)
def test_chance_is_a_guess_among_those_whom_the_evaluator_knows(
    plain: RunData, people: int | None, protocol: str, among: int
) -> None:
    evaluator = {**plain.evaluators.to_pylist()[0], "protocol": protocol, "people": people}
    table = pa.Table.from_pylist([evaluator], SCHEMAS["evaluators"])
    # A disjoint evaluator knows the two targets and the evaluator-only people.
    run = with_record(
        dataclasses.replace(plain, evaluators=table), jobs={"targets": [0, 1], "repeats": 1}
    )
    _, chance = comparison_rows(run)
    (found,) = chance.by_evaluator
    share = found["top5"]
    assert isinstance(share, Estimate)
    assert share.value == share.low == share.high == 5 / among
    assert found["median_rank"] == (among + 1) / 2
    assert chance.text(TOP5, 0) == f"{500 / among:.1f}%"


def test_five_guesses_among_fewer_people_are_certain(plain: RunData) -> None:
    few = with_record(plain, data={"private_people": 4})
    assert comparison_rows(few)[1].text(TOP5, 0) == "100.0%"
    nobody = with_record(plain, data={})
    assert comparison_rows(nobody)[1].text(TOP5, 0) == "–"


def test_every_table_of_success_holds_both_rows(run: RunData) -> None:
    run = judged(run, [math.nan] * 6, "same_people")
    results = RunResults.of(run)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(terminal_table(results))
    printed = console.export_text()
    report = Report(run, "runs")
    shown = results.comparisons[0].text(TOP5, 0)
    assert shown.startswith("83.3% (")
    for output in (printed, report._repr_html_()):
        assert re.search(rf"real held-out pictures.*{re.escape(shown)}", output, re.DOTALL)
        assert re.search(r"chance.*4\.2%", output, re.DOTALL)
    page = render(run, pictures=False)
    for section in ("results", "defenses"):
        part = re.search(rf'<section id="{section}">.*?</section>', page, re.DOTALL)
        if part is not None:
            assert ">real held-out pictures</th>" in part[0]
            assert ">chance</th>" in part[0]
            assert ">random latent" in part[0]
    assert '<section id="results">' in page
    table = report.table.set_index("kind")
    assert table.loc["real", "top5"] == pytest.approx(5 / 6)
    assert table.loc["chance", "top1"] == 1 / 120
    assert report.evaluators["kind"].tolist().count("chance") == 2


def test_side_by_side_the_rows_stand_below_the_models() -> None:
    run = fake_run(alphas=(0.25,))
    page = render(with_record(run, sweep=None, cells=_unswept(run)), pictures=False)
    part = re.search(r'<section id="defenses">.*?</section>', page, re.DOTALL)
    assert part is not None
    for name in ("real held-out pictures", "chance", "random latent", "random public"):
        assert f">{name}</th>" in part[0]


def _unswept(run: RunData) -> list[dict[str, object]]:
    return [{**cell.model_dump(), "point": None} for cell in run.record.cells]
