"""Bilateral dependency optimisation (D13): features shall depend on the person and not on the picture.

Paper:    Peng, Liu, Zhang, Lan, Ye, Liu & Han 2022, "Bilateral Dependency Optimization: Defending Against
          Model-inversion Attacks" (BiDO-HSIC), KDD. Details as in their public code.
Trains:   a network of the victim's structure, from scratch, on
              L(Y^, Y) + l_x sum_j HSIC(X, Z_j) - l_y sum_j HSIC(Z_j, Y),
          Z_j the outputs of the backbone's stages (`parts/stages.py` says where it is cut; the last is the
          feature), X the augmented pictures, L the victim's own loss. On a batch of m, with H = I - 1/m 1 1^T,
              K_ab = exp(-|x_a - x_b|^2 / (2 sigma^2 d)),  x of d numbers;  K~ = H K H,
              HSIC(X, Z) = tr( K~_X (K~_X + e m I)^-1 K~_Z (K~_Z + e m I)^-1 ),  e = 1e-5.
          The public code takes this normalised estimate (Fukumizu et al. 2007), from 0 to m - 1, and its weights
          are for it. `normalized` = false takes Gretton et al.'s tr(K~_X K~_Z) / (m - 1)^2. With wide kernels that
          is tiny: sigma = 5 makes K nearly constant, so the weights must be larger by some powers of ten.
Labels:   the kernel of Y is 1 for equal labels and 0 for others, the code's default ("linear" on one-hot vectors).
          A Gaussian kernel of one-hot vectors is an affine function of it, which K~ reduces to a factor.
Releases: the recognizer so trained, one network in the victim's place.
Defaults: l_x = 0.05, l_y = 0.5, sigma = 5, the public code's for CelebA.
Protects: white box too, because nothing is wrapped that could be removed.
Ranges:   l_x, l_y >= 0; not both 0.
Deviates: the paper's VGG-16 begins from ImageNet's weights, and ours from random ones. Several training workers
          each take the estimates of their own share of a batch. The victim's own label smoothing is not used.
Seen:     LFW, 32x32, 62 people (lfw_matrix.yaml's victim has 80.9 % on 602 test pictures), one training: 85.4 %
          accuracy. Over the training the sum of HSIC(Z_j, Y) rose from 150 to 155 (at most 315), and that of
          HSIC(X, Z_j) fell from 130 to 128 only: at these weights the reward for the person is what acts.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

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
from inversionlab.defenses.parts.stages import recorded, stages

RIDGE = 1e-5
"""e, the share of a batch that is added to the kernels' diagonals before they are inverted."""


class BidoSettings(DefenseSettings):
    """Settings of bilateral dependency optimisation."""

    name: Literal["bido"] = "bido"
    input_weight: float = Field(default=0.05, ge=0, le=1e6)
    """l_x, the penalty on features that depend on the picture."""
    label_weight: float = Field(default=0.5, ge=0, le=1e6)
    """l_y, the reward for features that depend on the person."""
    bandwidth: float = Field(default=5.0, gt=0, le=1e3)
    """sigma, the kernels' width in units of the root mean square of a vector's numbers."""
    normalized: bool = True
    """Whether HSIC is normalised, as in the public code; false takes the plain estimate, whose values are tiny."""
    training: TrainingSettings = TrainingSettings(
        epochs=40, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=5e-2
    )
    """How the victim is retrained."""


def centred(kernel_NN: Tensor) -> Tensor:
    """K~ = H K H: rows and columns of the kernel matrix with mean 0."""
    rows_NN = kernel_NN - kernel_NN.mean(0, keepdim=True)
    return rows_NN - rows_NN.mean(1, keepdim=True)


def gaussian_kernel(x_ND: Tensor, bandwidth: float) -> Tensor:
    """K (N, N) of vectors (N, D): exp(-|x_a - x_b|^2 / (2 bandwidth^2 D))."""
    # Distances do not change, and their rounding errors shrink.
    x_ND = x_ND - x_ND.mean(0, keepdim=True).detach()
    square_N = x_ND.square().sum(1)
    distance_NN = square_N[:, None] + square_N[None] - 2 * x_ND @ x_ND.T
    return (-distance_NN.clamp_min(0) / (2 * bandwidth**2 * x_ND.shape[1])).exp()


