"""The settings of an experiment: its sections, the references between them, and the checks that they fit."""

from inversionlab.experiment.experiment import Experiment, load
from inversionlab.experiment.sections import EvaluatorSettings, RuntimeSettings

__all__ = ["EvaluatorSettings", "Experiment", "RuntimeSettings", "load"]
