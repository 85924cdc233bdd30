"""Fine-tuning of the victim on fake samples, for `gan_fake_samples` (D2, D3) and `random_fake_samples` (D4).

Papers:   Gong et al. 2023, §IV-C; Kirkpatrick et al. 2017 (EWC). With p = F_V(IMG)_{l_t}:
Losses:   L_pri = -p^g log p on inverted private samples                                      (eq. 7)
          L_pub = -(1 - p)^g log p on inverted public samples                                 (eq. 8)
          L_CL  = sum_i lambda_3 / 2  F_i (theta_i - theta*_i)^2                              (eq. 9)
          theta = argmin  -alpha L_pri + beta L_pub + omega L_CL                              (eq. 10)
          F_i   = mean over private pictures of (d log P(y_n | x_n, theta*) / d theta_i)^2    (eq. 1)
          L_pri and L_pub are means over the batch's samples of that kind. There is no private cross-entropy.
Weights:  p^g and (1 - p)^g are constants in the gradient, the weights of samples that the paper calls them. If p^g
          were differentiated, L_pri would be largest at p = e^(-1/g) (0.61 at g = 2): descent on -L_pri would stop
          there and pull p *up* from below. As a constant it only pushes p down: the slope in the target's logit is
          p^g (1 - p). That is nearly 0 at p = 1 too, where inverted samples begin, so L_pub leads. With one
          protected label, which soon takes in every face, p stays at 1 there and L_pub alone misleads an attack;
          with many, which compete for faces, p falls.
Bounds:   with g = 0 ("CE") L_pri has no upper bound, so only EWC holds the weights; with g > 0 its pull ends as p
          goes to 0.
Fisher:   F is small where the victim is sure of its own pictures (LFW at 64 x 64: 1.4e-8 on average, 2e-5 at
          most), and lambda_3 must make up for that: at 1e6 there, eq. 10 gives almost every face the one label
          that is protected.
Modes:    the victim learns as it is released: batch normalisation keeps the statistics of its training, dropout is
          off. Batches of fakes have other statistics than faces, and EWC would not see them drift, since they are
          no parameters.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer
from torch import Tensor, nn

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob, as_scoring_model
from inversionlab.core.images import to_float
from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.settings import ConfigError, Settings
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses.base import DefenseContext, Layer, VictimBlueprint
from inversionlab.defenses.parts.renewal import Renewal

Anchor = list[tuple[Tensor, Tensor]]
"""theta* and F of each parameter, to which elastic weight consolidation holds the weights."""
FEWEST = 2
"""Pictures of a public person whom F_C can learn."""
LATER = ("fine_tuning_steps", "shared_generator", "invert_again")
"""Settings that came later; at null or false all is as it was before there was a choice."""
PRIVATE, PUBLIC = 0, 1
"""Kinds of fake samples: those driven away from the protected label, and those drawn to it."""


class FakeSamplesSettings(Settings):
    """The settings that both defenses by fake samples have in common; they add them to their own."""

    name: str
    protected: Literal["targets", "all"] | tuple[int, ...] = "targets"
    """The protected labels l_t: `targets` are those under attack in the experiment, `all` are all labels, and a
    list names single ones. The report's figures of the target label cover the labels under attack, whichever are
    protected."""
    samples: int = Field(default=8, ge=1, le=10_000)
    """Number of fake samples of each kind for each protected label."""
    alpha: float = Field(default=1.0, ge=0, le=1e6)
    """alpha, the weight of L_pri; 0 leaves it out."""
    beta: float = Field(default=1.0, ge=0, le=1e6)
    """beta, the weight of L_pub; 0 leaves it out."""
    omega: float = Field(default=1.0, ge=0, le=1e6)
    """omega, the weight of L_CL; 0 leaves it out."""
    ewc_lambda: float = Field(default=1e8, ge=0, le=1e12)
    """lambda_3, how strongly EWC holds the weights that matter for private pictures; its scale depends on F."""
    gamma: float = Field(default=2.0, ge=0, le=10)
    """g of the focal loss: how much less weight samples get that are already where they should be. 0 is plain
    cross-entropy."""
    private_weight: float = Field(default=0.0, ge=0, le=1e6)
    """Weight of the victim's own loss on private pictures, added to eq. 10. An extension; the paper's is 0."""
    public_min_pictures: int = Field(default=FEWEST, ge=FEWEST, le=100_000)
    """Minimum number of public pictures of a person whom F_C learns and who may be l_p."""
    fisher_pictures: int = Field(default=1000, ge=1, le=10_000_000)
    """Maximum number of private pictures that the Fisher diagonal is estimated on."""
    fine_tuning_steps: int | None = Field(default=None, ge=1, le=10_000_000)
    """Number of steps of the fine-tuning, whatever the number of labels and samples. It is rounded to whole passes
    over the fake samples, at least one. Null: `training.epochs` passes, so that more labels mean more steps."""
    training: TrainingSettings = TrainingSettings(
        epochs=30, batch_size=32, learning_rate=1e-4, schedule="cosine", weight_decay=0.0
    )
    """How the victim is fine-tuned; an epoch is a pass over the fake samples. Weight decay would pull the
    weights to 0 while EWC pulls them to theta*."""

    @model_serializer(mode="wrap")
    def _as_stored(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what came later where it says what was done before there was a choice."""
        without = ["public_min_pictures"] if self.public_min_pictures == FEWEST else []
        without += [name for name in LATER if not getattr(self, name, None)]
        return {k: v for k, v in plain(self).items() if k not in without}

    @field_validator("protected")
    @classmethod
    def _some(cls, value: str | tuple[int, ...]) -> str | tuple[int, ...]:
        if isinstance(value, str):
            return value
        if not value or len(set(value)) < len(value):
            raise ValueError("name at least one label, and each once")
        if min(value) < 0:
            raise ValueError(f"{min(value)} is not a label; labels are numbered from 0")
        return tuple(sorted(value))

    def labels(self, targets: Sequence[int], classes: int) -> tuple[int, ...]:
        """The protected labels, sorted, with `targets` under attack; ConfigError if one is not below `classes`."""
        if self.protected == "all":
            return tuple(range(classes))
        labels = targets if isinstance(self.protected, str) else self.protected
        if max(labels, default=0) >= classes:
            raise ConfigError(
                f"protected: {max(labels)} is not a label; the victim knows 0 to {classes - 1}"
            )
        return tuple(sorted(labels))


