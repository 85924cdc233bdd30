"""The record of a trial of a search, a part of `searches/NAME/search.json`; see `results/search.py`."""

# ruff: noqa: RUF012 - pydantic copies the default values

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainSerializer

from inversionlab.metrics import Estimate
from inversionlab.results.record_part import FINITE, RecordPart, StoredKey

_ENDS = {"attack_success_low": "low", "attack_success_high": "high"}


def _not_infinite(share: Estimate) -> Estimate:
    if any(map(math.isinf, (share.value, share.low, share.high))):
        raise ValueError("a share is a finite number, or NaN where nothing was tried")
    return share


Share = Annotated[
    Estimate,
    AfterValidator(_not_infinite),
    BeforeValidator(lambda v: {"count": 1, **v} if isinstance(v, Mapping) else v),
    PlainSerializer(lambda e: {"value": e.value, "low": e.low, "high": e.high}),
]
"""A share as {value, low, high}. The number of tries is not in the file; a share that was read has the count 1."""
TrialState = Literal["complete", "stopped", "error", "unfinished"]
Success = dict[str, dict[str, Share]]
"""Attack -> evaluator -> share of the tries that succeed: top-5, and among few people top-1 (`guesses`)."""


class StrongestAttack(RecordPart):
    """Which attack found most, and by which evaluator."""

    attack: str
    evaluator: str = Field(alias="judge")


class CurvePoint(RecordPart):
    """The success of the strongest attack after so many targets."""

    model_config = FINITE

    targets: int
    value: float
    low: float
    high: float


class TrialRecord(RecordPart):
    """One setting that was tried, or the undefended victim, which has no number and no settings.

    What was measured is None where nothing was attacked. Other metrics that the search names as objectives or
    constraints need no fields here.
    """

    model_config = ConfigDict(extra="allow")

    number: int | None = None
    settings: dict[str, Any] = {}
    """Dotted config path -> value."""
    state: TrialState = "complete"
    """stopped: by successive halving; unfinished: by the time budget."""
    start: bool = False
    """Whether it is one of the start points."""
    paper: bool = False
    """Whether it is the paper's own point."""
    fault: str = ""
    accuracy: Share | None = None
    """Recognition accuracy of the protected model on all private people's test pictures."""
    accuracy_loss: float | None = None
    """Percentage points of accuracy lost against the undefended victim."""
    log_distortion: float | None = None
    """Mean absolute change of a log-score against the undefended victim, in nats."""
    attack_success: Share | None = None
    """Success of the strongest attack by the headline evaluator."""
    score: float | None = None
    """Attack success where the constraints hold, else above 1."""
    by_chance: float | None = None
    """How likely the strongest attack finds so much less than on the undefended victim by chance alone: p of a
    paired test on the same people, of this trial alone; None where it was not noted."""
    strongest: StrongestAttack | None = None
    protects: str | None = None
    """The attackers that the defense claims to stop, by what they see: "scores, labels"."""
    left: str | None = None
    """The defense that is left when a white-box attacker removes what can be removed; "" where nothing can."""
    success: Success = {}
    targets: int = 0
    """Targets that were attacked."""
    reconstructions: int = 0
    protected: StoredKey = ""
    """The protected model's id."""
    cells: dict[str, StoredKey] = {}
    """Attack -> the id of its cell in the store."""
    seconds: float | None = None
    """Working time of the attack workers."""
    curve: list[CurvePoint] = []
    """How the estimate narrows as more targets are attacked."""
    trained: list[str] = []
    """Keys of the networks that this trial needed first."""

    @property
    def complete(self) -> bool:
        """Whether every target was attacked."""
        return self.state == "complete"

    @property
    def allowed(self) -> bool:
        """Whether it is complete and keeps the constraints, so that it may be recommended."""
        return self.complete and self.score is not None and self.score <= 1

    def metric(self, name: str) -> float | None:
        """A metric's value; None where it was not measured or is not finite."""
        found = getattr(self, "attack_success" if name in _ENDS else name, None)
        if isinstance(found, Estimate):
            found = getattr(found, _ENDS.get(name, "value"))
        if not isinstance(found, int | float) or not math.isfinite(found):
            return None
        return float(found)
