"""Each spec builds what its training makes, and refuses what does not fit the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.experiment import EvaluatorSettings
from inversionlab.pipeline.generator_specs import GivenGeneratorSpec
from inversionlab.pipeline.given_specs import GivenSpec
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.recognizer_specs import PROTOCOLS
from inversionlab.pipeline.session import Session, open_session
from tests import tiny

GAN = {"latent_size": 6, "width": 4, "discriminator_width": 4}
INVERSION = {"network": {"width": 4}, "public_pictures": 8}
EVERY_KIND: dict[str, Any] = {
    "evaluators": [
        *tiny.RECIPE["evaluators"],
        {**tiny.RECIPE["evaluators"][0], "name": "nearest", "protocol": "nearest_identity"},
    ],
    "generators": {"wgan": {"name": "wgan_gp", **GAN}, "specific": {"name": "ked_gan", **GAN}},
    "attacks": [{"name": "ked_mi"}, {"name": "ami_adaptive", **INVERSION}],
    "defenses": [{"name": "gan_fake_samples"}],
    "sweep": None,
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """An experiment with every kind of network; where one needs another, it finds untrained weights."""
    opened = tiny.session(tmp_path_factory.mktemp("specs"), **EVERY_KIND)
    return open_session(
        opened.spec, tiny.CPU, load=lambda spec: spec.build(opened.builder).state_dict()
    )


def test_the_experiment_has_every_kind_of_network(session: Session) -> None:
    trained = set(NetworkSpec.__subclasses__()) - {GivenSpec, GivenGeneratorSpec}
    assert {type(spec) for spec in session.plan.specs} == trained


def test_every_protocol_that_a_recipe_can_name_is_there() -> None:
    named = EvaluatorSettings.model_fields["protocol"].annotation
    assert PROTOCOLS.keys() | {"embedding", "given"} == set(get_args(named))


def test_a_spec_builds_the_network_that_its_training_makes(session: Session) -> None:
    cheap = [spec for spec in session.plan.specs if spec.kind != "gan_fake_samples"]
    for spec in cheap:
        built = spec.build(session.builder).state_dict()
        trained = spec.training_job(session.builder).learner.product().state_dict()
        assert {k: v.shape for k, v in built.items()} == {k: v.shape for k, v in trained.items()}


def test_recognizers_that_decide_by_their_head_are_tested(session: Session) -> None:
    tested = {
        spec.role: len(pictures)
        for spec in session.plan.specs
        if (pictures := spec.test_pictures(session.builder)) is not None
    }
    splits = session.builder.splits
    targets = [int((splits.test.class_N == t).sum()) for t in session.plan.targets]
    assert tested == {
        "victim": len(splits.test),
        "evaluator:same": len(splits.test),
        "evaluator:disjoint": sum(targets) + len(splits.evaluator_test),
    }


def test_networks_of_one_model_are_the_defenses_and_those_that_learn_from_a_model(
    session: Session,
) -> None:
    of_one = {spec.role for spec in session.plan.specs if spec.of_one_model}
    shared = {spec.role for spec in session.plan.specs if not spec.of_one_model}
    assert of_one == {"defense", "attack", "generator"}
    assert shared >= {"victim", "evaluator:same", "defense_generator", "defense_classifier"}


@pytest.mark.parametrize(
    ("defense", "told"),
    [
        ("gan_fake_samples", r"defense_classifier \(for gan_fake_samples\): F_C, .* needs public"),
        ("random_fake_samples", "defense random_fake_samples: `random_fake_samples` needs public"),
    ],
)
def test_a_defense_that_needs_strangers_is_refused_without_them(
    tmp_path: Path, defense: str, told: str
) -> None:
    strangers = {**tiny.RECIPE["data"], "seed": 1, "pictures_per_person": 1}
    changed = {**EVERY_KIND, "defenses": [], "defense": {"name": defense}}
    changed |= {"evaluators": tiny.RECIPE["evaluators"][:1], "public_data": strangers}
    with pytest.raises(ConfigError, match=told):
        tiny.session(tmp_path, **changed).builder.check()
