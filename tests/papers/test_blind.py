"""Questions to people: the page holds no truth, and answers are counted by hand-made keys."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path

import pytest

from inversionlab.metrics import wilson
from inversionlab.papers.blind import (
    NULL,
    REAL,
    Question,
    blind_key,
    blind_page,
    question_names,
    questions,
    read_answers,
    tallied,
)
from inversionlab.results.run_results import RunResults
from inversionlab.store.storage import Storage
from tests.papers.blind_run import BLIND, run_of_three

FACE = b"\x89PNG\r\n\x1a\nheld out"


@pytest.fixture(scope="module")
def results() -> RunResults:
    return run_of_three()


@pytest.fixture(scope="module")
def asked(results: RunResults) -> list[Question]:
    faces = {str(i): {"picture": base64.b64encode(FACE).decode()} for i in range(2)}
    return questions(BLIND, results, faces)


def test_each_person_is_shown_in_every_way_in_an_order_that_tells_nothing(
    results: RunResults, asked: list[Question]
) -> None:
    kinds = sorted((q.kind, q.place) for q in asked)
    # Of the third person there is no held-out picture.
    assert kinds == sorted(
        [*((kind, i) for kind in ("WB-MIA", NULL) for i in range(3)), (REAL, 0), (REAL, 1)]
    )
    assert [(q.kind, q.place) for q in asked] != kinds
    again = questions(BLIND, results, {})
    assert [q.kind for q in again] != sorted(q.kind for q in again)
    assert len(again) == 6


def test_the_page_holds_pictures_and_no_truth(results: RunResults, asked: list[Question]) -> None:
    page = blind_page(BLIND, results, asked)
    (who, *_), (alike, *_) = (question_names(results, what, 1) for what in ("who", "alike"))
    assert page.count(f'name="{who}"') == 4
    assert page.count(f'name="{alike}"') == 2
    for secret in ("WB-MIA", "random public face", "latent", "person_0", "held out"):
        assert secret not in page
    key = blind_key(results, asked)
    assert len(key) == 3 * len(asked)
    assert key[who] == {"kind": asked[0].kind, "place": asked[0].place}


def test_answers_to_another_runs_page_do_not_count(
    results: RunResults, asked: list[Question]
) -> None:
    """Another run has other pictures under the same numbers."""
    record = results.run.record.model_copy(update={"run": "another-run"})
    other = dataclasses.replace(results, run=dataclasses.replace(results.run, record=record))
    said = [(name, "A") for name in question_names(other, "who", len(asked))]
    assert tallied(blind_key(results, asked), said) == {}
    assert tallied(blind_key(other, asked), said) != {}


KEY = {
    "who-r-0": {"kind": "WB-MIA", "place": 0},
    "who-r-1": {"kind": "WB-MIA", "place": 1},
    "who-r-2": {"kind": NULL, "place": 1},
    "alike-r-0": {"kind": "WB-MIA", "place": 0},
    "natural-r-0": {"kind": "WB-MIA", "place": 0},
}


def test_answers_are_counted_by_what_the_pictures_are() -> None:
    first = [("who-r-0", "A"), ("who-r-1", "C"), ("who-r-2", "nobody"), ("alike-r-0", "yes")]
    second = [
        ("who-r-0", "B"),
        ("who-r-1", "B"),
        ("who-r-2", "A"),
        ("alike-r-0", ""),
        ("who-r-9", "A"),
    ]
    second += [("natural-r-0", "no")]
    found = tallied(KEY, [*first, *second])

    def share(name: str) -> tuple[float, int]:
        return found[name]["value"], found[name]["count"]

    assert share("WB-MIA ID:1 who") == (0.5, 2)
    assert share("WB-MIA average who") == (0.5, 4)
    # An empty answer counts as none.
    assert share("WB-MIA ID:1 alike") == (1.0, 1)
    assert share("WB-MIA average natural") == (0.0, 1)
    assert share(f"{NULL} ID:2 who") == (0.5, 2)
    assert found["WB-MIA ID:2 who"]["low"] == wilson(1, 2).low


def test_the_files_of_several_people_are_read(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert read_answers(storage, "papers/p-small") == {}
    storage.write_json("papers/p-small/blind-key.json", KEY)
    storage.write("papers/p-small/answers/ann.csv", b"question,answer\nwho-r-0,A\nalike-r-0,no\n")
    storage.write("papers/p-small/answers/bob.csv", b"question,answer,note\nwho-r-0,C,unsure\n")
    storage.write("papers/p-small/answers/eve.csv", b"\xff\xfe something else\n")
    found = read_answers(storage, "papers/p-small")
    assert (found["WB-MIA ID:1 who"]["value"], found["WB-MIA ID:1 who"]["count"]) == (0.5, 2)
    assert found["WB-MIA average alike"]["value"] == 0.0
