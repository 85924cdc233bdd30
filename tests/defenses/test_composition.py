"""Which defenses can be put on which, and what a white-box attacker leaves of them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses import DefenseSettings
from inversionlab.defenses.composition import awake, chain, protected_views, stripped
from inversionlab.experiment import Experiment
from inversionlab.pipeline.plan import Plan, make_plan
from tests import tiny


def experiment(defense: dict[str, Any], **changed: Any) -> Experiment:
    return tiny.experiment(
        defense=defense, sweep=None, generators={"wgan": {"name": "wgan_gp"}}, **changed
    )


def nested(*names: str) -> dict[str, Any]:
    """{"name": first, "inner": {"name": second, ...}}."""
    outer, *rest = names
    return {"name": outer, **({"inner": nested(*rest)} if rest else {})}


def names(settings: DefenseSettings) -> list[str]:
    return [part.name for part in chain(settings)]


@pytest.mark.parametrize(
    "parts",
    [
        ("dummy_recognizer", "gan_fake_samples"),
        ("adversarial_noise", "dummy_recognizer"),
        ("uniform_noise", "mutual_information"),
        ("purifier", "random_fake_samples"),
        ("adversarial_noise", "dp_sgd"),
        ("uniform_noise", "dp_sgd"),
        ("label_modifier", "uniform_noise"),
        ("label_modifier", "purifier"),
        ("label_modifier", "dummy_recognizer", "gan_fake_samples"),
        ("label_modifier", "adversarial_noise", "dummy_recognizer", "gan_fake_samples"),
    ],
)
def test_a_higher_layer_goes_on_a_lower_one(parts: tuple[str, ...]) -> None:
    assert names(experiment(nested(*parts)).defense) == list(parts)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (("dummy_recognizer", "none"), "leave `inner` out"),
        (("gan_fake_samples", "dummy_recognizer"), "trains the victim itself"),
        (("dp_sgd", "mutual_information"), "trains the victim itself"),
        (("dummy_recognizer", "dummy_recognizer"), "cannot be put on it"),
        (("dummy_recognizer", "uniform_noise"), "cannot be put on it"),
        (("uniform_noise", "adversarial_noise"), "cannot be put on it"),
        (("adversarial_noise", "label_modifier"), "cannot be put on it"),
        (("none", "uniform_noise"), "cannot be put on a defense"),
        (("label_modifier", "mutual_information"), "set label_of = victim"),
        (("label_modifier", "gan_fake_samples"), "set label_of = victim"),
        (("dummy_recognizer", "dp_sgd"), "`dp_sgd` below it promises"),
        (("label_modifier", "dummy_recognizer", "dp_sgd"), "`dp_sgd` below it promises"),
        (("label_modifier",), "give `inner`"),
    ],
)
def test_what_does_not_compose_is_refused_at_load(parts: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        experiment(nested(*parts))


def test_a_fault_names_where_it_is() -> None:
    with pytest.raises(ConfigError, match=r"defense\.inner\.inner \(uniform_noise\)"):
        experiment(nested("label_modifier", "dummy_recognizer", "uniform_noise"))
    with pytest.raises(ConfigError, match=r"defenses\.0\.inner \(none\)"):
        experiment({"name": "none"}, defenses=[nested("dummy_recognizer", "none")])


def test_labels_of_the_bare_victim_are_not_released_on_differential_privacy() -> None:
    wrong = {**nested("label_modifier", "dp_sgd"), "label_of": "victim"}
    with pytest.raises(ConfigError, match="holds the bare victim"):
        experiment(wrong)


@pytest.mark.parametrize(
    ("parts", "left"),
    [
        (("none",), ["none"]),
        (("dummy_recognizer",), ["dummy_recognizer"]),
        (("gan_fake_samples",), ["gan_fake_samples"]),
        (("uniform_noise",), ["none"]),
        (("adversarial_noise", "dp_sgd"), ["dp_sgd"]),
        (("label_modifier", "uniform_noise"), ["none"]),
        (
            ("label_modifier", "adversarial_noise", "dummy_recognizer", "gan_fake_samples"),
            ["dummy_recognizer", "gan_fake_samples"],
        ),
    ],
)
def test_a_white_box_attacker_removes_defenses_of_the_scores(
    parts: tuple[str, ...], left: list[str]
) -> None:
    assert names(stripped(experiment(nested(*parts)).defense)) == left


def test_releasing_the_victims_labels_releases_its_weights() -> None:
    outer = {**nested("label_modifier", "mutual_information"), "label_of": "victim"}
    assert names(stripped(experiment(outer).defense)) == ["none"]


def test_an_idle_defense_is_skipped() -> None:
    idle = {**nested("dummy_recognizer", "gan_fake_samples"), "alpha": 1.0}
    assert names(awake(experiment(idle).defense)) == ["gan_fake_samples"]
    assert names(awake(experiment({**nested("dummy_recognizer"), "alpha": 1.0}).defense)) == [
        "none"
    ]


def test_every_title_occurs_once() -> None:
    twice = [nested("gan_fake_samples"), nested("gan_fake_samples")]
    with pytest.raises(ConfigError, match="two of a kind need a `label`"):
        experiment({"name": "none"}, defenses=twice)
    labelled = [{**d, "label": f"GAN-{i}", "beta": 1.0 + i} for i, d in enumerate(twice)]
    assert len(experiment({"name": "none"}, defenses=labelled).defenses) == 2


def test_fake_samples_need_a_generator_with_a_critic() -> None:
    with pytest.raises(ConfigError, match="critic"):
        tiny.experiment(defense=nested("gan_fake_samples"), sweep=None)
    with pytest.raises(ConfigError, match=r"defense \(gan_fake_samples\): generator = mine"):
        experiment({**nested("gan_fake_samples"), "generator": "mine"})


def plan_of(whole: Experiment) -> Plan:
    return make_plan(whole, "data", (0, 1, 2, 3))


def compared(*others: dict[str, Any], **changed: Any) -> Plan:
    """A plan with these defenses side by side, labelled a, b, ... unless they have a label."""
    labelled = [{"label": "ab"[i], **other} for i, other in enumerate(others)]
    return plan_of(tiny.experiment(**{"sweep": None, **changed}, defenses=labelled))


MIXED = {**nested("dummy_recognizer"), "alpha": 1.0}


@pytest.mark.parametrize(
    ("others", "changed", "twin"),
    [
        ((nested("uniform_noise"), nested("uniform_noise")), {}, r"defenses\.1 \(b\).*defenses\.0"),
        (({**nested("uniform_noise"), "amplitude": 0.0},), {}, "undefended victim"),
        ((nested("uniform_noise"),), {"defense": nested("uniform_noise")}, "as defense;"),
        (
            ({**nested("uniform_noise"), "amplitude": 0.1},),
            {
                "defense": nested("uniform_noise"),
                "sweep": {"setting": "defense.amplitude", "values": [0.1, 0.2]},
            },
            "as the sweep's point 0.1",
        ),
        (
            (
                {"name": "uniform_noise", "inner": nested("mutual_information")},
                {
                    "name": "uniform_noise",
                    "inner": {**MIXED, "inner": nested("mutual_information")},
                },
            ),
            {},
            r"defenses\.0",
        ),
        (
            tuple({**nested("gan_fake_samples"), "generator": g} for g in ("one", "other")),
            {"generators": {"one": {"name": "wgan_gp"}, "other": {"name": "wgan_gp"}}},
            r"defenses\.0",
        ),
    ],
)
def test_a_model_that_occurs_twice_is_refused(
    others: tuple[dict[str, Any], ...], changed: dict[str, Any], twin: str
) -> None:
    with pytest.raises(ConfigError, match="is the same model as") as caught:
        compared(*others, **changed)
    assert re.search(twin, str(caught.value))


def test_equal_settings_with_other_generators_are_different_models() -> None:
    two = {"wgan": {"name": "wgan_gp"}, "style": {"name": "style_gan"}}
    others = [{**nested("gan_fake_samples"), "label": label, "generator": label} for label in two]
    shown = {c.protected for c in compared(*others, generators=two).cells}
    assert len(shown - {""}) == 4, "the undefended victim, the recipe's own defense, and both"


@pytest.mark.parametrize("label", ["none", "Undefended", "purifier"])
def test_a_label_that_is_the_name_of_another_model_is_refused(label: str) -> None:
    with pytest.raises(ConfigError, match=f"label = {label}"):
        experiment({"name": "none"}, defenses=[{**nested("uniform_noise"), "label": label}])
    hidden = {"name": "uniform_noise", "inner": {**nested("dp_sgd"), "label": label}}
    with pytest.raises(ConfigError, match=f"label = {label}"):
        experiment(hidden)


def test_labels_that_differ_only_in_capitals_are_equal() -> None:
    alike = [{**nested("uniform_noise"), "label": "A"}, {**nested("purifier"), "label": "a"}]
    with pytest.raises(ConfigError, match="appears twice"):
        experiment({"name": "none"}, defenses=alike)


def test_batches_too_small_for_the_training_workers_are_refused_at_load() -> None:
    small = {**nested("purifier"), "training": {"batch_size": 3}}
    with pytest.raises(ConfigError, match=r"defense\.training\.batch_size = 3: .*give 4 or more"):
        experiment(small, **{"runtime.train_workers": 2})
    assert experiment(small).runtime.train_workers == 1


def test_every_value_of_a_sweep_is_checked_like_the_recipes_own() -> None:
    with pytest.raises(ConfigError, match="at 0: defense"):
        tiny.experiment(
            generators={"wgan": {"name": "wgan_gp"}},
            defense={**nested("gan_fake_samples"), "beta": 0.0},
            sweep={"setting": "defense.alpha", "values": [1.0, 0]},
        )


def test_differential_privacy_is_trained_on_one_worker() -> None:
    with pytest.raises(ConfigError, match="train_workers = 2"):
        experiment(nested("dp_sgd"), **{"runtime.train_workers": 2})


@pytest.mark.parametrize(
    ("defense", "views"),
    [
        (nested("dummy_recognizer"), {WhiteBox, Scores, Labels}),
        (nested("uniform_noise"), {Scores, Labels}),
        (nested("uniform_noise", "dummy_recognizer"), {WhiteBox, Scores, Labels}),
        (nested("label_modifier", "uniform_noise"), {Scores}),
        (nested("label_modifier", "dummy_recognizer"), {WhiteBox, Scores}),
        (
            nested("label_modifier", "uniform_noise", "mutual_information"),
            {WhiteBox, Scores, Labels},
        ),
        ({**nested("label_modifier", "mutual_information"), "label_of": "victim"}, {Scores}),
    ],
)
def test_the_views_in_which_a_whole_chain_protects(
    defense: dict[str, Any], views: set[type[View]]
) -> None:
    assert protected_views(experiment(defense).defense) == views


def test_a_wrong_sweep_hides_no_other_fault() -> None:
    wrong = {"setting": "defense.no_such", "values": [1.0]}
    with pytest.raises(ConfigError, match=r"defense\.inner \(none\)"):
        tiny.experiment(defense=nested("dummy_recognizer", "none"), sweep=wrong)
