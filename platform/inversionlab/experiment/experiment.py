"""One experiment, whole, and refused where its sections do not go together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import model_validator

from inversionlab.core.settings import override, read_recipe, validate
from inversionlab.experiment.checks import all_faults
from inversionlab.experiment.sections import ExperimentSections


class Experiment(ExperimentSections):
    """The whole experiment."""

    @model_validator(mode="after")
    def _goes_together(self) -> Experiment:
        wrong = all_faults(self)
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def load(path: Path, assignments: Iterable[str] = ()) -> Experiment:
    """Read a recipe, apply `--set` assignments, and refuse whatever is wrong.

    Raises:
        ConfigError: one line a fault: file, key, value, and what would be right.
    """
    assignments = list(assignments)
    data = override(read_recipe(path), assignments)
    origin = f"{path}" + (" with --set " + " ".join(assignments) if assignments else "")
    return validate(Experiment, data, origin=origin)