def dependence(first_NN: Tensor, second_NN: Tensor, normalized: bool) -> Tensor:
    """HSIC, a scalar, of two kernel matrices (N, N) over the same batch."""
    first_NN, second_NN = centred(first_NN), centred(second_NN)
    count = len(first_NN)
    if not normalized:
        return (first_NN * second_NN).sum() / (count - 1) ** 2
    ridge_NN = RIDGE * count * torch.eye(count, device=first_NN.device)
    # R = K~ (K~ + e m I)^-1 is symmetric, as both factors commute.
    first_NN, second_NN = (torch.linalg.solve(k + ridge_NN, k) for k in (first_NN, second_NN))
    return (first_NN * second_NN).sum()


class BidoLearner(Learner):
    """Trains a recognizer with prices on what its stages depend on."""

    def __init__(self, settings: BidoSettings, context: DefenseContext) -> None:
        """Build the recognizer and its optimizer; ValueError if its backbone has no stages."""
        self.settings, self.augment = settings, context.augment
        # Any: defenses do not import the recognizers' classes.
        self.recognizer: Any = context.blueprint.new_network()
        self.stages = stages(self.recognizer, context.blueprint.shape, "bido:")
        super().__init__(settings.training, recognizer=self.recognizer)

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch; returns the victim's own `loss`, and the sums `input` and `label` of HSIC."""
        settings, model = self.settings, self.recognizer
        x_NCHW = self.augment(x_NCHW, rng)
        with self.autocast(x_NCHW), recorded(self.stages) as outputs:
            feature_ND = model.features(x_NCHW)
        loss: Tensor = model.head.loss(feature_ND, y_N)
        of_input, of_label = self._dependences(x_NCHW, y_N, outputs)
        priced = settings.input_weight * of_input - settings.label_weight * of_label
        self.descend("recognizer", loss + priced, sync)
        parts = {"loss": loss, "input": of_input, "label": of_label}
        return {name: part.detach() for name, part in parts.items()}

    def _dependences(
        self, x_NCHW: Tensor, y_N: Tensor, outputs: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The sums over the stages of HSIC(X, Z_j) and of HSIC(Z_j, Y)."""
        width, normalized = self.settings.bandwidth, self.settings.normalized
        input_NN = gaussian_kernel(x_NCHW.flatten(1), width)
        label_NN = (y_N[:, None] == y_N[None]).to(input_NN.dtype)
        output_SNN = [gaussian_kernel(z.flatten(1).float(), width) for z in outputs]
        return (
            torch.stack([dependence(input_NN, z_NN, normalized) for z_NN in output_SNN]).sum(),
            torch.stack([dependence(z_NN, label_NN, normalized) for z_NN in output_SNN]).sum(),
        )


class Bido(Defense):
    """Retrains the victim with prices on dependence."""

    Settings: ClassVar[type[DefenseSettings]] = BidoSettings
    settings: BidoSettings
    layer: ClassVar[Layer] = Layer.VICTIM
    trains: ClassVar[bool] = True
    learns_private: ClassVar[bool] = True
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    @classmethod
    def check(cls, settings: BidoSettings) -> None:
        """Raise ValueError if nothing has a price."""
        if settings.input_weight == settings.label_weight == 0:
            raise ValueError(
                "input_weight = label_weight = 0: nothing but the victim's own loss is left; raise one of them, "
                "or use defense `none`"
            )

    def fits(self, blueprint: VictimBlueprint, pictures: int) -> None:
        """Raise ValueError if the victim's backbone has no stages."""
        stages(blueprint.new_network(), blueprint.shape, "bido:")

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Train it on the victim's own pictures."""
        return TrainingJob(
            learner=BidoLearner(self.settings, context),
            images_NCHW=context.private_NCHW,
            class_N=context.private_class_N,
            training=self.settings.training,
        )
