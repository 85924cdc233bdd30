"""The training step of GANs with adaptive augmentation: `gan_ada`, `style_gan`, `cgan` and `infogan`.

Losses: non-saturating, D: softplus(-D(T x)) + softplus(D(T G(z))), G: softplus(-D(T G(z))), T the
augmentation; plus gamma/2 |grad D|^2 on real pictures (R1, Mescheder et al. 2018), every 16th step.
Augmentation (Karras et al. 2020): r = E[sign D(T x)]; after each batch of N pictures, p moves by
N / `ada_pictures` toward where r = `ada_target` (0.6), within [0, `ada_limit`].
Inputs: pictures (N, C, H, W) in [0, 1].
Deviations: R1 is taken at the augmented picture.
"""

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.core.learner import Losses
from inversionlab.core.settings import Settings
from inversionlab.generators.augment_ada import augment_ada
from inversionlab.generators.blocks import averaged
from inversionlab.generators.gan_training import Batch, GanLearner

R1_EVERY = 16
PROBABILITY = "augment_p"
"""The counter that holds p, the probability of each kind of augmentation."""


class AdaptiveSettings(Settings):
    """The settings that every GAN with adaptive augmentation has."""

    r1_weight: float = Field(default=0.02, ge=0, le=1000)
    """gamma, the weight of the gradient penalty."""
    ada_target: float = Field(default=0.6, ge=-1, le=1)
    """Target for the mean sign of the discriminator on real pictures. p is adjusted to reach it."""
    ada_pictures: int = Field(default=50_000, ge=1, le=1_000_000_000)
    """Number of pictures that p needs to go from 0 to 1."""
    ada_limit: float = Field(default=0.8, ge=0, le=1)
    """The largest probability p of augmentation; 0 turns it off."""


def adaptive_step(
    settings: AdaptiveSettings,
    gan: GanLearner,
    batch: Batch,
    *,
    draw: Callable[[], Tensor] | None = None,
    score_real: Callable[[Tensor], Tensor] | None = None,
    score_fake: Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]] | None = None,
) -> Losses:
    """One step of the discriminator, then one of the generator; a `GanStep` once `settings` are given.

    Args:
        settings: augmentation and penalty.
        gan: the networks; its counter `augment_p` is p.
        batch: its pictures; its `y_N` is not read here.
        draw: N latents; by default from the prior.
        score_real: scores (N,) of real pictures; by default the discriminator's.
        score_fake: scores (N,) of generated pictures, from the pictures and their latents, and a loss
            that both networks descend as well, or None; by default the discriminator's, and None.

    Returns:
        the losses `discriminator` and `generator`, `real_sign`, and `beside`, the further loss, if any.
    """
    x_NCHW, _, rng, sync = batch
    draw = draw or (lambda: gan.latents(x_NCHW, rng))
    score_real = score_real or gan.discriminator
    score_fake = score_fake or (lambda x_NCHW, z_ND: (gan.discriminator(x_NCHW), None))
    p = gan.counters[PROBABILITY]
    real_NCHW = augment_ada(x_NCHW, p, rng)

    with torch.no_grad():
        z_ND = draw()
        fake_NCHW = augment_ada(gan.generate(z_ND), p, rng)
    with gan.autocast(x_NCHW):
        real_N = score_real(real_NCHW)
        fake_N, further = score_fake(fake_NCHW, z_ND)
    loss = functional.softplus(-real_N).mean() + functional.softplus(fake_N).mean()
    losses = {"discriminator": loss.detach()}
    if further is not None:
        loss = loss + further
    if settings.r1_weight > 0 and gan.counters["steps"] % R1_EVERY == 0:
        loss = loss + R1_EVERY * settings.r1_weight / 2 * steepness(score_real, real_NCHW)
    gan.descend("discriminator", loss, sync)
    losses["real_sign"] = averaged(real_N.detach().sign().mean(), sync)

    z_ND = draw()
    fake_NCHW = augment_ada(gan.generate(z_ND), p, rng)
    # Only the generator learns here: spare the gradients of the discriminator's weights.
    gan.discriminator.requires_grad_(False)
    with gan.autocast(x_NCHW):
        fake_N, further = score_fake(fake_NCHW, z_ND)
    loss = functional.softplus(-fake_N).mean()
    losses["generator"] = loss.detach()
    if further is not None:
        losses["beside"] = further.detach()  # The name is stored in the cards of artifacts.
        loss = loss + further
    gan.descend("generator", loss, sync)
    gan.discriminator.requires_grad_(True)

    gan.counters[PROBABILITY] = steered(
        p,
        losses["real_sign"],
        target=settings.ada_target,
        step=len(x_NCHW) * gan.workers / settings.ada_pictures,
        limit=settings.ada_limit,
    )
    return losses


def steepness(score: Callable[[Tensor], Tensor], x_NCHW: Tensor) -> Tensor:
    """Mean squared gradient of `score`, pictures -> (N,), at pictures, differentiable; in float32."""
    x_NCHW = x_NCHW.detach().requires_grad_(True)
    (slope_NCHW,) = torch.autograd.grad(score(x_NCHW).sum(), x_NCHW, create_graph=True)
    return slope_NCHW.square().sum() / len(x_NCHW)


def steered(p: float, sign: Tensor, *, target: float, step: float, limit: float) -> float:
    """The next probability of augmentation: `step` toward where `sign` = `target`, in [0, `limit`]."""
    moved = p + (step if float(sign) > target else -step)
    return min(max(moved, 0.0), limit)
