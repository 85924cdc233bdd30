"""What one evaluator says of one cell. `METRICS` lists the numbers; tables and pages go through that list."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Literal, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from inversionlab.metrics import (
    Estimate,
    acceptance,
    candidates,
    denied,
    distances,
    paired,
    prdc,
    ranks,
    wilson,
)
from inversionlab.metrics.distances import Gaussian
from inversionlab.metrics.prdc import Balls
from inversionlab.results.guessing import MANY, key_of
from inversionlab.results.load import RunData
from inversionlab.results.verdicts import Verdicts, matrix, whole
from inversionlab.results.wording import estimate_text, measure, number

CMC_RANKS = 50
"""The largest number of guesses in the cumulative match characteristic."""


@dataclass(frozen=True)
class Metric:
    """How tables show one number that every evaluator gives to every cell."""

    key: str
    heading: str
    text: Callable[[float], str] = number
    """Writes a value that has no interval."""
    compared: bool = False
    """Whether the comparison of defenses shows it, too."""
    printed: str = ""
    """Its heading in the terminal's table; "" leaves it out."""
    share: bool = False
    """Whether it is a share with an interval."""
    detail: bool = False
    """Whether it stands in the page's second table, not in the first."""
    better: Literal["max", "min"] | None = None
    """Which way a defender wants it, for a search; None: a search does not have it."""

    def cell(self, value: Estimate | float) -> str:
        """A value as text."""
        return estimate_text(value) if isinstance(value, Estimate) else self.text(value)


METRICS = (
    Metric("top1", "top-1", compared=True, share=True, better="min"),
    Metric("top5", "top-5", compared=True, printed="top-5 (95%)", share=True),
    Metric("median_rank", "median rank"),
    Metric("nearest", "nearest picture", measure),
    Metric("frechet", "FID", measure, compared=True),
    Metric("feature_mean", "distance of the means", measure, detail=True),
    Metric("denied", "denied by the first evaluator", detail=True, share=True, better="max"),
    Metric("any_top1", "people found in any try", detail=True, share=True, better="min"),
    Metric("accepted_1", "accepted, 1 % false", detail=True, share=True, better="min"),
    Metric("accepted_01", "accepted, 0.1 % false", detail=True, share=True, better="min"),
    Metric("distance", "distance to the person", measure, detail=True, better="max"),
    Metric("precision", "precision", measure, detail=True, better="min"),
    Metric("recall", "recall", measure, detail=True, better="min"),
    Metric("density", "density", measure, detail=True, better="min"),
    Metric("coverage", "coverage", measure, detail=True, better="min"),
)
"""In the tables' order. `top5` decides what is strongest, and among few people `top1` (`guessing.py`). A search
has it as `attack_success`."""
FALSE_ACCEPTS = {"accepted_1": 0.01, "accepted_01": 0.001}
"""The shares of impostors that a face matcher would accept, too."""
PRDC = tuple(field.name for field in fields(prdc.Prdc))
BY_VICTIM = {"top1": 1, "top5": 5}
"""The metrics whose spread over several victims is told, with their numbers of guesses."""
UNKNOWN = wilson(0, 0)


def metrics_at(k: int) -> tuple[Metric, ...]:
    """METRICS where `k` guesses decide; among few people top-5 would say nothing, and stands nowhere."""
    if k == MANY:
        return METRICS
    decides = key_of(k)
    return tuple(
        replace(m, printed=f"{m.heading} (95%)") if m.key == decides else m
        for m in METRICS
        if m.key != key_of(MANY)
    )


PROTOCOL_NOTES = {
    "embedding": "{}, an embedding trained elsewhere; its gallery is made of held-out private pictures",
    "given": "{}, a classifier that was given and not trained here",
}
"""What an evaluator is that no training of this run made, by its protocol; the blank is for its network."""