class FakeSamplesDefense:
    """The facts and answers that both defenses have in common."""

    settings: Any
    layer: ClassVar[Layer] = Layer.VICTIM
    trains: ClassVar[bool] = True
    learns_private: ClassVar[bool] = True
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    @classmethod
    def check(cls, settings: Any) -> None:
        """Raise ValueError if nothing would be learned from fake samples."""
        if settings.alpha == settings.beta == 0:
            raise ValueError(
                "alpha = beta = 0: nothing is learned from fake samples; raise one of them, or use "
                "defense `none`"
            )

    def fits(self, blueprint: VictimBlueprint, pictures: int) -> None:
        """Raise ConfigError if a protected label is no class of the victim."""
        self.settings.labels((), blueprint.shape.classes)

    def aims(self) -> bool:
        """Whether the labels under attack are the protected ones."""
        return bool(self.settings.protected == "targets")


def public_labels(labels: Sequence[int], public_classes: int, seed: int) -> tuple[int, ...]:
    """A public label l_p for each protected one, drawn by the seed; none twice while there are enough."""
    stream = seeds.torch_stream(seed, "fake_samples", "public labels")
    order: list[int] = torch.randperm(public_classes, generator=stream).tolist()
    place_of: dict[int, int] = {}
    free = set(range(public_classes))
    for label in sorted(labels):
        place = label % public_classes
        while free and place not in free:
            place = (place + 1) % public_classes
        free.discard(place)
        place_of[label] = place
    return tuple(order[place_of[label]] for label in labels)


def fine_tuning_job(
    settings: FakeSamplesSettings,
    context: DefenseContext,
    labels: Sequence[int],
    private_NCHW: Tensor,
    public_NCHW: Tensor,
    renewal: Renewal | None = None,
) -> TrainingJob:
    """The fine-tuning on uint8 fake samples of both kinds, `settings.samples` in a row for each label."""
    label_N, training = torch.tensor(labels).repeat_interleave(settings.samples), settings.training
    if settings.fine_tuning_steps is not None:
        count = 2 * len(label_N)
        a_pass = count // min(training.batch_size, count)
        epochs = max(1, round(settings.fine_tuning_steps / a_pass))
        training = training.model_copy(update={"epochs": epochs})
    place_N = torch.arange(len(label_N))
    kinds = [torch.full_like(label_N, kind) for kind in (PRIVATE, PUBLIC)]
    return TrainingJob(
        learner=FineTuner(settings, context, renewal),
        images_NCHW=torch.cat([private_NCHW, public_NCHW]),
        class_N=torch.cat([torch.stack([label_N, kind_N, place_N], dim=1) for kind_N in kinds]),
        training=training,
    )


