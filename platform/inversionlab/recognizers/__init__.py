"""Recognizers: what is attacked, and what judges the attack."""

from inversionlab.recognizers.augment import AugmentSettings, augment
from inversionlab.recognizers.losses import LOSSES
from inversionlab.recognizers.networks import RECOGNIZERS
from inversionlab.recognizers.recognizer import (
    Recognizer,
    RecognizerLearner,
    RecognizerSettings,
    recognizer_inputs,
)

__all__ = [
    "LOSSES",
    "RECOGNIZERS",
    "AugmentSettings",
    "Recognizer",
    "RecognizerLearner",
    "RecognizerSettings",
    "augment",
    "recognizer_inputs",
]
