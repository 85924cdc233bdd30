"""The pages in a browser: they fit, make no error and no request; keys reach the charts; colours can be read."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from pathlib import Path

import pytest

from inversionlab.papers.page import render as render_paper
from inversionlab.report.audit.page import render
from inversionlab.report.audit.person import render_person
from inversionlab.report.index import write_index
from inversionlab.report.search.page import render_search
from inversionlab.report.versus import write_comparison
from inversionlab.results.run_results import RunResults
from inversionlab.results.search import SearchRecord
from inversionlab.results.trainings import TrainingCurve
from tests.golden import collect
from tests.papers.test_compare import PAPER, RUNS, made
from tests.report.browser import HANG, Browser
from tests.report.fake_run import fake_run, with_record
from tests.report.fake_search import fake_search, timeline

STYLE = Path(__file__).resolve().parents[2] / "platform/inversionlab/report/templates/style.css"
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
WIDEST_CARDS = 640
"""Pixels up to which the style sheet makes cards of rows."""
STRAY_CELLS = """[...document.querySelectorAll('th, td')]
  .filter((cell) => !['table-cell', 'none'].includes(getComputedStyle(cell).display))
  .map((cell) => cell.className + ': ' + cell.textContent.trim().slice(0, 30))"""
"""Cells of tables that are not laid out as such."""
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
READ = """[...document.querySelectorAll('figure.chart')].map((figure) => {
  const plot = figure.querySelector('.plot');
  plot.focus();
  plot.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }));
  return [document.activeElement === plot, figure.querySelector('.said').textContent];
})"""
FOCUS = "[...document.querySelectorAll('.plot')].indexOf(document.activeElement)"
KINDS = ("run", "no-pictures", "person", "search", "index", "compare", "paper")
CHARTED = ("run", "no-pictures", "search")
MOST_TABS = 300


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    epochs = tuple(float(epoch) for epoch in range(1, 21))
    curve = TrainingCurve("victim", "9d00aa11", epochs, {"loss": tuple(3 / e for e in epochs)})
    run = with_record(fake_run(targets=6, repeats=2), timeline=timeline())
    run = dataclasses.replace(run, trainings=(curve,))
    search = SearchRecord.model_validate(fake_search(trials=12))
    links = {f"person_{n:03d}": f"people/{n}.html" for n in range(6)}
    texts = {
        "run": render(run, pictures=True, pages=links),
        "no-pictures": render(run, pictures=False),
        "person": render_person(RunResults.of(run, frechet=False), 3, "person_003", links),
        "search": render_search(search, place="/store", pictures=False),
        "paper": render_paper(PAPER, "small", [made()], RUNS, pictures=True, command="c"),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text)
    store = collect.unpacked(folder)
    runs = sorted(path.name for path in (store / "runs").iterdir())
    places = {name: folder / f"{name}.html" for name in texts}
    places["index"] = Path(write_index(str(store)))
    places["compare"] = Path(write_comparison(str(store), runs[0], runs[1]))
    return places


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1400, "light"),
        pytest.param(1400, "dark", marks=pytest.mark.slow),
        pytest.param(420, "light", marks=pytest.mark.slow),
        (420, "dark"),
    ],
)
@pytest.mark.parametrize("name", KINDS)
def test_a_page_fits_can_be_read_makes_no_error_and_asks_for_nothing(
    tab: Browser, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    tab.open(pages[name], width=width, scheme=scheme)
    if folder := os.environ.get("INVERSIONLAB_PICTURES_OF_PAGES"):
        (Path(folder) / f"{name}-{width}-{scheme}.png").write_bytes(tab.picture())
    assert tab.run(OVERFLOW) <= 0
    assert tab.faults == []
    # Pictures are in the page itself.
    outside = [url for url in tab.requests if not url.startswith("data:")]
    assert outside == [pages[name].as_uri()]
    count = "document.querySelectorAll('{}').length"
    plots, live = (tab.run(count.format(css)) for css in (".plot", ".plot.vega-embed svg"))
    assert plots == live
    assert (live > 3) is (name in CHARTED)
    found = tab.run(CONTRAST)
    assert found["seen"] > 20
    assert found["faint"] == []
    # On a phone a row becomes a card; on a wide screen a cell stands in its column.
    if width > WIDEST_CARDS:
        assert tab.run(STRAY_CELLS) == []


@pytest.mark.parametrize("name", CHARTED)
def test_the_tab_key_reaches_each_chart(tab: Browser, pages: dict[str, Path], name: str) -> None:
    tab.open(pages[name], width=1400)
    wanted = set(range(tab.run("document.querySelectorAll('.plot').length")))
    reached, presses = {-1}, 0
    while not wanted <= reached and presses < MOST_TABS:
        tab.tab()
        reached.add(tab.run(FOCUS))
        presses += 1
    assert wanted <= reached


def test_a_text_that_is_too_faint_is_found(tab: Browser, tmp_path: Path) -> None:
    words = "".join(f'<p style="color: {c}">{c}</p>' for c in ("#767676", "#777777", "#fff"))
    page = tmp_path / "faint.html"
    page.write_text(f'<body style="background: #fff">{words}<p style="color: #000; opacity: 0.4">x')
    tab.open(page, width=400)
    found = tab.run(CONTRAST)
    # WCAG's own border: #767676 on white has 4.54, #777777 has 4.48; black at 40 % has 2.85.
    assert found["seen"] == 4
    assert sorted(text.split()[0] for text in found["faint"]) == ["1.00", "2.85", "4.48"]


def test_keys_reach_each_chart_and_read_its_marks(tab: Browser, pages: dict[str, Path]) -> None:
    tab.open(pages["run"], width=1400)
    found = tab.run(READ)
    assert all(focused for focused, _ in found)
    said = [text for _, text in found]
    assert said[0].startswith("alpha = ")
    # Only the timeline and the curves over guesses have no marks of their own; their numbers stand elsewhere.
    assert len([text for text in said if text]) >= 4


def test_a_legend_singles_out_a_series_and_a_mark_says_what_it_is(
    tab: Browser, pages: dict[str, Path]
) -> None:
    tab.open(pages["search"], width=1400)
    point = "#front .plot [aria-roledescription=point]"
    opacities = f"[...document.querySelectorAll('{point}')].map((e) => +e.getAttribute('opacity'))"
    assert set(tab.run(opacities)) == {0.8}
    tab.mouse("#front .plot .role-legend-label text", "mouseMoved", "mousePressed", "mouseReleased")
    found = tab.run(opacities)
    assert found.count(0.8) == 1
    assert max(x for x in found if x != 0.8) < 0.2
    tab.mouse(point, "mouseMoved")
    shown = tab.run("document.querySelector('#vg-tooltip-element.visible')?.textContent")
    assert "attack success" in shown
    assert tab.faults == []


def test_without_scripts_the_pictures_stand_there(tab: Browser, pages: dict[str, Path]) -> None:
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.call("Page.navigate", url=pages["search"].as_uri())
        count, end = 0, time.monotonic() + HANG
        while count < 4 and time.monotonic() < end:
            count = tab.run("document.querySelectorAll('.plot > svg.marks').length")
        assert count >= 4
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)


def luminance(color: str) -> float:
    """Of a colour "#rrggbb", as WCAG 2 defines it."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_and_marks_stand_out_in_both_schemes(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)[:2]
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme]))
    for name in ("ink", "soft", "accent", "good", "warn"):
        assert contrast(colors[name], colors["card"]) >= 4.5, name
    assert contrast(colors["warn"], colors["warn-back"]) >= 4.5
    assert contrast(colors["good"], colors["good-back"]) >= 4.5
    for name in ("s0", "s1", "s2", "s3", "s4", "s5"):
        # 3 is what WCAG 2 asks of graphics; names of marks are text in these colours, too.
        assert contrast(colors[name], colors["card"]) >= 4.5, name
