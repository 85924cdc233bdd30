"""Three of our attacks written plainly, without what makes them fast; `benchmarks.attacks` compares them.

They have the steps and the starts of our attacks. They are not the loops that other projects publish, which have
momentum or Adam, candidates, restarts and batches of their own: `benchmarks/peers/` has those, compared at equal
success. All three attack one target at a time, in batches of 1. Weights keep requiring gradients, so every
backward pass computes those too and every forward pass records for one. All `steps` updates are made even if the
stop score has long been reached, and the best of all points is kept. So most of the ratio is early stopping; the
column "an update" of `benchmarks.attacks` leaves that out. No code of the black-box attack has been published.
Here it follows its paper: at every update each sigma^2 of the grid gets fresh perturbations, which go through the
networks in one small batch, and its own least squares. It reads log-scores, which keep the digits that scores lose
near 1.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab.attacks import AttackerContext, AttackJobs
from inversionlab.attacks.latent_black_box import perturbation_count
from inversionlab.core.contracts import ScoringModel
from inversionlab.core.seeds import torch_stream
from inversionlab.generators.base import Generator


@dataclass(frozen=True)
class Plain:
    """The networks, whose weights require gradients, and the attacker's context."""

    model: ScoringModel
    generator: Generator
    context: AttackerContext

    @classmethod
    def of(cls, model: nn.Module, generator: nn.Module, context: AttackerContext) -> Plain:
        """Copies of frozen networks."""
        own: list[Any] = [copy.deepcopy(part).requires_grad_(True) for part in (model, generator)]
        return cls(own[0], own[1], context)

    def job(self, target: int, repeat: int) -> AttackJobs:
        """The job of one target."""
        device = self.context.device
        return AttackJobs(
            torch.tensor([target], device=device), torch.tensor([repeat], device=device)
        )


Naive = Callable[[Plain, Any, int, int], Tensor]
"""(networks, the attack's settings, target, repeat) -> the picture (1, C, H, W)."""


def latent_white_box(plain: Plain, options: Any, target: int, repeat: int) -> Tensor:
    """A2: descent in the latent space."""
    job = plain.job(target, repeat)
    z_1D = plain.context.first_latents("latent_white_box", job, options.seed_pictures)
    best_1D, lowest = z_1D, float("inf")
    for step in range(options.steps + 1):
        z_1D = z_1D.detach().requires_grad_(True)
        loss = -plain.model.log_scores(plain.generator(z_1D))[0, target]
        loss.backward()
        if loss.item() < lowest:
            best_1D, lowest = z_1D.detach(), loss.item()
        if step < options.steps:
            assert z_1D.grad is not None
            z_1D = _moved(z_1D.detach(), z_1D.grad, options)
    return _decoded(plain, best_1D)


def latent_black_box(plain: Plain, options: Any, target: int, repeat: int) -> Tensor:
    """A3: descent in the latent space along gradients estimated from scores."""
    job = plain.job(target, repeat)
    z_1D = plain.context.first_latents("latent_black_box", job, options.seed_pictures)
    count = perturbation_count(options.perturbations, z_1D.shape[1])
    rng = torch_stream(plain.context.seed, "naive", "latent_black_box", target, repeat)

    def losses(z_ND: Tensor) -> Tensor:
        log_p_N = plain.model.log_scores(plain.generator(z_ND))[:, target]
        return -log_p_N.detach()

    best_1D, lowest = z_1D, float("inf")
    for step in range(options.steps + 1):
        loss_1 = losses(z_1D)
        if loss_1.item() < lowest:
            best_1D, lowest = z_1D, loss_1.item()
        if step < options.steps:
            z_1D = _moved(
                z_1D, _estimated(losses, z_1D, loss_1, options.variances, count, rng), options
            )
    return _decoded(plain, best_1D)


def _estimated(
    losses: Callable[[Tensor], Tensor],
    z_1D: Tensor,
    loss_1: Tensor,
    variances: tuple[float, ...],
    count: int,
    rng: torch.Generator,
) -> Tensor:
    """Yoshimura eq. 14: the gradient at the sigma^2 of the smallest criterion (eq. 17)."""
    best_1D, lowest = torch.zeros_like(z_1D), float("inf")
    for variance in variances:
        noise_MD = torch.randn(count, z_1D.shape[1], generator=rng).to(z_1D.device)
        e_MD = variance**0.5 * noise_MD
        s_M1 = (losses(z_1D + e_MD) - loss_1)[:, None]
        g_D1 = torch.linalg.lstsq(e_MD, s_M1).solution
        criterion = ((s_M1 - e_MD @ g_D1).square().sum() / s_M1.square().sum()).item()
        if criterion < lowest:
            best_1D, lowest = g_D1.T, criterion
    return best_1D


def _decoded(plain: Plain, z_1D: Tensor) -> Tensor:
    x_1CHW: Tensor = plain.generator(z_1D)
    return x_1CHW.detach()


def _moved(z_1D: Tensor, g_1D: Tensor, options: Any) -> Tensor:
    """z - min(max_rate, length / |g|) g (eq. 7, 15)."""
    length = max(g_1D.norm().item(), 1e-12)
    rate: float = min(options.max_rate, options.step_length / length)
    moved_1D: Tensor = z_1D - rate * g_1D
    return moved_1D


def mi_face(plain: Plain, options: Any, target: int, repeat: int) -> Tensor:
    """A4: descent on the pixels.

    Raises:
        ValueError: the settings ask for the auxiliary term or for the processing of pictures.
    """
    if options.variation or options.process_every:
        raise ValueError("mi_face: there is no plain rewriting of `variation` and `process_every`")
    shape = plain.context.public_NCHW.shape[1:]
    noise = torch.rand(shape, generator=plain.context.stream("mi_face", target, repeat))
    x_1CHW: Tensor = (options.blank + noise[None] / 255).clamp_max(1).to(plain.context.device)
    best_1CHW, lowest = x_1CHW, float("inf")
    for step in range(options.steps + 1):
        x_1CHW = x_1CHW.detach().requires_grad_(True)
        log_p = plain.model.log_scores(x_1CHW)[0, target]
        cost = 1 - log_p.exp() if options.cost == "probability" else -log_p
        cost.backward()
        if cost.item() < lowest:
            best_1CHW, lowest = x_1CHW.detach(), cost.item()
        if step < options.steps:
            assert x_1CHW.grad is not None
            x_1CHW = (x_1CHW.detach() - options.rate * x_1CHW.grad).clamp(0, 1)
    return best_1CHW


NAIVE: dict[str, Naive] = {
    "latent_white_box": latent_white_box,
    "latent_black_box": latent_black_box,
    "mi_face": mi_face,
}
