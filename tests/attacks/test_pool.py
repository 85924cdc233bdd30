"""Starts that all targets choose from: every target takes its best, and the model is asked once."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from inversionlab.attacks import ATTACKS, AttackerContext
from inversionlab.attacks.latent_white_box import LatentWhiteBox, LatentWhiteBoxSettings
from inversionlab.attacks.pool import Pool, candidates
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.pipeline.attack import make_attack, run_attack
from tests import toys

SHARED = [name for name, kind in ATTACKS.items() if kind.pool_size(kind.Settings(name=name))]


class Blind(toys.ToyGenerator):
    """A generator without an encoder."""

    def encode(self, x_NCHW: torch.Tensor) -> None:
        return None


def blind() -> AttackerContext:
    return dataclasses.replace(toys.context(), generator=Blind().requires_grad_(False))


@pytest.mark.parametrize("kind", [WhiteBox, Scores])
@pytest.mark.parametrize("context", [toys.context(), blind()])
def test_repeat_r_of_a_target_starts_from_the_candidate_of_rank_r(
    kind: type[View], context: AttackerContext
) -> None:
    view = kind(toys.victim(), rows=1)
    pool = Pool.ask(view, candidates("some", context, 40), context.prior)
    assert pool.point_PD.shape == (40, toys.LATENT)
    assert view.shared_queries == 40
    assert view.queries.tolist() == [0]
    with torch.no_grad():
        score_PK = toys.victim().log_scores(context.prior(pool.point_PD))
    start_ND, fits_N = pool.starts(toys.jobs([(3, 0), (3, 1), (0, 0)]))
    ranked = score_PK[:, 3].argsort(descending=True)
    assert torch.equal(start_ND[:2], pool.point_PD[ranked[:2]])
    assert torch.equal(start_ND[2], pool.point_PD[score_PK[:, 0].argmax()])
    assert bool(fits_N.all())


def test_labels_say_which_candidates_are_of_a_class() -> None:
    context = toys.context()
    view = Labels(toys.victim(), rows=1)
    pool = Pool.ask(view, candidates("some", context, 30), context.prior)
    with torch.no_grad():
        label_P = toys.victim().log_scores(context.prior(pool.point_PD)).argmax(1)
    for target in range(toys.CLASSES):
        own = int((label_P == target).sum())
        start_ND, fits_N = pool.starts(toys.jobs([(target, r) for r in range(30)]))
        assert fits_N.tolist() == [True] * own + [False] * (30 - own)
        assert torch.equal(
            start_ND[:own].sort(0).values, pool.point_PD[label_P == target].sort(0).values
        )


def test_more_starts_than_public_pictures_are_no_fault() -> None:
    assert len(candidates("some", toys.context(), 100_000)) == 64


@pytest.mark.parametrize("name", SHARED)
def test_the_model_is_asked_about_the_pool_once_for_all_shards(name: str) -> None:
    settings = ATTACKS[name].Settings(name=name, pool=20)
    attack = make_attack(settings, toys.context())
    assert attack.shared_queries == 0
    for target in range(3):
        run_attack(attack, toys.victim(), [(target, 0)])
    # One attack also asks about the mirror images.
    assert attack.shared_queries == (40 if name == "ppa" else 20)
    assert attack.shared_queries == ATTACKS[name].pool_size(settings)


def test_as_published_takes_the_papers_values_where_nothing_else_is_said() -> None:
    settings = LatentWhiteBoxSettings(as_published=True, patience=7)
    assert (settings.pool, settings.update, settings.step_length) == (0, "limited", 0.1)
    assert settings.patience == 7
    again = LatentWhiteBoxSettings.model_validate_json(settings.model_dump_json())
    assert again.model_dump() == settings.model_dump()
    attack = LatentWhiteBox(settings, toys.context())
    attack.run(WhiteBox(toys.victim(), 1), toys.jobs([(0, 0)]))
    assert attack.shared_queries == 0


@pytest.mark.parametrize("name", [n for n, kind in ATTACKS.items() if kind.Settings.published])
def test_published_values_are_valid_and_differ_from_the_defaults(name: str) -> None:
    kind = ATTACKS[name].Settings
    defaults = kind(name=name).model_dump()
    given = kind.model_validate({"name": name, **kind.published})
    assert given.model_dump() == kind(name=name, as_published=True).model_dump()
    for key, value in kind.published.items():
        assert defaults[key] != value, key
