"""Dummy recognizer (D1): a second recognizer, of synthetic faces, mixed into the victim's output.

Paper:    Kotsuji & Nakamura 2025, "Defense Against Model Inversion Attacks Using a Dummy Recognition Model
          Trained with Synthetic Samples".
Releases: y' = a R_T(x) + (1 - a) R_dmy(x), on scores                       (eq. 1)
Trains:   a GAN on the private set; n anchors z_i ~ N(0, s^2 I), one a class; m neighbours z_il ~ N(z_i, s~^2 I);
          R_dmy, of the victim's structure and loss, by the loss over {(G(z_il), i)}  (§4.2, eq. 4).
Defaults: s^2 = 1, s~^2 = 0.0625 (§5.1); a = 0.25, the paper's choice (§5.2). The paper does not give m; 40 is
          the number of pictures a person that its recognizers are trained on.
Protects: white box too: the mixture is one network to whoever differentiates it, and is differentiated here. Who
          takes the file of weights apart finds two networks in it; then it protects no more than a lock whose
          key lies beside it, and neither the paper nor this platform counts that attacker.
Extends:  `temperature` t: the dummy's scores are softmax(log R_dmy / t). The paper counts on R_dmy(x) being about
          1/n for a real face (§4.1); with few classes and a sharp loss it is not, and t > 1 restores that
          where a trained peak (whose margin is wide) survives it. 1 is the paper's.
Ranges:   a in [0, 1]: 1 is the victim alone, 0 the dummy alone.
Precise:  log y' is computed by logaddexp of log-probabilities, so that gradients survive scores near 0.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core import seeds
from inversionlab.core.contracts import GenerativePrior, TrainingJob, as_scoring_model
from inversionlab.core.images import to_bytes
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    ProtectedModel,
)


class DummyRecognizerSettings(DefenseSettings):
    """Settings of the dummy recognizer."""

    name: Literal["dummy_recognizer"] = "dummy_recognizer"
    inference_only: ClassVar[frozenset[str]] = frozenset({"alpha", "temperature"})
    alpha: float = Field(default=0.25, ge=0, le=1)
    """a, the victim's share of the output; used at inference only: changing it trains nothing."""
    temperature: float = Field(default=1.0, ge=0.1, le=100)
    """t, how much the dummy's scores are flattened; used at inference only."""
    sigma: float = Field(default=1.0, gt=0, le=10)
    """s, the standard deviation of the anchors."""
    sigma_neighbour: float = Field(default=0.25, gt=0, le=10)
    """s~, the standard deviation of the neighbours around their anchor; far below `sigma`."""
    neighbours: int = Field(default=40, ge=1, le=10_000)
    """m, training pictures a class."""
    training: TrainingSettings = TrainingSettings(epochs=10)
    """How the dummy is trained."""


class Mixture(ProtectedModel):
    """R' of eq. 1."""

    def __init__(
        self, victim: nn.Module, dummy: nn.Module, alpha: float, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.victim, self.dummy = victim, dummy
        self.alpha, self.temperature = alpha, temperature
        self.classes = as_scoring_model(victim).classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log of the mixed scores; at either end of a only one network is asked."""
        if self.alpha == 1:
            return as_scoring_model(self.victim).log_scores(x_NCHW)
        if self.alpha == 0:
            return self._dummy(x_NCHW)
        # In float64: the last elements of a float32 logaddexp are computed another way than the others, so
        # a row's last bit would depend on its place in the batch.
        return torch.logaddexp(
            as_scoring_model(self.victim).log_scores(x_NCHW).double() + math.log(self.alpha),
            self._dummy(x_NCHW).double() + math.log1p(-self.alpha),
        ).float()

    def _dummy(self, x_NCHW: Tensor) -> Tensor:
        return (as_scoring_model(self.dummy).log_scores(x_NCHW) / self.temperature).log_softmax(1)


class DummyRecognizer(Defense):
    """Leads attacks to synthetic faces."""

    Settings: ClassVar[type[DefenseSettings]] = DummyRecognizerSettings
    settings: DummyRecognizerSettings
    layer: ClassVar[Layer] = Layer.MIXTURE
    trains: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"private_generator"})
    learns_private: ClassVar[bool] = True
    victim_share: ClassVar[str | None] = "alpha"
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    def idle(self) -> bool:
        """At a = 1 the dummy has no say."""
        return self.settings.alpha == 1

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Train R_dmy on the neighbours of one anchor a class."""
        m = self.settings.neighbours
        anchors_KD = self._anchors(context)
        rng = seeds.torch_stream(context.seed, "dummy_recognizer", "neighbours")
        noise_KMD = torch.randn(context.classes, m, _maker(context).latent_size, generator=rng)
        z_NMD = anchors_KD[:, None] + self.settings.sigma_neighbour * noise_KMD
        images = _decode(context, z_NMD.flatten(0, 1))
        return TrainingJob(
            learner=context.new_recognizer(self.settings.training),
            images_NCHW=images,
            class_N=torch.arange(context.classes).repeat_interleave(m),
            training=self.settings.training,
        )

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The mixture of the victim and the trained dummy."""
        return Mixture(victim, self.own(trained), self.settings.alpha, self.settings.temperature)

    def decoys(self, context: DefenseContext) -> Tensor | None:
        """The anchors' pictures, one a class."""
        return _decode(context, self._anchors(context)).float() / 255

    def _anchors(self, context: DefenseContext) -> Tensor:
        rng = seeds.torch_stream(context.seed, "dummy_recognizer", "anchors")
        return self.settings.sigma * torch.randn(
            context.classes, _maker(context).latent_size, generator=rng
        )


@torch.no_grad()
def _decode(context: DefenseContext, z_ND: Tensor, chunk: int = 256) -> Tensor:
    """uint8 pictures of latents, on the CPU, in chunks so that memory stays small."""
    maker = _maker(context)
    parts = [maker(z.to(context.device)) for z in z_ND.split(chunk)]
    return torch.cat([to_bytes(p) for p in parts])


def _maker(context: DefenseContext) -> GenerativePrior:
    if context.generator is None:
        raise ValueError("dummy_recognizer: needs a generator trained on the private set")
    return context.generator
