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
from dataclasses import dataclass, replace

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.descent import Outcomes, Search
from inversionlab.attacks.engine import InFlight, Width, keep_full
from inversionlab.core.settings import Settings

PointScores = Callable[[Tensor, Tensor], Tensor]
"""(points (N, P, W), rows (N,)) -> the model's score (N, P) of each row's target for its points."""
NEVER = 1e-12
"""Added to every score, so that points of score 0 may be drawn, and those of score -NEVER may not."""


class GeneticSettings(Settings):
    """Settings of the search with scores only."""

    population: int = Field(default=32, ge=2, le=10_000)
    """Points in a generation; the first generation is the best of the candidates."""
    generations: int = Field(default=70, ge=1, le=100_000)
    """Maximum number of generations."""
    mutated: float = Field(default=0.1, ge=0, le=1)
    """The probability that a coordinate of a child moves."""
    mutation: float = Field(default=1.0, ge=0, le=100)
    """The largest distance that it moves, in standard deviations."""


@dataclass
class _Population(InFlight):
    """Rows whose populations evolve."""

    alive_LPW: Tensor
    p_LP: Tensor
    """Their target scores, the highest first."""


@torch.no_grad()
def evolve(
    rows_N: Tensor,
    scores: PointScores,
    candidates: Callable[[Tensor], Tensor],
    clipped: Callable[[Tensor], Tensor],
    settings: GeneticSettings,
    stop: float,
    streams: list[torch.Generator],
    width: Width,
) -> Search:
    """Evolve a separate population for every row; a row whose elite scores above `stop` leaves.

    The best of the candidates (L, P, W) of rows that enter are their first population. `clipped` moves points
    (L, P, W) into their space. Each row has its own random stream.
    """
    outcomes = Outcomes()

    def enter(row_L: Tensor) -> _Population:
        first_LCW = candidates(row_L)
        alive_LPW, p_LP = _fittest(first_LCW, scores(first_LCW, row_L), settings.population)
        # Where there are fewer candidates, copies that nobody inherits from fill the first population up.
        missing = settings.population - p_LP.shape[1]
        copies_LMW = alive_LPW[:, :1].expand(-1, missing, -1)
        return _Population(
            row_L,
            step_L=torch.zeros_like(row_L),
            alive_LPW=torch.cat([alive_LPW, copies_LMW], dim=1),
            p_LP=functional.pad(p_LP, (0, missing), value=-NEVER),
        )

    def judge(flying: _Population) -> tuple[_Population, Tensor]:
        return flying, (flying.p_LP[:, 0] > stop) | (flying.step_L == settings.generations)

    def move(flying: _Population) -> _Population:
        own = [streams[row] for row in flying.row_L.tolist()]
        born_LPW = clipped(_children(flying.alive_LPW, flying.p_LP, settings, own))
        p_LP = torch.cat([flying.p_LP[:, :1], scores(born_LPW, flying.row_L)], dim=1)
        both_LPW = torch.cat([flying.alive_LPW[:, :1], born_LPW], dim=1)
        alive_LPW, p_LP = _fittest(both_LPW, p_LP, settings.population)
        return replace(flying, alive_LPW=alive_LPW, p_LP=p_LP, step_L=flying.step_L + 1)

    def leave(done: _Population) -> None:
        p_L = done.p_LP[:, 0]
        outcomes.add(done.row_L, Search(done.alive_LPW[:, 0], p_L.log(), p_L > stop, done.step_L))

    keep_full(
        rows_N,
        width,
        enter=enter,
        judge=judge,
        move=move,
        leave=leave,
        pictures=settings.population,
    )
    return outcomes.in_order()


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
    weight_NP = p_NP + NEVER
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
