"""The page of blind pictures in a browser: somebody answers it, saves the file, and the next call reads it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from inversionlab.papers.blind import (
    ASKED,
    LETTERS,
    NOBODY,
    NULL,
    REAL,
    Question,
    blind_key,
    blind_page,
    question_names,
    questions,
    read_answers,
)
from inversionlab.results.run_results import RunResults
from inversionlab.store.storage import Storage
from tests.papers.blind_run import BLIND, run_of_three
from tests.processes import HANG, wait_until
from tests.report.browser import Browser

FOLDER = "papers/p-small"


@pytest.fixture(scope="module")
def results() -> RunResults:
    return run_of_three()


def right(question: Question) -> str:
    return NOBODY if question.kind == NULL else LETTERS[question.place]


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_loads_its_pictures_and_asks_for_nothing_else(
    tab: Browser, results: RunResults, tmp_path: Path, width: int
) -> None:
    page = tmp_path / "blind.html"
    page.write_text(blind_page(BLIND, results, questions(BLIND, results, {})))
    tab.open(page, width=width)
    assert tab.run("document.documentElement.scrollWidth - innerWidth") <= 0
    assert tab.run("[...document.images].every((image) => image.naturalWidth > 0)")
    assert not tab.faults
    assert all(request.startswith(("file:", "data:")) for request in tab.requests)


def test_what_somebody_answers_reaches_the_tables(
    tab: Browser, results: RunResults, tmp_path: Path
) -> None:
    shown = base64.b64encode(results.run.reconstructions["picture"][0].as_py()).decode()
    asked = questions(BLIND, results, {str(i): {"picture": shown} for i in range(3)})
    storage, folder = Storage(str(tmp_path)), tmp_path / FOLDER
    storage.write_json(f"{FOLDER}/blind-key.json", blind_key(results, asked))
    storage.write(f"{FOLDER}/blind.html", blind_page(BLIND, results, asked).encode())
    tab.open(folder / "blind.html", width=1000)

    # Right of photographs and random faces, "A" of every reconstruction; alike are photographs alone.
    names = [question_names(results, what, len(asked)) for what in ASKED]
    for *named, question in zip(*names, asked, strict=True):
        who = "A" if question.kind == "WB-MIA" else right(question)
        alike = "yes" if question.kind == REAL else "no"
        for name, value in zip(named, (who, alike, alike), strict=True):
            tab.mouse(f'input[name="{name}"][value="{value}"]', "mousePressed", "mouseReleased")
    answers = folder / "answers"
    answers.mkdir()
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(answers))
    tab.mouse("#save", "mousePressed", "mouseReleased")
    saved = answers / "answers.csv"
    lines = 3 * len(asked) + 1
    wait_until(
        lambda: saved.exists() and len(saved.read_text().splitlines()) == lines,
        HANG,
        "the saved answers",
    )

    found = read_answers(storage, FOLDER)
    assert saved.read_text() == tab.run("document.getElementById('text').value")
    assert found[f"{REAL} average who"]["value"] == 1
    assert found[f"{NULL} average who"]["value"] == 1
    assert found["WB-MIA average who"]["value"] == pytest.approx(1 / 3)
    assert found["WB-MIA ID:1 who"]["value"] == 1
    assert found[f"{REAL} average alike"]["value"] == 1
    assert found[f"{NULL} average natural"]["value"] == 0
    assert found["WB-MIA average alike"]["value"] == 0
    assert not tab.faults
