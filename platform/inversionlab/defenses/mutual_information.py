"""Mutual-information regulariser (D7): the victim is retrained so that its output reveals little of the picture.

Paper:    Wang, Zhang & Jia 2021, "Improving Robustness to Model Inversion Attacks via Mutual Information
          Regularization" (MID), AAAI; for networks by the variational information bottleneck of Alemi et al. 2017,
          "Deep Variational Information Bottleneck", ICLR. Details as in KED-MI's public code.
Trains:   min L(Y^, Y) + b I(X; Y^). The backbone's feature f(x) gives the mean and the spread of a code,
              q(t|x) = N(mu(x), diag s(x)^2),  (mu, r) = W f(x) + c,  s = softplus(r - 5),
          and the head reads t = mu + s e, e ~ N(0, I). X -> T -> Y^ is a Markov chain, and N(0, I) models T no
          better than T's own distribution does, so
              I(X; Y^) <= I(X; T) <= E_x KL(q(t|x) || N(0, I)) = E_x 1/2 sum (mu^2 + s^2 - 1 - 2 log s).
          That expectation (nats; mean over a batch), times b, is added to the victim's own loss on t.
Releases: the head of the mean code mu(x), because a released model must answer equal pictures equally. So the
          bound covers the noisy code, which training squeezes; a deterministic output of real numbers has no
          finite bound of this kind. `facts` gives it as `bound_nats`, over about the last fifty batches of
          augmented pictures.
Defaults: b = 0.01, of the size that KED-MI's code uses (it counts in bits, so its b is 0.69 of ours). The training
          is the recognizers' own.
Protects: white box too, because the weights are the regularised model's. Accuracy is not promised.
Ranges:   b >= 0; 0 keeps the code's noise and prices nothing.
Deviates: the head is of the victim's kind (CosFace: only the code's direction counts), without label smoothing.
          The code is as long as the feature, so that the victim's head reads it; KED-MI's is half as long.
          `code_size` sets another length, followed by a linear layer back to the feature's.
Seen:     LFW, only 10 epochs (the undefended victim has 88.7 % after 40): b = 0.001 67 % accuracy, bound 429 nats,
          9 of 10 people found by `latent_white_box` (top-5); b = 0.01 50 %, 4 of 10. At b = 0.1 the bound fell to
          36 nats in three epochs and the loss had not begun to fall. One training each.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob
from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    VictimBlueprint,
)

AVERAGED = 50
"""Batches in the running mean that is reported as the bound."""


class MutualInformationSettings(DefenseSettings):
    """Settings of the mutual-information regulariser."""

    name: Literal["mutual_information"] = "mutual_information"
    beta: float = Field(default=0.01, ge=0, le=100)
    """b, the penalty on each nat of information about the picture in the code."""
    code_size: int | None = Field(default=None, ge=1, le=8192)
    """Length of the code; null: that of the victim's feature."""
    training: TrainingSettings = TrainingSettings(
        epochs=40, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=5e-2
    )
    """How the victim is retrained."""


class BottleneckRecognizer(nn.Module):
    """A recognizer whose head reads a Gaussian code of the feature."""

    bound_nats: Tensor

    def __init__(self, blueprint: VictimBlueprint, code_size: int | None, seed: int = 0) -> None:
        """Build for `blueprint`; the weights of the added layers depend on `seed` alone."""
        super().__init__()
        self.classes = blueprint.shape.classes
        # Any: defenses do not import the recognizers' classes.
        new_network: Callable[[], Any] = blueprint.new_network
        self.network = new_network()
        size: int = self.network.backbone.feature_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.statistics = nn.Linear(size, 2 * (code_size or size))
            self.widen = nn.Linear(code_size, size) if code_size else nn.Identity()
        self.register_buffer("bound_nats", torch.zeros(()))

    def code(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread (N, k) of the code of pictures (N, C, H, W) in [0, 1]; spreads are positive."""
        return self.code_of_features(self.network.features(x_NCHW))

    def code_of_features(self, feature_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread (N, k) of the code of features (N, D)."""
        mean_ND, raw_ND = self.statistics(feature_ND).chunk(2, dim=1)
        # In float32 a very small spread would be 0, and its logarithm infinite.
        return mean_ND, functional.softplus(raw_ND - 5).clamp_min(1e-8)

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K) of the mean code, differentiable in the pictures."""
        mean_ND, _ = self.code(x_NCHW)
        return functional.log_softmax(self.network.head(self.widen(mean_ND)), dim=1)

    def facts(self) -> dict[str, float]:
        """`bound_nats`: at least I(X; T) over the last training batches; the card says what it covers."""
        return {"bound_nats": float(self.bound_nats)}


def information(mean_ND: Tensor, spread_ND: Tensor) -> Tensor:
    """KL(N(mean, spread^2) || N(0, I)) of each row (N,), in nats; its mean over X is at least I(X; T)."""
    nats_ND = 0.5 * (mean_ND.square() + spread_ND.square() - 1) - spread_ND.log()
    return nats_ND.sum(1)


class BottleneckLearner(Learner):
    """Trains a bottleneck recognizer."""

    def __init__(self, settings: MutualInformationSettings, context: DefenseContext) -> None:
        """Build the network and its optimizer."""
        self.settings, self.augment = settings, context.augment
        seed = seeds.derive(context.seed, "weights", "mutual_information")
        self.recognizer = BottleneckRecognizer(context.blueprint, settings.code_size, seed)
        super().__init__(settings.training, recognizer=self.recognizer)
        self.counters = {"steps": 0.0}

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch; returns the victim's own `loss`, and `nats`."""
        model = self.recognizer
        with self.autocast(x_NCHW):
            feature_ND = model.network.features(self.augment(x_NCHW, rng))
        mean_ND, spread_ND = model.code_of_features(feature_ND)
        noise_ND = torch.randn(mean_ND.shape, generator=rng).to(mean_ND.device)
        loss: Tensor = model.network.head.loss(model.widen(mean_ND + spread_ND * noise_ND), y_N)
        nats = information(mean_ND, spread_ND).mean()
        self.descend("recognizer", loss + self.settings.beta * nats, sync)
        self._note(nats.detach())
        return {"loss": loss.detach(), "nats": nats.detach()}

    def _note(self, nats: Tensor) -> None:
        """Bring the running mean up to date."""
        self.counters["steps"] += 1
        share = 1 / min(self.counters["steps"], AVERAGED)
        self.recognizer.bound_nats.lerp_(nats, share)


class MutualInformation(Defense):
    """Retrains the victim with a price on information."""

    Settings: ClassVar[type[DefenseSettings]] = MutualInformationSettings
    settings: MutualInformationSettings
    layer: ClassVar[Layer] = Layer.VICTIM
    trains: ClassVar[bool] = True
    learns_private: ClassVar[bool] = True
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    def build(self, blueprint: VictimBlueprint) -> nn.Module:
        """The bottleneck recognizer, untrained."""
        return BottleneckRecognizer(blueprint, self.settings.code_size)

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Train it on the victim's own pictures."""
        return TrainingJob(
            learner=BottleneckLearner(self.settings, context),
            images_NCHW=context.private_NCHW,
            class_N=context.private_class_N,
            training=self.settings.training,
        )
