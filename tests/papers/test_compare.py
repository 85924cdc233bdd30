"""Tables of made-up figures: their shape, differences, claims, and how all of it is written."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from inversionlab.metrics import Estimate, wilson
from inversionlab.papers import PAPERS
from inversionlab.papers.compare import ComparedTable, RecipeRun, compare
from inversionlab.papers.finder import Finder, NotRunError
from inversionlab.papers.markdown import markdown, remarks
from inversionlab.papers.overview import keep_verdicts, overview
from inversionlab.papers.page import coded, render
from inversionlab.papers.paper import Cell, Claim, Paper, Pictures, Reason, Table
from inversionlab.papers.printed import Printed, printed
from inversionlab.papers.tables import as_csv, as_parquet, cells_table
from inversionlab.papers.wording import (
    apart_text,
    claim_text,
    missing_reasons,
    noise_reasons,
    noise_sentence,
    ours_text,
    status_text,
)
from inversionlab.results.run_results import RunResults
from inversionlab.store.storage import Storage
from tests.papers.test_finders import run


@dataclass(frozen=True)
class Given(Finder):
    """A figure that is given."""

    known: Estimate | None = None
    is_share: bool = True

    @property
    def share(self) -> bool:
        return self.is_share

    def estimate(self, results: object, measured: object) -> Estimate:
        if self.known is None:
            raise NotRunError("the attack is not finished")
        return self.known


def figure(row: str, column: str, value: float, unit: str = "%", sign: str = "") -> Printed:
    text = f"{value:g}{unit}"
    return Printed("t", row, column, sign, value, unit, text, 100, 100, "Table I", "", "")


def share(hits: int, count: int = 100) -> Given:
    return Given("r", known=wilson(hits, count))


TABLE = Table(
    key="t",
    title="Table I: made up",
    cells=(
        Cell("a", "success", share(80)),
        Cell("a", "error", Given("r", known=Estimate(0.03, 0.02, 0.04, 9), is_share=False)),
        Cell("b", "success", share(20)),
        Cell("b", "error", Given("r")),
        Cell("c", "success", why="it needs people"),
    ),
    claims=(
        Claim("b leaves less than a", ("b", "success"), ("a", "success")),
        Claim("a leaves less than b", ("a", "success"), ("b", "success")),
        Claim("b costs at most 70 points", ("a", "success"), ("b", "success"), slack=0.7),
        Claim("nobody knows", ("b", "error"), ("a", "error")),
    ),
    stand_in="Squares stand in for circles.",
)
PRINTED = (
    figure("a", "success", 79.0),
    figure("a", "error", 0.0126, unit=""),
    figure("b", "success", 60.0),
    figure("c", "success", 50.0),
    figure("d", "success", 40.0),
)
RUNS = {"r": RecipeRun(RunResults.of(run()))}


def made(table: Table = TABLE) -> ComparedTable:
    return compare(table, PRINTED, RUNS)


def test_a_table_has_the_papers_shape_and_every_figure_of_either() -> None:
    compared = made()
    assert compared.rows == ("a", "b", "c", "d")
    assert compared.columns == ("success", "error")
    cell = compared.by_place
    assert cell["b", "error"].why == "the attack is not finished"
    assert cell["c", "success"].why == "it needs people"
    assert cell["d", "success"].why == "nothing of ours corresponds to it yet"
    assert ("d", "error") not in cell


def test_differences_and_which_of_them_are_noise() -> None:
    cell = made().by_place
    near = cell["a", "success"]
    assert near.apart is not None
    assert near.apart.value == pytest.approx(0.01)
    assert near.apart.low < 0 < near.apart.high
    assert near.beyond_noise == ""
    assert cell["b", "success"].beyond_noise == "below"
    # An error has no share: 0.02 to 0.04 less 0.0126.
    error = cell["a", "error"]
    assert error.apart is not None
    assert (error.apart.low, error.apart.high) == pytest.approx((0.0074, 0.0274))
    assert error.beyond_noise == "above"
    assert cell["c", "success"].apart is None


@pytest.mark.parametrize(
    ("sign", "hits", "beyond"),
    [("<=", 5, ""), ("<=", 60, "above"), (">", 60, ""), (">", 5, "below"), ("", 5, "below")],
)
def test_at_most_is_kept_by_less(sign: str, hits: int, beyond: str) -> None:
    table = Table(key="t", title="t", cells=(Cell("a", "success", share(hits)),))
    compared = compare(table, (figure("a", "success", 27.0, sign=sign),), RUNS)
    assert compared.cells[0].beyond_noise == beyond


def test_claims_are_shown_contradicted_or_open() -> None:
    compared = made()
    assert [c.verdict for c in compared.claims] == ["shown", "contradicted", "shown", "not run"]
    assert compared.status == "partly reproduced"
    assert made(Table(**{**vars(TABLE), "claims": TABLE.claims[:1]})).status == "reproduced"
    assert made(Table(**{**vars(TABLE), "claims": TABLE.claims[1:2]})).status == "not reproduced"
    assert made(Table(**{**vars(TABLE), "claims": ()})).status == "no claim"
    bare = compare(TABLE, PRINTED, {"r": RecipeRun(why_not="only on a cluster")})
    assert bare.status == "not run"
    assert bare.by_place["a", "success"].why == "only on a cluster"
    few = (Cell("a", "x", share(3, 5)), Cell("b", "x", share(2, 5)))
    unclear = Table(key="u", title="u", cells=few, claims=(Claim("?", ("b", "x"), ("a", "x")),))
    assert compare(unclear, (), RUNS).status == "open"


def test_a_figure_without_an_interval_decides_no_claim() -> None:
    alone = Given("r", known=Estimate(9.0, math.nan, math.nan, 1), is_share=False)
    other = Given("r", known=Estimate(1.0, 0.5, 1.5, 9), is_share=False)
    table = Table(
        key="t",
        title="t",
        cells=(Cell("a", "FID", alone), Cell("b", "FID", other)),
        claims=(Claim("a has more", ("b", "FID"), ("a", "FID")),),
    )
    compared = compare(table, (figure("a", "FID", 5.0, unit=""),), RUNS)
    assert compared.claims[0].verdict == "open"
    assert apart_text(compared.cells[0]) == "+4, no interval"
    assert compared.cells[0].beyond_noise == ""


def test_figures_of_the_same_people_are_compared_in_pairs() -> None:
    """Each person errs by 0.01 more behind the defense: that is clear although people differ far more."""

    @dataclass(frozen=True)
    class OfPeople(Given):
        shift: float = 0.0

        def of_person(self, results: object, measured: object) -> dict[int, float]:
            return {p: p / 10 + self.shift + p / 1000 for p in range(6)}

    wide = Estimate(0.25, 0.1, 0.4, 6)
    bare = OfPeople("r", known=wide, is_share=False)
    noisy = OfPeople("r", known=Estimate(0.26, 0.11, 0.41, 6), is_share=False, shift=0.01)
    table = Table(
        key="t",
        title="t",
        cells=(Cell("a", "error", bare), Cell("b", "error", noisy)),
        claims=(Claim("b errs more", ("a", "error"), ("b", "error")),),
    )
    (claim,) = compare(table, (), RUNS).claims
    assert claim.verdict == "shown"
    assert claim.apart is not None
    assert (claim.apart.value, claim.apart.low) == pytest.approx((0.01, 0.01))


def test_figures_as_text() -> None:
    cell = made().by_place
    near = cell["a", "success"]
    assert near.ours is not None
    assert ours_text(near.ours) == "80.0% (71.1–86.7)"
    assert apart_text(near).startswith("+1.0 points (-")
    said = noise_sentence(made())
    assert said.startswith("Of our 3 figures beside the paper’s, 3 can be compared")
    assert said.endswith("and 2 of these differ beyond noise:")
    assert remarks(made(), "small")[0] == "Squares stand in for circles."
    assert "Squares" not in " ".join(remarks(made(), "paper"))


def test_each_difference_beyond_noise_has_its_sentence() -> None:
    why = "Squares have corners."
    reasons = (Reason(why, columns="err*", side="above"), Reason("Never.", rows="a", side="below"))
    table = made(Table(**{**vars(TABLE), "reasons": reasons}))
    assert noise_reasons(table) == [
        f"a, error (above): {why}",
        "b, success (below): The reason is not known.",
    ]
    # Within noise there is nothing to explain.
    assert table.by_place["a", "success"].reason == ""
    told = {
        (r["row"], r["column"]): r["reason"] for r in cells_table("p", "small", [table]).to_pylist()
    }
    assert told["a", "error"] == why
    assert why in markdown(Paper("p", "P", "c", (table.table,)), "small", [table], "c")


def test_what_does_not_compare_has_no_difference() -> None:
    @dataclass(frozen=True)
    class OnAnotherScale(Given):
        @property
        def compares(self) -> bool:
            return False

    cell = Cell("a", "success", OnAnotherScale("r", known=wilson(1, 100)))
    compared = compare(Table(key="t", title="t", cells=(cell,)), PRINTED[:1], RUNS)
    assert (compared.cells[0].apart, compared.cells[0].beyond_noise) == (None, "")
    assert noise_sentence(compared).startswith("No figure of ours can be set beside")


@dataclass(frozen=True)
class Shares(Given):
    """A share of the tries at some people, and of each."""

    of: tuple[float, ...] = ()
    pictures: float = 0

    def of_person(self, results: object, measured: object) -> dict[int, float]:
        return dict(enumerate(self.of))

    def pictures_of(self, results: object) -> dict[int, float]:
        return dict.fromkeys(range(len(self.of)), self.pictures) if self.pictures else {}


def verdict(smaller: Shares, larger: Shares, slack: float = 0.0) -> tuple[str, float | None]:
    cells = (Cell("a", "c", smaller), Cell("b", "c", larger))
    claim = Claim("b is more", ("a", "c"), ("b", "c"), slack)
    (found,) = compare(Table(key="t", title="t", cells=cells, claims=(claim,)), (), RUNS).claims
    return found.verdict, found.p


def test_the_sign_flip_test_decides_where_nobody_is_found() -> None:
    """At 0 of 200 tries the interval allows for a third of the people; each of ten is found less often, though."""
    none = Shares("r", known=Estimate(0.0, 0.0, 0.34, 200), of=(0.0,) * 10)
    some = Shares("r", known=Estimate(0.1, 0.05, 0.2, 200), of=(0.1,) * 10)
    one = Shares("r", known=Estimate(0.1, 0.02, 0.4, 200), of=(1.0, *(0.0,) * 9))
    assert verdict(none, some) == ("shown", pytest.approx(1 / 2**10))
    assert verdict(some, none) == ("contradicted", pytest.approx(1 / 2**10))
    # All at one person: that may be chance.
    assert verdict(none, one) == ("open", None)


def test_accuracies_are_compared_on_the_same_pictures() -> None:
    """Two models that lose the same few pictures differ by less than either is known."""
    wide = Estimate(0.85, 0.75, 0.92, 500)
    of = tuple(0.5 + i / 100 for i in range(50))
    bare, defended = (Shares("r", known=wide, of=of, pictures=10) for _ in range(2))
    assert verdict(bare, defended, slack=0.01)[0] == "shown"
    assert verdict(bare, defended)[0] == "open"


def test_a_claim_of_ours_is_marked_and_does_not_count() -> None:
    claims = (TABLE.claims[0], Claim("ours", ("a", "success"), ("b", "success"), ours=True))
    compared = made(Table(**{**vars(TABLE), "claims": claims}))
    assert compared.status == "reproduced"
    assert status_text(compared, "small") == (
        "reproduced (1 of 1 claims, 0 of 1 claims of ours, one victim)"
    )
    assert claim_text(compared.claims[1], "small") == "(ours) ours: contradicted here"


PAPER = Paper(name="p", title="A paper", cites="Somebody, 2020", tables=(TABLE,))


def test_the_tables_of_all_cells_hold_both_figures_in_per_cent() -> None:
    table = cells_table("p", "small", [made()])
    rows = {(r["row"], r["column"]): r for r in table.to_pylist()}
    assert len(rows) == 6
    first = rows["a", "success"]
    assert (first["ours"], first["printed"], first["unit"]) == (pytest.approx(80), 79.0, "%")
    assert first["difference"] == pytest.approx(1)
    assert first["runs"] == "r"
    assert rows["b", "error"]["ours"] is None
    assert rows["b", "error"]["not_run"] == "the attack is not finished"
    assert pq.read_table(io.BytesIO(as_parquet(table))).equals(table)
    read = list(csv.DictReader(io.StringIO(as_csv(table).decode())))
    assert read[0]["ours"] == "80"
    assert read[3]["ours"] == ""


def test_the_markdown_and_the_page_show_every_cell() -> None:
    text = markdown(PAPER, "small", [made()], "inversionlab paper p")
    assert "| a | 80.0% (71.1–86.7)<br>paper 79%<br>+1.0 points" in text
    assert "not run<br>paper 50%" in text
    assert "1 not run: it needs people" in text
    assert "partly reproduced (2 of 4 claims, one victim)" in text
    page = render(PAPER, "small", [made()], RUNS, pictures=False, command="inversionlab paper p")
    assert "80.0% (71.1–86.7)" in page
    assert 'title="it needs people">not run' in page
    assert "img-src &#39;none&#39;" in page


def test_made_up_faces_show_and_contradict_nothing() -> None:
    text = markdown(PAPER, "tiny", [made()], "c")
    page = render(PAPER, "tiny", [made()], RUNS, pictures=False, command="c")
    for told in (text, page):
        assert "says nothing about the paper" in told
        assert "Its figures say nothing about the paper" in told
        for verdict in ("reproduced", "shown here", "contradicted here", "beyond noise"):
            assert verdict not in told


def test_a_figure_of_pictures_alone_is_no_table_that_was_not_run() -> None:
    rows = (("a", "a", "none", None),)
    table = Table(key="f", title="Fig. 1: p", pictures=(Pictures("r", rows),))
    assert compare(table, (), RUNS).status == "pictures"
    assert compare(table, (), {}).status == "not run"


def test_a_long_table_shows_every_few_rows_and_all_that_the_paper_prints() -> None:
    cells = tuple(Cell(f"alpha = {i}", "success", share(i)) for i in range(100))
    table = Table(key="t", title="t", cells=cells, every=10, drawn="alpha")
    compared = compare(table, (figure("alpha = 25", "success", 20.0),), RUNS)
    assert len(compared.shown_rows) == 11
    assert "alpha = 25" in compared.shown_rows
    assert "11 of 100 rows are shown; the CSV holds all." in remarks(compared, "small")
    paper = Paper(name="p", title="t", cites="c", tables=(table,))
    page = render(paper, "small", [compared], RUNS, pictures=False, command="c")
    assert page.count("<svg") == 1


@pytest.mark.parametrize("name", PAPERS)
def test_every_paper_has_a_page_without_any_run(name: str) -> None:
    """Nothing is guessed: every cell says why it is missing, and every table is `not run`."""
    paper = PAPERS[name]
    compared = [compare(table, printed(name), {}) for table in paper.tables]
    assert all(table.status == "not run" for table in compared)
    assert all(cell.why for table in compared for cell in table.cells)
    page = render(paper, "small", compared, {}, pictures=True, command="c")
    assert page.count("<h2>") == len(paper.tables) + 2


def test_the_overview_keeps_the_latest_verdicts_of_each_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call for one table leaves what is known of the others."""
    first, second = TABLE, Table(**{**vars(TABLE), "key": "u", "title": "Table II: v"})
    paper = Paper(name="p", title="P", cites="c", tables=(first, second))
    monkeypatch.setattr("inversionlab.papers.overview.PAPERS", {"p": paper})
    storage = Storage(str(tmp_path))
    keep_verdicts(storage, paper, "small", [made(first)], "inversionlab paper p")
    kept = (tmp_path / "papers" / "overview-small.md").read_text()
    assert (
        "partly reproduced (2 of 4 claims, one victim) | b leaves less than a: shown here" in kept
    )
    assert "Made by" not in kept
    assert "| Table II: v | not run | `inversionlab paper p --only u` |" in kept
    command = "inversionlab paper p --set targets.repeats=1"
    keep_verdicts(storage, paper, "small", [made(second)], command)
    kept = (tmp_path / "papers" / "overview-small.md").read_text()
    assert kept.count("partly reproduced (2 of 4 claims, one victim)") == 2
    assert kept.count(f"Made by `{command}`.") == 1
    assert kept.rstrip().endswith("2 partly reproduced.")
    assert "not run" in overview(storage, "paper")


def test_names_in_sentences_are_code_and_nothing_else_is_markup() -> None:
    assert coded("at `small` <b> & `a<b`") == (
        "at <code>small</code> &lt;b&gt; &amp; <code>a&lt;b</code>"
    )


def test_of_many_reasons_for_missing_figures_a_few_are_told() -> None:
    cells = tuple(Cell(f"r{i}", "c", why=f"reason {i // 2}") for i in range(20))
    said = missing_reasons(compare(Table(key="t", title="t", cells=cells), (), {}))
    assert said[:2] == ["2 not run: reason 0", "2 not run: reason 1"]
    assert said[-1] == "12 more not run; the CSV says why"
