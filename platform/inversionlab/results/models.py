"""The released models as measured: how well they recognize, and what they need."""

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, Json

from inversionlab.metrics import Estimate, wilson
from inversionlab.results.load import RunData
from inversionlab.results.run_record import RecordPart


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
    """One released model: a row of the table `models`. NaN, None or "" where something is not known."""

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
    others_taken_of: tuple[int, ...] = ()
    """The same for each attacked person, in the order of the run's targets."""
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

    @property
    def accuracy_all(self) -> Estimate | None:
        """Share of all people's test pictures that the model recognizes."""
        return wilson(self.correct_all, self.total_all) if self.total_all else None

    @property
    def accuracy_targets(self) -> Estimate | None:
        """Share of the attacked people's test pictures that the model recognizes."""
        return wilson(self.correct_targets, self.total_targets) if self.total_targets else None


def models_of(run: RunData) -> dict[str, Model]:
    """Every measured model by its id, as first measured."""
    rows = reversed(run.models.to_pylist())
    return {row["protected"]: Model.model_validate(row) for row in rows}


def undefended_accuracy(run: RunData) -> Estimate | None:
    """Recognition accuracy of the undefended model on all people, where it is known."""
    models = models_of(run)
    names = (c.protected for c in run.record.cells if c.kind == "undefended")
    return next((models[name].accuracy_all for name in names if name in models), None)
