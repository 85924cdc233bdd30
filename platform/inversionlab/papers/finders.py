"""How one figure of ours is found in stored runs: a small frozen object for each kind of figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inversionlab.metrics import Estimate, by_person, wilson
from inversionlab.metrics.mean_by_person import mean_by_person
from inversionlab.metrics.paired import person_means
from inversionlab.papers.finder import ANSWERS, NO_ANSWERS, Finder, Measured, NotRunError, target_at
from inversionlab.results.comparison_rows import recognized
from inversionlab.results.models import Model
from inversionlab.results.run_results import RunResults
from inversionlab.results.verdicts import Verdicts, numbers


@dataclass(frozen=True)
class Accuracy(Finder):
    """How many test pictures a model recognizes; of several models for as many people, or victims, the mean."""

    people: Literal["all", "targets"] = "all"

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        row = self.rows(results)[0]
        share = row.accuracy_all if self.people == "all" else row.accuracy_targets
        if share is None or not share.count:
            raise NotRunError("the model has not been measured")
        return share

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`."""
        correct_of, total_of, _ = self._counts(results)
        pairs = enumerate(zip(correct_of, total_of, strict=True))
        return {person: correct / total for person, (correct, total) in pairs if total}

    def pictures_of(self, results: RunResults) -> Mapping[int, float]:
        """See `Finder`."""
        _, total_of, models = self._counts(results)
        return {person: total / models for person, total in enumerate(total_of) if total}

    def _counts(self, results: RunResults) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Of each person the test pictures that are recognized, and all of them; how often each was shown."""
        model = results.measured_models.get(self.rows(results)[0].protected, Model())
        if self.people == "all":
            return model.correct_of, model.total_of, model.models
        return model.aimed_correct_of, model.aimed_total_of, model.victims


@dataclass(frozen=True)
class OfMeasurements(Finder):
    """A number of `results.models.Model`, such as `log_distortion`, or its mean over the attacked people."""

    key: str = "log_distortion"

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        found_M = self._found(results)
        return mean_by_person(found_M, np.arange(len(found_M)))

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`."""
        found_M, targets = self._found(results), results.run.record.jobs.targets
        # Where some of the networks that protect one person each are missing, nobody knows whose are there.
        whole = len(found_M) == len(targets) > 1
        return dict(zip(targets, found_M.tolist(), strict=True)) if whole else {}

    def _found(self, results: RunResults) -> NDArray[np.float64]:
        """The number, or one for each attacked person."""
        model = results.measured_models.get(self.rows(results)[0].protected, Model())
        return np.array(getattr(model, self.key), float).reshape(-1)


@dataclass(frozen=True)
class Success(Finder):
    """Share of the tries whose target is among the evaluator's first `top`; the unit is the person."""

    top: int = 1
    place: int | None = None
    """Only the target of this place in the draw, whose tries are then the unit; None: all."""

    @property
    def compares(self) -> bool:
        """See `Finder`."""
        return self.place is None

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        hit_N, person_N = self._hits(results)
        if not hit_N.size:
            raise NotRunError("there are no reconstructions of this person")
        if self.place is not None:
            return wilson(int(hit_N.sum()), len(hit_N))
        return by_person(hit_N, person_N)

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`."""
        return {} if self.place is not None else person_means(*self._hits(results))

    def _hits(self, results: RunResults) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether each try hits, and at whom it is."""
        said = Verdicts.read(self.table(results), self.evaluator_of(results))
        mine_N = np.ones(len(said.rank_N), bool)
        if self.place is not None:
            mine_N = said.person_N == target_at(results, self.place)
        return said.rank_N[mine_N] <= self.top, said.person_N[mine_N]


@dataclass(frozen=True)
class PeopleFound(Finder):
    """The share of the attacked people at whom at most a share `most` of the tries has top-1 success."""

    most: float = 0.0

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        few = self.of_person(results, measured).values()
        return wilson(round(sum(few)), len(few))

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`: 1 for a person at whom so few succeed, else 0."""
        said = Verdicts.read(self.table(results), self.evaluator_of(results))
        shares = person_means(said.rank_N <= 1, said.person_N)
        return {person: float(share <= self.most) for person, share in shares.items()}


@dataclass(frozen=True)
class InvertedError(Finder):
    """Mean squared error per pixel to the pictures whose score vectors were inverted; the unit is the person."""

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        return mean_by_person(*self._errors(results))

    def of_person(self, results: RunResults, measured: Measured) -> Mapping[int, float]:
        """See `Finder`."""
        return person_means(*self._errors(results))

    def _errors(self, results: RunResults) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The error of each try, and at whom it is."""
        table = self.table(results)
        return numbers(table["error"]), numbers(table["target"]).astype(np.int64)


@dataclass(frozen=True)
class EvaluatorAccuracy(Finder):
    """How many real test pictures an evaluator recognizes."""

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return True

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        for name, accuracy in recognized(results.run).items():
            if self.evaluator in ("", name) and accuracy is not None:
                return accuracy
        raise NotRunError(f"the evaluator `{self.evaluator}` has not been measured")


@dataclass(frozen=True)
class OfMeasure(Finder):
    """A number of a measure in `measures.py`."""

    of: str = ""
    """The measure's name."""
    key: str = ""
    is_share: bool = False
    own_scale: bool = False
    """Whether its level depends on an evaluator, or on single people."""

    @property
    def compares(self) -> bool:
        """See `Finder`."""
        return not self.own_scale

    @property
    def measure(self) -> str:
        """See `Finder`."""
        return self.of

    @property
    def share(self) -> bool:
        """See `Finder`."""
        return self.is_share

    def estimate(self, results: RunResults, measured: Measured) -> Estimate:
        """See `Finder`."""
        known = measured.get(self.of)
        if known is None or self.key not in known:
            why = f"`{self.of}` has not been measured"
            raise NotRunError(NO_ANSWERS if self.of == ANSWERS else why)
        found = known[self.key]
        return Estimate(found["value"], found["low"], found["high"], found["count"])
