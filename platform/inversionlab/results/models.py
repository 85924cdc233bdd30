"""The released models as measured: how well they recognize, and what they need."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, Json

from inversionlab.metrics import Estimate, mean_score
from inversionlab.metrics.by_person import of_counts
from inversionlab.metrics.difference import Difference, difference
from inversionlab.metrics.paired_accuracy import paired_accuracy
from inversionlab.metrics.wilson import Z_95, wilson_ends
from inversionlab.results.load import RunData
from inversionlab.results.pooling import pooled_models
from inversionlab.results.record_part import RecordPart


@dataclass(frozen=True)
class ModelMetric:
    """How far a released model's answers are from what they should be, as one number."""

    key: str
    """The field of `Model` and of `pipeline.evaluate.Utility`, the table's column, and a search's metric."""
    heading: str
    better: Literal["max", "min"] | None = None
    """Which way a search wants it; None: a search does not have it."""


MODEL_METRICS = (
    ModelMetric("distortion", "Distortion, 0 to 2"),
    ModelMetric("log_distortion", "of logarithms", better="min"),
    ModelMetric("others_taken", "Others taken for a label", better="min"),
    ModelMetric("strangers_taken", "Strangers taken for one", better="min"),
    ModelMetric("strangers_accepted", "Strangers accepted", better="min"),
)
"""In the page's order. Older stores lack a new one. If `store.tables._NEWEST` names its column, their models are
measured again first."""

STRANGER_SCORE = "stranger_score"
"""The fact of a model that says how sure it is of strangers: the mean of its largest score on public faces."""


class Model(RecordPart):
    """One released model: a row of the table `models`. NaN, None or "" where something is not known.

    Of several victims it is what they have in common: sums of pictures, and means of everything else.
    """

    correct_all: int = 0
    total_all: int = 0
    correct_targets: int = 0
    total_targets: int = 0
    networks: int | None = None
    """Separate networks that answer."""
    parameters: int | None = None
    milliseconds: float = math.nan
    """Time of a query, in a batch of 64."""
    memory: float = math.nan
    """Bytes a query takes beyond the weights, in a batch of 64."""
    distortion: float = math.nan
    """L1 distance of its probability vectors from the undefended model's, the mean over test pictures."""
    log_distortion: float = math.nan
    """Mean distance of its log-probabilities from those, per class."""
    others_taken: float = math.nan
    """Test pictures of other private people that are taken for an attacked person, the mean over these."""
    others_taken_of: tuple[float, ...] = ()
    """The same for each attacked person, in the order of the run's targets."""
    correct_of: tuple[int, ...] = ()
    """Of each private person the test pictures that the model recognizes. Empty in older stores, whose models
    count as measured all the same."""
    total_of: tuple[int, ...] = ()
    """Of each private person the test pictures."""
    aimed_correct_of: tuple[int, ...] = ()
    """Of each attacked person the test pictures that are recognized; by the model that protects the person."""
    aimed_total_of: tuple[int, ...] = ()
    """Of each attacked person the test pictures."""
    strangers_taken: float = math.nan
    """Share of strangers' pictures that get an attacked person's label."""
    strangers_accepted: float = math.nan
    """Share of strangers' pictures that are accepted where 95 % of the genuine test pictures are."""
    protects: str = ""
    """The attackers that its defense claims to stop, by what they see: "scores, labels"."""
    left: str = ""
    """The title of what a white-box attacker has after removing the defense; "" where nothing comes off."""
    facts: Json[dict[str, float]] = Field(default_factory=dict)
    """Numbers of its own, such as the epsilon spent."""
    accuracies: tuple[float, ...] = ()
    """The accuracy of each of several models on all people; empty for one."""
    victims: int = 1
    """How many of these saw the same attacked person's pictures: the victims."""

    @property
    def accuracy_all(self) -> Estimate | None:
        """Share of all people's test pictures that the model recognizes; of several victims the mean.

        Its interval counts people, or pictures where the store does not say whose they are.
        """
        if self.total_of:
            return _share_of_people(self.correct_of, self.total_of)
        return _share(self.correct_all, self.total_all, self.models)

    @property
    def accuracy_targets(self) -> Estimate | None:
        """Share of the attacked people's test pictures that the model recognizes; its interval as above."""
        if self.aimed_total_of:
            return _share_of_people(self.aimed_correct_of, self.aimed_total_of)
        return _share(self.correct_targets, self.total_targets, self.victims)

    @property
    def accuracy_of(self) -> NDArray[np.float64]:
        """The share of each private person's test pictures that is recognized; NaN for people without any."""
        correct_K, total_K = (np.array(x, float) for x in (self.correct_of, self.total_of))
        share_K: NDArray[np.float64] = np.full_like(total_K, math.nan)
        np.divide(correct_K, total_K, out=share_K, where=total_K > 0)
        return share_K

    @property
    def models(self) -> int:
        """How many models these are."""
        return max(len(self.accuracies), 1)

    @property
    def accuracy_spread(self) -> tuple[float, float] | None:
        """The least and the most accurate of several models."""
        return (min(self.accuracies), max(self.accuracies)) if self.accuracies else None


