"""The settings of an experiment: its sections, the references between them, and the checks that they fit."""

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
