"""The ceiling of generators whose spaces are known: all pictures, one picture. Stored once, and not done again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.learner import Learner
from inversionlab.experiment import Experiment
from inversionlab.generators.base import Generator
from inversionlab.pipeline.measure import measure_evaluator
from inversionlab.pipeline.missing import missing_ceilings
from inversionlab.pipeline.prior_ceiling import (
    ceiling_key,
    fitted_pictures,
    measure_ceiling,
    priors,
)
from inversionlab.pipeline.session import Session
from inversionlab.pipeline.train import frozen
from tests import tiny

SIDE = 16


class Everything(Generator):
    """Every picture has its latent: the logits of its pixels, a little smaller than draws are long."""

    latent_size = SIDE * SIDE

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(6.0))

    def forward(self, z_ND: Tensor) -> Tensor:
        return (z_ND * self.scale).sigmoid().view(-1, 1, SIDE, SIDE)

    def encode(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.flatten(1).clamp(1e-3, 1 - 1e-3).logit() / self.scale

    def learner(self, settings: object, seed: int) -> Learner:
        raise NotImplementedError


class OnePicture(Everything):
    """Every latent has the same gray picture."""

    def forward(self, z_ND: Tensor) -> Tensor:
        gray_D = torch.linspace(0.3, 0.7, SIDE * SIDE)
        return (gray_D + 0 * z_ND).view(-1, 1, SIDE, SIDE)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with trained victim and evaluators, the first of which is measured."""
    folder = tmp_path_factory.mktemp("trained")
    opened = session(folder)
    tiny.train_all(opened)
    measure_evaluator(opened, "same")
    return folder


def session(folder: Path, **changed: object) -> Session:
    # Half of the pictures are held out, so there are two of each person to fit.
    return tiny.session(folder, **{"prior_ceiling": True, "split.test_fraction": 0.5, **changed})


def ranks(opened: Session, module: nn.Module) -> dict[str, list[dict[str, object]]]:
    """The stored rows of a generator that stands in the place of the recipe's, by the way of the fit."""
    ((generator, spec),) = priors(opened).items()
    opened.builder.networks_at_hand[spec.key] = frozen(module, tiny.CPU)
    measure_ceiling(opened, generator)
    rows = opened.store.read("ceilings", ceiling_key(opened, generator)).to_pylist()
    return {way: [r for r in rows if r["fit"] == way] for way in ("pixels", "features")}


def test_a_space_of_all_pictures_has_the_ceiling_of_the_pictures_themselves(root: Path) -> None:
    opened = session(root)
    for rows in ranks(opened, Everything()).values():
        assert [r["rank"] for r in rows] == [r["real_rank"] for r in rows]
        assert max(float(str(r["error"])) for r in rows) < 1e-4
        # Two pictures of each of the four targets.
        assert sorted(int(str(r["target"])) for r in rows) == sorted(2 * list(opened.plan.targets))


def test_a_space_of_one_picture_shows_one_person_at_most(root: Path) -> None:
    for rows in ranks(session(root), OnePicture()).values():
        # Two pictures of one of the four people come first, or none where it shows somebody who is no target.
        assert sum(r["rank"] == 1 for r in rows) in (0, 2)
        assert {(r["target"], r["rank"]) for r in rows} == {
            (r["target"], r["rank"]) for r in rows[::2]
        }
        assert min(float(str(r["error"])) for r in rows) > 1e-3


def test_a_ceiling_is_stored_once(root: Path, tmp_path: Path) -> None:
    opened = session(root)
    ((generator, spec),) = priors(opened).items()
    opened.store.storage.delete(f"ceilings/{ceiling_key(opened, generator)}.parquet")
    assert missing_ceilings(opened, set()) == [generator]
    opened.builder.networks_at_hand[spec.key] = frozen(OnePicture(), tiny.CPU)
    measure_ceiling(opened, generator)
    found: set[str] = set()
    assert missing_ceilings(opened, found) == []
    assert found == {ceiling_key(opened, generator)}
    # Who does not ask for it lacks nothing, and a damaged file is none.
    assert missing_ceilings(session(tmp_path, prior_ceiling=False), set()) == []
    place = root / "ceilings" / f"{ceiling_key(opened, generator)}.parquet"
    place.write_bytes(place.read_bytes()[:-40])
    assert missing_ceilings(opened, set()) == [generator]


def test_its_name_depends_on_what_it_was_measured_with(root: Path) -> None:
    opened = session(root)
    ((generator, _),) = priors(opened).items()
    names = {
        ceiling_key(other, generator)
        for other in (
            opened,
            session(root, **{"targets.count": 3}),
            session(root, **{"runtime.precision": "bf16"}),
            session(root, **{"evaluators.0.recognizer.training.epochs": 4}),
            session(root, **{"victim.training.epochs": 4}),
        )
    }
    assert len(names) == 5
    # Whether it is measured, and how the work is distributed, changes no name.
    for changed in ({"prior_ceiling": False}, {"runtime.shard_size": 8}):
        assert ceiling_key(session(root, **changed), generator) in names


def test_of_several_victims_the_first_ones_features_are_fitted(root: Path) -> None:
    alone = session(root)
    first = alone.experiment.seed
    several = session(root, seeds=[first, first + 1])
    ((generator, spec),) = priors(several).items()
    several.builder.networks_at_hand[spec.key] = frozen(OnePicture(), tiny.CPU)
    measure_ceiling(several, generator)
    assert ceiling_key(several, generator) == ceiling_key(alone, generator)
    assert missing_ceilings(several, set()) == []


def test_the_evaluator_was_not_trained_on_the_pictures(root: Path) -> None:
    opened = session(root)
    images_NCHW, target_N = fitted_pictures(opened, "same")
    trained = {bytes(image.numpy().tobytes()) for image in opened.builder.splits.train.images_NCHW}
    assert not trained & {bytes(image.numpy().tobytes()) for image in images_NCHW}
    assert set(target_N.tolist()) == set(opened.plan.targets)


def test_the_setting_changes_no_name_of_a_run() -> None:
    from inversionlab.distributed.run_record import run_name

    with_it, without = tiny.experiment(prior_ceiling=True), tiny.experiment()
    assert run_name(with_it) == run_name(without)
    assert (with_it.prior_ceiling, without.prior_ceiling) == (True, False)
    assert Experiment.model_validate_json(with_it.model_dump_json()) == with_it
