"""InversionLab: how much of its training data a recognizer gives away, and what stops it."""

__version__ = "0.1.0"
