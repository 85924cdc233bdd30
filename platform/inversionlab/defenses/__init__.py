"""The defenses by their registered names.

A new defense is one file here and one line below. `base.py` has the interface, `composition.py` says which
defenses go together, and `parts/` holds what larger defenses are made of.
"""

from typing import TYPE_CHECKING

from inversionlab.core.settings import any_of
from inversionlab.defenses.adversarial_noise import AdversarialNoise
from inversionlab.defenses.anonymity_set import AnonymitySet
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    ProtectedModel,
    VictimBlueprint,
)
from inversionlab.defenses.bido import Bido
from inversionlab.defenses.dp_sgd import DpSgd
from inversionlab.defenses.dummy_recognizer import DummyRecognizer
from inversionlab.defenses.gan_fake_samples import GanFakeSamples
from inversionlab.defenses.label_modifier import LabelModifier
from inversionlab.defenses.mutual_information import MutualInformation
from inversionlab.defenses.negative_label_smoothing import NegativeLabelSmoothing
from inversionlab.defenses.none import NoDefense
from inversionlab.defenses.purifier import PurifierDefense
from inversionlab.defenses.random_fake_samples import RandomFakeSamples
from inversionlab.defenses.transfer_learning import TransferLearning
from inversionlab.defenses.uniform_noise import UniformNoise

DEFENSES: dict[str, type[Defense]] = {
    "none": NoDefense,
    "dummy_recognizer": DummyRecognizer,
    "gan_fake_samples": GanFakeSamples,
    "random_fake_samples": RandomFakeSamples,
    "adversarial_noise": AdversarialNoise,
    "mutual_information": MutualInformation,
    "dp_sgd": DpSgd,
    "uniform_noise": UniformNoise,
    "label_modifier": LabelModifier,
    "purifier": PurifierDefense,
    "anonymity_set": AnonymitySet,
    "negative_label_smoothing": NegativeLabelSmoothing,
    "transfer_learning": TransferLearning,
    "bido": Bido,
}

if TYPE_CHECKING:
    AnyDefense = DefenseSettings
else:
    AnyDefense = any_of(DEFENSES)

# Every class of settings has a field `inner` that takes the settings of any defense.
_kinds: list[type[DefenseSettings]] = [DefenseSettings]
_kinds += [defense.Settings for defense in DEFENSES.values()]
for _kind in _kinds:
    _kind.model_rebuild(force=True, _types_namespace={"AnyDefense": AnyDefense})

__all__ = [
    "DEFENSES",
    "AnyDefense",
    "Defense",
    "DefenseContext",
    "DefenseSettings",
    "Layer",
    "ProtectedModel",
    "VictimBlueprint",
]
