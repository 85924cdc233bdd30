"""Uniform output noise (D10): every score of an answer gets a random addition.

Paper:    Salem, Bhattacharya, Backes, Fritz & Zhang 2020, "Updates-Leak: Data Set Inference and Reconstruction
          Attacks in Online Learning", §6 (possible defenses): "noise sampled from a uniform distribution" is
          added to the posteriors. It gives neither its bounds nor what makes the sum 1 again.
Releases: y'_k = (y_k + a u_k) / sum_j (y_j + a u_j),  u_k ~ U(0, 1), independent over the K entries;
          divided, not put through another softmax, so that entries stay in the ratio that the noise gave them.
Trains:   nothing.
Precise:  u is a function of the row alone: a hash (splitmix64's mixing, in integers) of the float32 bits of all
          its log-scores, and of k. The same answer gets the same noise on every machine, at every batch size, so
          asking twice tells nothing more. Pictures that differ in a bit of any score get fresh noise: who asks
          for many pictures beside each other averages it out. A hash is no secret; who knows this file could
          undo the noise, and no attack here tries. Victims' scores differ between a CPU and a GPU in their last
          bits, and so does the noise.
Protects: scores and labels. Who holds the weights takes it off: he is left with what it is put on.
Promises: nothing about accuracy: for K classes a row whose two best scores are less than a apart may change its
          label. `label_modifier` behind it mends that.
Ranges:   a in [0, 100]; 0 is the model unchanged; at a >> 1 answers are noise. u lies inside (0, 1): a score of
          0 becomes positive. Differentiable, the noise as a constant, where y > 0. float64 inside.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.contracts import as_scoring_model
from inversionlab.core.views import Labels, Scores, View
from inversionlab.defenses.base import Defense, DefenseSettings, Layer, ProtectedModel

_BITS = 24
"""Random bits an entry, as many as a float32's fraction holds."""


class UniformNoiseSettings(DefenseSettings):
    """Settings of the uniform noise."""

    name: Literal["uniform_noise"] = "uniform_noise"
    inference_only: ClassVar[frozenset[str]] = frozenset({"amplitude"})
    amplitude: float = Field(default=0.01, ge=0, le=100)
    """a, the largest addition to a score, before the scores are made to sum to 1 again."""


class UniformlyNoisy(ProtectedModel):
    """A model whose scores have noise added."""

    def __init__(self, victim: nn.Module, amplitude: float) -> None:
        super().__init__()
        self.victim, self.amplitude = victim, amplitude
        self.classes = as_scoring_model(victim).classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log of the noisy scores."""
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
    trains: ClassVar[bool] = False
    protects: ClassVar[frozenset[type[View]]] = frozenset({Scores, Labels})

    def idle(self) -> bool:
        """Without an amplitude."""
        return self.settings.amplitude == 0

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The model with noise on its scores."""
        return UniformlyNoisy(victim, self.settings.amplitude)


def uniform_of(v_NK: Tensor) -> Tensor:
    """Numbers (N, K), float64, inside (0, 1), uniform and independent, that a row's float32 bits decide.

    Args:
        v_NK: finite or infinite numbers; 0 and -0 count as the same.
    """
    # Adding 0 turns -0 into 0.
    bits_NK = (v_NK.float() + 0.0).contiguous().view(torch.int32).long()
    place_K = torch.arange(1, v_NK.shape[1] + 1, device=v_NK.device) * _GOLDEN
    row_N1 = _mixed(_mixed(bits_NK + place_K).sum(1, keepdim=True))
    drawn_NK = _shifted(_mixed(row_N1 + place_K), 64 - _BITS)
    u_NK: Tensor = (drawn_NK.double() + 0.5) / 2.0**_BITS
    return u_NK


def _signed(word: int) -> int:
    """The int64 of the same 64 bits."""
    return word - 2**64 if word >= 2**63 else word


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _mixed(word: Tensor) -> Tensor:
    """splitmix64's finalizer; int64 products wrap as its unsigned ones do."""
    word = (word ^ _shifted(word, 30)) * _FIRST
    word = (word ^ _shifted(word, 27)) * _SECOND
    return word ^ _shifted(word, 31)


def _shifted(word: Tensor, places: int) -> Tensor:
    """A shift to the right that fills up with zeros, as of unsigned words."""
    return (word >> places) & ((1 << (64 - places)) - 1)