class FineTuner(Learner):
    """Trains a copy of the victim on fake samples; its `class_N` is (N, 3): label, kind, place among its kind."""

    def __init__(
        self,
        settings: FakeSamplesSettings,
        context: DefenseContext,
        renewal: Renewal | None = None,
    ) -> None:
        """Copy the victim and estimate which of its weights matter; ValueError without a victim."""
        if context.victim is None:
            raise ValueError(f"{settings.name}: needs the trained victim")
        self.settings, self.context = settings, context
        self.recognizer = copy.deepcopy(context.victim).eval().requires_grad_(True)
        self.anchor: Anchor = []
        if settings.omega * settings.ewc_lambda > 0:
            stream = seeds.torch_stream(context.seed, settings.name, "fisher")
            rows = torch.randperm(len(context.private_NCHW), generator=stream)
            rows = rows[: settings.fisher_pictures]
            pictures = context.private_NCHW[rows], context.private_class_N[rows]
            fisher = fisher_diagonal(self.recognizer, *pictures, context.device)
            weights = [p.detach().clone() for p in self.recognizer.parameters()]
            self.anchor = list(zip(weights, fisher, strict=True))
        super().__init__(settings.training, recognizer=self.recognizer)
        self.renewal = renewal
        if renewal is not None:
            self.modules = {**self.modules, "renewal": renewal}
            self.counters["renewed_steps"] = 0

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch; returns, unweighted, `private`, `public` and, if used, `consolidation`, `own`."""
        settings = self.settings
        self.recognizer.eval()
        label_N, kind_N = y_N[:, 0], y_N[:, 1]
        if self.renewal is not None:
            samples_NCHW = self.renewal.renewed(
                self.recognizer, int(self.counters["renewed_steps"])
            )
            self.counters["renewed_steps"] += 1
            private_N = kind_N == PRIVATE
            fresh_NCHW = to_float(samples_NCHW[y_N[private_N, 2]], x_NCHW.device)
            x_NCHW = x_NCHW.index_put((private_N,), fresh_NCHW)
        log_p_NK = as_scoring_model(self.recognizer).log_scores(x_NCHW)
        log_p_N = log_p_NK.gather(1, label_N[:, None])[:, 0]
        losses = {
            "private": _mean(private_loss(log_p_N, settings.gamma), kind_N == PRIVATE),
            "public": _mean(public_loss(log_p_N, settings.gamma), kind_N == PUBLIC),
        }
        total = settings.beta * losses["public"] - settings.alpha * losses["private"]
        if self.anchor:
            parameters = self.recognizer.parameters()
            losses["consolidation"] = consolidation(parameters, self.anchor, settings.ewc_lambda)
            total = total + settings.omega * losses["consolidation"]
        if settings.private_weight > 0:
            losses["own"] = self._own_loss(len(x_NCHW), rng)
            total = total + settings.private_weight * losses["own"]
        self.descend("recognizer", total, sync)
        return {name: loss.detach() for name, loss in losses.items()}

    def _own_loss(self, count: int, rng: torch.Generator) -> Tensor:
        """The victim's training loss on `count` augmented private pictures; `rng` draws both."""
        context = self.context
        rows = torch.randint(len(context.private_NCHW), (count,), generator=rng)
        x_NCHW = context.augment(to_float(context.private_NCHW[rows], context.device), rng)
        y_N = context.private_class_N[rows].to(context.device)
        model: Any = self.recognizer
        loss: Tensor = model.head.loss(model.features(x_NCHW), y_N)
        return loss


def _mean(loss_N: Tensor, chosen_N: Tensor) -> Tensor:
    """The mean over the chosen rows; 0 if there are none."""
    return (loss_N * chosen_N).sum() / chosen_N.sum().clamp_min(1)


def private_loss(log_p_N: Tensor, gamma: float) -> Tensor:
    """L_pri (N,), to be maximised, from the log-probabilities of l_t."""
    return -(gamma * log_p_N.detach()).exp() * log_p_N


def public_loss(log_p_N: Tensor, gamma: float) -> Tensor:
    """L_pub (N,), to be minimised, from the log-probabilities of l_t."""
    return -(-torch.expm1(log_p_N.detach())).pow(gamma) * log_p_N


def consolidation(parameters: Iterable[Tensor], anchor: Anchor, strength: float) -> Tensor:
    """L_CL, a scalar, at `strength` lambda_3."""
    terms = [(f * (p - w).square()).sum() for p, (w, f) in zip(parameters, anchor, strict=True)]
    return strength / 2 * torch.stack(terms).sum()


def fisher_diagonal(
    model: nn.Module, images_NCHW: Tensor, class_N: Tensor, device: torch.device
) -> list[Tensor]:
    """F of eq. 1, one tensor for each parameter of `model`, from uint8 pictures taken one by one."""
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for image_CHW, label in zip(images_NCHW, class_N.tolist(), strict=True):
        log_p_K = as_scoring_model(model).log_scores(to_float(image_CHW[None], device))[0]
        gradients = torch.autograd.grad(log_p_K[label], parameters, allow_unused=True)
        for sum_, gradient in zip(total, gradients, strict=True):
            if gradient is not None:
                sum_ += gradient.square()
    return [sum_ / len(images_NCHW) for sum_ in total]
