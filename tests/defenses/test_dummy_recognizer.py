from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.learner import TrainingSettings
from inversionlab.defenses import DEFENSES
from inversionlab.defenses.dummy_recognizer import Mixture
from tests.defended import SIZE, context


class Fixed(nn.Module):
    """Gives every picture the same scores."""

    def __init__(self, *scores: float) -> None:
        super().__init__()
        self.classes = len(scores)
        self.scores = torch.tensor(scores)

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        return self.scores.log().expand(len(x_NCHW), -1)


def test_mixture_is_equation_one() -> None:
    mixed = Mixture(Fixed(0.8, 0.2), Fixed(0.1, 0.9), 0.25).log_scores(torch.zeros(1, 1, 2, 2))
    # 0.25 * 0.8 + 0.75 * 0.1 = 0.275, 0.25 * 0.2 + 0.75 * 0.9 = 0.725
    torch.testing.assert_close(mixed.exp(), torch.tensor([[0.275, 0.725]]))


@pytest.mark.parametrize(("alpha", "first"), [(1.0, 0.8), (0.0, 0.1)])
def test_at_alpha_0_and_1_one_network_answers_alone(alpha: float, first: float) -> None:
    mixed = Mixture(Fixed(0.8, 0.2), Fixed(0.1, 0.9), alpha).log_scores(torch.zeros(1, 1, 2, 2))
    assert math.isclose(float(mixed.exp()[0, 0]), first, rel_tol=1e-6)


def test_temperature_flattens_the_dummy_alone() -> None:
    mixed = Mixture(Fixed(0.8, 0.2), Fixed(0.1, 0.9), 0.5, 2.0).log_scores(torch.zeros(1, 1, 2, 2))
    # sqrt(0.1) : sqrt(0.9) = 1 : 3, so the dummy gives 0.25 and 0.75; 0.5 * 0.8 + 0.5 * 0.25 = 0.525
    torch.testing.assert_close(mixed.exp(), torch.tensor([[0.525, 0.475]]))


def test_tiny_scores_stay_finite() -> None:
    mixed = Mixture(Fixed(1e-37, 1.0), Fixed(1e-37, 1.0), 0.5).log_scores(torch.zeros(1, 1, 2, 2))
    assert bool(mixed.isfinite().all())


def settings(**changed: float) -> object:
    return DEFENSES["dummy_recognizer"].Settings(
        name="dummy_recognizer", training=TrainingSettings(epochs=1), **changed
    )


def test_training_set_is_m_neighbours_of_one_anchor_a_class() -> None:
    training_job = DEFENSES["dummy_recognizer"](settings(neighbours=7)).training_job(context())
    assert torch.bincount(training_job.class_N).tolist() == [7] * 5


def test_neighbours_stay_near_their_anchor() -> None:
    """With s~ near 0 every neighbour is its anchor's picture; with a larger s~ the neighbours spread."""
    narrow = DEFENSES["dummy_recognizer"](settings(neighbours=5, sigma_neighbour=1e-6))
    anchors = narrow.decoys(context())
    assert anchors is not None
    images = narrow.training_job(context()).images_NCHW.float() / 255
    torch.testing.assert_close(images, anchors.repeat_interleave(5, 0), atol=1 / 254, rtol=0)
    wide = DEFENSES["dummy_recognizer"](settings(neighbours=5, sigma_neighbour=0.5))
    spread = wide.training_job(context()).images_NCHW.float() / 255 - anchors.repeat_interleave(
        5, 0
    )
    assert float(spread.abs().mean()) > 0.05


class Recorder:
    """Generates gray pictures and records its latents."""

    latent_size = 2000

    def __init__(self) -> None:
        self.z: list[Tensor] = []

    def __call__(self, z_ND: Tensor) -> Tensor:
        self.z.append(z_ND)
        return torch.full((len(z_ND), 3, SIZE, SIZE), 0.5)


def test_anchors_and_neighbours_are_as_far_as_the_settings_say() -> None:
    """Deviations of at least 10,000 numbers: they miss the truth by 3 % once in 40,000 times."""
    recorder = Recorder()
    ctx = dataclasses.replace(context(), generator=recorder)
    defense = DEFENSES["dummy_recognizer"](settings(sigma=2.0, sigma_neighbour=0.3, neighbours=4))
    defense.decoys(ctx)
    anchors_KD = torch.cat(recorder.z)
    recorder.z.clear()
    defense.training_job(ctx)
    away_KMD = torch.cat(recorder.z).unflatten(0, (5, 4)) - anchors_KD[:, None]
    assert float(anchors_KD.std()) == pytest.approx(2.0, rel=0.03)
    assert abs(float(anchors_KD.mean())) < 4 * 2.0 / math.sqrt(anchors_KD.numel())
    assert float(away_KMD.std()) == pytest.approx(0.3, rel=0.03)
    assert abs(float(away_KMD.mean())) < 4 * 0.3 / math.sqrt(away_KMD.numel())
    # Each neighbour has its own noise.
    apart_KMD = away_KMD[:, 1:] - away_KMD[:, :-1]
    assert float(apart_KMD.std()) == pytest.approx(0.3 * math.sqrt(2), rel=0.03)


def test_alpha_does_not_change_the_trained_network() -> None:
    one, two = settings(alpha=0.1), settings(alpha=0.9)
    assert one.trained_part() == two.trained_part()  # type: ignore[attr-defined]
    other = settings(sigma=2.0)
    assert one.trained_part() != other.trained_part()  # type: ignore[attr-defined]


def test_the_victim_is_asked_first() -> None:
    """The order decides the last bits of a gradient's sum, and so of stored rows."""
    asked = []

    class Noting(Fixed):
        def log_scores(self, x_NCHW: Tensor) -> Tensor:
            asked.append(float(self.scores[0]))
            return super().log_scores(x_NCHW)

    Mixture(Noting(0.75, 0.25), Noting(0.125, 0.875), 0.25).log_scores(torch.zeros(1, 1, 2, 2))
    assert asked == [0.75, 0.125]
