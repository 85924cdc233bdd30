"""Fits given pictures in the latent space of a frozen generator: how near can what it makes come to them?

GAN inversion: Zhu et al. 2016, "Generative visual manipulation on the natural image manifold"; Abdal et al. 2019,
"Image2StyleGAN", who search style vectors. Each picture is fitted for itself, by Adam with a step size that falls
to 0 along a cosine:

    min over z of D(G(z), x) + w (1 - r(f(G(z)), f(x)))

D is the sum over scales of the mean squared difference per pixel, f are a recognizer's features, if one is given,
and r is their correlation.
Start: the picture's encoding; without an encoder, the draw of `POOL` whose picture is nearest in coarse pixels.
Plausible: z is at most `RADIUS` sqrt(m) long. Where there are style vectors they are searched instead, and their
entries stay within `SPREAD` standard deviations of those of the pool.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.core.contracts import GenerativePrior

POOL = 1024
"""Draws among which a fit without an encoder begins."""
RATE = 0.05
"""The first step size of Adam."""
RADIUS = 1.25
"""Latents are no longer than this, as a multiple of sqrt(m), near which the length of every draw is."""
SPREAD = 3.0
"""How far an entry of a style vector may be from its mean, in standard deviations."""
WEIGHT = 0.05
"""w. Of pictures from 0 to 1 a good fit leaves D of about 0.01."""
SCALES = 4
"""Scales at which pixels are compared; each has half the side of the one before."""
BATCH = 32
"""Pictures that are fitted at once; it bounds the memory."""

Features = Callable[[Tensor], Tensor]
"""Features (N, D) of pictures (N, C, H, W) in [0, 1], differentiable."""


@dataclass(frozen=True)
class LatentSpace:
    """Where a generator's pictures are searched."""

    decode: Callable[[Tensor], Tensor]
    """Pictures (N, C, H, W) in [0, 1] of points (N, D)."""
    start: Callable[[Tensor], Tensor]
    """Points (N, D) whose pictures resemble some pictures (N, C, H, W)."""
    inside: Callable[[Tensor], Tensor]
    """The nearest plausible points (N, D)."""


@torch.no_grad()
def latent_space(
    prior: GenerativePrior, *, styled: bool, like_NCHW: Tensor, rng: torch.Generator
) -> LatentSpace:
    """The space of a frozen generator.

    Args:
        prior: the generator.
        styled: whether it has style vectors, which are then searched.
        like_NCHW: a picture in [0, 1] on the device.
        rng: draws the pool, on the CPU.
    """
    if not styled and prior.encode(like_NCHW[:1]) is not None:
        return LatentSpace(prior, lambda x_NCHW: _encoded(prior, x_NCHW), _in_ball)
    pool_PD = prior.draw(POOL, rng).to(like_NCHW.device)
    coarse_PE = torch.cat([_coarse(prior(z_BD)) for z_BD in pool_PD.split(BATCH)])
    if styled:
        pool_PD = torch.cat([prior.style(z_BD) for z_BD in pool_PD.split(BATCH)])

    def nearest(x_NCHW: Tensor) -> Tensor:
        return pool_PD[torch.cdist(_coarse(x_NCHW), coarse_PE).argmin(1)]

    if not styled:
        return LatentSpace(prior, nearest, _in_ball)
    mean_D, reach_D = pool_PD.mean(0), SPREAD * pool_PD.std(0)
    low_D, high_D = mean_D - reach_D, mean_D + reach_D
    return LatentSpace(prior.synthesize, nearest, lambda w_ND: w_ND.clamp(low_D, high_D))


def fit(
    space: LatentSpace,
    x_NCHW: Tensor,
    steps: int,
    *,
    start_ND: Tensor | None = None,
    features: Features | None = None,
) -> Tensor:
    """Points (N, D) whose pictures are near `x_NCHW`, pictures in [0, 1] on the device.

    Args:
        space: where to search.
        x_NCHW: the pictures.
        steps: updates.
        start_ND: where to begin; None: at `space.start`.
        features: a recognizer's, which are to be near too; None: pixels alone.
    """
    begun = space.start(x_NCHW) if start_ND is None else start_ND
    parts = zip(begun.split(BATCH), x_NCHW.split(BATCH), strict=True)
    return torch.cat([_fit(space, z_ND, x, steps, features) for z_ND, x in parts])


def _fit(
    space: LatentSpace, begun_ND: Tensor, x_NCHW: Tensor, steps: int, features: Features | None
) -> Tensor:
    z_ND = space.inside(begun_ND.detach().float()).requires_grad_()
    optimizer = torch.optim.Adam([z_ND], lr=RATE)
    wanted_ND = None
    if features is not None:
        with torch.no_grad():
            wanted_ND = _centred(features(x_NCHW))
    for step in range(steps):
        made_NCHW = space.decode(z_ND).float()
        # A sum over the pictures, so none of them matters to another's steps.
        loss = pixel_distance(made_NCHW, x_NCHW).sum()
        if features is not None and wanted_ND is not None:
            alike_N = functional.cosine_similarity(_centred(features(made_NCHW)), wanted_ND)
            loss = loss + WEIGHT * (1 - alike_N).sum()
        optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        (z_ND.grad,) = torch.autograd.grad(loss, z_ND)
        optimizer.step()
        with torch.no_grad():
            z_ND.copy_(space.inside(z_ND))
    return z_ND.detach()


def pixel_distance(a_NCHW: Tensor, b_NCHW: Tensor) -> Tensor:
    """D (N,): mean squared differences per pixel, at full size and at every half of it, summed."""
    total_N = (a_NCHW - b_NCHW).square().flatten(1).mean(1)
    for _ in range(SCALES - 1):
        if min(a_NCHW.shape[2:]) < 2:
            break
        a_NCHW, b_NCHW = functional.avg_pool2d(a_NCHW, 2), functional.avg_pool2d(b_NCHW, 2)
        total_N = total_N + (a_NCHW - b_NCHW).square().flatten(1).mean(1)
    return total_N


def _encoded(prior: GenerativePrior, x_NCHW: Tensor) -> Tensor:
    with torch.no_grad():
        parts = [prior.encode(x) for x in x_NCHW.split(BATCH)]
    return torch.cat([z_BD for z_BD in parts if z_BD is not None])


def _in_ball(z_ND: Tensor) -> Tensor:
    """Latents that are too long, made as long as is plausible."""
    length_N1 = z_ND.norm(dim=1, keepdim=True).clamp_min(1e-12)
    share_N1: Tensor = (RADIUS * math.sqrt(z_ND.shape[1]) / length_N1).clamp_max(1)
    return z_ND * share_N1


def _coarse(x_NCHW: Tensor) -> Tensor:
    """Pictures at 8 x 8 pixels, flat."""
    return functional.adaptive_avg_pool2d(x_NCHW.float(), 8).flatten(1)


def _centred(feature_ND: Tensor) -> Tensor:
    return feature_ND - feature_ND.mean(1, keepdim=True)
