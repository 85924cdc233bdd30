"""Dummy recognizer (D1): the output of a recognizer of synthetic faces is mixed into the victim's.

Paper:    Kotsuji & Nakamura 2025, "Defense Against Model Inversion Attacks Using a Dummy Recognition Model Trained
          with Synthetic Samples".
Releases: y' = a R_T(x) + (1 - a) R_dmy(x), on scores                       (eq. 1)
Trains:   a GAN on the private set; n anchors z_i ~ N(0, s^2 I), one a class; m neighbours z_il ~ N(z_i, s~^2 I);
          R_dmy, of the victim's structure and loss, by the loss over {(G(z_il), i)}  (§4.2, eq. 4).
Defaults: s^2 = 1, s~^2 = 0.0625 (§5.1); a = 0.25, the paper's choice (§5.2). The paper does not give m; 40 is the
          number of pictures a person that its recognizers are trained on.
Protects: white box too, because an attacker differentiates the mixture as one network. An attacker who takes the
          file of weights apart finds both networks and can drop the dummy; neither the paper nor this platform
          considers that.
Extends:  `temperature` t: the dummy's scores are softmax(log R_dmy / t). The paper expects R_dmy(x) of about 1/n
          for a real face (§4.1). With few classes and a sharp loss that fails; t > 1 restores it if the trained
          peak (whose margin is wide) survives. The paper's t is 1.
Ranges:   a in [0, 1]: 1 is the victim alone, 0 the dummy alone.
Precise:  log y' is the logaddexp of log-probabilities, so gradients survive scores near 0.
"""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core import seeds
from inversionlab.core.contracts import GenerativePrior, TrainingJob, as_scoring_model
from inversionlab.core.images import to_bytes
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.rows import gathered
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
    """a, the victim's share of the output; used at inference only, so changing it trains nothing."""
    temperature: float = Field(default=1.0, ge=0.1, le=100)
    """t, how much the dummy's scores are flattened; used at inference only."""
    sigma: float = Field(default=1.0, gt=0, le=10)
    """s, the standard deviation of the anchors."""
    sigma_neighbour: float = Field(default=0.25, gt=0, le=10)
    """s~, the standard deviation of the neighbours around their anchor; far below `sigma`."""
    neighbours: int = Field(default=40, ge=1, le=10_000)
    """m, the number of training pictures for each class."""
    training: TrainingSettings = TrainingSettings(epochs=10)
    """How the dummy is trained."""


class Mixture(ProtectedModel):
    """The mixture of eq. 1."""

    def __init__(
        self, victim: nn.Module, dummy: nn.Module, alpha: float, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.victim, self.dummy = victim, dummy
        self.alpha, self.temperature = alpha, temperature
        self.classes = as_scoring_model(victim).classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K) of the mixture; at a = 0 and a = 1 only one network is run."""
        if self.alpha == 1:
            return as_scoring_model(self.victim).log_scores(x_NCHW)
        if self.alpha == 0:
            return self._dummy_log_scores(x_NCHW)
        # In float64: float32's logaddexp computes the last elements differently, so a row's last bit would depend
        # on its place in the batch. The victim runs first: the order decides the last bits of a gradient's sum.
        victim_NK = as_scoring_model(self.victim).log_scores(x_NCHW).double() + math.log(self.alpha)
        dummy_NK = self._dummy_log_scores(x_NCHW).double() + math.log1p(-self.alpha)
        return torch.logaddexp(victim_NK, dummy_NK).float()

    def _dummy_log_scores(self, x_NCHW: Tensor) -> Tensor:
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
    aware_attack: ClassVar[str] = "multi_mode"
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    def idle(self) -> bool:
        """Whether a = 1, where the dummy has no share."""
        return self.settings.alpha == 1

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Train R_dmy on pictures of the anchors' neighbours."""
        m, anchors_KD = self.settings.neighbours, self._anchors(context)
        rng = seeds.torch_stream(context.seed, "dummy_recognizer", "neighbours")
        noise_KMD = torch.randn(context.classes, m, anchors_KD.shape[1], generator=rng)
        z_KMD = anchors_KD[:, None] + self.settings.sigma_neighbour * noise_KMD
        return TrainingJob(
            learner=context.new_recognizer(self.settings.training),
            images_NCHW=_decode(context, z_KMD.flatten(0, 1)),
            class_N=torch.arange(context.classes).repeat_interleave(m),
            training=self.settings.training,
        )

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The mixture of the victim and the trained dummy."""
        return Mixture(victim, self.own(trained), self.settings.alpha, self.settings.temperature)

    def decoys(self, context: DefenseContext) -> Tensor | None:
        """The anchors' pictures."""
        return _decode(context, self._anchors(context)).float() / 255

    def _anchors(self, context: DefenseContext) -> Tensor:
        """The latents z_i (K, latent size)."""
        rng = seeds.torch_stream(context.seed, "dummy_recognizer", "anchors")
        size = _generator(context).latent_size
        return self.settings.sigma * torch.randn(context.classes, size, generator=rng)


@torch.no_grad()
def _decode(context: DefenseContext, z_ND: Tensor, chunk: int = 256) -> Tensor:
    """uint8 pictures of latents, on the CPU; made in chunks to bound memory."""
    generator = _generator(context)
    pictures = (to_bytes(generator(z.to(context.device))) for z in z_ND.split(chunk))
    return gathered(pictures, len(z_ND))


def _generator(context: DefenseContext) -> GenerativePrior:
    if context.generator is None:
        raise ValueError("dummy_recognizer: needs a generator trained on the private set")
    return context.generator
