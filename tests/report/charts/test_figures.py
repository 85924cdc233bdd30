"""Charts: what their tables hold, what is drawn, and that it is the same every time."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import altair as alt
import pytest

from inversionlab.report.audit.curves import accuracy_curves, guess_curves, success_curves
from inversionlab.report.audit.trade import trade_offs
from inversionlab.report.charts.figure import FILE_KINDS, Figure, pivoted, share_floor, vega
from inversionlab.report.charts.lines import line_chart
from inversionlab.report.charts.marks import EDGE
from inversionlab.report.charts.theme import LIGHT, series_styles
from inversionlab.report.search.convergence import convergence_figure
from inversionlab.report.search.front_chart import front_figures
from inversionlab.report.search.parallel import parallel_figure
from inversionlab.results.run_results import RunResults
from inversionlab.results.search import SearchRecord
from tests.report.fake_run import fake_run, with_record
from tests.report.fake_search import fake_search

SIGNATURES = {"svg": b"<svg", "pdf": b"%PDF", "png": b"\x89PNG"}


def row(series: str, x: float | None, y: float, place: str = "axis") -> dict[str, Any]:
    said = f"{y:.0%}"
    spot = {"series": series, "place": place, "x": x, "y": y, "low": y, "high": y}
    return {**spot, "said": said, "text": f"{series} {said}"}


def figure_of(*rows: dict[str, Any], **more: Any) -> Figure:
    return Figure("name", "title", "about", rows, line_chart(rows, x_title="x", **more))


def domain_of(figure: Figure, channel: str) -> list[float]:
    """The ends of an axis; all layers of a chart agree on them."""
    found = [
        layer["encoding"][channel]["scale"]["domain"]
        for layer in figure.spec["layer"]
        if "scale" in layer.get("encoding", {}).get(channel, {})
    ]
    assert all(ends == found[0] for ends in found)
    return found[0]


def points_of(svg: str) -> list[tuple[float, float]]:
    """The centres of the dots."""
    found = re.findall(
        r'<path aria-label="[^"]*"[^>]*transform="translate\(([\d.]+),([\d.]+)\)', svg
    )
    return [(float(x), float(y)) for x, y in found]


@pytest.fixture(scope="module")
def every(run: Any) -> list[Figure]:
    results, search = RunResults.of(run), SearchRecord.model_validate(fake_search(trials=20))
    found = [*success_curves(results), *accuracy_curves(results), *trade_offs(results)]
    found += [*guess_curves(results), *front_figures(search)]
    return [*found, convergence_figure(search), parallel_figure(search)]


def test_a_dot_stands_where_its_numbers_are():
    svg = str(figure_of(row("a", 0.0, 0.0), row("a", 1.0, 0.5), row("a", 2.0, 1.0)).picture)
    (x0, y0), (x1, y1), (x2, y2) = points_of(svg)
    # The height is 240, of which 1/42 is beyond 0 and 1 each; the width is what the axis leaves of 470.
    assert (x0, x1) == pytest.approx((EDGE, (x0 + x2) / 2), abs=0.2)
    assert 400 < x2 < 470 - EDGE
    assert (y0, y1, y2) == pytest.approx((240 * 41 / 42, 120, 240 / 42), abs=0.1)


def test_equal_ratios_are_equal_steps_on_a_log_axis():
    svg = str(figure_of(*(row("a", x, 0.5) for x in (0.01, 0.1, 1.0)), log=True).picture)
    a, b, c = (x for x, _ in points_of(svg))
    assert (a, b) == pytest.approx((EDGE, (a + c) / 2), abs=0.2)


def test_a_value_without_a_place_stands_apart():
    figure = figure_of(
        row("a", 2.0, 0.1), row("a", 4.0, 0.2), row("a", None, 0.9, "end"), end="bare"
    )
    (_, _), (last, _), (apart, _) = points_of(str(figure.picture))
    # The room at the right is 84 wide, and the axis ends a little after its last value.
    assert apart - last == pytest.approx(42 + EDGE, abs=0.2)
    assert ">bare<" in figure.picture
    numbers = pivoted(figure.rows, "x", "bare")
    assert numbers.rows == (("x = 2", "10%"), ("x = 4", "20%"), ("bare", "90%"))


def test_the_numbers_have_a_column_for_each_series_and_a_gap_where_one_is_not_known():
    rows = [row("a", 1.0, 0.1), row("b", 2.0, 0.2), row("null", None, 0.05, "level")]
    numbers = pivoted(rows, "k")
    assert numbers.headings == ("k", "a", "b", "null")
    assert numbers.rows == (
        ("k = 1", "10%", "–", "null 5%"),
        ("k = 2", "–", "20%", "null 5%"),
    )


@pytest.mark.parametrize(
    ("lows", "floor"), [([0.41, 0.97], 0.0), ([0.91, 0.97], 0.9), ([0.86], 0.85), ([], 0.0)]
)
def test_high_values_get_a_closer_axis(lows, floor):
    assert share_floor(lows) == floor


def test_each_series_differs_from_the_others_by_colour_or_dash():
    colors, dashes = series_styles([f"s{i}" for i in range(20)], {})
    looks = {(color, tuple(dash)) for color, dash in zip(colors, dashes, strict=True)}
    assert len(looks) == 20


def test_undefended_is_the_right_end_of_alpha(run):
    figure = success_curves(RunResults.of(run))[0]
    assert domain_of(figure, "x") == [0.0, 1.0]
    assert figure.numbers.rows[-1][0] == "alpha = 1"
    assert [r["series"] for r in figure.rows if r["place"] == "level"] == [
        "random public (no model asked)"
    ]
    assert figure.spec["datasets"]["mark"] == [{"x": 0.25, "text": "paper"}]
    assert len(guess_curves(RunResults.of(run))) == 3


def test_another_setting_keeps_undefended_apart():
    run = fake_run(alphas=(0.5, 2.0), targets=3, repeats=1)
    sweep = {"setting": "defense.budget", "values": [0.5, 2.0], "marked": None}
    figure = success_curves(RunResults.of(with_record(run, sweep=sweep)))[0]
    assert figure.numbers.rows[-1][0] == "undefended"
    assert figure.spec["datasets"]["mark"] == []


def test_panels_side_by_side_have_the_same_vertical_axis(run):
    results = RunResults.of(run)
    for figures in (success_curves(results), guess_curves(results), trade_offs(results)):
        assert len(figures) > 1
        assert len({tuple(domain_of(figure, "y")) for figure in figures}) == 1


def test_every_chart_is_valid_vega_lite_and_every_picture_is_made(every):
    for figure in every:
        with alt.utils.schemapi.debug_mode(True):
            alt.Chart.from_dict(figure.spec)
        assert figure.picture.startswith('<svg class="marks" viewBox="0 0 ')
        assert "undefined" not in figure.picture
        assert "NaN" not in figure.picture


def test_pictures_use_the_pages_colours_and_hold_no_ids(every):
    for figure in every:
        assert "var(--" in figure.picture
        assert not re.findall(r'"#[0-9a-f]{3,6}"|\bid="|url\(|http', figure.picture)


def test_every_value_can_be_heard_and_hovered(run):
    figure = success_curves(RunResults.of(run))[0]
    heard = re.findall(r'aria-label="([^"]*)"', str(figure.picture))
    assert {r["text"] for r in figure.rows} <= set(heard)


def test_the_light_colours_are_those_of_the_style_sheet():
    style = Path("platform/inversionlab/report/templates/style.css")
    root = (Path(__file__).parents[3] / style).read_text().partition("@media")[0]
    found = dict(re.findall(r"--(\w+): (#\w+);", root))
    assert {name: found[name] for name in LIGHT} == LIGHT


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_files_are_the_same_every_time_and_need_no_style_sheet(every, kind):
    figure = every[0]
    content = figure.file(kind)
    assert content[:8].startswith(SIGNATURES[kind])
    assert b"var(--" not in content
    again = figure.file(kind)
    # A PDF's objects are numbered in any order.
    assert len(again) == len(content)
    assert kind == "pdf" or again == content


def test_a_specification_does_not_depend_on_what_was_drawn_before(run):
    def specs() -> list[str]:
        return [json.dumps(figure.spec) for figure in success_curves(RunResults.of(run))]

    first = specs()
    accuracy_curves(RunResults.of(run))
    assert specs() == first


def test_the_frame_is_the_tidy_table(every):
    for figure in every:
        frame = figure.frame
        assert len(frame) == len(figure.rows)
        assert {"x", "y", "text"} & set(frame.columns)
    assert len({figure.name for figure in every}) == len(every)


def test_vega_is_packed_whole_and_its_digest_is_that_of_the_script():
    packed = vega()
    script = gzip.decompress(base64.b64decode(packed.base64))
    assert base64.b64encode(hashlib.sha256(script).digest()).decode() == packed.digest
    assert b"window.vegaEmbed" in script
    assert len(packed.base64) < 450_000
