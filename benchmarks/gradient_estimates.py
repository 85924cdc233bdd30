"""How good gradients estimated from scores are (Yoshimura et al. 2021, Fig. 7): criterion C against the cosine.

    python -m benchmarks.gradient_estimates                     # networks of made-up faces, trained in a minute
    python -m benchmarks.gradient_estimates --recipe jobs/recipes/lfw.yaml --storage DIR --set data.root=...

The points are those that white-box descents (A2) of some targets pass. At each the gradient is estimated with
every sigma^2. The benchmark prints C and cosine for each sigma^2, and how often the paper's rule holds: C < 0.1
means a cosine above 0.8. `--page` draws the pairs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.arena import Arena, enter, prepare
from inversionlab.attacks.jobs import AttackJobs
from inversionlab.attacks.latent_black_box import perturbation_count
from inversionlab.attacks.perturbations import Losses, Perturbations
from inversionlab.attacks.updates import LimitedStep

VARIANCES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
STEPS = 24
"""Updates of the descents; every eighth point is used."""
SIDE = 420


def points(arena: Arena, targets: int) -> tuple[Tensor, Tensor]:
    """Latents (N, m) that descents pass, and the class (N,) that each descends to."""
    context = arena.context("latent_white_box")
    model = arena.model
    chosen = torch.tensor(arena.session.plan.targets[:targets])
    z_ND = context.first_latents(
        "latent_white_box", AttackJobs(chosen, torch.zeros_like(chosen)), 16
    )
    step, passed = LimitedStep(0.1, 100.0), []
    for number in range(STEPS):
        if number % 8 == 0:
            passed.append(z_ND)
        z_ND = z_ND.detach().requires_grad_(True)
        log_y_NK = model.log_scores(context.prior(z_ND))
        loss = -log_y_NK.gather(1, chosen[:, None]).sum()
        (g_ND,) = torch.autograd.grad(loss, z_ND)
        z_ND, _ = step(z_ND.detach(), g_ND, step.memory(z_ND), torch.zeros(len(z_ND)))
    return torch.cat(passed).detach(), chosen.repeat(len(passed))


def pairs(arena: Arena, targets: int) -> tuple[Tensor, Tensor]:
    """C and cosine at these points, each (V, N)."""
    context, model = arena.context("latent_white_box"), arena.model
    generator = context.prior
    z_ND, target_N = points(arena, targets)

    def losses(around_ND: Tensor, index_N: Tensor) -> Tensor:
        parts = []
        for z_BD, i_B in zip(around_ND.split(256), index_N.split(256), strict=True):
            log_y_BK = model.log_scores(generator(z_BD))
            parts.append(-log_y_BK.gather(1, target_N[i_B][:, None]).squeeze(1))
        return torch.cat(parts)

    count = perturbation_count(None, generator.latent_size)
    stream = context.shared_stream("gradient_estimates")
    directions = Perturbations.draw(count, generator.latent_size, stream, context.device)
    return approximation(losses, z_ND, directions, VARIANCES)


def approximation(
    losses: Losses, z_ND: Tensor, directions: Perturbations, variances: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """How good estimated gradients are (Fig. 7). The model's owner can measure it, a black-box attacker cannot.

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


def drawing(criterion_VN: Tensor, cosine_VN: Tensor) -> str:
    """The pairs as an SVG: C to the right, the cosine upwards, one colour per sigma^2."""
    shades = ("#0b3c5d", "#1f77b4", "#2ca02c", "#ff7f0e", "#d62728")
    dots = [
        f'<circle cx="{40 + SIDE * min(float(c), 1):.1f}" cy="{20 + SIDE * (1 - max(float(q), 0)):.1f}" r="3" '
        f'fill="{shade}" fill-opacity="0.7"/>'
        for shade, c_N, q_N in zip(shades, criterion_VN, cosine_VN, strict=True)
        for c, q in zip(c_N, q_N, strict=True)
    ]
    legend = [
        f'<text x="{SIDE - 70}" y="{40 + 16 * i}" fill="{shade}">σ² = {variance:g}</text>'
        for i, (shade, variance) in enumerate(zip(shades, VARIANCES, strict=True))
    ]
    frame = f'<rect x="40" y="20" width="{SIDE}" height="{SIDE}" fill="none" stroke="#888"/>'
    axes = (
        f'<text x="{SIDE / 2}" y="{SIDE + 50}">criterion C, 0 to 1</text>'
        f'<text x="14" y="{SIDE / 2 + 60}" transform="rotate(-90 14 {SIDE / 2 + 60})">cosine, 0 to 1</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE + 60}" height="{SIDE + 60}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
        f"{frame}{axes}{''.join(dots)}{''.join(legend)}</svg>"
    )


def main() -> None:
    """Estimate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--recipe", type=Path, help="a recipe whose networks an audit has stored")
    add("--storage", type=Path, help="where they are")
    add("--set", dest="assignments", action="append", default=[], help="section.key=value")
    add("--targets", type=int, default=10, help="descents")
    add("--page", type=Path, help="an SVG file to draw the pairs to")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        storage = given.storage or Path(folder)
        spec = prepare(given.recipe, given.assignments, storage, ["latent_white_box"])
        criterion_VN, cosine_VN = pairs(enter(spec, torch.device("cpu")), given.targets)
    for variance, c_N, q_N in zip(VARIANCES, criterion_VN, cosine_VN, strict=True):
        print(
            f"sigma^2 {variance:g}: median C {float(c_N.median()):.3f}, cosine {float(q_N.median()):.3f}"
        )
    near = criterion_VN < 0.1
    share = float((cosine_VN[near] > 0.8).float().mean())
    print(
        f"where C < 0.1 ({int(near.sum())} of {near.numel()} points), {share:.1%} have a cosine above 0.8"
    )
    if given.page is not None:
        given.page.write_text(drawing(criterion_VN, cosine_VN), encoding="utf-8")
        print(given.page)


if __name__ == "__main__":
    main()
