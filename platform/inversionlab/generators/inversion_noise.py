"""Noise on score vectors that misleads an inversion model, and an inversion model that learns from such vectors.

Paper:   Wen, Yiu & Hui 2021, "Defending Against Model Inversion Attack by Adversarial Examples",
         algorithms 1 and 2.
Noise:   what the defense `adversarial_noise` puts on answers; its card has the equations and the deviations.
Trains:  adversarial training (Madry et al. 2018): at each step the model meets the noise that its own present
         weights find. The defender does so in "Adv defense", the attacker in §V-D (`ami_adversarial`).
Ranges:  log-scores (N, K), of which minus infinity stays so; pictures (N, C, H, W) in [0, 1]. float64 but for A.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.learner import Average, GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.rows import Images
from inversionlab.core.settings import Settings
from inversionlab.core.winner import MARGIN, released
from inversionlab.generators.inversion_model import InversionLearner, InversionModelSettings


class NoiseSettings(Settings):
    """How the noise is computed."""

    budget: float = Field(default=2.4, ge=0, le=1e6)
    """Largest norm of the noise on the log-scores, in nats; 0: no noise."""
    norm: Literal[1, 2, "inf"] = "inf"
    """p, the order of that norm."""
    step: float = Field(default=0.4, ge=0, le=1e4)
    """How far each iteration moves a log-score, in nats."""
    iterations: int = Field(default=10, ge=0, le=1000)
    """Number of gradients of the inversion model that are computed for each query."""

    @property
    def none(self) -> bool:
        """Whether there is no noise at all."""
        return 0 in (self.budget, self.step, self.iterations)


class NoisyInversionLearner(Learner):
    """Trains an inversion model, if asked on scores with the noise that it finds itself."""

    def __init__(self, plain: InversionLearner, noise: NoiseSettings | None) -> None:
        """Train the network of `plain`; without `noise` that is all."""
        self.plain, self.model, self.noise = plain, plain.model, noise
        self.modules, self.optimizers = plain.modules, plain.optimizers
        self.training, self.counters = plain.training, plain.counters

    def hold_out(self, images_NCHW: Images, score_NK: Tensor) -> None:
        """Keep the best epoch; see `InversionLearner.hold_out`."""
        self.plain.hold_out(images_NCHW, score_NK)
        self.modules = self.plain.modules

    def product(self) -> nn.Module:
        """The network of the last epoch, or of the best."""
        return self.plain.product()

    def end_epoch(self, average: Average) -> Losses:
        """Measure the network on held-out pictures, with noise on their scores if it learns from such."""
        return self.plain.end_epoch(average, self._heard)

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch and its scores `y_N` (N, K), with the noise that the current weights find."""
        self.model.eval()
        y_N = self._heard(x_NCHW, y_N)
        self.model.train()
        return self.plain.step(x_NCHW, y_N, rng, sync)

    def _heard(self, x_NCHW: Tensor, y_NK: Tensor) -> Tensor:
        """What the network in inference mode hears of scores: them with the noise that it finds itself, if any."""
        if self.noise is None:
            return y_NK
        n_NK = find_noise(self.model, x_NCHW, y_NK.log(), self.noise)
        return released(y_NK.log().double() + n_NK, y_NK.argmax(1)).exp()


def noisy_learner(
    network: InversionModelSettings,
    training: TrainingSettings,
    noise: NoiseSettings | None,
    *,
    seed: int,
    **sizes: int,
) -> NoisyInversionLearner:
    """An inversion model in training; `seed` sets the initial weights, `sizes` are those of a `ModelShape`.

    Raises:
        ConfigError: the network does not fit the pictures.
    """
    return NoisyInversionLearner(InversionLearner(network, training, seed=seed, **sizes), noise)


def find_noise(
    inversion: nn.Module, x_NCHW: Tensor, log_y_NK: Tensor, noise: NoiseSettings
) -> Tensor:
    """Algorithm 2: float64 noise (N, K), without gradients, for log-scores (N, K) of pictures (N, C, H, W).

    Its norm stays below the budget by twice the margin that `released` then needs.
    """
    x_NCHW, c0_NK = x_NCHW.detach(), log_y_NK.detach().double()
    n_NK = torch.zeros_like(c0_NK)
    for _ in range(noise.iterations):
        with torch.enable_grad():
            c_NK = (c0_NK + n_NK).float().requires_grad_(True)
            # The slope of y^a at 0 is infinite.
            y_NK = c_NK.softmax(1).clamp_min(torch.finfo(torch.float32).tiny)
            away_NCHW = inversion(y_NK) - x_NCHW
            # Summed over rows: no row's gradient depends on the others.
            error = away_NCHW.square().flatten(1).mean(1).sum()
            (grad_NK,) = torch.autograd.grad(error, c_NK)
        n_NK = bounded_noise(c0_NK, c0_NK + n_NK, grad_NK, noise)
    return n_NK


def bounded_noise(c0_NK: Tensor, c_NK: Tensor, grad_NK: Tensor, noise: NoiseSettings) -> Tensor:
    """Algorithm 1: the noise (N, K) after one more step from `c_NK`; `c0_NK` has no noise."""
    c_NK = c_NK + noise.step * grad_NK.sign()
    l_N1 = c0_NK.argmax(1, keepdim=True)
    c_NK = c_NK.scatter(1, l_N1, c_NK.amax(1, keepdim=True))
    # A score of 0 stays 0: the difference of two infinities is not a number.
    n_NK = torch.where(c0_NK.isneginf(), 0.0, c_NK - c0_NK)
    limit = noise.budget - 2 * MARGIN
    norm_N1: Tensor = torch.linalg.vector_norm(n_NK, ord=float(noise.norm), dim=1, keepdim=True)
    return n_NK * (limit / norm_N1.clamp_min(limit))
