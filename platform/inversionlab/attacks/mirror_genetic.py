"""Mirror's search with scores only: a genetic algorithm over the points of `mirror_space`.

Paper: An et al. 2022, black-box attack, and its code.
A generation: the best point so far lives on unchanged (elite). Each other is a child of two parents, drawn
with chances in proportion to their target scores; it has every coordinate from the first with probability
p_1 / (p_1 + p_2), else from the second; each coordinate then moves with probability `mutated` by up to
`mutation` std either way; and it is clipped.
Deviates: the authors' code hands down coordinates in proportion to the parents' *log*-scores, which favours
the worse one, and moves all children of a generation by the same noise; the elite is not asked about again.
The code keeps 1,000 points, the best of 100,000 candidates, for 100 generations, and moves coordinates by up
to 0.1 std: about 200,000 queries a target. The defaults here are a small population that moves far, which ended
in fewer queries on LFW than one twice as large that moved by 0.1 std, for about 2,000 at most.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import AttackJobs
from inversionlab.attacks.descent import Path
from inversionlab.attacks.mirror_space import Space, target_scores
from inversionlab.core.settings import Settings
from inversionlab.core.views import Scores


class GeneticSettings(Settings):
    """Settings of the search with scores only."""

    population: int = Field(default=32, ge=2, le=10_000)
    """Points alive at once; the first are the best of the candidates."""
    generations: int = Field(default=70, ge=1, le=100_000)
    """Generations at most."""
    mutated: float = Field(default=0.1, ge=0, le=1)
    """Chance of a child's coordinate to move."""
    mutation: float = Field(default=1.0, ge=0, le=100)
    """How far it moves at most, in standard deviations."""


@torch.no_grad()
def evolve(
    space: Space,
    view: Scores,
    jobs: AttackJobs,
    first_NPW: Tensor,
    settings: GeneticSettings,
    stop: float,
    streams: Sequence[torch.Generator],
) -> Path:
    """Evolve every job's population apart from the others; a row whose elite is above `stop` leaves.

    Args:
        space: where the points live.
        view: shows the scores.
        jobs: one row a job.
        first_NPW: candidates, from which the first population is picked.
        settings: sizes and mutation.
        stop: target score above which a row is finished.
        streams: one random stream a row.
    """
    rows_N = torch.arange(len(jobs), device=first_NPW.device)
    alive_NPW, p_NP = _fittest(
        first_NPW, target_scores(space, view, jobs, first_NPW, rows_N), settings.population
    )
    path = Path.begun(alive_NPW[:, 0], settings.generations)
    for generation in range(settings.generations + 1):
        path.best[rows_N], path.log_p_N[rows_N] = alive_NPW[:, 0], p_NP[:, 0].log()
        won = p_NP[:, 0] > stop
        path.converged_N[rows_N[won]] = True
        path.steps_N[rows_N[won]] = generation
        rows_N, alive_NPW, p_NP = rows_N[~won], alive_NPW[~won], p_NP[~won]
        if len(rows_N) == 0 or generation == settings.generations:
            break
        born_NPW = _children(
            space, alive_NPW, p_NP, settings, [streams[r] for r in rows_N.tolist()]
        )
        born_NP = target_scores(space, view, jobs, born_NPW, rows_N)
        alive_NPW = torch.cat([alive_NPW[:, :1], born_NPW], dim=1)
        p_NP = torch.cat([p_NP[:, :1], born_NP], dim=1)
        alive_NPW, p_NP = _fittest(alive_NPW, p_NP, settings.population)
    return path


def _fittest(q_NPW: Tensor, p_NP: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` points of highest score, at most all, best first; of equals the one that came first."""
    order_NP = p_NP.argsort(dim=1, descending=True, stable=True)[:, :count]
    return q_NPW.take_along_dim(order_NP[..., None], dim=1), p_NP.take_along_dim(order_NP, dim=1)


def _children(
    space: Space,
    q_NPW: Tensor,
    p_NP: Tensor,
    settings: GeneticSettings,
    streams: Sequence[torch.Generator],
) -> Tensor:
    """As many children (N, P - 1, W) as points but one."""
    count, size = settings.population - 1, q_NPW.shape[2]
    device = q_NPW.device
    choice_N2C = torch.stack([torch.rand(2, count, generator=s) for s in streams]).to(device)
    chance_3NCW = torch.stack([torch.rand(3, count, size, generator=s) for s in streams], dim=1).to(
        device
    )
    # Something for everyone: scores may all be zero, where only the largest are shown.
    weight_NP = p_NP + 1e-12
    reach_NP = weight_NP.cumsum(dim=1)
    drawn_N2C = choice_N2C * reach_NP[:, -1, None, None]
    parent_N2C = torch.searchsorted(reach_NP, drawn_N2C.flatten(1)).view_as(drawn_N2C)
    parent_N2C = parent_N2C.clamp_max(q_NPW.shape[1] - 1)
    parts = [q_NPW.take_along_dim(parent_N2C[:, i, :, None], dim=1) for i in range(2)]
    weights = [weight_NP.take_along_dim(parent_N2C[:, i], dim=1) for i in range(2)]
    from_first_NCW = chance_3NCW[0] < (weights[0] / (weights[0] + weights[1]))[..., None]
    child_NCW = torch.where(from_first_NCW, parts[0], parts[1])
    move_NCW = settings.mutation * (2 * chance_3NCW[1] - 1)
    return space.clipped(child_NCW + move_NCW * (chance_3NCW[2] < settings.mutated))
