"""Attacks and targets that a budget of queries suffices for, of models behind an endpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inversionlab.attacks import ATTACKS
from inversionlab.core.views import Scores
from inversionlab.data.survey import FolderSurvey
from inversionlab.experiment.model_attacks import attacks_and_targets
from inversionlab.experiment.model_options import Choice, ModelOptions
from inversionlab.experiment.suite import GENERIC, settings_of, suite_attacks

PEOPLE = FolderSurvey(Path("/people"), (3,) * 30, shorter_side=100, gray=False)
GIVEN = ModelOptions(endpoint="https://host/identify", data=PEOPLE, public=PEOPLE)
CHECKED, PUBLIC = 408, 90
"""The queries of the check, and those about the public pictures, which serve all that learn from the answers."""
DISTIL = 3
"""Most queries of `distil_then_invert`: one a start."""
AMI = 256 + 16 * 5
"""Most queries of `ami`: 256 look-alikes, and 5 confidences of each of 16 of them."""
LOOK_ALIKE, LOOK_ALIKE_POOL = 1, 256
BLACK_BOX, BLACK_BOX_POOL = 300 + 1 + 32 * 300, 512
"""Most queries of `latent_black_box`: 300 updates with 32 perturbations each; and of its starts, once."""
CHEAP = CHECKED + PUBLIC + 60 * DISTIL
"""What suffices for the cheapest attack on 20 people three times."""
WITH_AMI = CHEAP + LOOK_ALIKE_POOL + 60 * LOOK_ALIKE + 60 * AMI
CHEAPEST, FLOOR = ["distil_then_invert"], ["public_look_alike"]


def chosen(budget: int | None, **changed: object) -> dict[str, Choice]:
    options = replace(GIVEN, budget=budget, **changed)  # type: ignore[arg-type]
    return {choice.key: choice for choice in attacks_and_targets(options)}


@pytest.mark.parametrize(
    ("budget", "attacks", "count", "repeats"),
    [
        (CHEAP, CHEAPEST, 20, 3),
        (CHEAP - 1, CHEAPEST, 20, 2),
        (CHEAP + LOOK_ALIKE_POOL + 60 * LOOK_ALIKE, [*CHEAPEST, *FLOOR], 20, 3),
        (WITH_AMI - 1, [*CHEAPEST, *FLOOR], 20, 3),
        (WITH_AMI, [*CHEAPEST, *FLOOR, "ami"], 20, 3),
        (CHECKED + PUBLIC + 7 * DISTIL + 1, CHEAPEST, 7, 1),
        (100, CHEAPEST, 1, 1),
    ],
)
def test_a_budget_suffices_for_what_is_chosen(
    budget: int | None, attacks: list[str], count: int, repeats: int
) -> None:
    found = chosen(budget)
    assert [attack["name"] for attack in found["attacks"].value] == attacks
    assert found["targets"].value == {"count": count, "repeats": repeats}
    assert found["runtime"].value == {"shard_size": 1}
    # A part of the suite is not the suite.
    assert "suite" not in found


def test_without_a_budget_or_with_enough_the_whole_suite_runs() -> None:
    for found in (chosen(None), chosen(5_000_000)):
        assert found["suite"].value == "standard"
        assert {attack["name"] for attack in found["attacks"].value} == {
            *("public_look_alike", "latent_black_box", "ami", "label_only", "distil_then_invert")
        }


def test_what_is_left_out_for_the_budget_is_said() -> None:
    found = chosen(50_000)
    assert (
        f". latent_black_box, which asks up to {BLACK_BOX:,} times for a picture, is left out for the budget of "
        "50,000" in found["attacks"].why
    )
    assert chosen(CHECKED + PUBLIC + 7 * DISTIL + 1)["targets"].why == (
        "7 of the 30 people, each from 1 random start, which the budget of 520 queries suffices for; more "
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
    stated = {a["name"]: settings_of(a) for a in suite_attacks(Scores, [GENERIC])}
    most = {name: ATTACKS[name].most_queries(own, 64) for name, own in stated.items()}
    assert most["distil_then_invert"] == DISTIL
    assert most["ami"] == AMI
    assert most["public_look_alike"] == LOOK_ALIKE
    assert most["latent_black_box"] == BLACK_BOX


def test_a_file_is_cut_into_shards_as_usual() -> None:
    assert "runtime" not in chosen(None, endpoint=None, model="a.b:C")


def test_without_pictures_the_classes_say_how_many_people_there_are(tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text("ann\nbob\neve\n")
    found = chosen(None, data=None, classes=tmp_path / "people.txt")
    assert found["targets"].value == {"count": 3, "repeats": 3}
    assert chosen(None, data=None)["targets"].value["count"] == 20
