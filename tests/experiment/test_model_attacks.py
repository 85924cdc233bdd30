"""Attacks and targets that a budget of queries suffices for, of models behind an endpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inversionlab.attacks import ATTACKS
from inversionlab.data.survey import FolderSurvey
from inversionlab.experiment.model_attacks import attacks_and_targets
from inversionlab.experiment.model_options import Choice, ModelOptions

PEOPLE = FolderSurvey(Path("/people"), (3,) * 30, shorter_side=100, gray=False)
GIVEN = ModelOptions(endpoint="https://host/identify", data=PEOPLE, public=PEOPLE)
MIRROR = 32 + 70 * 31
"""Most queries of `mirror` by scores: the first 32 points, and 31 children in each of 70 generations ..."""
MIRROR_POOL = 1024
"""... and once for all targets, of its starts."""
BLACK_BOX = 300 + 1 + 32 * 300
"""Most queries of `latent_black_box`: 300 updates with 32 perturbations each ..."""
POOL = MIRROR_POOL + 512
"""... and once for all targets, of the starts of both."""


def chosen(budget: int | None, **changed: object) -> dict[str, Choice]:
    options = replace(GIVEN, budget=budget, **changed)  # type: ignore[arg-type]
    return {choice.key: choice for choice in attacks_and_targets(options)}


@pytest.mark.parametrize(
    ("budget", "attacks", "count", "repeats"),
    [
        (None, ["latent_black_box", "mirror"], 20, 3),
        (408 + 60 * (MIRROR + BLACK_BOX) + POOL, ["mirror", "latent_black_box"], 20, 3),
        (408 + 60 * (MIRROR + BLACK_BOX) + POOL - 1, ["mirror"], 20, 3),
        (408 + MIRROR_POOL + 40 * MIRROR, ["mirror"], 20, 2),
        (50_000, ["mirror"], 20, 1),
        (408 + MIRROR_POOL + 7 * MIRROR + 1, ["mirror"], 7, 1),
        (100, ["mirror"], 1, 1),
    ],
)
def test_a_budget_suffices_for_what_is_chosen(
    budget: int | None, attacks: list[str], count: int, repeats: int
) -> None:
    found = chosen(budget)
    assert [attack["name"] for attack in found["attacks"].value] == attacks
    assert found["targets"].value == {"count": count, "repeats": repeats}
    assert found["runtime"].value == {"shard_size": 1}


def test_what_is_left_out_for_the_budget_is_said() -> None:
    found = chosen(50_000)
    assert found["attacks"].why.endswith(
        f"latent_black_box, which asks up to {BLACK_BOX:,} times for a picture, is left out for the budget of "
        "50,000."
    )
    assert found["targets"].why == (
        "20 of the 30 people, each from 1 random start, which the budget of 50,000 queries suffices for; more "
        "make the intervals narrower."
    )
    assert (
        "although the budget of 100 queries may not suffice for one" in chosen(100)["targets"].why
    )
    assert "budget" not in chosen(None)["targets"].why


def test_named_attacks_are_kept_at_any_budget() -> None:
    found = chosen(50_000, attacks=("latent_black_box",))
    assert [attack["name"] for attack in found["attacks"].value] == ["latent_black_box"]
    assert found["targets"].value == {"count": 20, "repeats": 3}


def test_the_most_queries_are_those_that_attacks_state() -> None:
    settings = ATTACKS["mirror"].Settings(name="mirror", gradients=False)  # type: ignore[call-arg]
    assert ATTACKS["mirror"].most_queries(settings, 64) == MIRROR


def test_a_file_is_cut_into_shards_as_usual() -> None:
    assert "runtime" not in chosen(None, endpoint=None, model="a.b:C")


def test_without_pictures_the_classes_say_how_many_people_there_are(tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text("ann\nbob\neve\n")
    found = chosen(None, data=None, classes=tmp_path / "people.txt")
    assert found["targets"].value == {"count": 3, "repeats": 3}
    assert chosen(None, data=None)["targets"].value["count"] == 20
