"""LOMMA: a switch on latent attacks, which gives them another identity loss and more models to please.

Paper:   Nguyen et al. 2023, "Re-thinking Model Inversion Attacks Against Deep Neural Networks".
Access:  that of the attack, white box, and scores of all public pictures, once, for the students.
Solves:  in place of the cross-entropy, the mean over the model and its students of
         -o_t + lambda mean_{k != t} (o_k - r_k)^2
         o being a model's logits for the picture, t the target, and r a draw from N(mean, std^2) of the students'
         own logits for public pictures, another one at every step.
Trains:  students of several structures, which learn the model's scores of public pictures. A picture that all of
         them take for the target owes less to the quirks of one model.
Stops:   as the attack does, with the geometric mean of all models' target scores in place of the model's own; that
         mean also chooses among points and draws. A row's confidence is the model's own score of its result, which
         takes one more query.
Deviates: a view shows neither features nor logits. So o are log-scores minus their mean over the classes, which
         are the logits up to their mean, and they stand for the features in the regularizer, without the target's
         own. The paper distils three EfficientNets; here the students are small residual networks.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import Search
from inversionlab.attacks.engine import by_step, pass_size
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.core import seeds
from inversionlab.core.contracts import ModelShape, ScoringModel, as_scoring_model
from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.settings import Settings
from inversionlab.core.views import WhiteBox
from inversionlab.recognizers import AugmentSettings, Recognizer, RecognizerSettings, augment
from inversionlab.recognizers.losses import AnyLoss, Cosface
from inversionlab.recognizers.recognizer import AnyNetwork
from inversionlab.recognizers.small_resnet import SmallResnet

if TYPE_CHECKING:
    AttackBase = Attack
    SettingsBase = AttackSettings
else:
    # Both are mixed into classes that have these bases anyway.
    AttackBase = object
    SettingsBase = Settings

PICTURES = 1024
"""Public pictures over which mean and deviation of logits are taken, at most."""
NETWORKS = (
    SmallResnet.Settings(width=24),
    SmallResnet.Settings(width=24, blocks=(1, 1, 1)),
    SmallResnet.Settings(width=16, blocks=(2, 2, 2, 1)),
)


class LommaSettings(Settings):
    """The switch's own settings."""

    inference_only: ClassVar[frozenset[str]] = frozenset({"regularizer"})

    regularizer: float = Field(default=0.05, ge=0, le=1000)
    """lambda, the weight of the squared distance from a public face's logits."""
    networks: tuple[AnyNetwork, ...] = Field(default=NETWORKS, min_length=1, max_length=16)
    """The structures of the students."""
    loss: AnyLoss = Cosface.Settings()
    """The students' heads."""
    augment: AugmentSettings = AugmentSettings()
    """Random changes of the pictures that they learn from."""
    training: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=5e-2
    )
    """How they are trained."""


class AugmentableSettings(SettingsBase):
    """What the settings of attacks that have the switch have in addition."""

    later: ClassVar[dict[str, Any]] = {"lomma": None}

    lomma: LommaSettings | None = None
    """Logit loss and students (Nguyen et al. 2023); null: neither; `{}`: both with the default settings."""


class StudentsLearner(Learner):
    """Students in training; each takes a step on every batch."""

    def __init__(self, settings: LommaSettings, shape: ModelShape, seed: int) -> None:
        """Build them; ConfigError if one does not fit the pictures."""
        self.settings = settings
        self.students = nn.ModuleList(
            Recognizer(
                RecognizerSettings(network=network, loss=settings.loss),
                seed=seeds.derive(seed, "student", number),
                **shape.sizes,
            )
            for number, network in enumerate(settings.networks)
        )
        named = {f"student_{number}": student for number, student in enumerate(self.students)}
        super().__init__(settings.training, **named)

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn the scores `y_N` (N, K) of one batch; returns each student's cross-entropy with them."""
        x_NCHW = augment(x_NCHW, self.settings.augment, rng)
        losses: Losses = {}
        for name, student in self.modules.items():
            assert isinstance(student, Recognizer)
            with self.autocast(x_NCHW):
                feature_ND = student.features(x_NCHW)
            loss = -(y_N * student.head(feature_ND).log_softmax(1)).sum(1).mean()
            self.descend(name, loss, sync)
            losses[name] = loss.detach()
        return losses

    def product(self) -> nn.Module:
        """All students."""
        return self.students


