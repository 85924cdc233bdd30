"""What the attacks with a trained inversion model share: their settings, its training, and two ways to invert.

Access:  `Scores`, whole vectors or their q largest entries; no gradient is ever taken.
output:  recovers the private picture x behind an observed answer y = F(x): x' = A(y) (Yang; Wen §V). One query a
         row, made by the user whose answer was observed. The pictures are those that the victim was trained on, an
         easier case than others of the same people (Wen does not say which his are).
class:   makes a picture of a class k (Gong, Table II): x' = A(v) for a vector v that F might give to k. The papers
         do not say which; v = (1, 0, ...) is unlike all that A has learned from. Here the attacker asks F about
         `public_pictures` public pictures, drawn separately for each job, and takes the answers to the
         `look_alikes` of them that score highest for k. In each, k's entry is set to p and the others are scaled
         to a sum of 1 - p, for each p of `confidences`. F is asked about A(v) of every such v, and the picture of
         highest score of k is kept. Queries: `public_pictures` + `look_alikes` x `confidences`.
         Seen on LFW (158 classes, 20 targets, once or twice each; width 32, 5 epochs), top-5 by the evaluator:
         rest spread evenly 15 %; one look-alike 20 %; the mean of 8 23 %; each of 16 38 %.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from inversionlab.attacks.base import Attack
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.core.contracts import ModelShape
from inversionlab.core.settings import ConfigError, Settings
from inversionlab.core.views import Scores, View
from inversionlab.generators.inversion_model import (
    InversionLearner,
    InversionModelSettings,
    InversionTraining,
)

CHUNK = 256
"""Pictures a forward pass at most, so that memory does not grow with the number of jobs."""
LANE = 16
"""Vectors that the inversion model takes at once; always as many, so that no row's sums depend on the others."""


class InversionSettings(Settings):
    """The settings of these attacks in addition to those of every attack."""

    # `taught_by` does not count as training, since the teacher is part of a network's key by itself.
    inference_only: ClassVar[frozenset[str]] = frozenset(
        {"label", "generator", "invert", "taught_by"}
        | {"public_pictures", "look_alikes", "confidences"}
    )

    invert: Literal["class", "output"] = "class"
    """class: make a picture of the target; output: recover the private picture behind an observed answer."""
    truncate: int | None = Field(default=None, ge=1)
    """q: the attacker sees only the q largest scores, in training and attack; null: all."""
    public_pictures: int = Field(default=256, ge=0, le=1_000_000)
    """Public pictures that F is asked about for each job, to find look-alikes; 0: 1 - p is spread evenly."""
    look_alikes: int = Field(default=16, ge=1, le=100_000)
    """How many of them are used: those with the highest target score."""
    confidences: tuple[float, ...] = Field(
        default=(0.9, 0.99, 0.9999, 1 - 1e-6, 1 - 1e-8), min_length=1
    )
    """Scores p of the target that are tried, each above 0 and at most 1."""
    network: InversionModelSettings = InversionModelSettings()
    """Structure of the inversion model."""
    training: InversionTraining = InversionTraining(
        epochs=20, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=0.0
    )
    """How it is trained."""

    @field_validator("confidences")
    @classmethod
    def _are_scores(cls, confidences: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < p <= 1 for p in confidences):
            raise ValueError("every confidence should be above 0 and at most 1")
        return confidences


def inversion_learner(settings: Any, shape: ModelShape, seed: int) -> InversionLearner:
    """The inversion model in training; ConfigError if it does not fit the pictures or `truncate` the scores."""
    if settings.truncate is not None and settings.truncate > shape.classes:
        raise ConfigError(
            f"attacks ({settings.title}): truncate = {settings.truncate}: the model has "
            f"{shape.classes} scores"
        )
    return InversionLearner(settings.network, settings.training, **shape.sizes, seed=seed)


def inversion_queries(settings: Any, latent_size: int) -> int:
    """The most queries of one reconstruction: see `output` and `class` above."""
    if settings.invert == "output":
        return 1
    pictures: int = settings.public_pictures
    bases = min(settings.look_alikes, pictures) if pictures else 1
    return pictures + bases * len(settings.confidences)


