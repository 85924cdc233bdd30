"""Label-only attack (A11): moves away from the class's border, which it finds with hard labels.

Paper:   Kahla et al. 2022, "Label-Only Model Inversion Attacks via Boundary Repulsion" (BREP-MI), Algorithm 1.
         Like Zhu and Fukuchi 2022 and Liu et al. 2024, it reads a score from the error rate around a point.
Access:  labels only (`Labels`).
Solves:  z* = the centre of the largest sphere in latent space whose points are all labelled as the target
Step:    z <- z + min(R, 9) M,  M = 1/N sum_n Phi(z + R u_n) u_n,  Phi = 1 where the label is the target, else -1,
         u_n on the unit sphere, N = 32. Where all N are the target, R <- 1.3 R instead. The first R is 2.
Start:   the first latent of a stream whose picture is labelled as the target: draws from the prior in turn with
         encodings of random public pictures, where there is an encoder.
Stop:    all points of a sphere of radius `stop_radius` or more are the target, or `steps` spheres were asked.
Ranges:  pictures in [0, 1]; z is unbounded.
Result:  the last centre; without a start, the mean encoding of 16 public pictures (or a draw), not converged. The
         confidence is NaN, since labels show none.
Queries: those of the start; N a step, and one for the new centre of a move.
Deviates: a move is three times the paper's min(R / 3, 3) M; the paper's takes three times the queries. The u_n
         come in pairs u, -u, so that their own mean is not taken for a direction, and all targets share them at
         a step. A move that would leave the class is not made. Where no point of the sphere is the target, R
         shrinks. The paper goes on until R has not grown for long; here the radius to reach is a setting.
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import Attack, AttackJobs, AttackResult, AttackSettings
from inversionlab.attacks.descent import Search, pass_size
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

    @classmethod
    def most_queries(cls, settings: LabelOnlySettings, latent_size: int) -> int:
        """Those of the start in whole rounds, and N + 1 for every sphere."""
        start = -(-settings.start_queries // ROUND) * ROUND
        return start + settings.steps * (settings.directions + 1)

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Find starts, then widen the spheres of all jobs that have one at once."""
        labels = self.require(view, Labels)
        start_ND = self.context.first_latents(NAME, jobs, self.settings.seed_pictures)
        state = Search.begin(start_ND, steps=0)
        state.log_p_N.fill_(torch.nan)
        self._repel(labels, jobs, state, self._find_starts(labels, jobs, state.best))
        return state.result(self.generator)

    @torch.no_grad()
    def _find_starts(self, view: Labels, jobs: AttackJobs, z_ND: Tensor) -> Tensor:
        """Overwrite rows of `z_ND` with latents labelled as their targets; the numbers of these rows."""
        streams, encodes = self.context.streams(f"{NAME} start", jobs), self.context.has_encoder()
        has_start_N = torch.zeros(len(streams), dtype=torch.bool, device=z_ND.device)
        for turn in range(-(-self.settings.start_queries // ROUND)):
            rows = (~has_start_N).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            left = [streams[row] for row in rows.tolist()]
            z_LRD = self._candidates(left, public=encodes and turn % 2 == 1)
            row_N = rows.repeat_interleave(ROUND)
            hit_LR = self._is_target(view, jobs, z_LRD.flatten(0, 1), row_N).view(-1, ROUND)
            some_L = hit_LR.any(1)
            z_ND[rows[some_L]] = z_LRD[some_L, hit_LR[some_L].int().argmax(1)]
            has_start_N[rows[some_L]] = True
        return has_start_N.nonzero().squeeze(1)

    def _candidates(self, streams: list[torch.Generator], public: bool) -> Tensor:
        """Latents (N, ROUND, m), a round per stream: encodings of public pictures, or draws from the prior."""
        if not public:
            drawn = [self.generator.draw(ROUND, s) for s in streams]
            return torch.stack(drawn).to(self.context.device)
        count = len(self.context.public_NCHW)
        index_N = torch.cat([torch.randint(count, (ROUND,), generator=s) for s in streams])
        return self.context.encoded(index_N).view(len(streams), ROUND, -1)

    def _repel(self, view: Labels, jobs: AttackJobs, state: Search, rows: Tensor) -> None:
        """Widen the spheres of `rows` around their starts, the latents in `state`."""
        options, size = self.settings, state.best.shape[1]
        wide = options.stop_radius or math.sqrt(size)
        radius_N = torch.full((len(jobs),), options.radius, device=rows.device)
        state.steps_N[rows] = options.steps
        for step in range(options.steps):
            if len(rows) == 0:
                break
            u_KD, z_LD, r_L = self._sphere(step, size), state.best[rows], radius_N[rows]
            points_ND = (z_LD[:, None] + r_L[:, None, None] * u_KD).flatten(0, 1)
            row_N = rows.repeat_interleave(len(u_KD))
            inside_LK = self._is_target(view, jobs, points_ND, row_N).view(len(rows), -1)
            whole_L, none_L = inside_LK.all(1), ~inside_LK.any(1)
            moving = (~whole_L & ~none_L).nonzero().squeeze(1)
            moved_ND = self._moved(z_LD[moving], r_L[moving], u_KD, inside_LK[moving])
            stays = self._is_target(view, jobs, moved_ND, rows[moving])
            state.best[rows[moving[stays]]] = moved_ND[stays]
            won = whole_L & (r_L >= wide)
            state.converged_N[rows[won]], state.steps_N[rows[won]] = True, step + 1
            r_L = torch.where(whole_L, r_L * options.growth, r_L)
            radius_N[rows] = torch.where(none_L, r_L / options.growth, r_L)
            rows = rows[~won]

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
        """bool (N,): whether the picture of each latent is labelled as the target of its row."""
        batch = pass_size(z_ND.device)
        hit_N = torch.zeros(len(z_ND), dtype=torch.bool, device=z_ND.device)
        for first in range(0, len(z_ND), batch):
            part = slice(first, first + batch)
            label_B = view.labels(self.generator(z_ND[part]), jobs.account(rows_N[part]))
            target_B = jobs.target_N[rows_N[part]]
            # A negative label says that the model's scores were not numbers.
            self.refuse_nan(torch.where(label_B < 0, torch.nan, 0.0), target_B)
            hit_N[part] = label_B == target_B
        return hit_N
