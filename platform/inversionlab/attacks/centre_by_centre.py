"""Centre by centre: for an attacker who knows that a label hides its person among decoys (`anonymity_set`).

Paper:   ours, made against our own defense.
Access:  white box (`WhiteBox`): the weights show C centres a label, and the attacker inverts each on its own.
Solves:  z_c = argmin_z -log p_kc(G(z)) for every centre c of the target k; with one centre a label this is A2.
Step:    against the gradient in z, of a length that adapts (`updates.py`).
Start:   for every centre, of `pool` encoded public pictures (or draws from the prior, without an encoder) the one
         that the model takes most for that centre. The queries serve all targets.
Chooses: `rank_by` orders the C candidates by what might tell a person from a decoy:
         `score`    log p_kc of the candidate: how well the centre can be met;
         `width`    the mean of log p_kc over random small changes, less log p_kc: how wide its peak is;
         `density`  -|z|^2 / 2m: how natural the prior finds the candidate;
         `nearness` the log p_kc of the best public picture: how far the centre is from people the attacker knows;
         `neighbour` max over the centres of other labels of log p at the candidate: how near its nearest neighbour
                    is. People have learned to stand apart from one another, and decoys that are learned by heart
                    from few pictures stand apart from all.
         Repeat r returns the candidate of rank r, so with C repeats an attack returns the whole set, and the
         metric of M candidates says how often the person is in it. The next C repeats begin at the next starts.
Stop:    p_kc > `stop`, `steps` updates, or none of the last `patience` has raised it.
Ranges:  pictures in [0, 1]; z is unbounded.
Result:  `confidence` is the protected model's score of the label.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import Search, descend, white_box_objective
from inversionlab.attacks.engine import pass_size
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.multi_mode import changed, random_changes
from inversionlab.attacks.updates import AdaptiveStep
from inversionlab.core.views import View, WhiteBox

NAME = "centre_by_centre"
VIEWS = 8
"""Random changes under which a width is measured."""


class CentreByCentreSettings(AttackSettings):
    """Settings of the attack on every centre."""

    name: Literal["centre_by_centre"] = "centre_by_centre"
    rank_by: Literal["score", "width", "density", "nearness", "neighbour"] = "score"
    """What orders the candidates."""
    pool: int = Field(default=512, ge=1, le=1_000_000)
    """Public pictures that the model is asked about once, as starts for all targets."""
    step_length: float = Field(default=0.8, gt=0, le=100)
    """Length of the first step in latent units."""
    steps: int = Field(default=150, ge=1, le=100_000)
    """Updates of a descent at most."""
    stop: float = Field(default=0.9999, gt=0, lt=1)
    """A descent is finished when the centre's probability exceeds this."""
    patience: int | None = Field(default=20, ge=1, le=100_000)
    """A descent ends when its score has not grown by 1 % for so many updates; null: never."""


