from __future__ import annotations

from typing import Any

import pytest
from tests import tiny

from inversionlab.stages.plan import Plan, make_plan

TARGETS = (0, 2, 3, 5)


def plan(**changed: Any) -> Plan:
    return make_plan(tiny.experiment(**changed), "data", TARGETS)


def networks(made: Plan) -> set[str]:
    return {task.key for task in made.tasks}


def test_roles_come_in_an_order_in_which_each_finds_what_it_needs() -> None:
    assert [t.role for t in plan().tasks] == [
        "victim",
        "evaluator:same",
        "evaluator:disjoint",
        "generator",
        "defense_generator",
        "defense",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"defense.alpha": 0.9},
        {"defense.temperature": 3.0},
        {"sweep": None},
        {"attacks.0.steps": 99},
        {"targets.repeats": 9},
        {"runtime.shard_size": 1},
        {"name": "other"},
    ],
)
def test_settings_of_inference_and_layout_train_nothing(changed: dict[str, Any]) -> None:
    assert networks(plan(**changed)) == networks(plan())


@pytest.mark.parametrize(
    ("changed", "roles"),
    [
        ({"defense.sigma": 2.0}, {"defense"}),
        ({"generator.training.epochs": 3}, {"generator"}),
        ({"defense_generator.training.epochs": 3}, {"defense_generator", "defense"}),
        ({"victim.training.epochs": 4}, {"victim"}),
        ({"victim.network.width": 12}, {"victim", "defense"}),
        ({"evaluators.0.recognizer.training.epochs": 4}, {"evaluator:same"}),
        (
            {"seed": 1},
            {
                "victim",
                "evaluator:same",
                "evaluator:disjoint",
                "generator",
                "defense_generator",
                "defense",
            },
        ),
    ],
)
def test_a_changed_setting_retrains_what_depends_on_it(
    changed: dict[str, Any], roles: set[str]
) -> None:
    new = networks(plan(**changed)) - networks(plan())
    assert {key.partition("/")[0].replace("-", ":", 1) for key in new} == roles


def test_nulls_and_the_undefended_victim_are_always_cells() -> None:
    cells = plan().cells
    assert {c.attack.name for c in cells if c.defense is None} == {"random_latent", "random_public"}
    undefended = [
        c.attack.name for c in cells if c.defense is not None and c.defense.name == "none"
    ]
    assert sorted(undefended) == ["latent_white_box", "pixel_gray_box"]
    assert all(c.baseline for c in cells if c.defense is None or c.defense.name == "none")


def test_the_sweep_and_the_recipes_own_setting_are_cells_and_alpha_one_is_the_victim() -> None:
    cells = [c for c in plan().cells if c.attack.name == "latent_white_box"]
    points = [(c.defense.name, c.point) for c in cells if c.defense is not None]
    assert points == [("none", None), ("dummy_recognizer", None), ("dummy_recognizer", 0.25)]


def test_cells_depend_on_attack_and_defense_but_not_on_the_layout() -> None:
    ids = {c.id for c in plan().cells}
    assert len(ids) == len(plan().cells)
    assert {c.id for c in plan(**{"runtime.shard_size": 1}).cells} == ids
    changed = {c.id for c in plan(**{"attacks.1.steps": 7}).cells}
    assert len(changed - ids) == 3


def test_equal_judges_of_two_names_are_two_networks() -> None:
    twin = {**tiny.RECIPE["evaluators"][0], "name": "twin"}
    made = plan(evaluators=[*tiny.RECIPE["evaluators"], twin])
    assert len({t.id for t in made.tasks}) == len(made.tasks) == 7
