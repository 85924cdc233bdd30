"""The experiment's settings: sections, what they say of each other, what does not go together."""

from inversionlab.experiment.experiment import Experiment, load
from inversionlab.experiment.sections import (
    EvaluatorSettings,
    ExperimentSections,
    RuntimeSettings,
    SweepSettings,
    TargetSettings,
)

__all__ = [
    "EvaluatorSettings",
    "Experiment",
    "ExperimentSections",
    "RuntimeSettings",
    "SweepSettings",
    "TargetSettings",
    "load",
]
