"""Label modifier: restores the winning class that the defense below may have changed.

Paper:    Wen, Yiu & Hui 2021, "Defending Against Model Inversion Attack by Adversarial Examples", §IV-A, eq. 2;
          §V-C: "technically the label modifier is an independent component", so it can follow other defenses.
Releases: with c' the log-scores of the model below and l the label that the reference recognizer gives,
              c'_l <- c'_l + m_l,  m_l = ReLU(max_j c'_j - c'_l),  y = softmax(c').            (eq. 2)
          The reference is `recognizer`, the one at the bottom of `inner` (the retrained one, if a defense retrains
          the victim), or `victim`, the undefended one.
Trains:   nothing.
Accuracy: exactly the reference's: the released label is always the reference's.
Protects: scores, as far as the model below does. Labels are the reference's own and unprotected, even if the
          defense below (a mixture) protects them. An attacker who holds the weights removes it and is left with
          the model below, or with the bare victim if its weights are released for its label.
Deviates: eq. 2 raises c'_l to a tie with the largest of the others. argmax takes the first of equals, so the label
          would be lost wherever the other class has the lower number. Here l wins by a margin of 2^-18 (about 4e-6
          nat), which survives rounding of log-scores and scores to float32, with up to e^16 classes. Computed in
          float64.
Costs:    one more pass through the reference recognizer a query.
Ranges:   log-scores of minus infinity are allowed. The raise is a constant in the gradient.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from inversionlab.core.contracts import as_scoring_model
from inversionlab.core.views import Scores, View
from inversionlab.core.winner import released
from inversionlab.defenses.base import Defense, DefenseSettings, Layer, ProtectedModel


class LabelModifierSettings(DefenseSettings):
    """Settings of the label modifier."""

    name: Literal["label_modifier"] = "label_modifier"
    inference_only: ClassVar[frozenset[str]] = frozenset({"label_of"})
    label_of: Literal["recognizer", "victim"] = "recognizer"
    """Whose label is kept: that of the recognizer at the bottom of `inner`, or the undefended victim's."""


class Relabelled(ProtectedModel):
    """A model whose winning class is that of a reference recognizer."""

    def __init__(self, victim: nn.Module, reference: nn.Module) -> None:
        super().__init__()
        self.victim, self.reference = victim, reference
        self.classes = as_scoring_model(victim).classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The model's log-probabilities (N, K), with the reference's label raised to the top."""
        with torch.no_grad():
            label_N = as_scoring_model(self.reference).log_scores(x_NCHW.detach()).argmax(1)
        return released(as_scoring_model(self.victim).log_scores(x_NCHW).double(), label_N)

    def facts(self) -> dict[str, float]:
        """The model's own facts, and `recognizer_passes`: additional passes a query."""
        return {**super().facts(), "recognizer_passes": 1.0}


class LabelModifier(Defense):
    """Keeps the label, whatever the defense below does to the scores."""

    Settings: ClassVar[type[DefenseSettings]] = LabelModifierSettings
    settings: LabelModifierSettings
    layer: ClassVar[Layer] = Layer.LABEL
    keeps_labels: ClassVar[bool] = True
    aware_attack: ClassVar[str] = "ami_adaptive"
    protects: ClassVar[frozenset[type[View]]] = frozenset({Scores})

    @classmethod
    def check(cls, settings: Any) -> None:
        """Raise ValueError if there is no defense below."""
        if settings.inner is None:
            raise ValueError(
                "needs a defense below it; give `inner`, such as {name: uniform_noise}"
            )

    def left(self) -> DefenseSettings | None:
        """The defense below; the bare victim where its weights are released for its label."""
        return self.settings.inner if self.settings.label_of == "recognizer" else None

    def carries_victim(self) -> bool:
        """Whether the kept label is the undefended victim's."""
        return self.settings.label_of == "victim"

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The model with the label restored; `trained` is the undefended victim if the label is its own."""
        if self.settings.label_of == "victim":
            return Relabelled(victim, self.own(trained))
        bottom = victim.recognizer() if isinstance(victim, ProtectedModel) else victim
        return Relabelled(victim, bottom)
