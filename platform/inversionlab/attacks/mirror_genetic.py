"""Mirror's search with scores only: a genetic algorithm over the points of its `Space`.

Paper: An et al. 2022, black-box attack, and its code.
A generation: the best point so far survives unchanged (the elite). Every other point is a child of two parents,
drawn in proportion to their target scores p. It takes each coordinate from the first parent with probability
p_1 / (p_1 + p_2), else from the second; each then moves with probability `mutated` by up to `mutation` std either
way, and the child is clipped.
Deviates: in the authors' code, children inherit coordinates in proportion to their parents' *log*-scores, which
favours the worse parent, and all children of a generation move by the same noise. Here the elite is not asked
about again. The code keeps 1,000 points, the best of 100,000 candidates, for 100 generations, and moves
coordinates by up to 0.1 std: about 200,000 queries a target. The defaults here are a small population that moves
far, at most about 2,000 queries; on LFW it needed fewer queries than one twice as large that moved by 0.1 std.
"""

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.descent import Search
from inversionlab.core.settings import Settings

PointScores = Callable[[Tensor, Tensor], Tensor]
"""(points (N, P, W), rows (N,)) -> the model's score (N, P) of each row's target for its points."""


class GeneticSettings(Settings):
    """Settings of the search with scores only."""

    population: int = Field(default=32, ge=2, le=10_000)
    """Points in a generation; the first generation is the best of the candidates."""
    generations: int = Field(default=70, ge=1, le=100_000)
    """Generations at most."""
    mutated: float = Field(default=0.1, ge=0, le=1)
    """The chance that a coordinate of a child moves."""
    mutation: float = Field(default=1.0, ge=0, le=100)
    """How far it moves at most, in standard deviations."""


@torch.no_grad()
def evolve(
    scores: PointScores,
    first_NPW: Tensor,
    clipped: Callable[[Tensor], Tensor],
    settings: GeneticSettings,
    stop: float,
    streams: list[torch.Generator],
) -> Search:
    """Evolve a separate population for every job; a row whose elite scores above `stop` leaves.

    The best of the candidates `first_NPW` (N, P, W) are the first population. `clipped` moves points (N, P, W)
    into their space. Each row has its own random stream.
    """
    rows_N = torch.arange(len(first_NPW), device=first_NPW.device)
    alive_NPW, p_NP = _fittest(first_NPW, scores(first_NPW, rows_N), settings.population)
    state = Search.begin(alive_NPW[:, 0], settings.generations)
    for generation in range(settings.generations + 1):
        state.best[rows_N], state.log_p_N[rows_N] = alive_NPW[:, 0], p_NP[:, 0].log()
        won = p_NP[:, 0] > stop
        state.converged_N[rows_N[won]] = True
        state.steps_N[rows_N[won]] = generation
        rows_N, alive_NPW, p_NP = rows_N[~won], alive_NPW[~won], p_NP[~won]
        if len(rows_N) == 0 or generation == settings.generations:
            break
        left = [streams[row] for row in rows_N.tolist()]
        born_NPW = clipped(_children(alive_NPW, p_NP, settings, left))
        p_NP = torch.cat([p_NP[:, :1], scores(born_NPW, rows_N)], dim=1)
        alive_NPW = torch.cat([alive_NPW[:, :1], born_NPW], dim=1)
        alive_NPW, p_NP = _fittest(alive_NPW, p_NP, settings.population)
    return state


def _fittest(q_NPW: Tensor, p_NP: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` points of highest score, or all if there are fewer, best first; ties keep their order."""
    order_NP = p_NP.argsort(dim=1, descending=True, stable=True)[:, :count]
    return q_NPW.take_along_dim(order_NP[..., None], dim=1), p_NP.take_along_dim(order_NP, dim=1)


def _children(
    q_NPW: Tensor, p_NP: Tensor, settings: GeneticSettings, streams: list[torch.Generator]
) -> Tensor:
    """Children (N, P - 1, W), one fewer than the population, before clipping."""
    count, size, device = settings.population - 1, q_NPW.shape[2], q_NPW.device
    choice_N2C = torch.stack([torch.rand(2, count, generator=s) for s in streams]).to(device)
    chance_3NCW = torch.stack([torch.rand(3, count, size, generator=s) for s in streams], dim=1)
    chance_3NCW = chance_3NCW.to(device)
    # Where only the largest scores are shown, all may be zero; then every point has the same chance.
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
    return child_NCW + move_NCW * (chance_3NCW[2] < settings.mutated)
