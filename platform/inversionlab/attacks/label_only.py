"""Label-only attack (A11): moves away from the class's border, which it finds with hard labels.

Paper:   Kahla et al. 2022, "Label-Only Model Inversion Attacks via Boundary Repulsion" (BREP-MI), Algorithm 1.
         Like Zhu and Fukuchi 2022 and Liu et al. 2024, it reads a score from the error rate around a point.
Access:  labels only (`Labels`).
Solves:  z* = the centre of the largest sphere in latent space whose points are all labelled as the target
Step:    z <- z + min(R, 9) M,  M = 1/N sum_n Phi(z + R u_n) u_n,  Phi = 1 where the label is the target, else -1,
         u_n on the unit sphere, N = 32. Where all N are the target, R <- 1.3 R instead. The first R is 2.
Start:   the first latent of a stream whose picture is labelled as the target. The stream alternates draws from the
         prior and, with an encoder, encodings of random public pictures.
Stop:    all points of a sphere of radius `stop_radius` or more are the target, or `steps` spheres were asked.
Ranges:  pictures in [0, 1]; z is unbounded.
Result:  the last centre. Where no start was found: the mean encoding of 16 public pictures, or a draw, not
         converged. The confidence is NaN, since labels show none.
Queries: those of the start; N a step, and one for the new centre of a move.
Deviates: a move is three times the paper's min(R / 3, 3) M; the paper's takes three times the queries. The u_n
         come in pairs u, -u, so that their own mean is not taken for a direction, and all targets share them at
         a step. A move that would leave the class is not made. Where no point of the sphere is the target, R
         shrinks. The paper goes on until R has not grown for long; here the radius to reach is a setting.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import Attack, AttackJobs, AttackResult, AttackSettings
from inversionlab.attacks.latent import (
    batch_without_gradients,
    encoded,
    first_latents,
    has_encoder,
)
from inversionlab.core.views import Labels, View

NAME = "label_only"
ROUND = 32
"""Candidates for its start that a row tries at once."""


class LabelOnlySettings(AttackSettings):
    """Settings of the label-only attack."""

    name: Literal["label_only"] = "label_only"
    start_queries: int = Field(default=3200, ge=1, le=10_000_000)
    """Queries for a start at most, rounded up to rounds of 32."""
    directions: int = Field(default=32, ge=2, le=65_536, multiple_of=2)
    """N, the points on a sphere."""
    radius: float = Field(default=2.0, gt=0, le=1e4)
    """R of the first sphere, in latent units."""
    growth: float = Field(default=1.3, gt=1, le=10)
    """R is multiplied by this where the whole sphere is the target, and divided by it where no point is."""
    stop_radius: float | None = Field(default=None, gt=0, le=1e4)
    """A reconstruction is finished when a sphere of at least this radius is the target's; null: the square root of
    the latent's length, which is about how far from 0 the prior's draws lie."""
    steps: int = Field(default=150, ge=1, le=100_000)
    """Spheres at most."""
    step_share: float = Field(default=1.0, gt=0, le=10)
    """The factor of the estimated direction M, as a share of R ..."""
    max_step: float = Field(default=9.0, gt=0, le=1e4)
    """... and the upper bound of that factor."""
    seed_pictures: int = Field(default=16, ge=1, le=4096)
    """Public pictures whose mean encoding is the result for a target without a start."""


class LabelOnly(Attack):
    """Boundary repulsion in the generator's latent space."""

    Settings = LabelOnlySettings
    view = Labels
    needs_generator = True

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Find starts, then widen the spheres of all jobs that have one at once.

        Raises:
            TypeError: the view shows no labels.
        """
        labels, n, device = self.require(view, Labels), len(jobs), self.context.device
        z_ND = first_latents(NAME, self.context, jobs, self.settings.seed_pictures)
        rows = self._find_starts(labels, jobs, z_ND).nonzero().squeeze(1)
        converged_N = torch.zeros(n, dtype=torch.bool, device=device)
        steps_N = torch.zeros(n, dtype=torch.int64, device=device)
        z_ND[rows], converged_N[rows], steps_N[rows] = self._repel(labels, jobs, z_ND[rows], rows)
        with torch.no_grad():
            images = self.generator(z_ND)
        return AttackResult(
            images, torch.full((n,), torch.nan, device=device), converged_N, steps_N
        )

    @torch.no_grad()
    def _find_starts(self, view: Labels, jobs: AttackJobs, z_ND: Tensor) -> Tensor:
        """Overwrite rows of `z_ND` with latents labelled as their targets; bool (N,): which rows have one."""
        streams = self.context.streams(f"{NAME} start", jobs)
        has_start_N = torch.zeros(len(streams), dtype=torch.bool, device=self.context.device)
        encodes = has_encoder(self.context)
        for turn in range(-(-self.settings.start_queries // ROUND)):
            rows = (~has_start_N).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            chosen = [streams[row] for row in rows.tolist()]
            candidate_NRD = self._candidates(chosen, public=encodes and turn % 2 == 1)
            hit_NR = self._is_target(
                view, jobs, candidate_NRD.flatten(0, 1), rows.repeat_interleave(ROUND)
            ).view(-1, ROUND)
            some = hit_NR.any(1)
            z_ND[rows[some]] = candidate_NRD[some, hit_NR[some].int().argmax(1)]
            has_start_N[rows[some]] = True
        return has_start_N

    def _candidates(self, streams: list[torch.Generator], public: bool) -> Tensor:
        """Latents (N, ROUND, m), a round per stream: encodings of public pictures, or draws from the prior."""
        if not public:
            drawn = [self.generator.draw(ROUND, s) for s in streams]
            return torch.stack(drawn).to(self.context.device)
        count = len(self.context.public_NCHW)
        index_N = torch.cat([torch.randint(count, (ROUND,), generator=s) for s in streams])
        return encoded(self.context, index_N).view(len(streams), ROUND, -1)

    def _repel(
        self, view: Labels, jobs: AttackJobs, start_ND: Tensor, rows_N: Tensor
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
            points_ND = (z_ND[:, None] + r_N[:, None, None] * u_KD).flatten(0, 1)
            points_row = rows_N[live].repeat_interleave(len(u_KD))
            inside_NK = self._is_target(view, jobs, points_ND, points_row).view(len(live), -1)
            whole_N, none_N = inside_NK.all(1), ~inside_NK.any(1)
            moving = (~whole_N & ~none_N).nonzero().squeeze(1)
            moved_ND = self._moved(z_ND[moving], r_N[moving], u_KD, inside_NK[moving])
            stays = self._is_target(view, jobs, moved_ND, rows_N[live[moving]])
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

    @torch.no_grad()
    def _is_target(self, view: Labels, jobs: AttackJobs, z_ND: Tensor, rows_N: Tensor) -> Tensor:
        """bool (N,): whether the picture of each latent is labelled as the target of its row.

        Raises:
            AttackError: a label is negative: the model's scores were not numbers.
        """
        batch = batch_without_gradients(z_ND.device)
        hit_N = torch.zeros(len(z_ND), dtype=torch.bool, device=z_ND.device)
        for first in range(0, len(z_ND), batch):
            part = slice(first, first + batch)
            label_B = view.labels(self.generator(z_ND[part]), jobs.account(rows_N[part]))
            target_B = jobs.target_N[rows_N[part]]
            self.refuse_nan(torch.where(label_B < 0, torch.nan, 0.0), target_B)
            hit_N[part] = label_B == target_B
        return hit_N
