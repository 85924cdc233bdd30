"""Names by which users' results are stored are what they were: else all would be trained and attacked again.

README.md says how to take over names that are meant to change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.golden import collect

GOLDEN: dict[str, Any] = collect.golden("identities.json", collect.everything)


@pytest.mark.parametrize("recipe", collect.RECIPES, ids=lambda p: p.stem)
def test_a_recipe_finds_what_it_has_stored(recipe: Path) -> None:
    assert collect.recipe_names(recipe) == GOLDEN["recipes"][recipe.stem]


@pytest.mark.parametrize("space", collect.SPACES, ids=lambda p: p.stem)
def test_a_search_finds_what_it_has_stored(space: Path) -> None:
    assert collect.space_names(space) == GOLDEN["spaces"][space.stem]


def test_no_recipe_and_no_space_is_lost() -> None:
    assert {p.stem for p in collect.RECIPES} >= set(GOLDEN["recipes"])
    assert {p.stem for p in collect.SPACES} >= set(GOLDEN["spaces"])


def test_tables_have_the_columns_that_they_had() -> None:
    assert collect.schemas() == GOLDEN["schemas"]


def test_streams_draw_what_they_drew() -> None:
    assert collect.derived() == GOLDEN["seeds"]
