"""Classification heads: the last layer of a recognizer together with the loss that trains it.

`cross_entropy`: a dense layer with the softmax cross-entropy.
`cosface` (Wang et al., "CosFace: Large Margin Cosine Loss", 2018, eq. 4): with the feature f and the class weights
W_k scaled to length 1, cos_k = W_k . f;

    L = -log( e^(s (cos_y - m)) / ( e^(s (cos_y - m)) + sum_{k != y} e^(s cos_k) ) )

and at inference the logits are s cos_k, without the margin. Loss: mean over the batch.
Inputs: features (N, D), any range; class numbers (N,) in [0, K).
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.settings import Settings, any_of


class LossSettings(Settings):
    """Base of the settings of a head; each head's own class adds a literal `name`."""

    name: str


class Head(nn.Module, ABC):
    """Maps features (N, `feature_size`) to logits (N, `classes`), and holds the loss on them."""

    @abstractmethod
    def forward(self, feature_ND: Tensor) -> Tensor:
        """Logits (N, K) of features (N, D), as at inference."""

    def training_logits(self, feature_ND: Tensor, y_N: Tensor) -> Tensor:
        """Logits (N, K) that the training loss is taken of; by default those of inference."""
        logit_NK: Tensor = self(feature_ND)
        return logit_NK

    def loss(self, feature_ND: Tensor, y_N: Tensor, smoothing: float = 0.0) -> Tensor:
        """The training loss, a scalar: the mean cross-entropy of the training logits.

        `smoothing` in [0, 1) is the label smoothing.
        """
        logit_NK = self.training_logits(feature_ND, y_N)
        return functional.cross_entropy(logit_NK, y_N, label_smoothing=smoothing)

    @abstractmethod
    def lengths(self) -> Tensor:
        """The lengths (K,) of the classes' weights."""

    def forget_lengths(self) -> None:
        """Scale to 1 what no output depends on, but what would tell how often a class was trained."""


class CrossEntropy(Head):
    """A dense layer with the softmax cross-entropy."""

    class Settings(LossSettings):
        """Nothing to set."""

        name: Literal["cross_entropy"] = "cross_entropy"

    def __init__(self, settings: Settings, *, feature_size: int, classes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(feature_size, classes)

    def forward(self, feature_ND: Tensor) -> Tensor:
        """Logits (N, K)."""
        logit_NK: Tensor = self.dense(feature_ND)
        return logit_NK

    def lengths(self) -> Tensor:
        """The lengths (K,) of the rows of the dense layer's matrix."""
        length_K: Tensor = self.dense.weight.norm(dim=1)
        return length_K


class Cosface(Head):
    """Large-margin cosine loss."""

    class Settings(LossSettings):
        """Scale and margin."""

        name: Literal["cosface"] = "cosface"
        scale: float = Field(default=24.0, gt=0, le=256)
        """s, the length that features are scaled to."""
        margin: float = Field(default=0.2, ge=0, lt=1)
        """m, the margin that training subtracts from the cosine of the right class."""

    def __init__(self, settings: Settings, *, feature_size: int, classes: int) -> None:
        super().__init__()
        self.scale, self.margin = settings.scale, settings.margin
        self.weight_KD = nn.Parameter(torch.randn(classes, feature_size) / feature_size**0.5)

    def cosine(self, feature_ND: Tensor) -> Tensor:
        """Cosines (N, K) between features and class weights."""
        return functional.linear(
            functional.normalize(feature_ND), functional.normalize(self.weight_KD)
        )

    def forward(self, feature_ND: Tensor) -> Tensor:
        """Logits (N, K): s cos."""
        return self.scale * self.cosine(feature_ND)

    def training_logits(self, feature_ND: Tensor, y_N: Tensor) -> Tensor:
        """Logits (N, K): s (cos - m at the right class)."""
        cosine_NK = self.cosine(feature_ND)
        margin_NK = self.margin * functional.one_hot(y_N, cosine_NK.shape[1]).to(cosine_NK.dtype)
        return self.scale * (cosine_NK - margin_NK)

    def lengths(self) -> Tensor:
        """The lengths (K,) of the class weights, on which no output depends."""
        length_K: Tensor = self.weight_KD.norm(dim=1)
        return length_K

    @torch.no_grad()
    def forget_lengths(self) -> None:
        """Scale the class weights to length 1; only their directions count."""
        self.weight_KD.copy_(functional.normalize(self.weight_KD))


LOSSES: dict[str, Any] = {"cosface": Cosface, "cross_entropy": CrossEntropy}

if TYPE_CHECKING:
    AnyLoss = LossSettings
else:
    AnyLoss = any_of(LOSSES)