@torch.no_grad()
def invert(attack: Attack, view: View | None, jobs: AttackJobs) -> AttackResult:
    """Invert for all jobs; `steps_N` are 0 and every row has converged, since nothing is iterated.

    Raises:
        TypeError: the view is not a `Scores`.
        ValueError: outputs are to be inverted and none was observed.
        AttackError: the model answered with a score that is not a number.
    """
    name = attack.settings.name
    scores = attack.require(view, Scores)
    if attack.inverts_outputs:
        if scores.observed_NK is None:
            raise ValueError(f"`{name}` inverts outputs, and none was observed")
        score_N = attack.target_scores(scores.observed_NK, jobs.target_N)
        images_NCHW = _pictures(attack, scores.observed_NK)
    else:
        made = [_invert_class(attack, scores, jobs, row) for row in range(len(jobs))]
        images_NCHW, score_N = (torch.stack(column) for column in zip(*made, strict=True))
    steps_N = torch.zeros_like(score_N, dtype=torch.int64)
    return AttackResult(images_NCHW, score_N, steps_N == 0, steps_N)


def _invert_class(
    attack: Attack, view: Scores, jobs: AttackJobs, row: int
) -> tuple[Tensor, Tensor]:
    """A picture (C, H, W) of the row's target, and the target's score ()."""
    options, target = attack.settings, int(jobs.target_N[row])
    base_MK = _look_alikes(attack, view, target, int(jobs.repeat_N[row]), row)
    v_NK = largest(candidates(base_MK, target, options.confidences), options.truncate)
    x_NCHW = _pictures(attack, v_NK)
    score_N = _ask(view, x_NCHW, row)[:, target]
    attack.refuse_nan(score_N, jobs.target_N[row].expand(len(score_N)))
    best = score_N.argmax()
    return x_NCHW[best], score_N[best]


def _look_alikes(attack: Attack, view: Scores, target: int, repeat: int, row: int) -> Tensor:
    """The answers (M, K) to those of the row's public pictures that score highest for its target."""
    context, options = attack.context, attack.settings
    stream = context.stream(options.name, target, repeat)
    index = torch.randperm(len(context.public_NCHW), generator=stream)[: options.public_pictures]
    if len(index) == 0:
        return torch.full((1, view.classes), 1 / view.classes, device=context.device)
    y_PK = torch.cat([_ask(view, context.public(i), row) for i in index.split(CHUNK)])
    score_P = y_PK[:, target]
    attack.refuse_nan(score_P, torch.full_like(score_P, target))
    return y_PK[score_P.topk(min(options.look_alikes, len(score_P))).indices]


def _ask(view: Scores, x_NCHW: Tensor, row: int) -> Tensor:
    """The model's answers (N, K) to pictures; the queries count for the row."""
    return torch.cat([view.scores(x, torch.full((len(x),), row)) for x in x_NCHW.split(CHUNK)])


def _pictures(attack: Attack, y_NK: Tensor) -> Tensor:
    """Pictures of vectors (N, K), made `LANE` at a time; the last lane is filled up with zeros."""
    network = attack.context.network
    assert network is not None, "checked in Attack.__init__"
    missing = y_NK.new_zeros(-len(y_NK) % LANE, y_NK.shape[1])
    lanes = torch.cat([y_NK, missing]).split(LANE)
    return torch.cat([network(lane) for lane in lanes])[: len(y_NK)]


def candidates(base_MK: Tensor, target: int, confidences: tuple[float, ...]) -> Tensor:
    """Vectors (M V, K) that give the target each of V confidences and share out the rest as `base_MK` does.

    Where all probabilities of `base_MK` but the target's are 0, the rest is shared out evenly.
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
    """The vectors with all but their `top` largest entries set to 0; None: unchanged."""
    if top is None:
        return y_NK
    value, index = y_NK.topk(top, dim=1)
    return torch.zeros_like(y_NK).scatter_(1, index, value)