@dataclass(frozen=True)
class EvaluatorResult:
    """What one evaluator says of one cell."""

    evaluator: str
    metrics: Mapping[str, Estimate | float]
    """Every metric by its key: a share with its interval, or a number; NaN where it is not known."""
    cmc_K: NDArray[np.float64]
    """Share of hits within 1, 2, .. `CMC_RANKS` guesses."""
    success_of: Mapping[int, float]
    """Share of the tries at each target that succeed; of several victims all tries together."""
    guesses: int = MANY
    """k: a try succeeds if the target is among the evaluator's first k people."""
    by_victim: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The metrics in `BY_VICTIM` on each of several victims; empty for one."""

    @property
    def success(self) -> Estimate:
        """The share of reconstructions with the target among the evaluator's first `guesses` people."""
        return cast(Estimate, self.metrics[key_of(self.guesses)])


@dataclass(frozen=True)
class Known:
    """What an evaluator knows of real people."""

    evaluator: str
    private_MD: NDArray[np.float64]
    """Its features of the targets' private pictures; (0, 0) where they are missing."""
    gallery_KD: NDArray[np.float64]
    """The mean direction of every private person's gallery; (0, 0) for one that knows people by its own head."""
    least: Mapping[str, float]
    """The similarity from which on a face matcher accepts a picture, by the metric; NaN where it is not known."""

    @classmethod
    def of(cls, run: RunData, evaluator: str) -> Self:
        """Read it out of a run's tables.

        The impostors that set the thresholds are the targets' private pictures against the galleries of others.
        """
        return cls.of_tables(run.features, run.galleries, evaluator)

    @classmethod
    def of_tables(cls, features: pa.Table, galleries: pa.Table, evaluator: str) -> Self:
        """Read it out of the tables `features` and `galleries`."""
        private_MD, private = _features(features, evaluator, "target")
        gallery_KD, person = _features(galleries, evaluator, "person")
        impostor_N = np.empty(0)
        if private_MD.size and gallery_KD.size and private_MD.shape[1] == gallery_KD.shape[1]:
            gallery_KD = gallery_KD[np.argsort(person)]
            alike_MK = _directions(private_MD) @ gallery_KD.T
            known_K = (gallery_KD != 0).any(1)
            impostor_N = alike_MK[known_K & (np.arange(len(gallery_KD)) != private[:, None])]
        least = {key: acceptance.threshold(impostor_N, far) for key, far in FALSE_ACCEPTS.items()}
        return cls(evaluator, private_MD, gallery_KD, least)

    @cached_property
    def gaussian(self) -> Gaussian:
        """Fitted to the private pictures."""
        return Gaussian.fit(self.private_MD)

    @cached_property
    def balls(self) -> Balls:
        """Around the private pictures."""
        return Balls.around(self.private_MD)


def evaluator_results(
    table: pa.Table, judges: Sequence[Known], full: int, *, costly: bool, k: int = MANY
) -> list[EvaluatorResult]:
    """What every evaluator says of a cell's reconstructions. Those that it has not ranked do not count.

    Args:
        table: the reconstructions; those of several cells are attacks on as many victims.
        judges: what the evaluators know of real people, the recipe's first one first.
        full: reconstructions of a full cell. Distances between sets of pictures depend on how many there are, so a
            cell with another number of them has none.
        costly: whether such distances are computed at all.
        k: the guesses that a try has.
    """
    said = [Verdicts.read(table, known.evaluator) for known in judges]
    return [
        _result(mine, said[0], known, full if costly else None, k)
        for mine, known in zip(said, judges, strict=True)
    ]


