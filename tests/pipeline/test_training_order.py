"""Which networks a group trains next, in cases worked out by hand; and what every training reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from torch import Tensor

from inversionlab.attacks import ATTACKS
from inversionlab.defenses import DEFENSES
from inversionlab.generators import GENERATORS
from inversionlab.pipeline.generator_specs import GeneratorSpec
from inversionlab.pipeline.model_builder import ModelBuilder
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.session import Session
from inversionlab.pipeline.training_order import Needs, needed_by, next_group
from tests import tiny

# A victim, an evaluator, a prior; two defenses, the second with a network of its own; who learns from each.
AUDIT: Needs = {
    "victim": (),
    "evaluator": (),
    "prior": (),
    "first": ("victim",),
    "noise": (),
    "second": ("victim", "noise"),
    "gan 0": ("victim",),
    "gan 1": ("victim", "first"),
    "gan 2": ("victim", "second"),
}


def without(*stored: str) -> Needs:
    return {key: needed for key, needed in AUDIT.items() if key not in stored}


def test_a_group_alone_trains_all_that_is_missing() -> None:
    assert next_group(AUDIT, (), 1) == [*AUDIT]


def test_what_the_rest_needs_comes_first_and_the_others_take_the_rest() -> None:
    # Three parts: the victim and its kin, the evaluator, the prior. More of them need the victim than the noise.
    assert next_group(AUDIT, (), 2) == ["victim"]
    assert next_group(AUDIT, {"victim"}, 2) == ["evaluator"]
    assert next_group(AUDIT, {"victim", "evaluator"}, 2) == ["prior"]
    assert next_group(AUDIT, {"victim", "evaluator", "prior"}, 2) == ["noise"]


def test_nothing_is_begun_that_needs_a_network_in_training() -> None:
    assert next_group(AUDIT, {"victim", "noise", "evaluator", "prior"}, 2) == []
    assert next_group(without("evaluator", "prior"), {"victim"}, 1) == ["noise"]


def test_a_defense_that_learns_beside_the_victim_keeps_nobody_waiting() -> None:
    # Whoever attacks the second model asks the victim, too, so all of it is one part.
    needs: Needs = {
        "other": (),
        "victim": (),
        "first": ("victim",),
        "gan 1": ("victim", "first"),
        "gan 2": ("victim", "other"),
    }
    assert next_group(needs, (), 2) == ["victim"]
    assert next_group(needs, {"victim"}, 2) == ["other"]
    left = {key: needed for key, needed in needs.items() if key != "victim"}
    assert next_group(left, {"other"}, 2) == ["first", "gan 1"]


def test_what_joins_after_a_chain_ends_the_chain() -> None:
    needs: Needs = {"a": (), "b": ("a",), "c": ("b",), "d": ("b",), "e": ("c", "d")}
    assert next_group(needs, (), 2) == ["a", "b"]
    left: Needs = {"c": (), "d": (), "e": ("c", "d")}
    assert next_group(left, (), 2) == ["c"]
    assert next_group(left, {"c"}, 2) == ["d"]


def test_a_chain_stays_in_one_group() -> None:
    left = without("victim", "evaluator", "prior")
    assert next_group(left, (), 2) == ["first", "gan 1"]
    assert next_group(left, {"first", "gan 1"}, 2) == ["noise", "second", "gan 2"]
    assert next_group(left, {"first", "gan 1", "noise", "second", "gan 2"}, 2) == ["gan 0"]


def test_the_more_is_left_the_more_a_group_takes() -> None:
    alike: Needs = {str(number): () for number in range(13)}
    taken: list[int] = []
    done: set[str] = set()
    while len(done) < len(alike):
        group = next_group(alike, done, 2)
        taken.append(len(group))
        done.update(group)
    assert taken == [4, 3, 2, 1, 1, 1, 1]


DECODER = {"network": {"width": 2}, "training": {"epochs": 1}}
LEARNING: dict[str, dict[str, Any]] = {
    "ami": DECODER,
    "ami_adaptive": DECODER,
    "ami_adversarial": DECODER,
    "amplified_mia": DECODER,
    "distil_then_invert": {"student": tiny.RECIPE["victim"]},
    "ked_mi": {"generator": "inversion_specific"},
    "plg_mi": {"generator": "conditional"},
    "ppa": {"lomma": {"networks": [tiny.RECIPE["victim"]["network"]]}},
}
"""Attacks that train a network of their own, of every kind, or search a generator that learns from the model."""


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Every defense that is trained, alone and on another one, for two victims, under each of those attacks."""
    noise = {"network": {"width": 2, "layers_fewer": 1}}
    crafted = {"name": "gan_fake_samples", "samples": 2, "steps": 1}
    own: dict[str, dict[str, Any]] = {
        "gan_fake_samples": {**crafted, "generator": "wgan"},
        "anonymity_set": {"decoys": 1},
        "adversarial_noise": noise,
    }
    trained = [name for name, kind in DEFENSES.items() if kind.trains]
    defenses = [
        *({"name": name, **own.get(name, {})} for name in trained if name != "dummy_recognizer"),
        {**crafted, "label": "GAN-ID", "generator": "identities"},
        {**crafted, "label": "GAN-shared", "generator": "wgan", "shared_generator": True},
        {"name": "anonymity_set", "label": "generated_decoys", "decoys": 1, "kind": "generated"},
        {"name": "adversarial_noise", "label": "both", "inner": tiny.RECIPE["defense"], **noise},
    ]
    return tiny.session(
        tmp_path_factory.mktemp("everything"),
        **{"data.people": 60, "split.decoy_people": 6, "seeds": [0, 1], "sweep": None},
        generators={
            "wgan": {"name": "wgan_gp", "latent_size": 8, "width": 4},
            "inversion_specific": {"name": "ked_gan", "latent_size": 8, "width": 4},
            "conditional": {"name": "plg_gan", "latent_size": 8, "width": 4},
            "identities": {"name": "cgan", "latent_size": 8, "width": 4},
        },
        defenses=defenses,
        attacks=[{"name": name, **keys} for name, keys in LEARNING.items()],
    )


