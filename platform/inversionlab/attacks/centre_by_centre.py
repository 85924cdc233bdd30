"""Centre by centre: for an attacker who knows that a label hides its person among decoys (`anonymity_set`).

Paper:   ours, made against our own defense.
Access:  white box (`WhiteBox`): the weights show C centres a label, and the attacker inverts each on its own.
Solves:  z_c = argmin_z -log p_kc(G(z)) for every centre c of the target k; with one centre a label this is A2.
Step:    against the gradient in z, of a length that adapts (`updates.py`).
Start:   for every centre, of `pool` encoded public pictures (or draws from the prior, without an encoder) the one
         that the model takes most for that centre. The queries serve all targets.
Chooses: `rank_by` orders the C candidates by what might tell a person from a decoy (`candidate_orders.py`):
         `score`      log p_kc of the candidate: how well the centre can be met;
         `width`      the mean of log p_kc over random small changes, less log p_kc: how wide its peak is;
         `curvature`  the trace of the Hessian of log p_kc in z: how flat it is;
         `density`    -|z|^2 / 2m: how natural the prior finds the candidate;
         `natural`    the largest cosine to a public face, in an embedding of the attacker's own;
         `nearness`   the log p_kc of the best public picture: how near the centre is to known people;
         `neighbour`  max over the centres of other labels of log p at the candidate: how near its nearest
                      neighbour is. People have learned to stand apart from one another, and decoys that are
                      learned by heart from few pictures stand apart from all;
         `norm`       |W_kc|, the length of the centre's weights;
         `surrogate`  log S_k of the candidate, S a student of the labels' scores: modes that S does not share
                      come last;
         `membership` log p_kc - log S_k: membership inference with S as the reference that has not seen the
                      private pictures (Watson et al. 2022; the loss alone, Yeom et al. 2018, is `score`).
         With `reverse` the last comes first. Repeat r returns the candidate of rank r, so with C repeats an attack
         returns the whole set, and the metric of M candidates says how often the person is in it. The next C
         repeats begin at the next starts.
Trains:  for `natural`, `surrogate` and `membership` a student, on public pictures and the labels' scores of them;
         it is the one of `distil_then_invert` with `answers: scores`.
Stop:    p_kc > `stop`, `steps` updates, or none of the last `patience` has raised it.
Ranges:  pictures in [0, 1]; z is unbounded.
Result:  `confidence` is the protected model's score of the label.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.candidate_orders import QUERIES, STUDENTS, Candidates, Order, likelihood
from inversionlab.attacks.descent import Search, descend, white_box_objective
from inversionlab.attacks.engine import pass_size
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.student import STUDENT, student_learner
from inversionlab.attacks.updates import AdaptiveStep
from inversionlab.core.contracts import ModelShape
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.views import View, WhiteBox
from inversionlab.recognizers import RecognizerLearner, RecognizerSettings


class CentreByCentreSettings(AttackSettings):
    """Settings of the attack on every centre."""

    later: ClassVar[dict[str, Any]] = {"reverse": False, "student": STUDENT.model_dump(mode="json")}

    name: Literal["centre_by_centre"] = "centre_by_centre"
    rank_by: Order = "score"
    """How the candidates are ordered."""
    reverse: bool = False
    """Whether the candidate that the order puts last comes first."""
    student: RecognizerSettings = STUDENT
    """Structure and training of the student, for the orders that need one."""
    pool: int = Field(default=512, ge=1, le=1_000_000)
    """Public pictures that the model is asked about once, as starts for all targets."""
    step_length: float = Field(default=0.8, gt=0, le=100)
    """Length of the first step in latent units."""
    steps: int = Field(default=150, ge=1, le=100_000)
    """Maximum number of updates of a descent."""
    stop: float = Field(default=0.9999, gt=0, lt=1)
    """A descent is finished when the centre's probability exceeds this."""
    patience: int | None = Field(default=20, ge=1, le=100_000)
    """A descent ends when its score has not grown by 1 % for this many updates; null: never."""


class CentreByCentre(Attack):
    """Inverts every centre of a label, and orders the candidates."""

    Settings = CentreByCentreSettings
    view = WhiteBox
    knows_defense = True
    needs_generator = True
    network_kind = "student"
    settings: CentreByCentreSettings

    @classmethod
    def most_queries(cls, settings: CentreByCentreSettings, latent_size: int) -> int:
        """A pass a step and centre; the order of the candidates takes some, and the chosen one its score.

        This is for one centre a label, as most models have.
        """
        return settings.steps + 2 + QUERIES.get(settings.rank_by, 0)

    @classmethod
    def trains_at(cls, settings: CentreByCentreSettings) -> bool:
        """Whether the order asks a student."""
        return settings.rank_by in STUDENTS

    @classmethod
    def network_part(cls, settings: CentreByCentreSettings) -> dict[str, Any]:
        """That of the student."""
        return {"answers": "scores", "student": settings.student.model_dump(mode="json")}

    @classmethod
    def training(cls, settings: CentreByCentreSettings) -> TrainingSettings:
        """That of the student."""
        return settings.student.training

    @classmethod
    def learner(
        cls, settings: CentreByCentreSettings, shape: ModelShape, seed: int
    ) -> RecognizerLearner:
        """The student in training; ConfigError if it does not fit the pictures."""
        return student_learner(settings.student, "scores", shape, seed)

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
        found = Candidates(self, centres, wide, start_ND, end.best, end.log_p_N)
        likely_NC = likelihood(self.settings.rank_by, found).view(-1, count)
        order_NC = likely_NC.argsort(dim=1, descending=not self.settings.reverse, stable=True)
        rank_N1 = (jobs.repeat_N % count)[:, None]
        row_N = jobs.rows_N * count + order_NC.gather(1, rank_N1).squeeze(1)
        return self._result(centres, jobs, row_N, end)

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
