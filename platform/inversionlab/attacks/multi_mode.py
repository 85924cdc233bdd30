"""Multi-mode attack (A10): for an attacker who knows that a dummy recognizer may be mixed into the scores.

Paper:   future work of Kotsuji & Nakamura 2025 (§6), turning the reasoning of their defense (§4.3) against it: the
         dummy's score "forms a sharp peak", that of real faces "becomes high in a relatively wide area".
Access:  white box (`WhiteBox`) of the protected scores; it never sees victim and dummy apart.
Does:    1. Starts: `pool` public pictures are encoded (or latents drawn), once for all targets, and descents begin
            from the `starts` best of them by target score; repeat r takes those that come next. More descents
            begin from morphs (1 - t) a + t b, t in `morphs`, between the first of them, a, and the mode b that a
            plain descent (A2) ends in.
         2. Descends  L = -mean_T log p_k(T(G(z))) + prior |z|^2 / 2m.  T are `views` random mirrorings, shifts,
            zooms and changes of light; a narrow peak survives few of them. The step is A2's.
         3. Drops the modes of a reconstruction that are below `floor` times its highest, and returns the one with
            the largest  mean_T log p_k(T(x)) - log p_k(x) - prior |z|^2 / 2m:  how wide the peak is, and how
            natural a model of public faces finds the face.
Stop:    p_k > `stop` under the views; or no progress for `patience` updates (under a dummy, a mode of the victim's
         is only about alpha high); or `steps` updates.
Ranges:  pictures in [0, 1]; z is unbounded. All reconstructions share the random views of a step.
Result:  `confidence` is the protected model's plain score of the picture.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import Objective, Search, Start, descend, white_box_objective
from inversionlab.attacks.engine import by_step
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.updates import LimitedStep
from inversionlab.core.views import View, WhiteBox

NAME = "multi_mode"
CHUNK = 128
"""Pictures a forward pass."""
RANKING_VIEWS = 8
"""Random views under which the width of a mode is measured."""


class MultiModeSettings(AttackSettings):
    """Settings of the multi-mode attack."""

    name: Literal["multi_mode"] = "multi_mode"
    pool: int = Field(default=512, ge=1, le=1_000_000)
    """Public pictures that the model is asked about once, as starts for all targets."""
    starts: int = Field(default=4, ge=1, le=64)
    """Number of descents. They start from the best of these pictures for the target."""
    morphs: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.25, 0.5)
    """Shares t of the plain descent's mode in the morphs, which are further starts."""
    views: int = Field(default=2, ge=1, le=64)
    """Number of random views of the picture in each step."""
    strength: float = Field(default=1.0, ge=0, le=5)
    """Size of the random changes; 1: shifts up to 6 %, zooms up to 10 %, light up to 15 %."""
    prior: float = Field(default=0.5, ge=0, le=1000)
    """Weight of the latent's negative log-density per dimension."""
    floor: float = Field(default=0.1, ge=0, le=1)
    """Modes lower than this share of the highest one are dropped."""
    steps: int = Field(default=150, ge=1, le=100_000)
    """Maximum number of updates."""
    patience: int = Field(default=15, ge=1, le=100_000)
    """A descent ends when its score has not grown by 1 % for this many updates. Its mode is then lower than
    `stop`."""
    stop: float = Field(default=0.9999, gt=0, lt=1)
    """A descent is finished when the target's score under all views exceeds this (geometric mean)."""
    step_length: float = Field(default=0.1, gt=0, le=100)
    """Length of an update in latent units."""
    max_rate: float = Field(default=100.0, gt=0, le=1e6)
    """Upper bound of the factor that multiplies the gradient."""


