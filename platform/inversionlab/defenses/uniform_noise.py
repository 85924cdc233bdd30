"""Uniform output noise (D10): a random number is added to every released score.

Paper:    Salem, Bhattacharya, Backes, Fritz & Zhang 2020, "Updates-Leak: Data Set Inference and Reconstruction
          Attacks in Online Learning", §6: "noise sampled from a uniform distribution" is added to the posteriors.
          The paper states neither its bounds nor how the sum becomes 1 again.
Releases: y'_k = (y_k + a u_k) / sum_j (y_j + a u_j),  u_k ~ U(0, 1), independent over the K entries.
          Division keeps the ratios of the noisy entries; a second softmax would not.
Trains:   nothing.
Noise:    u is a hash (splitmix64's mixing, in integers) of k and of the float32 bits of all log-scores of the row.
          Equal scores get equal noise on every machine and at every batch size, so repeating a query reveals
          nothing more. Pictures that differ in one bit of any score get fresh noise, so querying many similar
          pictures averages it out. The hash has no secret: an attacker with this file could undo the noise; no
          attack here tries. CPU and GPU scores differ in their last bits, and so does the noise.
Protects: scores and labels. An attacker who holds the weights removes it and is left with the model below.
Accuracy: not promised. A row's label may change if its two best scores differ by less than a; `label_modifier` on
          top restores it.
Ranges:   a in [0, 100]: 0 is the model unchanged, a >> 1 releases noise. u lies inside (0, 1), so a score of 0
          becomes positive. Differentiable where y > 0, with the noise as a constant. Computed in float64.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.contracts import as_scoring_model
from inversionlab.core.views import Labels, Scores, View
from inversionlab.defenses.base import Defense, DefenseSettings, Layer, ProtectedModel

_BITS = 24
"""Random bits an entry, as many as a float32's fraction has."""
# splitmix64's constants, as the int64 of the same bits.
_GOLDEN, _FIRST, _SECOND = (
    word - 2**64 for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


class UniformNoiseSettings(DefenseSettings):
    """Settings of the uniform noise."""

    name: Literal["uniform_noise"] = "uniform_noise"
    inference_only: ClassVar[frozenset[str]] = frozenset({"amplitude"})
    amplitude: float = Field(default=0.01, ge=0, le=100)
    """a, the largest amount that is added to a score before the scores are divided by their sum."""


class UniformlyNoisy(ProtectedModel):
    """A model with noise on its scores."""

    def __init__(self, victim: nn.Module, amplitude: float) -> None:
        super().__init__()
        self.victim, self.amplitude = victim, amplitude
        self.classes = as_scoring_model(victim).classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K) of the noisy scores."""
        log_y_NK = as_scoring_model(self.victim).log_scores(x_NCHW)
        if self.amplitude == 0:
            return log_y_NK
        noise_NK = self.amplitude * uniform_of(log_y_NK.detach())
        return (log_y_NK.double().exp() + noise_NK).log().log_softmax(1).float()


class UniformNoise(Defense):
    """Adds uniform noise to the scores."""

    Settings: ClassVar[type[DefenseSettings]] = UniformNoiseSettings
    settings: UniformNoiseSettings
    layer: ClassVar[Layer] = Layer.OUTPUT
    aware_attack: ClassVar[str] = "ami_adaptive"
    protects: ClassVar[frozenset[type[View]]] = frozenset({Scores, Labels})

    def idle(self) -> bool:
        """Whether the amplitude is 0."""
        return self.settings.amplitude == 0

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The model with noise on its scores."""
        return UniformlyNoisy(victim, self.settings.amplitude)


def uniform_of(v_NK: Tensor) -> Tensor:
    """Uniform, independent float64 numbers (N, K) inside (0, 1), a function of each row's float32 bits.

    The numbers (N, K) are finite or infinite; 0 and -0 count as the same.
    """
    # Adding 0 turns -0 into 0.
    bits_NK = (v_NK.float() + 0.0).contiguous().view(torch.int32).long()
    place_K = torch.arange(1, v_NK.shape[1] + 1, device=v_NK.device) * _GOLDEN
    row_N1 = _mixed(_mixed(bits_NK + place_K).sum(1, keepdim=True))
    drawn_NK = _shifted(_mixed(row_N1 + place_K), 64 - _BITS)
    u_NK: Tensor = (drawn_NK.double() + 0.5) / 2.0**_BITS
    return u_NK


def _mixed(word: Tensor) -> Tensor:
    """splitmix64's finalizer; int64 products wrap as unsigned ones do."""
    word = (word ^ _shifted(word, 30)) * _FIRST
    word = (word ^ _shifted(word, 27)) * _SECOND
    return word ^ _shifted(word, 31)


def _shifted(word: Tensor, places: int) -> Tensor:
    """A right shift that fills up with zeros, as for unsigned words."""
    return (word >> places) & ((1 << (64 - places)) - 1)
