"""Recognizers: the networks that are attacked, and those that evaluate the attack."""

from inversionlab.recognizers.augment import AugmentSettings, augment
from inversionlab.recognizers.recognizer import (
    RECOGNIZERS,
    Recognizer,
    RecognizerLearner,
    RecognizerSettings,
    recognizer_inputs,
)

__all__ = [
    "RECOGNIZERS",
    "AugmentSettings",
    "Recognizer",
    "RecognizerLearner",
    "RecognizerSettings",
    "augment",
    "recognizer_inputs",
]
