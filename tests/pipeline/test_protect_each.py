"""`protect: each`: every attacked person has a network of their own, by the names that single runs have."""

from __future__ import annotations

from typing import Any

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.distributed.run_record import run_name
from inversionlab.pipeline.plan import Plan, make_plan
from tests import tiny

TARGETS = (0, 2, 3, 5)
FAKES: dict[str, Any] = {
    "sweep": None,
    "generators": {
        "wgan": {"name": "wgan_gp"},
        "taught": {"name": "ked_gan", "latent_size": 8, "width": 4},
    },
    "attacks": [
        {"name": "latent_white_box", "steps": 6},
        {"name": "ked_mi", "generator": "taught"},
        {"name": "ami", "taught_by": "protected"},
    ],
    "defense": {
        "name": "uniform_noise",
        "inner": {"name": "gan_fake_samples", "generator": "wgan"},
    },
    "defenses": [
        {"name": "gan_fake_samples", "label": "GAN-ID", "generator": "wgan"},
        {"name": "gan_fake_samples", "label": "of-all", "generator": "wgan", "protected": "all"},
        {"name": "random_fake_samples"},
        {"name": "uniform_noise", "label": "noise"},
    ],
}


def plan(targets: tuple[int, ...] = TARGETS, **changed: Any) -> Plan:
    return make_plan(tiny.experiment(**FAKES, **changed), "data", targets, pool=TARGETS)


def test_together_is_what_there_was_before_there_was_a_choice() -> None:
    plain, said = plan(), plan(protect="together")
    assert [cell.id for cell in plain.cells] == [cell.id for cell in said.cells]
    assert "protect" not in tiny.experiment(**FAKES).model_dump(mode="json")
    assert run_name(tiny.experiment(**FAKES)) != run_name(tiny.experiment(**FAKES, protect="each"))


@pytest.mark.parametrize("seeds", [None, [0, 4]])
def test_networks_and_cells_are_those_of_runs_of_one_person(seeds: list[int] | None) -> None:
    """So what was stored person by person is found again."""
    each = plan(protect="each", seeds=seeds)
    alone = [plan((target,), seeds=seeds) for target in TARGETS]
    assert {s.key for s in each.specs} == {s.key for one in alone for s in one.specs}
    assert {c.id for c in each.cells} == {c.id for one in alone for c in one.cells}
    for target, one in zip(TARGETS, alone, strict=True):
        mine = {c.id for c in each.cells if c.defense is not None and c.defense.aimed_at == target}
        assert mine == {
            c.id
            for c in one.cells
            if c.defense is not None
            and c.defense.title in ("uniform_noise", "GAN-ID", "random_fake_samples")
        }


def test_only_what_protects_attacked_people_has_a_network_for_each() -> None:
    made = plan(protect="each")
    networks = [spec.kind for spec in made.specs if spec.role == "defense"]
    # GAN-ID has the network of what is below the noise.
    fakes = ("gan_fake_samples", "random_fake_samples")
    assert sorted(networks) == sorted(
        ["of-all", *(f"{title} for person {t}" for title in fakes for t in TARGETS)]
    )
    assert len([spec for spec in made.specs if spec.role == "defense_generator"]) == 1
    white = [c for c in made.cells if c.attack.name == "latent_white_box" and c.defense is not None]
    # Noise comes off, and what is left still protects the one person.
    assert [c.defense.aimed_at for c in white if c.stripped and c.defense.title != "noise"] == [
        *TARGETS
    ]
    assert all(
        c.attacked.aimed_at == c.defense.aimed_at for c in white if c.defense.title != "noise"
    )
    assert "GAN-ID, person 3" in " ".join(c.label for c in made.cells)


def test_it_is_refused_where_no_defense_protects_anybody_in_particular() -> None:
    with pytest.raises(ConfigError, match="protect: each: no defense protects the people"):
        tiny.experiment(sweep=None, defense={"name": "uniform_noise"}, protect="each")
