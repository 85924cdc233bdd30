"""Random crops of pictures, and the choice of a result by what a model says of them.

A picture that a model takes for the target whichever part it is shown is seldom an adversarial one (Struppek et
al. 2022).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.descent import Search
from inversionlab.attacks.engine import pass_size
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.lomma import AugmentedAttack
from inversionlab.core.views import WhiteBox

CHOICE_AREA, CHOICE_RATIO = (0.5, 0.9), (0.8, 1.2)
"""The crops by which a result is chosen (the authors' values)."""


@torch.no_grad()
def surest(
    attack: AugmentedAttack,
    view: WhiteBox,
    wide: AttackJobs,
    end: Search,
    decode: Callable[[Tensor], Tensor],
    views: int,
    stop: float,
) -> AttackResult:
    """Of each job's ends the one of highest mean target score over random crops.

    `end` has the ends of the rows `wide`, `wide.starts` of each job. Half of the `views` crops are mirrored. Where
    the attack has students, their scores count as much as the model's. The confidence is the model's own mean
    score, and a row has converged where that exceeds `stop`.
    """
    stream = attack.context.shared_stream(attack.settings.name, "choice")
    box_V5 = boxes(views, CHOICE_AREA, CHOICE_RATIO, stream, mirrored=True).to(end.best.device)
    size = pass_size(end.best.device)
    images, means, own = [], [], []
    for point, row_B in zip(end.best.split(size), wide.rows_N.split(size), strict=True):
        x_BCHW, target_B = decode(point), wide.target_N[row_B]
        seen = []
        for box_5 in box_V5:
            seen_BCHW = cropped(x_BCHW, box_5.expand(len(x_BCHW), -1))
            answers = [view.log_scores(seen_BCHW, wide.account(row_B))]
            answers += [student.log_scores(seen_BCHW) for student in attack.students]
            seen.append(torch.stack([attack.target_scores(y, target_B).exp() for y in answers]))
        score_MB = torch.stack(seen).mean(0)
        images.append(x_BCHW)
        own.append(score_MB[0])
        means.append(score_MB.mean(0))
    best_NS = torch.cat(means).view(-1, wide.starts)
    first_N = torch.arange(len(best_NS), device=best_NS.device) * wide.starts
    best_N = first_N + best_NS.argmax(1)
    confidence_N = torch.cat(own)[best_N]
    steps_N = end.steps_N.view(-1, wide.starts).sum(1)
    return AttackResult(torch.cat(images)[best_N], confidence_N, confidence_N > stop, steps_N)


def boxes(
    count: int,
    area: tuple[float, float],
    ratio: tuple[float, float],
    stream: torch.Generator,
    *,
    mirrored: bool = False,
) -> Tensor:
    """Random rectangles (count, 5) of a picture: their width and height, as shares of its side, the place of their
    middle, right and down from the picture's, in half sides, and 1, or -1 where mirrored (half of them).

    `area` bounds their share of the area, and `ratio` that of width to height.
    """
    u_5V = torch.rand(5, count, generator=stream)
    area_V = area[0] + (area[1] - area[0]) * u_5V[0]
    low, high = (torch.tensor(bound).log() for bound in ratio)
    ratio_V = (low + (high - low) * u_5V[1]).exp()
    width_V = (area_V * ratio_V).sqrt().clamp_max(1)
    height_V = (area_V / ratio_V).sqrt().clamp_max(1)
    right_V, down_V = (1 - width_V) * (2 * u_5V[2] - 1), (1 - height_V) * (2 * u_5V[3] - 1)
    way_V = torch.where(u_5V[4] < 0.5, -1.0, 1.0) if mirrored else torch.ones(count)
    return torch.stack([width_V, height_V, right_V, down_V, way_V], dim=1)


def cropped(x_NCHW: Tensor, box_N5: Tensor) -> Tensor:
    """A rectangle of each picture at the picture's full size; differentiable."""
    width_N, height_N, right_N, down_N, way_N = box_N5.unbind(dim=1)
    affine_N23 = x_NCHW.new_zeros(len(x_NCHW), 2, 3)
    affine_N23[:, 0, 0], affine_N23[:, 0, 2] = way_N * width_N, right_N
    affine_N23[:, 1, 1], affine_N23[:, 1, 2] = height_N, down_N
    grid_NHW2 = functional.affine_grid(affine_N23, list(x_NCHW.shape), align_corners=False)
    return functional.grid_sample(x_NCHW, grid_NHW2, padding_mode="border", align_corners=False)
