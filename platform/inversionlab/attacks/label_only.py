"""Label-only attack (A11): moves away from the class's border, which it finds with hard labels.

Paper:   Kahla et al. 2022, "Label-Only Model Inversion Attacks via Boundary Repulsion" (BREP-MI), Algorithm 1.
         Like Zhu and Fukuchi 2022 and Liu et al. 2024, it reads a score from the error rate around a point.
Access:  labels only (`Labels`).
Solves:  z* = the centre of the largest sphere in latent space whose points are all labelled as the target
Step:    z <- z + min(R, 9) M,  M = 1/N sum_n Phi(z + R u_n) u_n,  Phi = 1 where the label is the target, else -1,
         u_n on the unit sphere, N = 16 (the paper: 32). Where all N are the target, R <- 1.3 R instead. The first
         R is 2.
Start:   of `pool` encoded public pictures (or draws from the prior, without an encoder) one that is labelled as
         the target; repeat r takes the one that comes r-th. Where there are too few, and as published (`pool: 0`),
         the first latent of a stream that is labelled so: draws in turn with encodings.
Stop:    all points of a sphere of radius 1.25 sqrt(m) or more are the target (as published: sqrt(m)), or `steps`
         spheres were asked.
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
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import Outcomes, Search
from inversionlab.attacks.engine import InFlight, by_step, keep_full, pass_size
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.core.views import Labels, View

NAME = "label_only"
ROUND = 32
"""Candidates for its start that a row tries at once."""


class LabelOnlySettings(AttackSettings):
    """Settings of the label-only attack."""

    published: ClassVar[dict[str, Any]] = {"pool": 0, "directions": 32, "stop_share": 1.0}
    later: ClassVar[dict[str, Any]] = {"pool": 0, "stop_share": 1.0}

    name: Literal["label_only"] = "label_only"
    pool: int = Field(default=2048, ge=0, le=1_000_000)
    """Public pictures that the model is asked about once, as starts for all targets; 0: none."""
    start_queries: int = Field(default=3200, ge=1, le=10_000_000)
    """Maximum number of queries for a start where the pool has none, rounded up to a multiple of 32."""
    directions: int = Field(default=16, ge=2, le=65_536, multiple_of=2)
    """N, the points on a sphere."""
    radius: float = Field(default=2.0, gt=0, le=1e4)
    """R of the first sphere, in latent units."""
    growth: float = Field(default=1.3, gt=1, le=10)
    """R is multiplied by this where all points of the sphere are the target's, and divided by it where none is."""
    stop_radius: float | None = Field(default=None, gt=0, le=1e4)
    """A reconstruction is finished when a sphere of at least this radius is the target's."""
    stop_share: float = Field(default=1.25, gt=0, le=100)
    """Without `stop_radius`: that radius divided by the square root of the latent's length. Draws from the prior
    lie about that square root away from 0."""
    steps: int = Field(default=150, ge=1, le=100_000)
    """Maximum number of spheres."""
    step_share: float = Field(default=1.0, gt=0, le=10)
    """The factor of the estimated direction M, as a share of R."""
    max_step: float = Field(default=9.0, gt=0, le=1e4)
    """Upper bound of that factor."""
    seed_pictures: int = Field(default=16, ge=1, le=4096)
    """Public pictures whose mean encoding is the result for a target without a start."""


@dataclass
class _Rows(InFlight):
    """Rows that look for a start, or widen a sphere."""

    z_LD: Tensor
    """The mean encoding, the start, or the centre."""
    radius_L: Tensor
    """Of the sphere; it means nothing before there is a start."""
    won_L: Tensor

    def outcome(self, steps_L: Tensor) -> Search:
        """Their outcome after so many steps; labels show no score."""
        return Search(self.z_LD, torch.full_like(self.radius_L, torch.nan), self.won_L, steps_L)