class AugmentedAttack(AttackBase):
    """What attacks that have the switch have in addition; without it they are as they are."""

    network_kind = "students"

    @classmethod
    def trains_at(cls, settings: Any) -> bool:
        """Whether the switch is on."""
        return settings.lomma is not None

    @classmethod
    def network_part(cls, settings: Any) -> dict[str, Any]:
        """That of the switch; attacks share students."""
        part: dict[str, Any] = settings.lomma.trained_part()
        return part

    @classmethod
    def training(cls, settings: Any) -> TrainingSettings:
        """That of the students."""
        training: TrainingSettings = settings.lomma.training
        return training

    @classmethod
    def learner(cls, settings: Any, shape: ModelShape, seed: int) -> StudentsLearner:
        """The students in training."""
        return StudentsLearner(settings.lomma, shape, seed)

    @cached_property
    def students(self) -> tuple[ScoringModel, ...]:
        """The attacker's own copies of the model; their queries cost nothing."""
        if self.settings.lomma is None:
            return ()
        assert isinstance(self.context.network, nn.ModuleList), "checked in Attack.__init__"
        return tuple(as_scoring_model(student) for student in self.context.network)

    def judge(
        self, x_NCHW: Tensor, log_y_NK: Tensor, target_N: Tensor, step_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and merit of pictures, as `Attack.judge`; with the switch on, those of the card."""
        if self.settings.lomma is None:
            return super().judge(x_NCHW, log_y_NK, target_N, step_N)
        answers = [log_y_NK, *(student.log_scores(x_NCHW) for student in self.students)]
        drawn_NK = self._drawn(step_N)
        own_NK = torch.zeros_like(log_y_NK, dtype=torch.bool).scatter(1, target_N[:, None], True)
        loss_N = torch.zeros_like(log_y_NK[:, 0])
        for answer_NK in answers:
            o_NK = logits(answer_NK)
            away_NK = (o_NK - drawn_NK).square().masked_fill(own_NK, 0)
            unlike_N = away_NK.sum(1) / max(1, o_NK.shape[1] - 1)
            hit_N = o_NK.gather(1, target_N[:, None])[:, 0]
            loss_N = loss_N - hit_N + self.settings.lomma.regularizer * unlike_N
        return loss_N / len(answers), self._agreed(answers, target_N)

    @torch.no_grad()
    def merit(self, x_NCHW: Tensor, log_y_NK: Tensor, target_N: Tensor) -> Tensor:
        """The mean log-score (N,) of the targets, over the model and its students."""
        answers = [log_y_NK, *(student.log_scores(x_NCHW) for student in self.students)]
        return self._agreed(answers, target_N)

    @torch.no_grad()
    def finished(
        self,
        view: WhiteBox,
        jobs: AttackJobs,
        end: Search,
        decode: Callable[[Tensor], Tensor],
    ) -> AttackResult:
        """The result of a search that ends here, with the model's own score of each picture as its confidence."""
        if self.settings.lomma is None:
            return end.result(decode)
        size = pass_size(end.best.device)
        parts = zip(end.best.split(size), jobs.rows_N.split(size), strict=True)
        own = []
        for point, row_B in parts:
            log_y_BK = view.log_scores(decode(point), jobs.account(row_B))
            own.append(self.target_scores(log_y_BK, jobs.target_N[row_B]))
        return replace(end, log_p_N=torch.cat(own)).result(decode)

    def _agreed(self, answers: list[Tensor], target_N: Tensor) -> Tensor:
        log_p = [self.target_scores(answer_NK, target_N) for answer_NK in answers]
        return torch.stack(log_p).mean(0)

    @cached_property
    @torch.no_grad()
    def _public_logits(self) -> Tensor:
        """Mean and standard deviation (2, K) of the students' logits for public pictures."""
        stream = self.context.shared_stream("lomma", "public")
        chosen_N = torch.randperm(len(self.context.public_NCHW), generator=stream)[:PICTURES]
        o_NK = torch.cat(
            [
                torch.stack([logits(s.log_scores(x_BCHW)) for s in self.students]).mean(0)
                for x_BCHW in map(
                    self.context.public, chosen_N.split(pass_size(self.context.device))
                )
            ]
        )
        return torch.stack([o_NK.mean(0), o_NK.std(0, unbiased=False)])

    def _drawn(self, step_N: Tensor) -> Tensor:
        """r (N, K) of each row's step, which all rows share."""
        mean_K, std_K = self._public_logits

        def noise(step: int) -> Tensor:
            stream = self.context.shared_stream("lomma", "logits", step)
            return torch.randn(len(mean_K), generator=stream)

        drawn_NK: Tensor = mean_K + std_K * by_step(step_N, noise)
        return drawn_NK


def logits(log_y_NK: Tensor) -> Tensor:
    """Logits (N, K) up to their mean over the classes, of log-scores."""
    return log_y_NK - log_y_NK.mean(1, keepdim=True)
