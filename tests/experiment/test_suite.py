"""The standard suite: what is in it, how a recipe changes it, and that names are those of attacks written out."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inversionlab.attacks import ATTACKS
from inversionlab.core.settings import NAMING, ConfigError, validate
from inversionlab.core.views import Labels, Scores, View, WhiteBox, shows
from inversionlab.defenses import DEFENSES
from inversionlab.experiment import Experiment
from inversionlab.experiment.suite import (
    GENERIC,
    STANDARD,
    settings_of,
    suite_attacks,
    suite_record,
)
from tests import tiny

PLAIN = [attack["name"] for attack in STANDARD]
GIVEN: dict[str, Any] = {
    "victim": {"model": "my.net:Net"},
    "public_data": {**tiny.RECIPE["data"], "seed": 1},
    "sweep": None,
    "defense": {"name": "none"},
}


def suite(**changed: Any) -> Experiment:
    return tiny.experiment(**copy.deepcopy({"suite": "standard", "attacks": [], **changed}))


def titles(experiment: Experiment) -> list[str]:
    return [attack.title for attack in experiment.attacks]


def test_it_has_one_attack_of_each_access_and_a_floor() -> None:
    kinds = [ATTACKS[name] for name in PLAIN]
    assert {kind.view for kind in kinds if not kind.floor} == {WhiteBox, Scores, Labels}
    assert sum(kind.floor for kind in kinds) == 1
    assert all(settings_of(attack).title == attack["name"] for attack in STANDARD)


@pytest.mark.parametrize("defense", [name for name in DEFENSES if name != "none"])
def test_every_defense_brings_the_attack_that_knows_of_it(defense: str) -> None:
    aware = DEFENSES[defense].aware_attack
    assert ATTACKS[aware].knows_defense
    names = [attack["name"] for attack in suite_attacks(WhiteBox, [aware, aware])]
    assert names == [*PLAIN, aware]
    # Where the model does not show what it sees, the one for any defense takes its place.
    by_labels = suite_attacks(Labels, [aware, GENERIC])
    assert by_labels == [{"name": "label_only"}, {"name": GENERIC}]


@pytest.mark.parametrize(
    ("most", "whole", "answers"),
    [
        (WhiteBox, True, "scores"),
        (Scores, True, "scores"),
        (Scores, False, None),
        (Labels, True, None),
    ],
)
def test_the_generic_one_learns_whole_scores_where_they_are_shown(
    most: type[View], whole: bool, answers: str | None
) -> None:
    (generic,) = [a for a in suite_attacks(most, [GENERIC], whole=whole) if a["name"] == GENERIC]
    assert generic.get("answers") == answers


@pytest.mark.parametrize("most", [WhiteBox, Scores, Labels])
def test_no_attack_sees_more_than_the_model_shows(most: type[View]) -> None:
    for attack in suite_attacks(most, [d.aware_attack for d in DEFENSES.values()]):
        view = ATTACKS[attack["name"]].view_at(settings_of(attack))
        assert view is not None
        assert shows(most, view)


def test_it_joins_the_attacks_at_load() -> None:
    assert titles(suite()) == [*PLAIN, "multi_mode"]
    inside = {"name": "uniform_noise", "inner": tiny.RECIPE["defense"]}
    many = suite(sweep=None, defense=inside, defenses=[{"name": "purifier"}])
    assert titles(many) == [*PLAIN, "ami_adaptive", "multi_mode"]
    plain = suite(sweep=None, defense={"name": "none"})
    assert titles(plain) == PLAIN
    assert list(plain.generators) == ["ked_gan"], "ked_mi searches no VAE"


def test_names_are_as_if_its_attacks_had_been_written_out() -> None:
    stated = suite(attacks=[{"name": "pixel_gray_box", "steps": 4}])
    plain = stated.model_dump(mode="json", context=NAMING)
    assert "suite" not in plain
    written = validate(Experiment, plain, origin="written out")
    assert written.model_dump(mode="json", context=NAMING) == plain
    assert written.suite is None
    # A record holds the experiment; loaded again it is the same.
    again = stated.model_dump(mode="json")
    assert again["suite"] == "standard"
    assert validate(Experiment, again, origin="again") == stated
    # A recipe without a suite is stored as before there was one.
    assert "suite" not in tiny.experiment().model_dump()


def test_an_attack_of_the_same_title_stands_in_its_place() -> None:
    own = [
        {"name": "label_only", "steps": 5},
        {"name": "latent_white_box", "label": "as_published", "as_published": True},
    ]
    made = suite(attacks=own)
    assert titles(made) == [*PLAIN, "multi_mode", "as_published"]
    assert made.attacks[PLAIN.index("label_only")].model_dump()["steps"] == 5
    record = suite_record(made)
    assert record is not None
    assert record.changed == ("label_only",)
    assert record.added == ("as_published",)
    assert record.attacks == (*PLAIN, "multi_mode")
    assert "changed settings: label_only" in record.text
    # Written as the suite has it, it is no change.
    same = suite_record(suite(attacks=[{"name": "latent_white_box", "stop": 0.9999}]))
    assert same is not None
    assert (same.changed, same.added, same.not_shown) == ((), (), ())
    assert suite_record(tiny.experiment()) is None


def test_a_generator_of_the_recipe_is_taken_before_one_is_added() -> None:
    made = suite(generators={"mine": {"name": "ked_gan", "latent_size": 8}})
    assert list(made.generators) == ["mine"]
    taken = suite(generators={"ked_gan": {"name": "wgan_gp"}})
    kinds = {label: settings.name for label, settings in taken.generators.items()}
    assert kinds == {"ked_gan": "wgan_gp", "ked_gan_of_suite": "ked_gan"}


def test_of_a_given_model_it_attacks_what_the_model_shows() -> None:
    assert titles(suite(**GIVEN)) == [*PLAIN, GENERIC]
    by_scores = suite(**GIVEN, **{"victim.access": "scores"})
    assert titles(by_scores) == [
        *("public_look_alike", "latent_black_box", "ami", "label_only", GENERIC)
    ]
    record = suite_record(by_scores)
    assert record is not None
    assert record.not_shown == ("latent_white_box", "ked_mi", "ppa")
    assert "the model does not show enough: latent_white_box, ked_mi, ppa" in record.text
    hidden = {**GIVEN, "defense": {"name": "uniform_noise"}, "victim.access": "labels"}
    assert titles(suite(**hidden)) == ["label_only", GENERIC]
    # A list of the largest scores can be attacked by those that are told how long it is.
    top = [{"name": name, "truncate": 3} for name in ("latent_black_box", "ami")]
    made = suite(**GIVEN, **{"victim.answers": "top_k", "attacks": top})
    assert titles(made) == ["latent_black_box", "ami", "label_only", GENERIC]


def test_without_attacks_and_without_a_suite_a_recipe_is_refused() -> None:
    for attacks in ([], None):
        recipe = {k: v for k, v in tiny.RECIPE.items() if k != "attacks"}
        recipe |= {} if attacks is None else {"attacks": attacks}
        with pytest.raises(ConfigError, match="attacks: is missing; name at least one, or set"):
            validate(Experiment, recipe, origin="test")
    with pytest.raises(ConfigError, match=r"suite = .all.: should be 'standard'"):
        tiny.experiment(suite="all")
    with pytest.raises(ConfigError, match="attacks: `label_only` appears twice"):
        suite(attacks=[{"name": "label_only"}, {"name": "label_only"}])
