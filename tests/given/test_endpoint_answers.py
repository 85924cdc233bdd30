from __future__ import annotations

from typing import Any

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.given.endpoint_answers import AnswerReader, EndpointError
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.given.settings import Answers

NAMES = ("ann", "bob", "cleo")


def reader(
    answers: Answers = "auto",
    names: tuple[str, ...] | None = NAMES,
    batch: int = 1,
    answer: str = "scores",
) -> AnswerReader:
    return AnswerReader(
        EndpointSettings(url="https://host/x", batch_size=batch, answer=answer), answers, names
    )


@pytest.mark.parametrize(
    ("entry", "kind", "vector"),
    [
        ([0.1, 0.2, 0.7], "scores", [0.1, 0.2, 0.7]),
        ([-3, 0, 5], "scores", [-3, 0, 5]),
        ("bob", "labels", [0, 1, 0]),
        (2, "labels", [0, 0, 1]),
        ([{"label": "cleo", "score": 0.9}], "top_k", [0, 0, 0.9]),
        (
            [{"person": 1, "confidence": 0.6}, {"class": "ann", "probability": 0.3, "box": [1]}],
            "top_k",
            [0.3, 0.6, 0],
        ),
    ],
)
def test_an_entry_shows_what_it_is(entry: Any, kind: str, vector: list[float]) -> None:
    read = reader()
    assert read.kind is None
    assert read.vector(entry) == vector
    assert read.kind == kind
    # Alone or in a list of one, where a request has one picture; in a list otherwise.
    assert read.entries({"scores": entry}, 1) == [entry]
    assert read.entries({"scores": [entry]}, 1) == [entry]
    assert reader(batch=2).entries({"scores": [entry, entry]}, 2) == [entry] * 2
    assert reader(batch=2).entries({"scores": [entry]}, 1) == [entry]


def test_nobody_recognized_is_no_score_at_all() -> None:
    assert reader("top_k").vector([]) == [0, 0, 0]
    assert reader("top_k").entries({"scores": []}, 1) == [[]]


def test_without_a_class_list_the_first_scores_set_the_length() -> None:
    read = reader("embedding", names=None)
    assert read.vector([1.0, 2.0]) == [1, 2]
    with pytest.raises(ConfigError, match="holds 3 scores, but others hold 2"):
        read.vector([1.0, 2.0, 3.0])
    # An embedding has its own length, whoever is enrolled.
    assert reader("embedding").vector([0.5] * 7) == [0.5] * 7


def test_an_expression_reshapes_answers() -> None:
    read = reader("top_k", batch=2, answer="faces[*].matches[*].{label: id, score: similarity}")
    match = {"id": "bob", "similarity": 0.8}
    value = {"faces": [{"matches": [match]}, {"matches": []}]}
    assert [read.vector(e) for e in read.entries(value, 2)] == [[0, 0.8, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("answers", "entry", "text"),
    [
        (
            "auto",
            [0.1, 0.9],
            "classes: an answer holds 2 scores, but `classes` names 3; received: [0.1, 0.9]",
        ),
        ("auto", "bobb", "answers `bobb`, which is not in `classes`; did you mean `bob`?"),
        ("auto", "zzz", "`zzz`, which is not in `classes`; name every class of the model there"),
        ("auto", 3, "answers class 3, but `classes` names 3, which have the numbers 0 to 2"),
        ("auto", -1, "answers class -1"),
        ("labels", [0.1, 0.2, 0.7], "answers = labels: a class was expected"),
        (
            "logits",
            "bob",
            "answers = logits: a list of scores was expected for each picture, but a class came",
        ),
        ("auto", {"a": 1}, "neither a list of scores, nor a class, nor a list of {label, score}"),
        ("auto", True, "neither a list of scores"),
        ("auto", 0.5, "neither a list of scores"),
        ("auto", None, "neither a list of scores"),
        ("auto", [], "neither a list of scores"),
        ("auto", [["bob"], ["ann"]], "neither a list of scores"),
        ("auto", [{"label": "bob"}], "its score under one of score, confidence, probability"),
        ("auto", [{"label": "bob", "name": "ann", "score": 1}], "should hold a class under one of"),
        ("auto", [{"label": None, "score": 1}], "should hold a class under one of"),
    ],
)
def test_settings_that_do_not_fit_are_named(answers: Answers, entry: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        reader(answers).vector(entry)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ([0.1, float("nan"), 0.2], "not finite numbers: [0.1, NaN, 0.2]"),
        ([0.1, float("inf"), 0.2], "not finite numbers"),
        ([0.1, 1e300, 0.2], "not finite numbers"),
        ([1, 10**400, 2], "not finite numbers"),
        ([0.1, None, 0.2], "not all numbers: [0.1, null, 0.2]"),
        ([{"label": "bob", "score": "high"}], "not finite numbers"),
        ([{"label": "bob", "score": 1}, {"label": 1, "score": 2}], "names a class twice"),
    ],
)
def test_scores_that_are_none_are_the_endpoints_fault(entry: Any, text: str) -> None:
    with pytest.raises(EndpointError) as caught:
        reader().vector(entry)
    assert text in str(caught.value)


