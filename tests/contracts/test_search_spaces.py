"""Every search space fits an experiment with its defense, and the searcher suggests its start points."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from inversionlab.core.settings import assign, fingerprint
from inversionlab.defenses import DEFENSES
from inversionlab.defenses.dp_sgd import PrivateLearner
from inversionlab.experiment import Experiment
from inversionlab.tuning.searcher import DeterministicSearcher
from inversionlab.tuning.space import check_space, describe, experiment_at, load_space
from tests import defended, tiny

SPACES = sorted((Path(__file__).resolve().parents[2] / "search_spaces").glob("*.py"))

PLAIN: dict[str, Any] = {"sweep": None}
CHANGES: dict[str, dict[str, Any]] = {
    "dummy_recognizer": {},
    "gan_fake_samples": {
        "defense": {"name": "gan_fake_samples"},
        "generators": {"wgan": {"name": "wgan_gp"}},
        **PLAIN,
    },
    "adversarial_noise": {"defense": {"name": "adversarial_noise"}, **PLAIN},
    "uniform_noise": {"defense": {"name": "uniform_noise"}, **PLAIN},
    "dp_sgd": {"defense": {"name": "dp_sgd"}, **PLAIN},
    "mutual_information": {"defense": {"name": "mutual_information"}, **PLAIN},
    "purifier": {"defense": {"name": "purifier"}, **PLAIN},
    "anonymity_set": {"defense": {"name": "anonymity_set"}, "split.decoy_people": 42, **PLAIN},
    "negative_label_smoothing": {"defense": {"name": "negative_label_smoothing"}, **PLAIN},
    "transfer_learning": {"defense": {"name": "transfer_learning"}, **PLAIN},
    "bido": {"defense": {"name": "bido"}, **PLAIN},
}
"""Changes of `tests/tiny.py`'s recipe that put the defense in it."""

MANY = 32
"""Most trainings that a search may cause; the module says how many."""


def experiment(path: Path) -> Experiment:
    return tiny.experiment(**CHANGES[path.stem])


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_it_is_named_for_a_defense_and_fits_it(path: Path) -> None:
    assert path.stem in DEFENSES
    space = load_space(path)
    check_space(space, experiment(path))
    assert space.start, "the paper's own settings are tried first"


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_its_start_points_come_first(path: Path) -> None:
    space = load_space(path)
    search = DeterministicSearcher(space, single=False, sampler="tpe", seed=0, max_concurrent=64)
    for number, point in enumerate(space.start):
        assert search.suggest(f"id{number}") == point
    free = search.suggest("free")
    if any(kind["kind"] == "float" for kind in describe(space)["kinds"].values()):
        assert free not in space.start


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_settings_that_train_are_few_choices(path: Path) -> None:
    """Every combination of choices is a training; a continuous setting must train nothing."""
    space, base = load_space(path), experiment(path)
    kinds = describe(space)["kinds"]
    choices = {k: kind["values"] for k, kind in kinds.items() if kind["kind"] == "choice"}
    trained = {
        fingerprint(
            experiment_at(base, dict(zip(choices, point, strict=True))).defense.trained_part()
        )
        for point in itertools.product(*choices.values())
    }
    assert len(trained) <= MANY
    for key, kind in kinds.items():
        if key not in choices:
            ends = {
                fingerprint(experiment_at(base, {key: value}).defense.trained_part())
                for value in (kind["low"], kind["high"])
            }
            assert len(ends) == 1, f"{key} trains: make it a tune.choice of a few values"


def _settings() -> list[tuple[str, str]]:
    """Every defense with every setting that its space searches."""
    return [(p.stem, key) for p in SPACES for key in describe(load_space(p))["kinds"]]


@pytest.mark.parametrize(("name", "key"), _settings())
def test_every_searched_setting_changes_the_model(
    name: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise private training would draw other noise for any changed setting, even for an unused one.
    monkeypatch.setattr(PrivateLearner, "own_stream", _same_noise)
    head, _, setting = key.partition(".")
    assert head == "defense"
    (path,) = [p for p in SPACES if p.stem == name]
    kind = describe(load_space(path))["kinds"][key]
    ends = (
        [kind["values"][0], kind["values"][-1]] if "values" in kind else [kind["low"], kind["high"]]
    )
    first, second = (_answers(name, setting, value) for value in ends)
    assert not torch.equal(first, second), f"{key}: {ends[0]} and {ends[1]} release the same model"


def _same_noise(learner: PrivateLearner, rng: torch.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(rng.initial_seed())


def _answers(name: str, setting: str, value: Any) -> torch.Tensor:
    chosen = defended.settings(name)
    data = chosen.model_dump(mode="json")
    assign(data, setting, value)
    changed = type(chosen).model_validate_json(json.dumps(data))
    return defended.protected(changed).log_scores(defended.pictures())


def test_the_wide_space_of_fake_samples_reaches_where_both_losses_pull_alike() -> None:
    """Every trial of a wide space trains, so it is bounded by the trials alone."""
    path = SPACES[0].parent / "wide" / "gan_fake_samples.py"
    base = tiny.experiment(
        defense={"name": "gan_fake_samples"},
        generators={
            "wgan": {"name": "wgan_gp"},
            "style": {"name": "style_gan", "latent_size": 8, "width": 4, "style_size": 8},
        },
        **PLAIN,
    )
    space = load_space(path)
    check_space(space, base)
    kinds = describe(space)["kinds"]
    assert kinds["defense.alpha"]["high"] / max(kinds["defense.beta"]["values"]) >= 1000
    search = DeterministicSearcher(space, single=False, sampler="tpe", seed=0, max_concurrent=64)
    for number, point in enumerate(space.start):
        assert search.suggest(f"id{number}") == point
        assert experiment_at(base, point).defense.name == "gan_fake_samples"
