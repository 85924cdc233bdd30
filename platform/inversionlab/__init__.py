"""InversionLab: how much of its training data a recognizer leaks to model inversion, and which defenses help."""

__version__ = "0.1.0"