def _result(
    mine: Verdicts, first: Verdicts, known: Known, full: int | None, k: int
) -> EvaluatorResult:
    """What an evaluator says, and how much of it the first one denies.

    Distances between sets are those of cells with `full` reconstructions; None: there are none.
    """
    rank_N, person_N, victim_N = mine.rank_N, mine.person_N, mine.victim_N
    mine_V = [victim_N == victim for victim in np.unique(victim_N)]
    found: dict[str, Estimate | float] = {
        "top1": ranks.attack_accuracy(rank_N, person_N, top=1),
        "top5": ranks.attack_accuracy(rank_N, person_N, top=5),
        "median_rank": ranks.median_rank(rank_N),
        "nearest": ranks.mean_score(mine.nearest_N),
        "any_top1": candidates.any_hit(rank_N == 1, person_N, victim_N),
        "denied": UNKNOWN if mine is first else _denied(mine, first),
        **_acceptance(mine, known),
        **_mean_sets(mine.feature_ND, mine_V, known, full),
    }
    return EvaluatorResult(
        known.evaluator,
        found,
        ranks.cmc(rank_N, max_rank=CMC_RANKS),
        paired.person_means(rank_N <= k, person_N),
        k,
        {
            key: tuple(float((rank_N[mine_N] <= top).mean()) for mine_N in mine_V)
            for key, top in BY_VICTIM.items()
            if len(mine_V) > 1
        },
    )


def _denied(mine: Verdicts, first: Verdicts) -> Estimate:
    _, mine_at, first_at = np.intersect1d(mine.row_N, first.row_N, return_indices=True)
    return denied.denied(mine.rank_N[mine_at], first.rank_N[first_at], mine.person_N[mine_at])


def _acceptance(mine: Verdicts, known: Known) -> dict[str, Estimate | float]:
    """Whether a face matcher would accept the pictures, and their cosine distance to the person's gallery."""
    gallery_KD, feature_ND = known.gallery_KD, mine.feature_ND
    if not feature_ND.size or feature_ND.shape[1:] != gallery_KD.shape[1:]:
        return dict.fromkeys(FALSE_ACCEPTS, UNKNOWN) | {"distance": math.nan}
    alike_N = (_directions(feature_ND) * gallery_KD[mine.person_N]).sum(1)
    shares = {
        key: acceptance.accepted(alike_N, mine.person_N, least)
        for key, least in known.least.items()
    }
    return shares | {"distance": float(1 - alike_N.mean())}


def _mean_sets(
    made_ND: NDArray[np.float64],
    mine_V: Sequence[NDArray[np.bool_]],
    known: Known,
    full: int | None,
) -> dict[str, float]:
    """The mean over the victims of `_sets`; NaN unless each of them has `full` pictures."""
    whole = bool(mine_V) and all(mine_N.sum() == full for mine_N in mine_V)
    if len(mine_V) < 2 or not whole or not made_ND.size:
        return _sets(made_ND, known if whole else None)
    each = [_sets(made_ND[mine_N], known) for mine_N in mine_V]
    return {key: sum(found[key] for found in each) / len(each) for key in each[0]}


def _sets(made_ND: NDArray[np.float64], known: Known | None) -> dict[str, float]:
    """Distances between the pictures and the private ones, as two sets; NaN where they cannot be compared."""
    unknown = dict.fromkeys(("frechet", "feature_mean", *PRDC), math.nan)
    if known is None or min(len(made_ND), len(known.private_MD)) < 2:
        return unknown
    finite = np.isfinite(made_ND).all() and np.isfinite(known.private_MD).all()
    if made_ND.shape[1] != known.private_MD.shape[1] or not finite:
        return unknown
    made = Gaussian.fit(made_ND)
    return {
        "frechet": distances.frechet_distance(made, known.gaussian),
        "feature_mean": distances.feature_mean_distance(made, known.gaussian),
        **asdict(prdc.prdc(Balls.around(made_ND), known.balls)),
    }


def _directions(x_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1."""
    long_ND: NDArray[np.float64] = x_ND / np.maximum(np.linalg.norm(x_ND, axis=1)[:, None], 1e-12)
    return long_ND


def _features(
    table: pa.Table, evaluator: str, whose: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """An evaluator's features (M, D) and whose they are (M,), by the column `whose`."""
    mine = table.filter(pc.equal(table["evaluator"], evaluator))
    owner_M: NDArray[np.int64] = mine[whose].to_numpy().astype(np.int64)
    return matrix(whole(mine["feature"])), owner_M
