"""What the attacks with a trained inversion model share: its settings, and both ways to invert with it.

Access:  `Scores`, whole vectors or their q largest entries; no gradient is ever taken.
output:  the private picture x behind an overheard answer y = F(x): x' = A(y) (Yang; Wen §V). One query a row,
         made by the user whose answer was overheard. The pictures are those that the victim was trained on,
         an easier case than others of the same people (Wen does not say which his are).
class:   a picture of a class k (Gong, Table II): x' = A(v) for a vector v that F might give to k. The papers do
         not say which; v = (1, 0, ...) is unlike all that A has learned from. Here the attacker asks F about
         `public_pictures` public pictures, drawn anew for each job, and takes the answers to the `look_alikes`
         of them that F takes for k most; in each, k's entry is set to p and the others are scaled to a sum of
         1 - p, for each p of `confidences`. F is asked about A(v) of every such v, and the one of highest score
         of k is kept. Queries: `public_pictures` + `look_alikes` x `confidences`.
         Seen on LFW (158 classes, 20 targets, once or twice each; width 32, 5 epochs), top-5 by the evaluator:
         v spread evenly beside p 15 %; one look-alike 20 %; the mean of 8 23 %; each of 16 38 %.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from inversionlab.attacks.base import (
    Attack,
    AttackJobs,
    AttackResult,
    AttackSettings,
    of_targets,
    refuse_nan,
)
from inversionlab.core.contracts import ModelShape, ScoringModel
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.settings import ConfigError
from inversionlab.core.views import Scores, View
from inversionlab.generators.inversion_model import (
    InversionLearner,
    InversionModel,
    InversionModelSettings,
)

CHUNK = 256
"""Pictures a forward pass at most, so that memory stays small whatever the number of jobs."""
LANE = 16
"""Vectors that the inversion model takes at once: always as many, so that no row's sums depend on the others."""


class InversionAttackSettings(AttackSettings):
    """Settings that the attacks with an inversion model share."""

    inference_only: ClassVar[frozenset[str]] = frozenset(
        {"label", "generator", "invert", "public_pictures", "look_alikes", "confidences"}
    )

    invert: Literal["class", "output"] = "class"
    """class: make a picture of the target; output: find the private picture behind an overheard answer."""
    truncate: int | None = Field(default=None, ge=1)
    """q: the attacker gets the q largest scores, in training and attack; null: all."""
    public_pictures: int = Field(default=256, ge=0, le=1_000_000)
    """Public pictures that F is asked about for each job, to find look-alikes; 0: v is spread evenly."""
    look_alikes: int = Field(default=16, ge=1, le=100_000)
    """How many of them, those of highest target score, are tried."""
    confidences: tuple[float, ...] = Field(
        default=(0.9, 0.99, 0.9999, 1 - 1e-6, 1 - 1e-8), min_length=1
    )
    """Scores p of the target that are tried, each above 0 and at most 1."""
    network: InversionModelSettings = InversionModelSettings()
    """Structure of the inversion model."""
    training: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=0.0
    )
    """How it is trained."""

    @field_validator("confidences")
    @classmethod
    def _are_scores(cls, confidences: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < p <= 1 for p in confidences):
            raise ValueError("every confidence should be above 0 and at most 1")
        return confidences