class LabelOnly(Attack):
    """Boundary repulsion in the generator's latent space."""

    Settings = LabelOnlySettings
    usual_seconds = 8.0
    view = Labels
    needs_generator = True

    @classmethod
    def most_queries(cls, settings: LabelOnlySettings, latent_size: int) -> int:
        """Those of the start in whole rounds, and N + 1 for every sphere."""
        start = -(-settings.start_queries // ROUND) * ROUND
        return start + settings.steps * (settings.directions + 1)

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Find starts, then widen the spheres of all jobs that have one."""
        labels = self.require(view, Labels)
        found = self._find_starts(labels, jobs)
        started_N = found.converged_N.clone()
        if bool(started_N.any()):
            end = self._repel(labels, jobs, started_N.nonzero()[:, 0], found.best)
            found.best[started_N], found.steps_N[started_N] = end.best, end.steps_N
            found.converged_N[started_N] = end.converged_N
        return found.result(self.generator)

    @torch.no_grad()
    def _find_starts(self, view: Labels, jobs: AttackJobs) -> Search:
        """A latent that is labelled as its target for each row that has found one; these count as converged."""
        streams, encodes = self.context.streams(f"{NAME} start", jobs), self.context.has_encoder
        rounds, outcomes = -(-self.settings.start_queries // ROUND), Outcomes()

        def enter(row_L: Tensor) -> _Rows:
            entering, none_L = jobs.take(row_L), torch.zeros_like(row_L)
            won_L, z_LD = none_L.bool(), self._empty(len(row_L))
            if self.settings.pool:
                z_LD, won_L = self.pool(view).starts(entering)
            if not bool(won_L.all()):
                left = entering.take(~won_L)
                z_LD[~won_L] = self.context.first_latents(NAME, left, self.settings.seed_pictures)
            return _Rows(row_L, none_L, z_LD, radius_L=z_LD[:, 0], won_L=won_L)

        def judge(flying: _Rows) -> tuple[_Rows, Tensor]:
            return flying, flying.won_L | (flying.step_L == rounds)

        def move(flying: _Rows) -> _Rows:
            z_LRD = self._candidates(flying, streams, encodes)
            row_N = flying.row_L.repeat_interleave(ROUND)
            hit_LR = self._is_target(view, jobs, z_LRD.flatten(0, 1), row_N).view(-1, ROUND)
            first_LD = z_LRD[torch.arange(len(z_LRD), device=z_LRD.device), hit_LR.int().argmax(1)]
            won_L = hit_LR.any(1)
            z_LD = torch.where(won_L[:, None], first_LD, flying.z_LD)
            return replace(flying, z_LD=z_LD, won_L=won_L, step_L=flying.step_L + 1)

        def leave(done: _Rows) -> None:
            outcomes.add(done.row_L, done.outcome(torch.zeros_like(done.step_L)))

        width = self.context.widths.of("start", self.context.device)
        keep_full(
            jobs.rows_N, width, enter=enter, judge=judge, move=move, leave=leave, pictures=ROUND
        )
        return outcomes.in_order()

    def _candidates(self, flying: _Rows, streams: list[torch.Generator], encodes: bool) -> Tensor:
        """A round of latents a row (L, ROUND, m): in turn draws from the prior and encoded public pictures."""
        public_L = flying.step_L % 2 == 1 if encodes else torch.zeros_like(flying.won_L)
        count = len(self.context.public_NCHW)
        z_LRD = self._empty(len(flying), ROUND)
        encoded, index = public_L.nonzero()[:, 0], []
        for at, row in enumerate(flying.row_L.tolist()):
            if bool(public_L[at]):
                index.append(torch.randint(count, (ROUND,), generator=streams[row]))
            else:
                z_LRD[at] = self.generator.draw(ROUND, streams[row]).to(z_LRD)
        if index:
            z_LRD[encoded] = self.context.encoded(torch.cat(index)).view(len(index), ROUND, -1)
        return z_LRD

    def _empty(self, *count: int) -> Tensor:
        """Room for so many latents."""
        return torch.empty(*count, self.generator.latent_size, device=self.context.device)

    @torch.no_grad()
    def _repel(self, view: Labels, jobs: AttackJobs, rows_N: Tensor, start_ND: Tensor) -> Search:
        """Widen the spheres of `rows_N` around their starts, the entries of `start_ND` at these numbers."""
        options, size, outcomes = self.settings, start_ND.shape[1], Outcomes()
        wide = options.stop_radius or options.stop_share * math.sqrt(size)

        def enter(row_L: Tensor) -> _Rows:
            none_L = torch.zeros_like(row_L)
            radius_L = torch.full((len(row_L),), options.radius, device=row_L.device)
            return _Rows(row_L, none_L, start_ND[row_L], radius_L, won_L=none_L.bool())

        def judge(flying: _Rows) -> tuple[_Rows, Tensor]:
            return flying, flying.won_L | (flying.step_L == options.steps)

        def move(flying: _Rows) -> _Rows:
            u_LKD = by_step(flying.step_L, lambda step: self._sphere(step, size))
            z_LD, r_L, rows_L = flying.z_LD.clone(), flying.radius_L, flying.row_L
            points_ND = (z_LD[:, None] + r_L[:, None, None] * u_LKD).flatten(0, 1)
            row_N = rows_L.repeat_interleave(u_LKD.shape[1])
            inside_LK = self._is_target(view, jobs, points_ND, row_N).view(len(rows_L), -1)
            whole_L, none_L = inside_LK.all(1), ~inside_LK.any(1)
            moving = (~whole_L & ~none_L).nonzero().squeeze(1)
            moved_ND = self._moved(z_LD[moving], r_L[moving], u_LKD[moving], inside_LK[moving])
            stays = self._is_target(view, jobs, moved_ND, rows_L[moving])
            z_LD[moving[stays]] = moved_ND[stays]
            wider_L = torch.where(whole_L, r_L * options.growth, r_L)
            return replace(
                flying,
                step_L=flying.step_L + 1,
                z_LD=z_LD,
                radius_L=torch.where(none_L, wider_L / options.growth, wider_L),
                won_L=whole_L & (r_L >= wide),
            )

        def leave(done: _Rows) -> None:
            outcomes.add(done.row_L, done.outcome(done.step_L))

        keep_full(
            rows_N,
            self.context.widths.of("spheres", self.context.device),
            enter=enter,
            judge=judge,
            move=move,
            leave=leave,
            pictures=options.directions,
        )
        return outcomes.in_order()

    def _sphere(self, step: int, size: int) -> Tensor:
        """Unit vectors (K, m) in pairs u, -u, the same for all rows at their step `step`."""
        rng = self.context.shared_stream(NAME, step)
        half = torch.randn(self.settings.directions // 2, size, generator=rng)
        half = functional.normalize(half, dim=1)
        return torch.cat([half, -half])

    def _moved(self, z_ND: Tensor, r_N: Tensor, u_NKD: Tensor, inside_NK: Tensor) -> Tensor:
        """Centres a step further from where the sphere left the class."""
        phi_NK = 2 * inside_NK.float() - 1
        # Not a matrix product: that sums in another order for another number of rows.
        m_ND = (phi_NK[:, :, None] * u_NKD).mean(1)
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
            hit_N[part] = self.label_hits(label_B, jobs.target_N[rows_N[part]])
        return hit_N
