"""The training of a GAN with adaptive augmentation, which several generators share.

Losses: non-saturating, D: softplus(-D(T x)) + softplus(D(T G(z))), G: softplus(-D(T G(z))), T the
augmentation; plus gamma/2 |grad D|^2 on real pictures (R1, Mescheder et al. 2018), every 16th step.
Augmentation (Karras et al. 2020): r = E[sign D(T x)]; after each batch of N pictures, p moves by
N / `ada_pictures` toward where r = `ada_target` (0.6), within [0, `ada_limit`].
Inputs: pictures (N, C, H, W) in [0, 1].
Deviations: R1 is taken at the augmented picture; the product is the generator's running average.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.learner import GradientSync
from inversionlab.generators.adaptive import mean_sign, steepness, steered
from inversionlab.generators.adversarial import AdversarialLearner, AdversarialSettings
from inversionlab.generators.augment_ada import augment_ada
from inversionlab.generators.base import Generator

R1_EVERY = 16


class AdaptiveSettings(AdversarialSettings):
    """What the settings of every GAN with adaptive augmentation hold."""

    r1_weight: float = Field(default=0.02, ge=0, le=1000)
    """gamma, the weight of the gradient penalty."""
    ada_target: float = Field(default=0.6, ge=-1, le=1)
    """The mean sign of the discriminator on real pictures that p is steered to."""
    ada_pictures: int = Field(default=50_000, ge=1, le=1_000_000_000)
    """Pictures over which p could go from 0 to 1."""
    ada_limit: float = Field(default=0.8, ge=0, le=1)
    """The largest p; 0 turns the augmentation off."""


class AdaptiveLearner(AdversarialLearner):
    """Two networks in training; a subclass may say how latents are drawn and pictures are scored."""

    settings: AdaptiveSettings

    def __init__(
        self,
        settings: AdaptiveSettings,
        *,
        seed: int,
        product: Generator,
        average: nn.Module,
        discriminator: nn.Module,
    ) -> None:
        """Take over untrained networks, see `AdversarialLearner`."""
        super().__init__(
            settings, seed=seed, product=product, average=average, discriminator=discriminator
        )
        self.counters["augment_p"] = 0.0

    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        """Learn from one batch; returns `discriminator`, `generator` and `real_sign`.

        And `with_experiment`, where there is a loss beside the two.
        """
        count = len(x_NCHW) * self.workers
        real_NCHW = augment_ada(x_NCHW, self.counters["augment_p"], rng)
        losses = self._step_discriminator(real_NCHW, y_N, rng, sync)
        losses |= self._step_generator(x_NCHW, y_N, rng, sync)
        self.counters["augment_p"] = steered(
            self.counters["augment_p"],
            losses["real_sign"],
            target=self.settings.ada_target,
            step=count / self.settings.ada_pictures,
            limit=self.settings.ada_limit,
        )
        self._follow(count)
        return losses

    def _sources(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator) -> Tensor:
        """Latents of as many made pictures as there are real ones."""
        return self._latents(len(x_NCHW), x_NCHW.device, rng)

    def _score_real(self, x_NCHW: Tensor, y_N: Tensor) -> Tensor:
        """Scores (N,) of real pictures."""
        score_N: Tensor = self.discriminator(x_NCHW)
        return score_N

    def _score_made(self, x_NCHW: Tensor, z_ND: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores (N,) of made pictures, and a loss that both networks step down beside, or None."""
        score_N: Tensor = self.discriminator(x_NCHW)
        return score_N, None

    def _augmented(self, z_ND: Tensor, rng: torch.Generator) -> Tensor:
        """Made and augmented pictures."""
        return augment_ada(self._make(z_ND), self.counters["augment_p"], rng)

    def _step_discriminator(
        self, real_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            z_ND = self._sources(real_NCHW, y_N, rng)
            made_NCHW = self._augmented(z_ND, rng)
        with self._half(real_NCHW):
            real_N = self._score_real(real_NCHW, y_N)
            made_N, with_experiment = self._score_made(made_NCHW, z_ND)
        loss = functional.softplus(-real_N).mean() + functional.softplus(made_N).mean()
        total = loss if with_experiment is None else loss + with_experiment
        if self.settings.r1_weight > 0 and self.counters["steps"] % R1_EVERY == 0:
            slope = steepness(lambda x: self._score_real(x, y_N), real_NCHW)
            total = total + R1_EVERY * self.settings.r1_weight / 2 * slope
        self._descend("discriminator", total, sync)
        return {"discriminator": loss.detach(), "real_sign": mean_sign(real_N, sync)}

    def _step_generator(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        z_ND = self._sources(x_NCHW, y_N, rng)
        made_NCHW = self._augmented(z_ND, rng)
        # Only the generator learns here: spare the gradients of the discriminator's weights.
        self.discriminator.requires_grad_(False)
        with self._half(x_NCHW):
            made_N, with_experiment = self._score_made(made_NCHW, z_ND)
        loss = functional.softplus(-made_N).mean()
        self._descend(
            "generator", loss if with_experiment is None else loss + with_experiment, sync
        )
        self.discriminator.requires_grad_(True)
        told = {"generator": loss.detach()}
        return told if with_experiment is None else told | {"beside": with_experiment.detach()}
