"""Fine-tuning the victim on fake samples: focal losses, elastic weight consolidation, and who learns by them.

For `gan_fake_samples` (D2, D3) and `random_fake_samples` (D4), which differ in where the samples come from.

Papers:   Gong et al. 2023, §IV-C; Kirkpatrick et al. 2017 (EWC). With p = F_V(IMG)_{l_t}:
Losses:   L_pri = -p^g log p on inverted private samples                                      (eq. 7)
          L_pub = -(1 - p)^g log p on inverted public samples                                 (eq. 8)
          L_CL  = sum_i lambda_3 / 2  F_i (theta_i - theta*_i)^2                              (eq. 9)
          theta = argmin  -alpha L_pri + beta L_pub + omega L_CL                              (eq. 10)
          F_i   = mean over private pictures of (d log P(y_n | x_n, theta*) / d theta_i)^2    (eq. 1)
          L_pri and L_pub are means over the batch's samples of that kind. There is no private cross-entropy.
Weights:  p^g and (1 - p)^g are constants to the gradient, the weights of samples that the paper calls them. With
          p^g differentiated, L_pri would be largest at p = e^(-1/g) (0.61 at g = 2): a descent on -L_pri would
          stop there and pull p *up* from below. As a constant it only ever pushes p down: the slope in the
          target's logit is p^g (1 - p). That is nearly 0 at p = 1 too, where inverted samples begin, so L_pub
          leads: with one protected label, which soon takes in every face, p stays at 1 there and what misleads
          an attack is L_pub alone; with many, which compete for faces, p falls.
Bounds:   with g = 0 ("CE") L_pri has no upper bound, so nothing but EWC holds the weights; with g > 0 its pull
          ends as p goes to 0.
Fisher:   F is small where the victim is sure of its own pictures (LFW at 64 x 64: 1.4e-8 in the mean, 2e-5 at
          most), and lambda_3 must make up for that: at 1e6 there, eq. 10 gives almost every face the one
          label that is protected.
Modes:    the victim learns as it is released: batch normalisation keeps the statistics of its training, dropout
          is off. A batch of fakes has other statistics than faces have; EWC would not see them drift, since they
          are no parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob, as_scoring_model
from inversionlab.core.images import to_float
from inversionlab.core.learner import (
    GradientSync,
    Learner,
    make_optimizer,
    set_rate,
)
from inversionlab.defenses.base import DefenseContext
from inversionlab.defenses.fake_samples import FakeSampleSettings

PRIVATE, PUBLIC = 0, 1
"""Kinds of fake samples: those to be driven away from the protected label, and those to be drawn to it."""


def private_loss(log_p_N: Tensor, gamma: float) -> Tensor:
    """L_pri (N,), to be maximised, of the log-probabilities of l_t."""
    return -(gamma * log_p_N.detach()).exp() * log_p_N


def public_loss(log_p_N: Tensor, gamma: float) -> Tensor:
    """L_pub (N,), to be minimised, of the log-probabilities of l_t."""
    return -(-torch.expm1(log_p_N.detach())).pow(gamma) * log_p_N


def fisher_diagonal(
    model: nn.Module, images_NCHW: Tensor, class_N: Tensor, device: torch.device
) -> list[Tensor]:
    """F of eq. 1, a tensor a parameter of `model`; pictures are uint8, gradients are taken one by one."""
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for image_CHW, label in zip(images_NCHW, class_N.tolist(), strict=True):
        log_p_K = as_scoring_model(model).log_scores(to_float(image_CHW[None], device))[0]
        gradients = torch.autograd.grad(log_p_K[label], parameters, allow_unused=True)
        for sum_, gradient in zip(total, gradients, strict=True):
            if gradient is not None:
                sum_ += gradient.square()
    return [sum_ / len(images_NCHW) for sum_ in total]


@dataclass(frozen=True)
class Anchor:
    """What elastic weight consolidation holds the weights to."""

    weights: list[Tensor]
    """theta*."""
    fisher: list[Tensor]
    """F."""

    def penalty(self, parameters: Iterable[Tensor], strength: float) -> Tensor:
        """L_CL, a scalar, at `strength` lambda_3."""
        terms = [
            (f * (p - w).square()).sum()
            for p, w, f in zip(parameters, self.weights, self.fisher, strict=True)
        ]
        return strength / 2 * torch.stack(terms).sum()


def fake_lesson(
    settings: FakeSampleSettings,
    context: DefenseContext,
    labels: Sequence[int],
    private_NCHW: Tensor,
    public_NCHW: Tensor,
) -> TrainingJob:
    """The fine-tuning on fake samples of both kinds, `settings.samples` of them in a row for each label."""
    label_N = torch.tensor(labels).repeat_interleave(settings.samples)
    kinds = [torch.full_like(label_N, kind) for kind in (PRIVATE, PUBLIC)]
    return TrainingJob(
        learner=FineTuner(settings, context),
        images_NCHW=torch.cat([private_NCHW, public_NCHW]),
        class_N=torch.cat([torch.stack([label_N, kind_N], dim=1) for kind_N in kinds]),
        training=settings.training,
    )


class FineTuner(Learner):
    """A copy of the victim that learns from fake samples; `class_N` of its lesson is (N, 2): label, kind."""

    def __init__(self, settings: FakeSampleSettings, context: DefenseContext) -> None:
        """Copy the victim and find out which of its weights matter.

        Raises:
            ValueError: the workbench holds no victim.
        """
        if context.victim is None:
            raise ValueError(f"{settings.name}: needs the trained victim")
        self.settings, self.context = settings, context
        self.recognizer = copy.deepcopy(context.victim).eval().requires_grad_(True)
        self.anchor = self._anchor() if settings.omega * settings.ewc_lambda > 0 else None
        self.modules = {"recognizer": self.recognizer}
        self.optimizers = {
            "recognizer": make_optimizer(self.recognizer.parameters(), settings.training)
        }
        self.counters: dict[str, float] = {}

    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        """Learn from one batch; returns `private`, `public` and `consolidation`, unweighted."""
        settings = self.settings
        self.recognizer.eval()
        label_N, kind_N = y_N.unbind(1)
        log_p_NK = as_scoring_model(self.recognizer).log_scores(x_NCHW)
        log_p_N = log_p_NK.gather(1, label_N[:, None])[:, 0]
        losses = {
            "private": _mean(private_loss(log_p_N, settings.gamma), kind_N == PRIVATE),
            "public": _mean(public_loss(log_p_N, settings.gamma), kind_N == PUBLIC),
        }
        total = settings.beta * losses["public"] - settings.alpha * losses["private"]
        if self.anchor is not None:
            penalty = self.anchor.penalty(self.recognizer.parameters(), settings.ewc_lambda)
            losses["consolidation"] = penalty
            total = total + settings.omega * penalty
        if settings.private_weight > 0:
            losses["own"] = self._own_loss(len(x_NCHW), rng)
            total = total + settings.private_weight * losses["own"]
        self._descend(total, sync)
        return {name: loss.detach() for name, loss in losses.items()}

    def schedule(self, progress: float) -> None:
        """Follow the schedule of the settings."""
        set_rate(self.optimizers["recognizer"], self.settings.training, progress)

    def product(self) -> nn.Module:
        """The fine-tuned victim."""
        return self.recognizer

    def _descend(self, loss: Tensor, sync: GradientSync) -> None:
        optimizer = self.optimizers["recognizer"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        sync(self.recognizer.parameters())
        optimizer.step()

    def _own_loss(self, count: int, rng: torch.Generator) -> Tensor:
        """The victim's training loss on `count` private pictures, drawn and changed by `rng`."""
        context = self.context
        rows = torch.randint(len(context.private_NCHW), (count,), generator=rng)
        x_NCHW = context.augment(to_float(context.private_NCHW[rows], context.device), rng)
        features: Callable[[Tensor], Tensor] = self.recognizer.features  # type: ignore[assignment]
        head: nn.Module = self.recognizer.head  # type: ignore[assignment]
        loss: Tensor = head.loss(features(x_NCHW), context.private_class_N[rows].to(context.device))  # type: ignore[operator]
        return loss

    def _anchor(self) -> Anchor:
        context = self.context
        stream = seeds.torch_stream(context.seed, self.settings.name, "fisher")
        rows = torch.randperm(len(context.private_NCHW), generator=stream)
        rows = rows[: self.settings.fisher_pictures]
        fisher = fisher_diagonal(
            self.recognizer,
            context.private_NCHW[rows],
            context.private_class_N[rows],
            context.device,
        )
        return Anchor([p.detach().clone() for p in self.recognizer.parameters()], fisher)


def _mean(loss_N: Tensor, chosen_N: Tensor) -> Tensor:
    """The mean over the chosen rows; 0 where there are none."""
    return (loss_N * chosen_N).sum() / chosen_N.sum().clamp_min(1)
