from __future__ import annotations

from pathlib import Path

import pytest

from inversionlab.core.settings import (
    ConfigError,
    Settings,
    fingerprint,
    override,
    parse_yaml,
    read_recipe,
)
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.experiment import load
from inversionlab.experiment.settings_reference import settings_reference
from inversionlab.pipeline.plan import make_plan
from tests import tiny

RECIPES = Path(__file__).resolve().parents[2] / "jobs" / "recipes"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.5E+2", 150.0),
        ("3", 3),
        ("0.25", 0.25),
        (".5", 0.5),
        ("-2", -2),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
        ("[1, 2.0]", [1, 2.0]),
        ("null", None),
        ("true", True),
    ],
)
def test_numbers_and_texts_are_read_as_they_look(text: str, value: object) -> None:
    read = parse_yaml(text)
    assert read == value
    assert type(read) is type(value)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("targets: {count: 1}\nname: x\ntargets: {count: 2}")
    with pytest.raises(ConfigError, match="the key `targets` is given twice"):
        read_recipe(recipe)


def test_a_key_that_is_no_text_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("1: x")
    with pytest.raises(ConfigError, match="the key 1 must be text"):
        read_recipe(recipe)


def test_override_changes_a_copy() -> None:
    data = {"a": {"b": 1}, "list": [{"c": 1}]}
    made = override(data, ["a.b=2", "list.0.c=3", "new.deep=x=y"])
    assert made == {"a": {"b": 2}, "list": [{"c": 3}], "new": {"deep": "x=y"}}
    assert data == {"a": {"b": 1}, "list": [{"c": 1}]}


def test_fingerprints_ignore_the_order_of_keys_only() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint([1, 2]) != fingerprint([2, 1])


def test_a_whole_number_can_be_swept() -> None:
    changed = {"sweep": {"setting": "defense.neighbours", "values": [4, 8]}}
    plan = make_plan(tiny.experiment(**changed), "data", (0, 1, 2, 3))
    assert [t.role for t in plan.specs].count("defense") == 2


def test_the_settings_reference_gives_the_default_of_the_place_not_of_the_class() -> None:
    class Inner(Settings):
        size: int = 1

    class Outer(Settings):
        inner: Inner = Inner(size=7)

    assert [line for line in settings_reference(Outer) if "size" in line] == [
        "inner.size  (int, default 7)"
    ]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_that_we_ship_loads_and_is_called_by_its_name(path: Path) -> None:
    assert load(path).name == path.stem


def test_compact_yaml_reads_back_and_keeps_single_values_in_a_line() -> None:
    value = {"a": {"b": 1, "c": "x, {y}: #z"}, "d": [{"e": None}, "1"], "f": {"g": {"h": [1, 2.5]}}}
    text = dump_yaml(value, compact=True)
    assert parse_yaml(text) == value
    assert "- {e: null}" in text
    assert "  g: {h: [1, 2.5]}" not in text  # Only the innermost stand in a line.
    assert "    h: [1, 2.5]" in text