def _share_of_people(correct_M: Sequence[int], total_M: Sequence[int]) -> Estimate | None:
    """A share of pictures, whose interval counts the people on them."""
    pairs = [(c, t) for c, t in zip(correct_M, total_M, strict=True) if t]
    return of_counts(*np.array(pairs, float).T) if pairs else None


def _share(correct: int, total: int, models: int) -> Estimate | None:
    """A share of pictures. Several models see the same ones, so the interval counts each picture once."""
    if not total:
        return None
    return Estimate(correct / total, *wilson_ends(correct / total, total / models, Z_95), total)


def models_of(run: RunData) -> dict[str, Model]:
    """Every measured model by its id, as first measured; of several that are one row by that of the first."""
    cells = {cell.protected: cell for cell in run.record.cells}
    found = {}
    for row in reversed(run.models.to_pylist()):
        cell = cells.get(row["protected"])
        one = None if cell is None else cell.target
        aimed = run.record.jobs.targets if one is None else (one,)
        found[row["protected"]] = _aimed(Model.model_validate(row), aimed)
    for first, every in pooled_models(run.record.cells).items():
        known = [name for name in every if name in found]
        if len(every) > 1 and known:
            victims: dict[int | None, list[Model]] = {}
            for name in known:
                victims.setdefault(cells[name].seed, []).append(found.pop(name))
            found[first] = mean_model([_of_each_person(models) for models in victims.values()])
    return found


def _aimed(model: Model, targets: Sequence[int]) -> Model:
    """The model with the counts of the people under attack, whom it protects."""
    if not model.total_of:
        return model
    counts = {
        f"aimed_{name}": tuple(getattr(model, name)[target] for target in targets)
        for name in ("correct_of", "total_of")
    }
    return model.model_copy(update=counts)


def _of_each_person(models: Sequence[Model]) -> Model:
    """What the models of one victim have in common, each of which protects another person."""
    if len(models) == 1:
        return models[0]
    each = ("others_taken_of", "aimed_correct_of", "aimed_total_of")
    joined = {name: tuple(x for model in models for x in getattr(model, name)) for name in each}
    return mean_model(models).model_copy(update={**joined, "victims": 1})


def mean_model(models: Sequence[Model]) -> Model:
    """What the models of several victims have in common; a single one is itself."""
    if len(models) == 1:
        return models[0]

    def mean(name: str) -> float:
        return mean_score(np.array([getattr(model, name) for model in models]))

    def by_person(name: str) -> list[tuple[float, ...]]:
        """The numbers of every model for each person; empty if one model has none."""
        return list(zip(*(getattr(model, name) for model in models), strict=False))

    counts = ("correct_all", "total_all", "correct_targets", "total_targets")
    of_people = ("correct_of", "total_of", "aimed_correct_of", "aimed_total_of")
    means = ("milliseconds", "memory", *(metric.key for metric in MODEL_METRICS))
    facts: dict[str, list[float]] = {}
    for model in models:
        for name, value in model.facts.items():
            facts.setdefault(name, []).append(value)
    return models[0].model_copy(
        update={
            **{name: sum(getattr(model, name) for model in models) for name in counts},
            **{name: tuple(map(sum, by_person(name))) for name in of_people},
            **{name: mean(name) for name in means},
            "others_taken_of": tuple(map(statistics.fmean, by_person("others_taken_of"))),
            "facts": {name: sum(values) / len(values) for name, values in facts.items()},
            "accuracies": tuple(
                accuracy
                for m in models
                for accuracy in m.accuracies
                or ([m.correct_all / m.total_all] if m.total_all else [])
            ),
            "victims": len(models),
        }
    )


def undefended_model(run: RunData, models: Mapping[str, Model]) -> Model:
    """Of a run's measured models the undefended one; with nothing known where it is not measured."""
    names = (c.protected for c in run.record.cells if c.kind == "undefended")
    return next((models[name] for name in names if name in models), Model())


def undefended_accuracy(run: RunData) -> Estimate | None:
    """Recognition accuracy of the undefended model on all people, where it is known."""
    return undefended_model(run, models_of(run)).accuracy_all


def accuracy_lost(before: Model, after: Model) -> Difference | None:
    """The accuracy on all people that a defense costs, as a share, on the same pictures; None where not known."""
    if before.total_of and len(before.total_of) == len(after.total_of):
        one, other = (model.accuracy_of for model in (before, after))
        people = [person for person, count in enumerate(before.total_of) if count]
        pictures_M = np.array(before.total_of, float)[people] / before.models
        return paired_accuracy(one[people], other[people], pictures_M)
    first, second = before.accuracy_all, after.accuracy_all
    return difference(first, second) if first and second else None