class MultiMode(Attack):
    """Finds several modes and keeps the widest and most natural one."""

    Settings = MultiModeSettings
    usual_seconds = 3.8
    view = WhiteBox
    knows_defense = True
    needs_generator = True

    @classmethod
    def most_queries(cls, settings: MultiModeSettings, latent_size: int) -> int:
        """Those of the plain descent, of all others, and of the ranking."""
        starts = min(settings.starts, settings.pool) + len(settings.morphs)
        updates = settings.steps + 1
        plain = updates if settings.morphs else 0
        mode = updates * settings.views + 1 + RANKING_VIEWS
        return plain + starts * mode

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Choose starts, descend from all of them, rank the modes."""
        white_box = self.require(view, WhiteBox)
        start_NSD = self.pool(white_box).several(jobs, self.settings.starts)
        if self.settings.morphs:
            plain = white_box_objective(self, view, jobs, self.generator)

            def plain_start(row_L: Tensor) -> Tensor:
                return self.context.first_latents(f"{NAME} plain", jobs.take(row_L), 16)

            mode_ND = self._descend(jobs, plain_start, plain).best
            morphs = [(1 - t) * start_NSD[:, 0] + t * mode_ND for t in self.settings.morphs]
            start_NSD = torch.cat([start_NSD, torch.stack(morphs, dim=1)], dim=1)
        wide, start_ND = jobs.times(start_NSD.shape[1]), start_NSD.flatten(0, 1)
        objective = self._objective(white_box, wide)
        end = self._descend(wide, lambda row_L: start_ND[row_L], objective, self.settings.views)
        return self._choose(white_box, wide, end)

    def _descend(
        self, jobs: AttackJobs, start: Start, objective: Objective, pictures: int = 1
    ) -> Search:
        options = self.settings
        return descend(
            self,
            jobs.rows_N,
            start,
            objective,
            LimitedStep(options.step_length, options.max_rate),
            stop=options.stop,
            steps=options.steps,
            patience=options.patience,
            pictures=pictures,
        )

    def _objective(self, view: WhiteBox, jobs: AttackJobs) -> Objective:
        """Log p as the mean over a step's views, and the gradient of the loss."""
        options = self.settings

        def objective(z_ND: Tensor, rows_N: Tensor, step_N: Tensor) -> tuple[Tensor, Tensor]:
            z_ND = z_ND.detach().requires_grad_(True)
            changes_NV6 = by_step(step_N, lambda step: self._changes("step", step, options.views))
            x_NCHW = self.generator(z_ND)
            log_p_N = self._mean_log_p(view, x_NCHW, jobs, rows_N, changes_NV6)
            natural_N = z_ND.square().mean(1) / 2
            loss = (-log_p_N + options.prior * natural_N).sum()
            return log_p_N.detach(), torch.autograd.grad(loss, z_ND)[0]

        return objective

    @torch.no_grad()
    def _choose(self, view: WhiteBox, wide: AttackJobs, end: Search) -> AttackResult:
        """Each reconstruction's widest and most natural mode."""
        options = self.settings
        rows_N = torch.arange(len(wide), device=self.context.device)
        changes_V6 = self._changes("width", 0, RANKING_VIEWS).to(self.context.device)
        height, spread, pictures = [], [], []
        for z_BD, rows_B in zip(end.best.split(CHUNK), rows_N.split(CHUNK), strict=True):
            x_NCHW = self.generator(z_BD)
            height.append(self._log_p(view, x_NCHW, wide, rows_B))
            same_BV6 = changes_V6.expand(len(rows_B), -1, -1)
            spread.append(self._mean_log_p(view, x_NCHW, wide, rows_B, same_BV6))
            pictures.append(x_NCHW)
        height_NS = torch.cat(height).view(-1, wide.starts)
        rank_N = torch.cat(spread) - torch.cat(height)
        rank_N = rank_N - options.prior * end.best.square().mean(1) / 2
        floor_N1 = height_NS.max(1, keepdim=True).values + torch.tensor(options.floor).log()
        rank_NS = rank_N.view(-1, wide.starts).masked_fill(height_NS < floor_N1, -torch.inf)
        won_N = torch.arange(len(rank_NS), device=rank_NS.device) * wide.starts + rank_NS.argmax(1)
        return AttackResult(
            torch.cat(pictures)[won_N],
            height_NS.flatten()[won_N].exp(),
            end.converged_N[won_N],
            end.steps_N[won_N],
        )

    def _mean_log_p(
        self, view: WhiteBox, x_NCHW: Tensor, jobs: AttackJobs, rows_N: Tensor, changes_NV6: Tensor
    ) -> Tensor:
        """The mean of the target's log-score (N,) over each picture's changes (N, V, 6)."""
        total = torch.zeros(len(x_NCHW), device=x_NCHW.device)
        for change_N6 in changes_NV6.unbind(dim=1):
            total = total + self._log_p(view, changed(x_NCHW, change_N6), jobs, rows_N)
        mean_N: Tensor = total / changes_NV6.shape[1]
        return mean_N

    def _log_p(self, view: WhiteBox, x_NCHW: Tensor, jobs: AttackJobs, rows_N: Tensor) -> Tensor:
        log_y_NK = view.log_scores(x_NCHW, jobs.account(rows_N))
        return self.target_scores(log_y_NK, jobs.target_N[rows_N])

    def _changes(self, what: str, step: int, count: int) -> Tensor:
        """Random changes (V, 6) of a step: mirror, shift x, shift y, zoom, contrast, brightness."""
        stream = self.context.shared_stream(NAME, what, step)
        return random_changes(count, stream, self.settings.strength)


def random_changes(count: int, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """Changes (count, 6) for `changed`; their size grows with `strength`."""
    u_V6 = torch.rand(count, 6, generator=rng) * 2 - 1
    changes_V6: Tensor = u_V6 * (torch.tensor([1.0, 0.12, 0.12, 0.1, 0.2, 0.15]) * strength)
    return changes_V6


def changed(x_NCHW: Tensor, change_N6: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [0, 1] after a change of each (N, 6); differentiable."""
    mirror_N, right_N, down_N, zoom_N = change_N6[:, :4].unbind(dim=1)
    contrast_N111, light_N111 = (part.view(-1, 1, 1, 1) for part in change_N6[:, 4:].unbind(dim=1))
    affine_N23 = x_NCHW.new_zeros(len(x_NCHW), 2, 3)
    affine_N23[:, 0, 0] = torch.where(mirror_N < 0, -1 - zoom_N, 1 + zoom_N)
    affine_N23[:, 1, 1], affine_N23[:, 0, 2], affine_N23[:, 1, 2] = 1 + zoom_N, right_N, down_N
    grid_NHW2 = functional.affine_grid(affine_N23, list(x_NCHW.shape), align_corners=False)
    moved = functional.grid_sample(x_NCHW, grid_NHW2, padding_mode="border", align_corners=False)
    mean_N111 = moved.mean(dim=(1, 2, 3), keepdim=True)
    lit_NCHW: Tensor = (moved - mean_N111) * (1 + contrast_N111) + mean_N111 + light_N111
    return lit_NCHW.clamp(0, 1)