class InversionAttack(Attack):
    """Base of the attacks with an inversion model; they differ in its structure and in its teacher."""

    view: ClassVar[type[View] | None] = Scores
    needs_generator: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    network_kind: ClassVar[str] = "inversion_model"

    def open(self, model: ScoringModel, rows: int) -> Scores:
        """A view of the whole score vector, or of its `truncate` largest entries."""
        return Scores(model, rows, self.settings.truncate)

    @classmethod
    def inverts_outputs_at(cls, settings: Any) -> bool:
        """Whether outputs are inverted."""
        return bool(settings.invert == "output")

    @classmethod
    def training_top(cls, settings: Any) -> int | None:
        """As many scores as the attack will see."""
        top: int | None = settings.truncate
        return top

    @classmethod
    def learner(cls, settings: Any, shape: ModelShape, seed: int) -> InversionLearner:
        """The inversion model in training."""
        return InversionLearner(
            settings.network,
            settings.training,
            classes=shape.classes,
            channels=shape.channels,
            image_size=shape.image_size,
            seed=seed,
        )

    @classmethod
    def build(cls, settings: Any, shape: ModelShape) -> InversionModel:
        """The inversion model, untrained.

        Raises:
            ConfigError: more scores are asked for than there are, or the network does not fit the pictures.
        """
        if settings.truncate is not None and settings.truncate > shape.classes:
            raise ConfigError(
                f"attacks ({settings.title}): truncate = {settings.truncate}: the model has "
                f"{shape.classes} scores"
            )
        return InversionModel(
            settings.network,
            classes=shape.classes,
            channels=shape.channels,
            image_size=shape.image_size,
        )

    @torch.no_grad()
    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Invert for all jobs; `steps_N` are 0 and every row has converged, for nothing is iterated.

        Raises:
            TypeError: the view shows no scores, or labels only.
            ValueError: outputs are to be inverted and none was overheard.
        """
        if not isinstance(view, Scores):
            name = self.settings.name
            raise TypeError(f"`{name}` needs a Scores view, got {type(view).__name__}")
        if self.inverts_outputs:
            return self._invert_outputs(view, jobs)
        made = [self._invert_class(view, jobs, row) for row in range(len(jobs))]
        return _found(torch.stack([x for x, _ in made]), torch.stack([score for _, score in made]))

    def _invert_outputs(self, view: Scores, jobs: AttackJobs) -> AttackResult:
        y_NK = view.observed_NK
        if y_NK is None:
            raise ValueError(f"`{self.settings.name}` inverts outputs, and none was overheard")
        score_N = of_targets(self.settings.name, y_NK, jobs.target_N)
        return _found(self._pictures(y_NK), score_N)

    def _invert_class(self, view: Scores, jobs: AttackJobs, row: int) -> tuple[Tensor, Tensor]:
        """A picture (C, H, W) of the row's target, and the target's score ()."""
        options, target = self.settings, int(jobs.target_N[row])
        base_MK = self._look_alikes(view, target, int(jobs.repeat_N[row]), row)
        v_NK = largest(candidates(base_MK, target, options.confidences), options.truncate)
        x_NCHW = self._pictures(v_NK)
        score_N = self._ask(view, x_NCHW, row)[:, target]
        refuse_nan(options.name, score_N, jobs.target_N[row].expand(len(score_N)))
        best = score_N.argmax()
        return x_NCHW[best], score_N[best]

    def _look_alikes(self, view: Scores, target: int, repeat: int, row: int) -> Tensor:
        """The answers (M, K) to the row's public pictures that the model takes for its target most."""
        know, options = self.context, self.settings
        stream = know.stream(options.name, target, repeat)
        index = torch.randperm(len(know.public_NCHW), generator=stream)[: options.public_pictures]
        if len(index) == 0:
            return torch.full((1, view.classes), 1 / view.classes, device=know.device)
        y_PK = torch.cat([self._ask(view, know.public(i), row) for i in index.split(CHUNK)])
        score_P = y_PK[:, target]
        refuse_nan(options.name, score_P, torch.full_like(score_P, target))
        return y_PK[score_P.topk(min(options.look_alikes, len(score_P))).indices]

    def _ask(self, view: Scores, x_NCHW: Tensor, row: int) -> Tensor:
        """The model's answers (N, K) to pictures, on the row's account."""
        return torch.cat([view.scores(x, torch.full((len(x),), row)) for x in x_NCHW.split(CHUNK)])

    def _pictures(self, y_NK: Tensor) -> Tensor:
        """Pictures of vectors (N, K), made `LANE` at a time; the last lane is filled up."""
        network: nn.Module | None = self.context.network
        assert network is not None, "checked when the attack was armed"
        missing = y_NK.new_zeros(-len(y_NK) % LANE, y_NK.shape[1])
        lanes = torch.cat([y_NK, missing]).split(LANE)
        return torch.cat([network(lane) for lane in lanes])[: len(y_NK)]


def candidates(base_MK: Tensor, target: int, confidences: tuple[float, ...]) -> Tensor:
    """Vectors (M V, K) that give the target each of V confidences and share out the rest as `base_MK` does.

    Args:
        base_MK: probabilities; where all but the target's are 0, the rest is shared out evenly.
        target: class number.
        confidences: V scores of the target.
    """
    others_MK, even_MK = base_MK.clone(), torch.ones_like(base_MK)
    others_MK[:, target] = even_MK[:, target] = 0
    others_MK = torch.where(others_MK.sum(1, keepdim=True) > 0, others_MK, even_MK)
    share_MK = others_MK / others_MK.sum(1, keepdim=True)
    # Not 1 - p in float32, which has no numbers left next to 1.
    rest_V1 = torch.tensor([1 - p for p in confidences], device=base_MK.device)[:, None]
    v_MVK = share_MK[:, None] * rest_V1
    v_MVK[:, :, target] = torch.tensor(confidences, device=base_MK.device)
    return v_MVK.flatten(0, 1)


def largest(y_NK: Tensor, top: int | None) -> Tensor:
    """The vectors with all but their `top` largest entries set to 0; None: as they are."""
    if top is None:
        return y_NK
    value, index = y_NK.topk(top, dim=1)
    return torch.zeros_like(y_NK).scatter_(1, index, value)


def _found(images_NCHW: Tensor, score_N: Tensor) -> AttackResult:
    count, device = len(score_N), score_N.device
    return AttackResult(
        images_NCHW,
        score_N,
        torch.ones(count, dtype=torch.bool, device=device),
        torch.zeros(count, dtype=torch.int64, device=device),
    )
