"""Distil, then invert: a student learns the model's answers, and is inverted in its place.

Paper:   Nguyen et al. 2023, "Label-Only Model Inversion Attacks via Knowledge Transfer" (LOKT), whose idea it is
         to turn hard labels into a white box of one's own.
Knows:   the defense. Whatever it does to scores, labels or gradients, the student has learned from the defended
         answers and has gradients of its own. So this is the defense-aware attack on every defense for which there
         is none of its own.
Access:  `Labels`; with `answers: scores` the score vector (`Scores`).
Solves:  S = argmin_S L(S(x), F(x)) over the attacker's public pictures x, L the student's own loss on F's labels,
         or the cross-entropy with F's scores; then z* = argmin_z CE(S(G(z)), y^)
Step:    against the gradient in z, of a length that adapts (`updates.py`).
Start:   of `pool` encoded public pictures (or draws from the prior, without an encoder) the `starts` that the
         student takes most for the target; the next repeat takes those after them. No query.
Stop:    the student's p_target > `stop`, `steps` updates, or none of the last `patience` has raised it.
Result:  of the starts' ends one that F labels as the target, by scores the one of highest target score; of several
         the one that the student is surest of.
Queries: one a public picture, once, for the student; one a start.
Ranges:  pictures in [0, 1]; z is unbounded.
Deviates: LOKT trains a GAN whose classes are F's labels on its own pictures, and three students on pictures of
         that GAN. Here one student learns from public pictures, so that any generator can be searched.
"""

from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import descend, white_box_objective
from inversionlab.attacks.engine import pass_size
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.pool import Pool
from inversionlab.attacks.student import STUDENT, Answers, student_learner
from inversionlab.attacks.updates import AdaptiveStep
from inversionlab.core.contracts import ModelShape, as_scoring_model
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.recognizers import RecognizerLearner, RecognizerSettings


class DistilThenInvertSettings(AttackSettings):
    """Settings of the student and of its inversion."""

    inference_only: ClassVar[frozenset[str]] = frozenset(
        {"label", "generator", "pool", "starts", "step_length", "steps", "stop", "patience"}
    )

    name: Literal["distil_then_invert"] = "distil_then_invert"
    answers: Answers = "labels"
    """The answers that the student learns from and that the results are chosen by."""
    student: RecognizerSettings = STUDENT
    """Structure and training of the student."""
    pool: int = Field(default=2048, ge=1, le=1_000_000)
    """Encoded public pictures, or draws, among which the student chooses starts."""
    starts: int = Field(default=3, ge=1, le=64)
    """Number of descents for each reconstruction."""
    step_length: float = Field(default=0.8, gt=0, le=100)
    """Length of the first step in latent units."""
    steps: int = Field(default=150, ge=1, le=100_000)
    """Maximum number of updates of a descent."""
    stop: float = Field(default=0.9999, gt=0, lt=1)
    """A descent is finished when the student's score of the target exceeds this."""
    patience: int | None = Field(default=20, ge=1, le=100_000)
    """A descent ends when its score has not grown by 1 % for this many updates; null: never."""

    @property
    def training(self) -> TrainingSettings:
        """How the student is trained."""
        return self.student.training


class DistilThenInvert(Attack):
    """Inversion of a student."""

    Settings = DistilThenInvertSettings
    usual_seconds = 1.5
    view = Labels
    needs_generator = True
    knows_defense = True
    trains = True
    network_kind = "student"

    @classmethod
    def view_at(cls, settings: DistilThenInvertSettings) -> type[View] | None:
        """Labels or scores, as `answers` says."""
        return Labels if settings.answers == "labels" else Scores

    @classmethod
    def training_top(cls, settings: DistilThenInvertSettings) -> int | None:
        """By labels the largest score alone."""
        return 1 if settings.answers == "labels" else None

    @classmethod
    def pool_size(cls, settings: DistilThenInvertSettings) -> int:
        """None: the student is asked about the pool."""
        return 0

    @classmethod
    def most_queries(cls, settings: DistilThenInvertSettings, latent_size: int) -> int:
        """One a start."""
        return settings.starts

    @classmethod
    def learner(cls, settings: Any, shape: ModelShape, seed: int) -> RecognizerLearner:
        """The student in training; ConfigError if it does not fit the pictures."""
        return student_learner(settings.student, settings.answers, shape, seed)

    @cached_property
    def _starts(self) -> Pool:
        """The starts that the student takes most for each class."""
        return Pool.ask(self._student(1), *self.search_space())

    def _student(self, rows: int) -> WhiteBox:
        """A white box of the attacker's own; its queries cost nothing."""
        assert self.context.network is not None, "checked in Attack.__init__"
        return WhiteBox(as_scoring_model(self.context.network), rows)

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Invert the student from several starts, then ask the model which result to keep."""
        options, wanted = self.settings, self.view_at(self.settings)
        assert wanted is not None
        view = self.require(view, wanted)
        start_NSD = self._starts.several(jobs, options.starts)
        wide, start_ND = jobs.times(start_NSD.shape[1]), start_NSD.flatten(0, 1)
        end = descend(
            self,
            wide.rows_N,
            lambda row_L: start_ND[row_L],
            white_box_objective(self, self._student(len(jobs)), wide, self.generator),
            AdaptiveStep(options.step_length),
            stop=options.stop,
            steps=options.steps,
            patience=options.patience,
        )
        return self._chosen(view, wide, end.best, end.log_p_N, end.steps_N)

    @torch.no_grad()
    def _chosen(
        self, view: View, wide: AttackJobs, z_ND: Tensor, log_p_N: Tensor, steps_N: Tensor
    ) -> AttackResult:
        """Each reconstruction's end that the model, and then the student, takes most for the target."""
        account_N, size = wide.account(wide.rows_N), pass_size(z_ND.device)
        images_NCHW = torch.cat([self.generator(z_BD) for z_BD in z_ND.split(size)])
        parts = zip(*(x.split(size) for x in (images_NCHW, account_N, wide.target_N)), strict=True)
        seen_N = torch.cat([self._target_score(view, *part) for part in parts])
        # The student's score decides among those that the model likes equally.
        order_NS = (seen_N.double() + 1e-9 * log_p_N.exp().double()).view(-1, wide.starts)
        best_N = torch.arange(len(order_NS), device=z_ND.device) * wide.starts + order_NS.argmax(1)
        score_N = seen_N[best_N]
        steps_N = steps_N.view(-1, wide.starts).sum(1)
        if isinstance(view, Scores):
            return AttackResult(images_NCHW[best_N], score_N, score_N > self.settings.stop, steps_N)
        unseen_N = torch.full_like(score_N, torch.nan)
        return AttackResult(images_NCHW[best_N], unseen_N, score_N > 0, steps_N)

    def _target_score(
        self, view: View, x_NCHW: Tensor, account_N: Tensor, target_N: Tensor
    ) -> Tensor:
        """The model's score (N,) of the targets; by labels 1 where it is the winning class, else 0."""
        if isinstance(view, Scores):
            return self.target_scores(view.scores(x_NCHW, account_N), target_N)
        label_N = self.require(view, Labels).labels(x_NCHW, account_N)
        return self.label_hits(label_N, target_N).float()
