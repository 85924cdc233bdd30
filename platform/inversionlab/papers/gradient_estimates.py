"""How good gradients estimated from scores are (Yoshimura et al. 2021, Fig. 7): criterion C against the cosine.

The points are those that white-box descents (A2) of some targets pass. At each the gradient is estimated with
every sigma^2 of the paper's grid, and compared with the true one. Only the model's owner can do so: a black-box
attacker sees C, but not the true gradient.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from inversionlab.attacks import AttackerContext
from inversionlab.attacks.jobs import AttackJobs
from inversionlab.attacks.latent_black_box import perturbation_count
from inversionlab.attacks.perturbations import Losses, Perturbations
from inversionlab.attacks.updates import LimitedStep
from inversionlab.core.contracts import ScoringModel

VARIANCES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
STEPS = 24
"""Updates of the descents."""
EVERY = 8
"""Every so many-th point is used."""
BATCH = 256
"""Points that are asked about at once."""


def passed_points(
    context: AttackerContext, model: ScoringModel, targets: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Latents (N, m) that the descents of these targets pass, and the class (N,) that each descends to."""
    chosen = torch.tensor(targets)
    jobs = AttackJobs(chosen, torch.zeros_like(chosen))
    z_ND = context.first_latents("latent_white_box", jobs, 16)
    step, passed = LimitedStep(0.1, 100.0), []
    for number in range(STEPS):
        if number % EVERY == 0:
            passed.append(z_ND)
        z_ND = z_ND.detach().requires_grad_(True)
        log_y_NK = model.log_scores(context.prior(z_ND))
        loss = -log_y_NK.gather(1, chosen[:, None]).sum()
        (g_ND,) = torch.autograd.grad(loss, z_ND)
        z_ND, _ = step(z_ND.detach(), g_ND, step.memory(z_ND), torch.zeros(len(z_ND)))
    return torch.cat(passed).detach(), chosen.repeat(len(passed))


def criteria_and_cosines(
    context: AttackerContext,
    model: ScoringModel,
    targets: Sequence[int],
    variances: Sequence[float] = VARIANCES,
) -> tuple[Tensor, Tensor]:
    """C and cosine at the points that descents of these targets pass, each (V, N)."""
    generator = context.prior
    z_ND, target_N = passed_points(context, model, targets)

    def losses(around_ND: Tensor, index_N: Tensor) -> Tensor:
        parts = []
        for z_BD, i_B in zip(around_ND.split(BATCH), index_N.split(BATCH), strict=True):
            log_y_BK = model.log_scores(generator(z_BD))
            parts.append(-log_y_BK.gather(1, target_N[i_B][:, None]).squeeze(1))
        return torch.cat(parts)

    count = perturbation_count(None, generator.latent_size)
    stream = context.shared_stream("gradient_estimates")
    directions = Perturbations.draw(count, generator.latent_size, stream, context.device)
    return approximation(losses, z_ND, directions, variances)


def approximation(
    losses: Losses, z_ND: Tensor, directions: Perturbations, variances: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """How good estimated gradients are at given points.

    Args:
        losses: a loss that is differentiable in the points.
        z_ND: points (N, m), for example those that a descent passes.
        directions: M perturbations.
        variances: the sigma^2, V of them.

    Returns:
        C, and the cosine of the estimated and the true gradient, each (V, N).
    """
    point_ND = z_ND.detach().requires_grad_(True)
    loss_N = losses(point_ND, torch.arange(len(z_ND), device=z_ND.device))
    (true_ND,) = torch.autograd.grad(loss_N.sum(), point_ND)
    criteria, cosines = [], []
    for variance in variances:
        sigma_N = torch.full_like(loss_N, variance).sqrt()
        with torch.no_grad():
            estimate = directions.estimate_around(losses, z_ND, loss_N, sigma_N)
        criteria.append(estimate.criterion_N)
        cosines.append(torch.cosine_similarity(estimate.gradient_ND, true_ND, dim=1))
    return torch.stack(criteria), torch.stack(cosines)
