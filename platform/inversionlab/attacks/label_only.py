"""Label-only attack (A11): away from the class's border, which is felt for with hard labels.

Paper:   Kahla et al. 2022, "Label-Only Model Inversion Attacks via Boundary Repulsion" (BREP-MI), Algorithm 1; as
         Zhu and Fukuchi 2022 and Liu et al. 2024 it reads a score out of the error rate around a point.
Access:  labels only (`Labels`).
Solves:  z* = the centre of the largest sphere in latent space whose points are all labelled as the target
Step:    z <- z + min(R, 9) M,  M = 1/N sum_n Phi(z + R u_n) u_n,  Phi = 1 where the label is the target, else -1,
         u_n on the unit sphere, N = 32; where all N are the target, R <- 1.3 R instead, from R = 2.
Start:   the first of a stream of latents whose picture is labelled as the target: in turn draws from the prior
         and, with an encoder, encodings of random public pictures.
Stop:    all points of a sphere of radius `stop_radius` or more are the target; or `steps` spheres were asked.
Ranges:  pictures in [0, 1]; z is unbounded.
Result:  the last centre. Where no start was found: the mean encoding of 16 public pictures, or a draw, and not
         converged. The confidence is not a number: labels show none.
Queries: those of the start; N a step, and one for the new centre of a move.
Deviates: a move is three times the paper's min(R / 3, 3) M, which takes three times the queries. u_n come in pairs
         u, -u, so that their own mean does not pass for a direction, and are the same for all targets at a step.
         A move out of the class is not made. Where no point of the sphere is the target, R shrinks. The paper
         goes on until R has not grown for long; here the radius to reach is a setting.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import (
    Attack,
    AttackerContext,
    AttackJobs,
    AttackResult,
    AttackSettings,
    refuse_nan,
)
from inversionlab.attacks.latent import encoded, first_latents
from inversionlab.core.contracts import GenerativePrior
from inversionlab.core.views import Labels, View

NAME = "label_only"
ROUND = 32
"""Candidates for its start that a row tries at once."""


class LabelOnlySettings(AttackSettings):
    """Settings of the label-only attack."""

    name: Literal["label_only"] = "label_only"
    start_queries: int = Field(default=3200, ge=1, le=10_000_000)
    """Pictures asked for a start, at most (rounded up to rounds of 32)."""
    directions: int = Field(default=32, ge=2, le=65_536, multiple_of=2)
    """N, the points on a sphere."""
    radius: float = Field(default=2.0, gt=0, le=1e4)
    """R of the first sphere, in latent units."""
    growth: float = Field(default=1.3, gt=1, le=10)
    """What R is multiplied by where the whole sphere is the target (and divided by where nothing of it is)."""
    stop_radius: float | None = Field(default=None, gt=0, le=1e4)
    """A reconstruction is finished when a sphere of at least this radius is the target's; null: the square root of
    the latent's length, about how far from 0 the prior's draws lie."""
    steps: int = Field(default=150, ge=1, le=100_000)
    """Spheres at most."""
    step_share: float = Field(default=1.0, gt=0, le=10)
    """What the estimated direction M is multiplied by, as a share of R ..."""
    max_step: float = Field(default=9.0, gt=0, le=1e4)
    """... and the upper bound of that factor."""
    seed_pictures: int = Field(default=16, ge=1, le=4096)
    """Public pictures whose mean encoding stands for a target that no start was found for."""


class LabelOnly(Attack):
    """Boundary repulsion in the generator's latent space."""

    Settings: ClassVar[type[AttackSettings]] = LabelOnlySettings
    view: ClassVar[type[View] | None] = Labels
    needs_generator: ClassVar[bool] = True

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Find starts, then widen the spheres of all jobs that have one at once.

        Raises:
            TypeError: the view shows no labels.
        """
        if not isinstance(view, Labels):
            raise TypeError(f"`{NAME}` needs a Labels view, got {type(view).__name__}")
        know, n = self.context, len(jobs)
        assert know.generator is not None
        asker = _Asker(view, jobs, know.generator)
        z_ND = first_latents(NAME, know, jobs, self.settings.seed_pictures)
        begun_N = find_starts(asker, know, z_ND, self.settings.start_queries)
        converged_N = torch.zeros(n, dtype=torch.bool, device=know.device)
        steps_N = torch.zeros(n, dtype=torch.int64, device=know.device)
        rows = begun_N.nonzero().squeeze(1)
        z_ND[rows], converged_N[rows], steps_N[rows] = self._repel(asker, z_ND[rows], rows)
        with torch.no_grad():
            images = know.generator(z_ND)
        unknown_N = torch.full((n,), torch.nan, device=know.device)
        return AttackResult(images, unknown_N, converged_N, steps_N)

    def _repel(
        self, asker: _Asker, start_ND: Tensor, rows_N: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Last centres, whether the last sphere was wide enough, and spheres asked, of rows with a start."""
        options, centre_ND = self.settings, start_ND.clone()
        n, device = len(rows_N), rows_N.device
        wide = options.stop_radius or math.sqrt(start_ND.shape[1])
        radius_N = torch.full((n,), options.radius, device=device)
        converged_N = torch.zeros(n, dtype=torch.bool, device=device)
        steps_N = torch.full((n,), options.steps, device=device)
        live = torch.arange(n, device=device)
        for step in range(options.steps):
            if len(live) == 0:
                break
            u_KD = self._sphere(step, start_ND.shape[1])
            z_ND, r_N = centre_ND[live], radius_N[live]
            inside_NK = asker.spheres(z_ND, r_N, u_KD, rows_N[live])
            whole_N, none_N = inside_NK.all(1), ~inside_NK.any(1)
            moving = (~whole_N & ~none_N).nonzero().squeeze(1)
            moved_ND = self._moved(z_ND[moving], r_N[moving], u_KD, inside_NK[moving])
            stays = asker.is_target(moved_ND, rows_N[live[moving]])
            centre_ND[live[moving[stays]]] = moved_ND[stays]
            won = whole_N & (r_N >= wide)
            converged_N[live[won]], steps_N[live[won]] = True, step + 1
            r_N = torch.where(whole_N, r_N * options.growth, r_N)
            radius_N[live] = torch.where(none_N, r_N / options.growth, r_N)
            live = live[~won]
        return centre_ND, converged_N, steps_N

    def _sphere(self, step: int, size: int) -> Tensor:
        """Unit vectors (K, m) in pairs u, -u, the same for all rows of a step."""
        rng = self.context.shared_stream(NAME, step)
        half = torch.randn(self.settings.directions // 2, size, generator=rng)
        half = functional.normalize(half, dim=1).to(self.context.device)
        return torch.cat([half, -half])

    def _moved(self, z_ND: Tensor, r_N: Tensor, u_KD: Tensor, inside_NK: Tensor) -> Tensor:
        """Centres a step further from where the sphere left the class."""
        phi_NK = 2 * inside_NK.float() - 1
        # Not a matrix product: that sums in another order for another number of rows.
        m_ND = (phi_NK[:, :, None] * u_KD).mean(1)
        factor_N = (self.settings.step_share * r_N).clamp_max(self.settings.max_step)
        moved_ND: Tensor = z_ND + factor_N[:, None] * m_ND
        return moved_ND


class _Asker:
    """Asks for labels of the pictures of latents, in batches."""

    def __init__(self, view: Labels, jobs: AttackJobs, generator: GenerativePrior) -> None:
        self.view, self.jobs, self.generator = view, jobs, generator

    @torch.no_grad()
    def is_target(self, z_ND: Tensor, rows_N: Tensor) -> Tensor:
        """bool (N,): whether the picture of each latent is labelled as the target of its row.

        Raises:
            AttackError: a label is negative, which says that the scores were no numbers.
        """
        # On a CPU, pictures that fit its cache; on a GPU, enough to fill it.
        batch = 128 if z_ND.device.type == "cpu" else 1024
        hit_N = torch.zeros(len(z_ND), dtype=torch.bool, device=z_ND.device)
        for first in range(0, len(z_ND), batch):
            part = slice(first, first + batch)
            x_BCHW = self.generator(z_ND[part])
            label_B = self.view.labels(x_BCHW, self.jobs.account(rows_N[part]))
            target_B = self.jobs.target_N[rows_N[part]]
            refuse_nan(NAME, torch.where(label_B < 0, torch.nan, 0.0), target_B)
            hit_N[part] = label_B == target_B
        return hit_N

    def spheres(self, z_ND: Tensor, r_N: Tensor, u_KD: Tensor, rows_N: Tensor) -> Tensor:
        """bool (N, K): whether each row's target is the label at z + r u."""
        points = (z_ND[:, None] + r_N[:, None, None] * u_KD).flatten(0, 1)
        return self.is_target(points, rows_N.repeat_interleave(len(u_KD))).view(len(z_ND), -1)


@torch.no_grad()
def find_starts(asker: _Asker, know: AttackerContext, z_ND: Tensor, budget: int) -> Tensor:
    """Put a latent that is labelled as the row's target into `z_ND`, where one is found.

    Args:
        asker: asks for labels.
        know: with a generator.
        z_ND: one latent a row of the attack; those of rows that find a start are overwritten.
        budget: pictures a row, at most.

    Returns:
        bool (N,): who found one.
    """
    streams = [know.stream(f"{NAME} start", t, r) for t, r in asker.jobs.pairs()]
    found_N = torch.zeros(len(streams), dtype=torch.bool, device=know.device)
    has_encoder = asker.generator.encode(know.public(torch.tensor([0]))) is not None
    for turn in range(-(-budget // ROUND)):
        rows = (~found_N).nonzero().squeeze(1)
        if len(rows) == 0:
            break
        chosen = [streams[row] for row in rows.tolist()]
        candidates = _candidates(know, chosen, public=has_encoder and turn % 2 == 1)
        hit = asker.is_target(candidates.flatten(0, 1), rows.repeat_interleave(ROUND))
        hit_NR = hit.view(-1, ROUND)
        some = hit_NR.any(1)
        first = hit_NR[some].int().argmax(1)
        z_ND[rows[some]] = candidates[some, first]
        found_N[rows[some]] = True
    return found_N


def _candidates(know: AttackerContext, streams: list[torch.Generator], public: bool) -> Tensor:
    """Latents (N, ROUND, m), a round for each stream: public pictures' encodings or draws from the prior."""
    assert know.generator is not None
    if not public:
        return torch.stack([know.generator.draw(ROUND, s) for s in streams]).to(know.device)
    count = len(know.public_NCHW)
    index_N = torch.cat([torch.randint(count, (ROUND,), generator=s) for s in streams])
    return encoded(know, index_N).view(len(streams), ROUND, -1)
