"""The contracts between rooms: a model that scores, a generator as a prior, a model's shape, a training job."""

from dataclasses import asdict, dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from inversionlab.core.learner import Learner, TrainingSettings
from inversionlab.core.rows import Images


class ScoringModel(Protocol):
    """A model that gives log-probabilities over classes: a recognizer, or what a defense releases."""

    classes: int
    """K, the number of classes."""

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K) of pictures (N, C, H, W) in [0, 1]."""


def as_scoring_model(module: nn.Module | None) -> ScoringModel:
    """`module`, typed as a scoring model.

    Raises:
        TypeError: it has no `classes` or no `log_scores`.
    """
    if not (hasattr(module, "classes") and hasattr(module, "log_scores")):
        raise TypeError(
            f"{type(module).__name__} is not a recognizer: it needs classes and log_scores"
        )
    return cast(ScoringModel, module)


class GenerativePrior(Protocol):
    """A frozen generator as attackers and defenders use it: latents to pictures."""

    latent_size: int
    """m, the length of a latent vector."""

    @property
    def offers(self) -> frozenset[str]:
        """What it has besides pictures; see `Generator.offers`."""

    def __call__(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        """Latents (N, m) of pictures (N, C, H, W), or None if there is no encoder."""

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Latents (count, m) from the prior, drawn on the CPU."""

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """How real each picture looks, (N,); larger is more real. Only if the generator offers `critic`."""

    def of_class(self, z_ND: Tensor, class_N: Tensor) -> Tensor:
        """The latents (N, m), of these classes. Only if the generator offers `conditional`."""

    def style(self, z_ND: Tensor) -> Tensor:
        """Style vectors (N, W) of latents (N, m). Only if the generator offers `style`."""

    def synthesize(self, w_NW: Tensor) -> Tensor:
        """Pictures (N, C, H, W) of style vectors (N, W). Only if the generator offers `style`."""


@dataclass(frozen=True)
class ModelShape:
    """The shape of a model's input and output."""

    classes: int
    """K, the length of the score vector."""
    channels: int
    image_size: int
    """Height and width of a picture, in pixels."""

    @property
    def sizes(self) -> dict[str, int]:
        """The three numbers by name, as network constructors take them."""
        return asdict(self)


@dataclass(frozen=True)
class TrainingJob:
    """One training: the learner, the data that it learns from, and the training settings."""

    learner: Learner
    images_NCHW: Images
    """uint8 (N, C, H, W)."""
    class_N: Tensor
    """Class numbers (N,), or a model's scores (N, K) for the pictures."""
    training: TrainingSettings
    queries: int = 0
    """Pictures that were sent to that model for the scores."""
