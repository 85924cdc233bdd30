from __future__ import annotations

from typing import Any

import pytest

from inversionlab.pipeline.defense_specs import DefenseNetworkSpec
from inversionlab.pipeline.generator_specs import GeneratorSpec
from inversionlab.pipeline.plan import Plan, make_plan
from tests import tiny

TARGETS = (0, 2, 3, 5)


def plan(**changed: Any) -> Plan:
    return make_plan(tiny.experiment(**changed), "data", TARGETS)


def networks(made: Plan) -> set[str]:
    return {spec.key for spec in made.specs}


def defense_networks(made: Plan) -> list[DefenseNetworkSpec]:
    return [spec for spec in made.specs if isinstance(spec, DefenseNetworkSpec)]


def test_each_network_comes_after_those_that_it_needs() -> None:
    assert [t.role for t in plan().specs] == [
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


def test_equal_evaluators_of_two_names_are_two_networks() -> None:
    twin = {**tiny.RECIPE["evaluators"][0], "name": "twin"}
    made = plan(evaluators=[*tiny.RECIPE["evaluators"], twin])
    assert len({t.id for t in made.specs}) == len(made.specs) == 7


NOISY: dict[str, Any] = {"defense": {"name": "uniform_noise", "amplitude": 0.2}, "sweep": None}
CRITIC: dict[str, Any] = {"generators": {"wgan": {"name": "wgan_gp"}}, "sweep": None}


def test_a_white_box_attack_meets_a_strippable_defense_as_it_is_and_stripped() -> None:
    made = plan(**NOISY)
    cells = [c for c in made.cells if c.attack.name == "latent_white_box"]
    assert [(c.defense.name, c.stripped) for c in cells if c.defense is not None] == [
        ("none", False),
        ("uniform_noise", False),
        ("uniform_noise", True),
    ]
    bare, noisy, stripped = cells
    assert stripped.id == bare.id != noisy.id, "what is left is the victim: one piece of work"
    assert stripped.protected == noisy.protected != bare.protected
    assert not stripped.baseline
    assert "stripped" in stripped.label
    assert len(made.work) == len(made.cells) - 2, "both attacks of the recipe are white-box"


def test_an_attack_on_scores_cannot_strip() -> None:
    made = plan(**NOISY, attacks=[{"name": "latent_black_box"}])
    assert not any(c.stripped for c in made.cells)


def test_other_defenses_are_compared_side_by_side() -> None:
    made = plan(
        **CRITIC,
        defenses=[
            {"name": "gan_fake_samples", "label": "GAN-ID"},
            {"name": "uniform_noise", "inner": {"name": "gan_fake_samples"}},
        ],
    )
    titles = {c.defense.title for c in made.cells if c.defense is not None}
    assert titles == {"none", "dummy_recognizer", "GAN-ID", "uniform_noise"}
    tuned = [spec for spec in defense_networks(made) if spec.kind != "dummy_recognizer"]
    assert len(tuned) == 1, "one fine-tuned victim, alone and under the noise"
    roles = [t.role for t in made.specs]
    assert roles.index("defense_classifier") < roles.index("defense", roles.index("defense") + 1)


def test_a_defenders_public_generator_is_not_the_attackers_network() -> None:
    made = plan(
        **CRITIC,
        defense={"name": "gan_fake_samples"},
        attacks=[{"name": "gmi", "generator": "wgan"}],
    )
    every = [spec for spec in made.specs if isinstance(spec, GeneratorSpec)]
    attackers = [s for s in every if s.role == "generator" and s.settings.name == "wgan_gp"]
    (own,) = [spec for spec in every if spec.role == "defense_generator"]
    assert own.inputs["on"] == "public"
    assert own.settings == attackers[0].settings
    assert own.id != attackers[0].id


def test_a_network_that_learns_from_the_model_under_it_is_trained_again_for_another_one() -> None:
    def noise(inner: dict[str, Any] | None) -> str:
        made = plan(**CRITIC, defense={"name": "adversarial_noise", "inner": inner})
        return defense_networks(made)[-1].id

    mixed = {"name": "dummy_recognizer", "alpha": 0.5}
    assert len({noise(None), noise(mixed), noise({**mixed, "alpha": 0.6})}) == 3
    idle = {**mixed, "alpha": 1.0}
    assert noise(idle) == noise(None), "the mixture of one is the victim"


def test_targets_matter_only_to_a_defense_that_protects_them() -> None:
    def network(defense: dict[str, Any], targets: tuple[int, ...]) -> str:
        made = make_plan(tiny.experiment(**CRITIC, defense=defense), "data", targets, (0, 1, 2))
        return defense_networks(made)[-1].id

    aimed = {"name": "gan_fake_samples"}
    assert network(aimed, (0, 1)) != network(aimed, (0, 2))
    everybody = {**aimed, "protected": "all"}
    assert network(everybody, (0, 1)) == network(everybody, (0, 2))