@pytest.mark.usefixtures("one_thread")
def test_a_training_reads_no_network_but_those_that_it_says_it_needs(everything: Session) -> None:
    plan, before = everything.plan, set[str]()
    for spec in plan.specs:
        # The plan's order is one in which all of them can be trained.
        needs = {need.key for need in needed_by(spec, plan)}
        assert needs <= before, spec.title
        before.add(spec.key)
        if spec.for_each_seed and spec.seed == 0:
            # The other victim's are alike, and a network read of the wrong one shows there, too.
            continue
        read: set[str] = set()

        def load(other: NetworkSpec, read: set[str] = read) -> Mapping[str, Tensor]:
            read.add(other.key)
            return other.pack(other.build(everything.builder))

        builder = ModelBuilder(
            everything.experiment, everything.builder.splits, plan, load, tiny.CPU
        )
        spec.training_job(builder)
        assert read <= needs, spec.title


def test_every_method_that_learns_is_among_them(everything: Session) -> None:
    kinds = {spec.kind for spec in everything.plan.specs}
    assert kinds >= {name for name, kind in DEFENSES.items() if kind.trains}
    learning = {ATTACKS[name].network_kind for name in LEARNING}
    assert learning | {""} >= {kind.network_kind for kind in ATTACKS.values()}
    generators = {
        spec.settings.name for spec in everything.plan.specs if isinstance(spec, GeneratorSpec)
    }
    assert generators >= {name for name, kind in GENERATORS.items() if kind.learns_from_target}


def test_a_shared_generator_is_the_attackers_very_network(everything: Session) -> None:
    plan = everything.plan
    for specs in plan.victims.values():
        titled = {d.title: d for _, d in everything.experiment.every_defense()}
        shared, own = (specs.own(titled[name]) for name in ("GAN-shared", "gan_fake_samples"))
        assert shared is not None
        assert own is not None
        assert shared.generator is not None
        assert own.generator is not None
        attackers = [s for s in plan.specs if s.role == "generator" and s.id == shared.generator.id]
        assert len(attackers) == 1
        assert own.generator.role == "defense_generator"
        assert shared.id != own.id
