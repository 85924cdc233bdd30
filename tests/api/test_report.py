"""The report in Python: its tables against numbers worked out by hand, its pictures, page and notebook view."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest

import inversionlab
from inversionlab.api.report import Report
from inversionlab.core.settings import ConfigError
from inversionlab.metrics import wilson
from inversionlab.results.load import RunData
from tests.report.fake_run import EVALUATORS, fake_run, with_record
from tests.report.hand_run import hand_run, tries

RANKS = {
    ("attack", "none"): [1, 1, 5, 6],
    ("other", "none"): [9, 9, 9, 1],
    ("attack", "0.5"): [6, 7, 2, 8],
    ("random_latent", "none"): [9, 9, 9, 9],
}


@pytest.fixture
def by_hand() -> Report:
    return Report(hand_run(RANKS, {"none": 900, "0.5": 880}), "runs")


def without_evaluators(run: RunData) -> RunData:
    rows = run.reconstructions
    nothing = rows.slice(0, 0)["verdicts"]
    verdicts = [[] for _ in range(rows.num_rows)]
    place = rows.schema.get_field_index("verdicts")
    rows = rows.set_column(place, "verdicts", [_array(verdicts, nothing.type)])
    return dataclasses.replace(run, reconstructions=rows, evaluators=EVALUATORS.empty_table())


def _array(values: list[list[object]], kind: object) -> object:
    import pyarrow as pa

    return pa.array(values, kind)


def test_the_table_has_a_row_an_attack_and_model_with_intervals(by_hand: Report) -> None:
    table = by_hand.table
    assert table[["attack", "model", "kind"]].to_numpy().tolist() == [
        ["attack", "undefended", "undefended"],
        ["attack", "dummy recognizer, alpha = 0.5", "defended"],
        ["other", "undefended", "undefended"],
        ["random_latent", "no model asked", "null"],
        ["real held-out pictures", "no model asked", "real"],
        ["chance", "no model asked", "chance"],
    ]
    first = table.iloc[0]
    top1, top5 = tries(True, True, False, False), tries(True, True, True, False)
    assert first[["top1", "top1_low", "top1_high"]].tolist() == [top1.value, top1.low, top1.high]
    assert first[["top5", "top5_low", "top5_high"]].tolist() == [0.75, top5.low, top5.high]
    assert first["evaluator"] == "same"
    assert first["median_rank"] == 3.0
    # Four rows for two targets: 10 queries, 3 steps and half a second each.
    assert first[["queries", "steps", "seconds"]].tolist() == [20.0, 6.0, 1.0]
    assert first[["confidence", "reconstructions"]].tolist() == [0.5, 4]
    assert bool(first["complete"])
    accuracy = wilson(900, 1000)
    assert first[["accuracy", "accuracy_low"]].tolist() == [0.9, accuracy.low]
    assert table["loss_points"].tolist()[:3] == pytest.approx([0.0, 2.0, 0.0])
    assert table["point"].tolist()[1] == 0.5
    assert math.isnan(table["accuracy"].iloc[3])


def test_one_attack_is_the_strongest_on_each_model(by_hand: Report) -> None:
    chosen = by_hand.table[by_hand.table["strongest"]]
    assert chosen[["attack", "kind"]].to_numpy().tolist() == [
        ["attack", "undefended"],
        ["attack", "defended"],
        ["random_latent", "null"],
    ]


def test_the_models_with_what_a_defense_costs(by_hand: Report) -> None:
    models = by_hand.models
    assert models["model"].tolist() == ["undefended", "dummy recognizer, alpha = 0.5"]
    assert models["accuracy"].tolist() == [0.9, 0.88]
    assert models["target_accuracy"].tolist() == [0.9, 0.9]
    assert models["loss_points"].tolist() == pytest.approx([0.0, 2.0])
    assert models["milliseconds"].tolist() == [1.0, 1.0]


def test_every_evaluator_has_a_row_of_its_own(run: RunData) -> None:
    report = Report(run, "runs")
    assert len(report.evaluators) == 2 * len(report.table)
    first = report.evaluators[report.evaluators["evaluator"] == "same_people"]
    assert first["top5"].fillna(-1).tolist() == report.table["top5"].fillna(-1).tolist()
    second = report.evaluators[report.evaluators["evaluator"] == "person_disjoint"]
    assert second["top5"].tolist() != first["top5"].tolist()


def test_without_evaluators_the_columns_of_success_are_left_out(run: RunData) -> None:
    report = Report(without_evaluators(run), "runs")
    told = {"attack", "model", "confidence", "queries", "accuracy"}
    assert told <= set(report.table.columns)
    unknown = {"top1", "top5", "evaluator", "strongest", "median_rank"}
    assert not unknown & set(report.table.columns)
    assert report.table["confidence"].between(0, 1).any()
    assert len(report.evaluators) == 0
    shown = report._repr_html_()
    assert "success cannot be judged" in shown
    assert "<img" in shown


def test_rows_are_the_reconstructions_as_png_files(run: RunData) -> None:
    report = Report(run, "runs")
    assert report.rows.num_rows == len(run.record.cells) * 12
    assert report.rows["picture"][0].as_py().startswith(b"\x89PNG")


def test_pictures_of_one_attack_as_a_tensor(run: RunData) -> None:
    report = Report(run, "runs")
    pictures = report.pictures("latent_white_box")
    assert pictures.shape == (12, 3, 48, 48)
    assert 0 <= float(pictures.min()) < float(pictures.max()) <= 1
    defended = report.pictures("latent_white_box", "dummy recognizer, alpha = 0.1")
    assert not bool((pictures == defended).all())
    assert report.pictures("random_public").shape == (12, 3, 48, 48)
    with pytest.raises(
        ConfigError, match=r"attack = latent, model = undefended: is not a row of t"
    ):
        report.pictures("latent")


def test_the_page_is_written_where_it_is_asked_for(run: RunData, tmp_path: Path) -> None:
    report = Report(run, "runs")
    place = report.html(tmp_path / "page.html")
    assert place == tmp_path / "page.html"
    assert "data:image/png" in place.read_text()
    bare = report.html(tmp_path / "bare.html", pictures=False).read_text()
    assert "data:image/png" not in bare
    assert "person_000" not in bare


def test_a_notebook_shows_the_headline_the_table_and_pictures(run: RunData) -> None:
    shown = Report(run, "runs")._repr_html_()
    assert "Undefended, the strongest attack (latent white box)" in shown
    # A row for each cell, the ceiling and chance.
    assert len(re.findall("<tr><td>", shown)) == len(run.record.cells) + 2
    assert "data:image/png;base64," in shown
    assert "<script" not in shown
    assert "<style" not in shown


def test_a_notebook_shows_no_pictures_and_no_names_where_they_are_switched_off(
    run: RunData,
) -> None:
    report = Report(run, "runs", pictures=False)
    shown = report._repr_html_()
    assert "<img" not in shown
    assert "person_000" not in shown
    report.pictures_shown = True
    assert "person_000" in report._repr_html_()


def test_what_people_and_runs_are_called_is_escaped() -> None:
    odd = fake_run(alphas=(), people=["<b>a", "<i>b"], attacks=("x",))
    shown = Report(with_record(odd, name="<u>run"), "runs")._repr_html_()
    assert "<b>a" not in shown
    assert "&lt;b&gt;a" in shown
    assert "<u>run" not in shown


def test_it_says_in_a_line_what_it_is(by_hand: Report) -> None:
    assert repr(by_hand) == "Report(r: 4 rows, 16 reconstructions, in runs)"
    assert by_hand.headline.startswith(
        "Undefended, the strongest attack (attack) puts the right person"
    )


def test_an_unfinished_run_has_rows_without_numbers(run: RunData) -> None:
    empty = dataclasses.replace(run, reconstructions=run.reconstructions.slice(0, 0))
    report = Report(empty, "runs")
    assert report.table[~report.table["kind"].isin(["real", "chance"])]["top5"].isna().all()
    assert not report.table["strongest"].any()
    assert "not attacked yet" in report._repr_html_()
    with pytest.raises(ConfigError, match="has no reconstructions of undefended yet"):
        report.pictures("latent_white_box")


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run `gone`; there are none"):
        inversionlab.load_report("gone", tmp_path)
