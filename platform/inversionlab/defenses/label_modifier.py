"""Label modifier: puts back the winning class that the defense under it may have moved.

Paper:    Wen, Yiu & Hui 2021, "Defending Against Model Inversion Attack by Adversarial Examples", §IV-A, eq. 2;
          §V-C: "technically the label modifier is an independent component", so it goes behind other defenses.
Releases: c' = log-scores of the model that it is put on, l = the label of the reference recognizer;
              c'_l <- c'_l + m_l,  m_l = ReLU(max_j c'_j - c'_l),  y = softmax(c').            (eq. 2)
          The reference is `recognizer`, the one at the bottom of what it is put on (after a defense that
          retrains the victim: the retrained one), or `victim`, the undefended one.
Trains:   nothing.
Promises: the released label is the reference's, always, so the accuracy is the reference's to the last picture.
Protects: scores, as far as what it is put on does. Labels are the reference's own, so nothing is protected there;
          where the defense under it did protect them (a mixture), that protection ends here. Who holds the
          weights takes it off: he is left with what it is put on, or, as the victim's own weights must be there
          to give the label, with the bare victim.
Deviates: eq. 2 raises c'_l to a tie with the largest of the others, and argmax takes the first of equals: then the
          label is lost wherever the other one has the lower number. Here l wins by a margin of 2^-18 (about 4e-6
          nat), which survives rounding to float32 of log-scores and of scores, with up to e^16 classes.
          Computed in float64.
Costs:    one more pass through the reference recognizer a query.
Ranges:   log-scores of minus infinity are allowed. What is raised is a constant to who differentiates.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from inversionlab.core.contracts import as_scoring_model
from inversionlab.core.views import Scores, View
from inversionlab.defenses.base import Defense, DefenseSettings, Layer, ProtectedModel

MARGIN = 2.0**-18
"""By how much the label's log-score wins at least, in nats."""


class LabelModifierSettings(DefenseSettings):
    """Settings of the label modifier."""

    name: Literal["label_modifier"] = "label_modifier"
    inference_only: ClassVar[frozenset[str]] = frozenset({"label_of"})
    label_of: Literal["recognizer", "victim"] = "recognizer"
    """Whose label is kept: that of the recognizer at the bottom of `inner`, or the undefended victim's."""


class Relabelled(ProtectedModel):
    """A model whose winning class is a reference's."""

    def __init__(self, victim: nn.Module, reference: nn.Module) -> None:
        super().__init__()
        self.victim, self.reference = victim, reference
        self.classes = as_scoring_model(victim).classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The model's, the reference's label raised to the top where it is not there."""
        with torch.no_grad():
            label_N = as_scoring_model(self.reference).log_scores(x_NCHW.detach()).argmax(1)
        return released(as_scoring_model(self.victim).log_scores(x_NCHW).double(), label_N)

    def facts(self) -> dict[str, float]:
        """Those of the model, and `recognizer_passes`: passes a query beside the model's own."""
        return {**super().facts(), "recognizer_passes": 1.0}


class LabelModifier(Defense):
    """Keeps the label whatever the defense under it does to the scores."""

    Settings: ClassVar[type[DefenseSettings]] = LabelModifierSettings
    settings: LabelModifierSettings
    layer: ClassVar[Layer] = Layer.LABEL
    trains: ClassVar[bool] = False
    keeps_labels: ClassVar[bool] = True
    protects: ClassVar[frozenset[type[View]]] = frozenset({Scores})

    @classmethod
    def check(cls, settings: Any) -> None:
        """Refuse it alone."""
        if settings.inner is None:
            raise ValueError(
                "needs a defense to be put on; give `inner`, such as {name: uniform_noise}"
            )

    def left(self) -> DefenseSettings | None:
        """What it is put on; the bare victim where that is at hand for its labels."""
        return self.settings.inner if self.settings.label_of == "recognizer" else None

    def carries_victim(self) -> bool:
        """Where the labels are the undefended victim's."""
        return self.settings.label_of == "victim"

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The model with its labels put right; `trained` is the undefended victim, where its labels are kept."""
        if self.settings.label_of == "recognizer":
            bottom = victim.recognizer() if isinstance(victim, ProtectedModel) else victim
            return Relabelled(victim, bottom)
        return Relabelled(victim, self.own(trained))


def with_winner(c_NK: Tensor, label_N: Tensor) -> Tensor:
    """Logits (N, K), float64, in which `label_N` (N,) wins by `MARGIN` or more; the others stay as they are."""
    l_N1 = label_N[:, None]
    others_N1 = c_NK.detach().scatter(1, l_N1, -torch.inf).amax(1, keepdim=True)
    return c_NK.scatter(1, l_N1, c_NK.gather(1, l_N1).maximum(others_N1 + MARGIN))


def released(c_NK: Tensor, label_N: Tensor) -> Tensor:
    """Log-probabilities (N, K), float32, of logits (N, K), float64, with `label_N` (N,) as the one winner."""
    return with_winner(c_NK, label_N).log_softmax(1).float()