def test_labels_need_the_class_list() -> None:
    with pytest.raises(ConfigError, match="classes = null: a class came"):
        reader(names=None).vector(3)


def test_what_came_is_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        reader().vector([0.123456] * 5000)
    assert len(str(caught.value)) < 500
    assert "0.123456, ..." in str(caught.value) or "..." in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"other": 1}, "endpoint.answer = scores: finds nothing in the answer; received: {"),
        ({"scores": [[1, 2, 3]]}, "2 pictures were sent, and the expression finds a list of 1"),
        ({"scores": {"a": 1}}, "2 pictures were sent, and the expression finds no list"),
    ],
)
def test_the_expression_must_find_an_entry_a_picture(value: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        reader(batch=2).entries(value, 2)
    assert text in str(caught.value)


def test_an_expression_that_fails_on_the_answer_is_named() -> None:
    with pytest.raises(ConfigError, match="does not fit the answer"):
        reader(answer="abs(scores)").entries({"scores": "text"}, 1)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("scores[", "is not a JMESPath expression"),
        ("[" * 500 + "]" * 500, "is nested more than 100 levels deep"),
        ("!" * 1000 + "x", "is nested more than 100 levels deep"),
        ("a" + "|a" * 400, "is nested more than 100 levels deep"),
        ("scores[::0]", "goes in steps of 0"),
        ("results[].scores[1:9:0]", "goes in steps of 0"),
        ("&x", "`&` makes an argument of"),
        ("results[].{label: id, score: &x}", "`&` makes an argument of"),
        ("not_null(&x)", "`&` makes an argument of"),
        ("sort(scores, &x)", "`&` makes an argument of"),
        ("sorted(scores)", "`sorted` is no function of JMESPath"),
    ],
)
def test_an_expression_that_no_answer_fits_is_refused_at_once(answer: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        reader(answer=answer)
    assert str(caught.value).startswith(f"victim.endpoint.answer = {answer}: {text}")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("scores[::2]", [0.5, 0.125]),
        ("scores[::-1]", [0.125, 0.25, 0.5]),
        ("sort_by(best, &at)[].score", [0.5, 0.25]),
        ("best[*].{label: name, score: score}", [{"label": "bob", "score": 0.25}] * 1),
    ],
)
def test_expressions_that_fit_are_taken(answer: str, found: Any) -> None:
    value = {
        "scores": [0.5, 0.25, 0.125],
        "best": [
            {"at": 2, "score": 0.25, "name": "bob"},
            {"at": 1, "score": 0.5, "name": "ann"},
        ],
    }
    names = None if "label" not in answer else NAMES
    (entry,) = reader(names=names, answer=answer).entries(value, 1)
    assert entry[: len(found)] == found


@pytest.mark.parametrize("answer", ["contains(scores, `1`)", "ceil(to_number(scores))"])
def test_an_error_of_pythons_in_an_expression_is_told(answer: str) -> None:
    with pytest.raises(ConfigError, match=r"does not fit the answer \((TypeError|OverflowError)\)"):
        reader(answer=answer).entries({"scores": "1e999"}, 1)
