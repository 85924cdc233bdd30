"""What the loader of recipes makes of a number, and of what only looks like one."""

from __future__ import annotations

import math

import pytest
from ruamel.yaml.error import YAMLError

from inversionlab.core.settings import ConfigError, override
from inversionlab.core.yaml_io import dump_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("+5", 5),
        ("0o17", 15),
        ("0x1F", 31),
        ("0.5", 0.5),
        ("010.5", 10.5),
        ("1.", 1.0),
        ("-1e3", -1000.0),
        ("!!float 3", 3.0),
        ("-.inf", -math.inf),
        ("!!int '7'", 7),
        ("!!bool 'true'", True),
    ],
)
def test_yaml_1_2_numbers_are_numbers(text: str, value: object) -> None:
    read = parse_yaml(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text", ["1:30", "1:30.5", "1_0", "1_0.5", "0b11", "-0x1f", "0o8", "<<", "="]
)
def test_what_only_yaml_1_1_takes_for_something_else_is_a_text(text: str) -> None:
    assert parse_yaml(text) == text


@pytest.mark.parametrize(
    ("word", "value"), [("yes", True), ("No", False), ("ON", True), ("off", False)]
)
def test_the_words_for_truth_values_are_read_as_them_and_written_in_quotes(
    word: str, value: bool
) -> None:
    assert parse_yaml(word) is value
    assert parse_yaml(dump_yaml(word)) == word


def test_the_version_that_a_text_names_changes_no_number() -> None:
    assert parse_yaml("%YAML 1.1\n--- [1:30, 1_0, 0o17, y]") == ["1:30", "1_0", 15, "y"]


def test_not_a_number_is_read() -> None:
    assert all(math.isnan(n) for n in parse_yaml("[.nan, .NaN, .NAN]"))


@pytest.mark.parametrize(
    ("text", "plain"), [("010", "10"), ("08", "8"), ("-007", "-7"), ("00", "0"), ("[1, 0008]", "8")]
)
def test_a_number_that_begins_with_a_zero_is_refused(text: str, plain: str) -> None:
    with pytest.raises(YAMLError, match=f"begins with a zero; write {plain} for the decimal"):
        parse_yaml(text)


def test_in_quotes_it_is_a_text() -> None:
    assert parse_yaml("['010', \"08\"]") == ["010", "08"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("!!int abc", "`abc` is not a whole number"),
        ("!!int ''", "`` is not a whole number"),
        ("!!int 1_0", "`1_0` is not a whole number"),
        ("!!int 1.5", "`1.5` is not a whole number"),
        ("9" * 5000, "too long for a whole number; 100 characters at most"),
        ("0x" + "f" * 5000, "too long for a whole number"),
        ("!!float abc", "`abc` is not a number"),
        ("!!float ''", "`` is not a number"),
        ("!!float 1:30", "`1:30` is not a number"),
        ("!!bool x", "`x` is neither true nor false"),
        ("!!map abc", "must be a mapping"),
        ("!!map [a, b]", "must be a mapping"),
        ("!!timestamp x", "could not determine a constructor"),
        ("!!set {a}", "could not determine a constructor"),
        ("!!binary abc", "could not determine a constructor"),
        ('"\\UFFFFFFFF"', "a part of it cannot be read"),
        ("%YAML " + "9" * 5000 + ".1\n--- 1", "a part of it cannot be read"),
        ("&a [*a]", "an anchor holds itself"),
        ("{? &a [*a] : 1}", "an anchor holds itself"),
        ("[" * 3000 + "]" * 3000, "nested more than 50 deep"),
        ("{a: 1, <<: {b: 2}}", "merge keys"),
        ("[&a 1, &a 2]", "the anchor `a` is given twice"),
        ("1\n--- 2", "expected a single document"),
        ("!!python/name:os.getcwd", "could not determine a constructor"),
    ],
    ids=lambda text: text[:20],
)
def test_what_has_no_value_is_refused_as_bad_yaml(text: str, told: str) -> None:
    with pytest.raises(YAMLError, match=told):
        parse_yaml(text)
    with pytest.raises(ConfigError, match=told):
        override({}, [f"a={text}"])


def test_aliases_do_not_hide_how_deep_a_value_is() -> None:
    links = "".join(f", &a{i + 1} [[[*a{i}]]]" for i in range(40))
    with pytest.raises(YAMLError, match="nested more than 50 deep"):
        parse_yaml(f"[&a0 1{links}]")


def test_a_value_may_be_taken_twice() -> None:
    assert parse_yaml("{a: &x {n: 1}, b: *x, c: [*x, *x]}") == {
        "a": {"n": 1},
        "b": {"n": 1},
        "c": [{"n": 1}, {"n": 1}],
    }


@pytest.mark.parametrize(
    "text",
    [
        "08",
        "010",
        "0o17",
        "0x1f",
        "1e-3",
        "1:30",
        "true",
        "null",
        "~",
        "",
        "a: b",
        "- x",
        "é",
    ],
)
def test_what_is_written_is_read_as_the_same(text: str) -> None:
    for value in (text, {"label": text}, [text, {text: [text]}]):
        assert parse_yaml(dump_yaml(value)) == value


def test_a_version_that_yaml_does_not_have_is_refused() -> None:
    with pytest.raises(YAMLError, match="cannot be read"):
        parse_yaml("%YAML 1.3\n---\na: 1\n")