class CentreByCentre(Attack):
    """Inverts every centre of a label, and orders the candidates."""

    Settings = CentreByCentreSettings
    view = WhiteBox
    knows_defense = True
    needs_generator = True
    settings: CentreByCentreSettings

    @classmethod
    def most_queries(cls, settings: CentreByCentreSettings, latent_size: int) -> int:
        """A pass a step and centre; the order of the candidates takes some, and the chosen one its score.

        This is for one centre a label, as most models have.
        """
        ordering = {"width": VIEWS, "nearness": 1, "neighbour": 1}.get(settings.rank_by, 0)
        return settings.steps + 2 + ordering

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend onto every centre, then return the candidate of the repeat's rank."""
        centres = self.require(view, WhiteBox).of_centres()
        count = centres.centres
        wide = jobs.times(count)
        centre_N = wide.target_N * count + wide.rows_N % count
        # C repeats differ in the candidate that they return; the next C repeats begin at other starts.
        later_N = wide.repeat_N.div(count, rounding_mode="floor")
        wide = AttackJobs(centre_N, later_N, count)
        start_ND, _ = self.pool(centres).starts(wide)
        end = descend(
            self,
            wide.rows_N,
            lambda row_L: start_ND[row_L],
            white_box_objective(self, centres, wide, self.generator),
            AdaptiveStep(self.settings.step_length),
            stop=self.settings.stop,
            steps=self.settings.steps,
            patience=self.settings.patience,
        )
        likely_NC = self._likely(centres, wide, start_ND, end).view(-1, count)
        order_NC = likely_NC.argsort(dim=1, descending=True, stable=True)
        rank_N1 = (jobs.repeat_N % count)[:, None]
        row_N = jobs.rows_N * count + order_NC.gather(1, rank_N1).squeeze(1)
        return self._result(centres, jobs, row_N, end)

    @torch.no_grad()
    def _likely(self, centres: WhiteBox, wide: AttackJobs, start_ND: Tensor, end: Search) -> Tensor:
        """By `rank_by`, how likely each candidate (N,) is to be the person; larger is likelier."""
        if self.settings.rank_by == "score":
            return end.log_p_N
        if self.settings.rank_by == "density":
            return -end.best.square().mean(1) / 2
        if self.settings.rank_by == "nearness":
            return self._mean_log_p(centres, wide, start_ND, None)
        if self.settings.rank_by == "neighbour":
            return self._nearest_other(centres, wide, end.best)
        stream = self.context.shared_stream(NAME, "width")
        changes_V6 = random_changes(VIEWS, stream).to(end.best.device)
        return self._mean_log_p(centres, wide, end.best, changes_V6) - end.log_p_N

    def _mean_log_p(
        self, centres: WhiteBox, wide: AttackJobs, z_ND: Tensor, changes_V6: Tensor | None
    ) -> Tensor:
        """The mean of each row's log p (N,) over changes (V, 6) of its picture; None: of the picture itself."""
        means = []
        size = pass_size(z_ND.device)
        for z_BD, row_B in zip(z_ND.split(size), wide.rows_N.split(size), strict=True):
            x_NCHW = self.generator(z_BD)
            pictures = [x_NCHW]
            if changes_V6 is not None:
                pictures = [
                    changed(x_NCHW, change_6.expand(len(row_B), -1)) for change_6 in changes_V6
                ]
            log_p_VN = [
                self.target_scores(centres.log_scores(x, wide.account(row_B)), wide.target_N[row_B])
                for x in pictures
            ]
            means.append(torch.stack(log_p_VN).mean(0))
        return torch.cat(means)

    def _nearest_other(self, centres: WhiteBox, wide: AttackJobs, z_ND: Tensor) -> Tensor:
        """The largest log p (N,) that any centre of another label has at each row's picture."""
        nearest = []
        size = pass_size(z_ND.device)
        for z_BD, row_B in zip(z_ND.split(size), wide.rows_N.split(size), strict=True):
            log_p_BKC = centres.log_scores(self.generator(z_BD), wide.account(row_B))
            log_p_BKC = log_p_BKC.unflatten(1, (-1, centres.centres)).clone()
            label_B = wide.target_N[row_B].div(centres.centres, rounding_mode="floor")
            log_p_BKC[torch.arange(len(row_B), device=label_B.device), label_B] = -torch.inf
            nearest.append(log_p_BKC.flatten(1).max(1).values)
        return torch.cat(nearest)

    @torch.no_grad()
    def _result(
        self, centres: WhiteBox, jobs: AttackJobs, row_N: Tensor, end: Search
    ) -> AttackResult:
        """The chosen candidates, and what the model's label scores them."""
        size, count = pass_size(row_N.device), centres.centres
        images, scores = [], []
        for row_B, job_B in zip(row_N.split(size), jobs.rows_N.split(size), strict=True):
            x_NCHW = self.generator(end.best[row_B])
            log_p_NKC = centres.log_scores(x_NCHW, job_B).unflatten(1, (-1, count))
            images.append(x_NCHW)
            scores.append(self.target_scores(log_p_NKC.logsumexp(2), jobs.target_N[job_B]).exp())
        steps_N = end.steps_N.view(-1, count).sum(1)
        return AttackResult(torch.cat(images), torch.cat(scores), end.converged_N[row_N], steps_N)
