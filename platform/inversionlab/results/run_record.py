"""The record of a run as typed values: `distributed/run_record.py` writes it, `load.py` reads it.

Records of older versions lack some keys. A key that is missing or null takes its default here.
"""

# ruff: noqa: RUF012 - pydantic copies the default values

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator

from inversionlab.results.ranking import Headline
from inversionlab.results.record_part import (
    FINITE,
    RecordPart,
    StoredKey,
    StoredNumber,
    StoredRecipe,
)

Kind = Literal["undefended", "defended", "null"]


class SweepRecord(RecordPart):
    """The setting that the run takes through several values."""

    model_config = FINITE

    setting: str
    """Dotted path."""
    values: tuple[float, ...] = ()
    marked: float | None = None
    """The paper's own value."""

    @property
    def short_name(self) -> str:
        """The last part of the setting's path."""
        return self.setting.rpartition(".")[2]


class CellRecord(RecordPart):
    """One attack on one protected model, or a null attack.

    An attack on a stripped defense is the attack on what is left of it, so a `cell` may stand here twice.
    """

    model_config = FINITE

    cell: StoredKey
    attack: str
    defense: str = ""
    title: str = ""
    """What the recipe calls the defense."""
    protected: StoredKey = ""
    """Id of the released model; empty for a null attack."""
    label: str = ""
    stripped: bool = False
    """Whether the attacker has removed the parts of the defense that come off. That takes the weights."""
    point: float | None = None
    """The value of the swept setting."""
    seed: int | None = None
    """The seed of its victim, where the run has several; None for a null attack, which asks none."""
    target: int | None = None
    """The class whom the released model protects alone (`protect: each`); None: all under attack, or nobody."""
    baseline: bool = False
    """Whether it is a null attack or an attack on the undefended model."""
    access: str = ""
    """What the attacker sees of the model: "white box", "scores", "labels"; empty for a null attack."""
    null: bool
    """Whether the attack asks no model; older records show it by `protected` alone."""
    floor: bool = False
    """Whether the attack inverts nothing although it asks the model."""
    prior: str = ""
    """Id of the generator that the attack searches; empty if it searches none, and in older records."""
    knows_defense: bool | None = None
    """Whether the attack is made against a defense; None in older records."""
    aware_attack: str = ""
    """The attack that knows of the defense; empty in older records and for null attacks."""
    inverts_outputs: bool | None = None
    """Whether the attack inverts the model's answers to private pictures; None in older records."""
    victim_share: str | None = None
    """The defense's setting whose value 1 gives the undefended model; None: it has none."""

    @model_validator(mode="before")
    @classmethod
    def _older_null(cls, data: Any) -> Any:
        return {"null": not data.get("protected"), **data} if isinstance(data, Mapping) else data

    @property
    def kind(self) -> Kind:
        """What is attacked."""
        if self.null:
            return "null"
        return "undefended" if self.baseline else "defended"


class GivenVictimRecord(RecordPart):
    """A victim that was given and not trained here."""

    model: str
    """The name of its file, its import path, or an endpoint's address."""
    weights: str = ""
    """The name of the file of its weights, if it has one."""
    answers: str = ""
    """What it answers, in words."""
    shows: str = ""
    """The most that an attacker may see of it: "white box", "scores", "labels"."""
    why: str = ""
    """Why it shows no more, in words."""
    preprocessing: str = ""
    """In one line."""
    people: int = 0
    """How many it knows."""
    checked: tuple[str, ...] = ()
    """What the check before the attacks said."""
    fault: str = ""
    """What that check found wrong, where the audit went on nevertheless."""


class ArtifactRecord(RecordPart):
    """One trained or given network."""

    model_config = FINITE

    role: str
    id: str
    seconds: float = 0.0
    """Training time."""
    trained: bool = False
    """Whether this run trained it."""
    given: bool = False
    """Whether it was given, so that nothing was trained."""
    metrics: dict[str, Any] = {}


