"""The whole experiment, and how a recipe is loaded."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import model_validator

from inversionlab.core.settings import key_of, override, read_recipe, validate
from inversionlab.experiment.checks import all_faults
from inversionlab.experiment.sections import ExperimentSections
from inversionlab.experiment.suite import take_suite


class Experiment(ExperimentSections):
    """An experiment whose sections fit together."""

    @model_validator(mode="after")
    def _with_suite(self) -> Self:
        if self.suite is not None:
            take_suite(self)
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if wrong := all_faults(self):
            raise ValueError("; ".join(wrong))
        return self


def load(path: Path, assignments: Iterable[str] = ()) -> Experiment:
    """Read a recipe, apply `--set` assignments, and check the result.

    Raises:
        ConfigError: something is wrong; one line for each fault: file, key, value, what would be right.
    """
    assignments = list(assignments)
    data = override(read_recipe(path), assignments)
    origin = f"{path} with --set {' '.join(map(key_of, assignments))}" if assignments else str(path)
    return validate(Experiment, data, origin=origin)
