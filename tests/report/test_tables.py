"""The tables that a report writes: their schema is the documented one, and the documented queries run on them."""

from __future__ import annotations

import io
import re
import stat
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inversionlab.report.audit.page import run_figures
from inversionlab.report.charts.figure import FILE_KINDS
from inversionlab.report.files import file_name, write_files
from inversionlab.report.search.page import search_figures
from inversionlab.results.flat import FIXED, flat_table, parquet
from inversionlab.results.frames import (
    attack_frame,
    evaluator_frame,
    model_frame,
    prior_frame,
    trial_frame,
)
from inversionlab.results.load import RunData
from inversionlab.results.run_results import RunResults
from inversionlab.results.search import SearchRecord
from inversionlab.store.storage import Storage
from tests.report.fake_run import fake_run, with_record
from tests.report.fake_search import fake_search, timeline

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "tables.md").read_text()
ROW = re.compile(r"^\|(.*`.*)\|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
QUERIES = re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)


def documented(table: str) -> dict[str, str]:
    """The columns of a table in the document, and their types."""
    section = re.search(rf"^## `{table}`\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)[1]
    found: dict[str, str] = {}
    for names, kind, _, meaning in ROW.findall(section):
        assert meaning.strip(), names
        found |= dict.fromkeys(re.findall(r"`(\w+)`", names), kind.strip())
    return found


def kind_of(values: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(values):
        return "bool"
    if pd.api.types.is_integer_dtype(values):
        return "int64"
    if pd.api.types.is_float_dtype(values):
        return "double"
    return "list" if any(isinstance(v, tuple | list) for v in values) else "string"


@pytest.fixture(scope="module")
def small() -> RunData:
    return fake_run(alphas=(0.25, 0.5), targets=4, repeats=2)


@pytest.fixture(scope="module")
def flat(small: RunData) -> pa.Table:
    return flat_table(RunResults.of(small, frechet=False), names=True)


def test_results_have_the_documented_columns_and_types(flat: pa.Table) -> None:
    assert documented("results") == {field.name: str(field.type) for field in FIXED}
    assert flat.column_names[: len(FIXED)] == FIXED.names
    assert flat.schema.field("defense.alpha").type == pa.float64()
    assert all("." in name for name in flat.column_names[len(FIXED) :])


def test_a_row_for_each_reconstruction_and_evaluator(small: RunData, flat: pa.Table) -> None:
    stored = {
        (r["cell"], r["target"], r["repeat"], v["evaluator"]): v
        for r in small.reconstructions.to_pylist()
        for v in r["verdicts"]
    }
    rows = flat.to_pylist()
    assert len(rows) == len(stored) == small.reconstructions.num_rows * 2
    for row in rows:
        verdict = stored[row["cell"], row["target"], row["repeat"], row["evaluator"]]
        assert row["rank"] == verdict["rank"]
        assert row["top1"] == (verdict["rank"] == 1)
        assert row["success"] == (verdict["rank"] <= row["guesses"] == 5)
        assert row["headline"] == (row["evaluator"] == "same_people")


def test_its_shares_are_those_of_the_attacks(small: RunData, flat: pa.Table) -> None:
    frame = flat.to_pandas()
    mine = frame[frame.headline.astype(bool)].groupby(["attack", "model"]).success.mean()
    attacks = attack_frame(RunResults.of(small, frechet=False)).set_index(["attack", "model"])
    for key, share in mine.items():
        assert share == pytest.approx(attacks.top5[key])


def test_without_names_nobody_is_named(small: RunData) -> None:
    closed = flat_table(RunResults.of(small, frechet=False), names=False)
    assert closed["person"].null_count == closed.num_rows
    assert b"person_00" not in parquet(closed)


def test_what_nobody_judged_has_a_row_too(small: RunData) -> None:
    bare = [row | {"verdicts": None} for row in small.reconstructions.to_pylist()]
    table = pa.Table.from_pylist(bare, small.reconstructions.schema)
    run = RunData(**{**vars(small), "reconstructions": table})
    found = flat_table(RunResults.of(run, frechet=False), names=True)
    assert found.num_rows == table.num_rows
    assert found["evaluator"].null_count == found["success"].null_count == found.num_rows


@pytest.mark.parametrize("table", ["attacks", "models", "priors", "trials"])
def test_frames_have_the_documented_columns_and_types(table: str, small: RunData) -> None:
    results, columns = RunResults.of(small, frechet=False), documented(table)
    if table == "priors":
        # Nothing of this run was fitted; the keys stand in the code.
        assert prior_frame(results).empty
        assert {"generator", "top1_low", "real_top5_high", "fit"} <= set(columns)
        return
    if table == "trials":
        search = SearchRecord.model_validate(fake_search(trials=8))
        frame = trial_frame(search)
        assert list(frame.columns)[len(columns) :] == search.axes
        frame = frame[list(columns)]
    else:
        frame = {"attacks": attack_frame, "models": model_frame}[table](results)
    assert list(frame.columns) == list(columns)
    for name, kind in columns.items():
        if frame[name].notna().any() and not (kind == "double" and name in ("networks", "memory")):
            assert kind_of(frame[name]) in (kind, "object"), name


def test_the_second_opinions_have_the_columns_of_attacks_up_to_coverage(small: RunData) -> None:
    columns = list(documented("attacks"))
    frame = evaluator_frame(RunResults.of(small, frechet=False))
    assert list(frame.columns) == columns[: columns.index("coverage") + 1]


def test_the_tables_of_charts_have_documented_columns_only(small: RunData) -> None:
    search = SearchRecord.model_validate(fake_search(trials=8))
    run = with_record(small, timeline=timeline())
    sections = [*run_figures(RunResults.of(run, frechet=False)).values()]
    sections += search_figures(search).values()
    figures = [figure for section in sections for figure in section]
    found = {column for figure in figures for column in figure.frame.columns}
    assert found == set(documented("chart"))


def test_there_are_ten_queries() -> None:
    assert len(QUERIES) == 10


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_each_documented_query_runs_and_finds_something(
    number: int, flat: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    duckdb = pytest.importorskip("duckdb")
    (tmp_path / "results.parquet").write_bytes(parquet(flat))
    monkeypatch.chdir(tmp_path)
    found = duckdb.connect().execute(QUERIES[number]).fetchall()
    assert found
    assert any(value is not None for row in found for value in row[1:])


def test_files_lie_beside_the_page_and_are_their_owners_alone(
    small: RunData, flat: pa.Table, tmp_path: Path
) -> None:
    storage, results = Storage(str(tmp_path)), RunResults.of(small, frechet=False)
    figures = run_figures(results)["curves"][:2]
    for kind in FILE_KINDS:
        (said,) = write_files(storage, "runs/r", {"curves": figures}, kind, None)
        assert said == f"2 figures: {tmp_path}/runs/r/figures"
    content = {"results.parquet": parquet(flat)}
    tables = {"a": model_frame(results), "b": pd.DataFrame(), **content}
    (said,) = write_files(storage, "runs/r", {"curves": figures}, None, tables)
    assert said == f"4 tables: {tmp_path}/runs/r/tables"
    files = {p.relative_to(tmp_path / "runs/r"): p for p in tmp_path.rglob("*.*") if p.is_file()}
    charts = [f"tables/chart-{figure.name}.csv" for figure in figures]
    pictures = [f"figures/{f.name}.{kind}" for f in figures for kind in FILE_KINDS]
    assert {str(p) for p in files} == {"tables/a.csv", "tables/results.parquet", *charts, *pictures}
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in files.values())
    read = pd.read_csv(tmp_path / "runs/r" / charts[0])
    assert list(read.columns) == list(figures[0].frame.columns)
    stored = pq.read_table(io.BytesIO(content["results.parquet"]))
    assert stored.schema == flat.schema
    assert stored.to_pandas().equals(flat.to_pandas())


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("guesses-ppa", "guesses-ppa"),
        ("../../x y/<z>", "x-y-z"),
        ("“”", "figure"),
        ("a" * 300, "a" * 100),
    ],
)
def test_no_name_leads_out_of_the_folder(name: str, file: str) -> None:
    assert file_name(name) == file


def test_a_searchs_trials_are_a_table(tmp_path: Path) -> None:
    record: dict[str, Any] = fake_search(trials=8)
    frame = trial_frame(SearchRecord.model_validate(record))
    assert list(frame.trial)[:8] == list(range(8))
    assert list(frame.state)[8:] == ["undefended", "null", "real", "chance"]
    below = frame.set_index("state").loc[["null", "real", "chance"]]
    assert list(below.attack) == ["random latent", "real held-out pictures", "chance"]
    assert list(below.evaluator) == ["same_people"] * 3
    assert list(below.attack_success.round(4)) == [0.05, 0.9883, round(5 / 158, 4)]
    assert list(frame[frame.recommended].trial) == [record["recommended"]]
    assert frame["defense.alpha"][0] == 0.25