class SuiteRecord(RecordPart):
    """The named list of attacks that a run made."""

    name: str
    version: int = 0
    """Which version of the list."""
    attacks: tuple[str, ...] = ()
    """The titles of its attacks on this run's model."""
    changed: tuple[str, ...] = ()
    """Those of them whose settings are the recipe's own."""
    added: tuple[str, ...] = ()
    """The recipe's further attacks."""
    not_shown: tuple[str, ...] = ()
    """Those of the list that need more of the model than it shows."""

    @property
    def text(self) -> str:
        """In words, without a point at the end."""
        parts = [f"the {self.name} suite, version {self.version}: {', '.join(self.attacks)}"]
        if self.changed:
            parts.append(f"changed settings: {', '.join(self.changed)}")
        if self.added:
            parts.append(f"added to it: {', '.join(self.added)}")
        if self.not_shown:
            parts.append(
                f"left out, as the model does not show enough: {', '.join(self.not_shown)}"
            )
        return "; ".join(parts)


class PriorRecord(RecordPart):
    """One generator of the attackers'."""

    model_config = FINITE

    id: str
    """The generator's id."""
    label: str = ""
    """What the recipe calls it: `generator`, or its label among `generators`."""
    kind: str = ""
    """The name of its structure, or where its class is."""
    trained_on: str = ""
    """What it was trained on, in words."""
    seconds: float | None = None
    """Training time; None: not trained here, or not known."""
    ceiling: StoredKey = ""
    """The key of its ceiling in the store; empty where none was asked for."""


class JobsRecord(RecordPart):
    """Which reconstructions of its cells are the run's own."""

    targets: tuple[StoredNumber, ...] = ()
    repeats: StoredNumber = 0
    first_repeat: StoredNumber = 0


class TablesRecord(RecordPart):
    """The keys of the run's measurements in the store."""

    models: tuple[StoredKey, ...] = ()
    evaluators: tuple[StoredKey, ...] = ()
    real: StoredKey = ""
    """Of the targets' real pictures."""


WORK = {"created", "seconds", "timings", "cost", "timeline"}
"""What a run's record says of the work that the command did."""


class RunRecord(RecordPart):
    """What was run, on what, and where its results are."""

    model_config = FINITE

    run: StoredKey = ""
    name: str = ""
    created: str = ""
    seconds: float = 0.0
    experiment: StoredRecipe = {}
    """The whole experiment, as a recipe holds it."""
    provenance: dict[str, Any] = {}
    """Versions and machine."""
    data: dict[str, Any] = {}
    """The data in numbers, with a line for each picture that was left out."""
    given: GivenVictimRecord | None = None
    """The victim, if it was given."""
    sweep: SweepRecord | None = None
    suite: SuiteRecord | None = None
    """The named list of attacks, if the recipe states one."""
    cells: tuple[CellRecord, ...] = ()
    artifacts: tuple[ArtifactRecord, ...] = ()
    priors: tuple[PriorRecord, ...] = ()
    """The attackers' generators; empty in older records."""
    timings: dict[str, float] = {}
    """Seconds of each stage."""
    cost: dict[str, dict[str, float]] = {}
    """`train` and `attack`, each with `cpu_seconds` and `gpu_seconds`."""
    timeline: tuple[dict[str, Any], ...] = ()
    """How the cluster and the work in it changed; see `report.charts.timeline`."""
    warnings: tuple[str, ...] = ()
    jobs: JobsRecord = JobsRecord()
    tables: TablesRecord = TablesRecord()

    def says_as_much_as(self, other: "RunRecord") -> bool:
        """Whether the two differ at most in when, where and for how long work was done."""
        return self._lasting() == other._lasting()

    def _lasting(self) -> dict[str, Any]:
        plain = self.model_dump(mode="json", exclude=WORK)
        for artifact in plain["artifacts"]:
            del artifact["trained"]
        plain["provenance"].pop("machine", None)
        return plain

    @property
    def judged(self) -> bool:
        """Whether private pictures were at hand; without them nobody can say whether an attack succeeded."""
        return "data" not in self.experiment or self.experiment["data"] is not None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of several victims, over which figures are pooled; empty where there is one victim."""
        return tuple(dict.fromkeys(c.seed for c in self.cells if c.seed is not None))

    @property
    def alone(self) -> tuple[int, ...]:
        """The people whom models protect alone (`protect: each`)."""
        return tuple(dict.fromkeys(c.target for c in self.cells if c.target is not None))

    @property
    def headline(self) -> Headline:
        """Which evaluator decides what is strongest."""
        return "worst" if self.experiment.get("headline") == "worst" else "first"
