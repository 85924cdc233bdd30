"""The charts' geometry, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inversionlab.report.audit.curves import guess_curves, success_curves
from inversionlab.report.charts.axes import BOTTOM, LEFT, RIGHT, TOP, nice_ticks
from inversionlab.report.charts.line_chart import Chart, ChartSpec, Point, Series, draw, draw_all
from inversionlab.results.load import RunData
from inversionlab.results.run_results import RunResults
from tests.report.fake_run import fake_run, with_record


def spec(*points: tuple[float | None, float]) -> ChartSpec:
    made = tuple(Point(x, y, y, y, f"{y}") for x, y in points)
    return ChartSpec("t", "a", "x", "x", (Series("one", "s0", made),), end="end")


def success_chart(run: RunData) -> Chart:
    return draw(success_curves(RunResults.of(run))[0])


@pytest.mark.parametrize(
    ("start", "stop", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.85, 1, [0.85, 0.9, 0.95, 1]),
        (1, 50, [0, 10, 20, 30, 40, 50]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round(start, stop, ticks):
    assert nice_ticks(start, stop) == ticks


def test_corners_of_the_chart():
    chart = draw(spec((0.0, 0.0), (1.0, 1.0)))
    assert chart.lines[0].dots == ((LEFT, BOTTOM), (RIGHT, TOP))
    assert chart.lines[0].path == f"M{LEFT}.0 {BOTTOM}.0L{RIGHT}.0 {TOP}.0"
    assert chart.lines[0].band == ""


def test_equal_ratios_are_equal_steps_on_a_log_axis():
    chart = draw(replace(spec((0.01, 0.2), (0.1, 0.3), (1.0, 0.2)), log=True))
    a, b, c = (x for x, _ in chart.lines[0].dots)
    assert b - a == pytest.approx(c - b, abs=0.2)
    assert [text for _, text in chart.x_ticks] == ["0.01", "0.1", "1"]


def test_a_value_without_a_place_stands_apart():
    chart = draw(spec((2.0, 0.1), (4.0, 0.2), (None, 0.9)))
    (_, _), (last, _), (apart, _) = chart.lines[0].dots
    assert last < apart <= RIGHT
    assert chart.stops[-1]["title"] == "end"
    assert chart.stops[-1]["texts"] == ["0.9"]
    assert chart.lines[0].path.count("L") == 1


def test_what_is_not_known_is_not_drawn():
    assert draw(spec((0.5, math.nan))) is None
    assert len(draw(spec((0.5, math.nan), (0.6, 0.2))).lines[0].dots) == 1


def test_high_values_get_a_closer_axis():
    assert draw(spec((0.1, 0.91), (0.2, 0.97))).y_ticks[0][1] == "90%"
    assert draw(spec((0.1, 0.41), (0.2, 0.97))).y_ticks[0][1] == "0%"


def test_undefended_is_the_right_end_of_alpha(run):
    chart = success_chart(run)
    assert chart.stops[-1]["title"] == "alpha = 1"
    assert chart.lines[0].dots[0][0] == RIGHT
    assert chart.mark[1] == "paper"
    assert chart.mark[0] == pytest.approx(LEFT + 0.25 * (RIGHT - LEFT), abs=0.1)
    assert len(chart.references) == 1
    assert len(draw_all(guess_curves(RunResults.of(run)))) == 3


def test_another_setting_keeps_undefended_apart():
    run = fake_run(alphas=(0.5, 2.0), targets=3, repeats=1)
    sweep = {"setting": "defense.budget", "values": [0.5, 2.0], "marked": None}
    chart = success_chart(with_record(run, sweep=sweep))
    assert chart.stops[-1]["title"] == "undefended"
    assert chart.mark is None
