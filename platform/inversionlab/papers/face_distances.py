"""How far an attack's pictures of a person are from the person, and from whom the defense leads to (Gong 2023).

Both are eq. 13 as printed, person by person: the squared distance of the mean features, by an evaluator. To whom a
fake-samples defense leads is a public person, l_p, whom the seed draws for each protected label.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from inversionlab.metrics import Estimate
from inversionlab.metrics.mean_by_person import mean_by_person
from inversionlab.papers.finder import DECOYS, UNKNOWN, Finder, Measured, NotRunError
from inversionlab.results.run_results import RunResults
from inversionlab.results.verdicts import Verdicts, matrix, whole


@dataclass(frozen=True)
class FaceDistance(Finder):
    """Mean over the attacked people of the distance of their pictures, to themselves or to whom they lead."""

    to: Literal["person", "decoy"] = "person"

    @property
    def compares(self) -> bool:
        """See `Finder`: it is on the evaluator's scale."""
        return False

    @property
    def measure(self) -> str:
        """See `Finder`."""
        return DECOYS if self.to == "decoy" else ""

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        found = self._distances(results, measured)
        return mean_by_person(np.array([*found.values()]), np.array([*found]))

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`."""
        return self._distances(results, measured)

    def _distances(self, results: RunResults, measured: Measured) -> dict[int, float]:
        """The distance of each attacked person, of several victims the mean; NotRunError without features."""
        name, found = self.evaluator_of(results), dict[int, list[float]]()
        for seed, table in self.tables(results).items():
            said = Verdicts.read(table, name)
            if not said.feature_ND.size:
                raise NotRunError(f"the evaluator `{name}` has no features of the pictures")
            goals = _people(results, name) if self.to == "person" else _decoys(measured, name, seed)
            for person, goal_D in goals.items():
                mine_N = said.person_N == person
                if mine_N.any():
                    apart = said.feature_ND[mine_N].mean(0) - goal_D
                    found.setdefault(person, []).append(float((apart**2).sum()))
        return {person: sum(of) / len(of) for person, of in found.items()}


@dataclass(frozen=True)
class FrechetDistance(Finder):
    """Fréchet distance of an attack's pictures to those of the attacked people together; of victims the mean."""

    @property
    def compares(self) -> bool:
        """See `Finder`: it is on the evaluator's scale."""
        return False

    @property
    def costly(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        place = results.evaluators.index(self.evaluator_of(results))
        row = self.row(results)
        found = row.by_evaluator[place].metrics["frechet"]
        assert isinstance(found, float)
        return replace(UNKNOWN, value=found, count=row.done)


def _decoys(measured: Measured, evaluator: str, seed: int | None) -> dict[int, NDArray[np.float64]]:
    """The evaluator's mean feature of whom each target's label leads to, on the victim of this seed."""
    known = measured.get(DECOYS)
    if known is None:
        raise NotRunError("to whom the defense leads has not been measured")
    found = {}
    for person, decoy in known.items():
        of_victim = decoy["means"]
        means = next(iter(of_victim.values())) if seed is None else of_victim[str(seed)]
        found[int(person)] = np.array(means[evaluator])
    return found


def _people(results: RunResults, evaluator: str) -> dict[int, NDArray[np.float64]]:
    """The evaluator's mean feature of each target's private pictures."""
    table = results.run.features
    mine = table.filter(pc.equal(table["evaluator"], evaluator))
    feature_MD, person_M = matrix(whole(mine["feature"])), mine["target"].to_numpy()
    return {int(p): feature_MD[person_M == p].mean(0) for p in np.unique(person_M)}
