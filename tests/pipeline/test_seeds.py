"""Several victims of one experiment: what is trained and attacked for each of them, and what they share."""

from __future__ import annotations

from typing import Any

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.distributed.run_record import run_name
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.generator_specs import GeneratorSpec
from inversionlab.pipeline.plan import Plan, make_plan
from tests import tiny

TARGETS = (0, 2, 3, 5)
LEARNERS: dict[str, Any] = {
    "sweep": None,
    "generators": {
        "wgan": {"name": "wgan_gp"},
        "taught": {"name": "ked_gan", "latent_size": 8, "width": 4},
    },
    "attacks": [
        {"name": "latent_white_box", "steps": 6},
        {"name": "ked_mi", "generator": "taught"},
        {"name": "ami"},
    ],
    "defense": {"name": "gan_fake_samples"},
}
"""Every kind of network: of the victim's own, of its defender's and of attackers who learn from it."""


def plan(**changed: Any) -> Plan:
    return make_plan(tiny.experiment(**changed), "data", TARGETS)


def networks(made: Plan) -> list[tuple[str, str]]:
    return [(spec.key, spec.title) for spec in made.specs]


def cells(made: Plan) -> list[tuple[str, str]]:
    return [(cell.id, cell.label) for cell in made.cells]


@pytest.mark.parametrize("changed", [{}, LEARNERS])
def test_the_experiments_own_seed_alone_changes_no_name(changed: dict[str, Any]) -> None:
    plain, listed = plan(**changed, seed=3), plan(**changed, seed=3, seeds=[3])
    assert networks(listed) == networks(plain)
    assert cells(listed) == cells(plain)
    names = [
        run_name(tiny.experiment(**changed, seed=3, **seeds)) for seeds in ({}, {"seeds": [3]})
    ]
    assert names[0] == names[1]
    stored = tiny.experiment(**changed).model_dump(mode="json")
    assert "seeds" not in stored, "records and names of recipes without seeds are what they were"


@pytest.mark.parametrize("changed", [{}, LEARNERS])
def test_what_a_plain_run_has_stored_is_a_part_of_what_several_seeds_need(
    changed: dict[str, Any],
) -> None:
    plain, several = plan(**changed), plan(**changed, seeds=[0, 1, 2])
    keys = [spec.key for spec in several.specs]
    assert len(set(keys)) == len(keys)
    assert {spec.key for spec in plain.specs} <= set(keys)
    assert set(plain.work) <= set(several.work)


def test_what_depends_on_the_victim_is_trained_for_every_seed_and_the_rest_once() -> None:
    plain, several = plan(**LEARNERS), plan(**LEARNERS, seeds=[0, 1, 2])

    def roles(made: Plan, seed: int | None) -> list[str]:
        found = [s for s in made.specs if (s.seed if s.for_each_seed else None) == seed]
        return sorted(f"{s.role}{' (taught)' if s.learns_from is not None else ''}" for s in found)

    shared = ["evaluator:disjoint", "evaluator:same", "generator"]
    assert roles(several, None) == shared
    own = roles(several, 1)
    assert own == [
        "attack (taught)",
        "defense",
        "defense_classifier",
        "defense_generator",
        "generator (taught)",
        "generator (taught)",
        "victim",
    ]
    assert roles(several, 0) == roles(several, 2) == own
    assert len(several.specs) == len(shared) + 3 * len(own)
    assert sorted([*shared, *own]) == sorted(roles(plain, None))


def test_a_network_of_another_victim_starts_and_trains_otherwise_on_the_same_data() -> None:
    several = plan(**LEARNERS, seeds=[0, 1])
    first, second = (several.victims[seed].victim for seed in (0, 1))
    assert first.weights_seed != second.weights_seed
    assert (first.data_id, first.seed, second.data_id, second.seed) == ("data", 0, "data", 1)
    for seed, specs in several.victims.items():
        needed = specs.needed(specs.experiment.defense)
        assert {spec.seed for spec in needed} == {seed}
    taught = [s for s in several.specs if isinstance(s, GeneratorSpec) and s.learns_from]
    assert {(s.seed, s.learns_from.seed) for s in taught if s.learns_from} == {(0, 0), (1, 1)}


def test_titles_and_labels_say_whose_they_are_where_there_are_several() -> None:
    several = plan(seeds=[0, 7])
    titles = [spec.title for spec in several.specs]
    assert titles == [
        *("victim, seed 0", "victim, seed 7", "evaluator:same", "evaluator:disjoint"),
        *("generator vae", "defense_generator gan_ada, seed 0", "defense dummy_recognizer, seed 0"),
        *("defense_generator gan_ada, seed 7", "defense dummy_recognizer, seed 7"),
    ]
    labels = [cell.label for cell in several.cells]
    assert labels[:3] == ["random_latent", "random_public", "pixel_gray_box on none, seed 0"]
    assert "latent_white_box on dummy_recognizer at 0.25, seed 7" in labels


def test_every_cell_is_attacked_on_every_victim_and_null_attacks_once() -> None:
    plain, several = plan(), plan(seeds=[4, 5])

    def attacks(made: Plan, seed: int) -> list[str]:
        mine = [c for c in made.cells if c.defense is not None and c.seed == seed]
        return [c.label.removesuffix(f", seed {seed}") for c in mine]

    nulls = [c for c in several.cells if c.defense is None]
    assert [(c.id, c.label, c.seed) for c in nulls] == [
        (c.id, c.label, 0) for c in plain.cells if c.defense is None
    ], "they are those of the experiment's own seed, which no victim here has"
    assert attacks(several, 4) == attacks(several, 5) == attacks(plain, 0)
    assert len(several.work) == len(several.cells) == len(nulls) + 2 * len(attacks(plain, 0))


def test_cells_of_two_victims_share_evaluators_but_neither_model_nor_random_starts() -> None:
    def one(made: Plan, seed: int) -> Cell:
        return next(c for c in made.cells if c.seed == seed and c.label.startswith("latent_white"))

    several = plan(seeds=[0, 1])
    first, second = one(several, 0), one(several, 1)
    assert first.generator.key == second.generator.key
    assert first.model != second.model
    assert first.id != second.id
    # The same victim in an experiment of its own has another split, targets and evaluators.
    assert second.id not in plan(seed=1).work


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seeds": []}, r"seeds = \[\]: .*at least 1"),
        ({"seeds": [1, 2, 1]}, r"seeds: 1 appears twice; give every seed once"),
        ({"seeds": [0, -1]}, r"seeds\.1 = -1: a seed is a whole number from 0 to"),
        ({"seeds": [2**63]}, r"seeds\.0 = 9223372036854775808: a seed is a whole number from 0"),
        ({"seeds": 3}, r"seeds = 3: "),
        ({"seeds": [0.5]}, r"seeds\.0 = 0\.5: "),
        (
            {"seeds": [0, 1], "victim": {"model": "a:B", "weights": "w.safetensors"}},
            r"seeds: are for victims that are trained here, but the given model exists only once",
        ),
        (
            {"seeds": [0], "victim": {"endpoint": {"url": "https://host/identify"}}},
            r"seeds: are for victims that are trained here",
        ),
    ],
)
def test_seeds_that_make_no_sense_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny.experiment(**changed)
