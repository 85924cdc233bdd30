"""The record of a search: the one definition of what `searches/NAME/search.json` holds.

The keys and their nesting are those of the file. A key that an older file lacks takes its default here.
"""

# ruff: noqa: RUF012 - pydantic copies the default values

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import Field

from inversionlab.metrics import Estimate, paired
from inversionlab.metrics.difference import difference
from inversionlab.results.evaluator_results import METRICS
from inversionlab.results.guessing import MANY, known_people
from inversionlab.results.ranking import Headline, Strongest, strongest
from inversionlab.results.record_part import RecordPart, StoredKey, StoredNumber, StoredRecipe
from inversionlab.results.trial_record import Share, Success, TrialRecord

SHARES = (
    *("accuracy", "attack_success", "attack_success_low", "attack_success_high"),
    *("strangers_taken", "strangers_accepted"),
    *(metric.key for metric in METRICS if metric.share and metric.better),
)
"""Metrics that are shares in [0, 1]."""


class SpaceRecord(RecordPart):
    """What was searched."""

    module: str = ""
    """The search space's module: the defense that it is for."""
    domains: dict[str, str] = {}
    """Dotted config path -> domain in words."""
    kinds: dict[str, dict[str, Any]] = {}
    """Dotted config path -> domain as plain data; see `tuning.domains.Kind`."""
    start: list[dict[str, Any]] = []


class AuditedRun(RecordPart):
    """The run that audits the recommended setting."""

    run: StoredKey


class TrainingCounts(RecordPart):
    """How many networks were trained for how many trials."""

    trials: int
    networks: int


class Tables(RecordPart):
    """Where the store keeps what belongs to the search."""

    real: StoredKey = ""
    """The key of the targets' real pictures."""


class SearchRecord(RecordPart):
    """One search."""

    search: str = ""
    """Its name: a folder below `searches`."""
    name: str = ""
    """The experiment's name."""
    created: str = ""
    """When the record was written, in ISO format with the time zone."""
    seconds: float = 0.0
    space: SpaceRecord = SpaceRecord()
    objectives: dict[str, str] = {}
    """Metric -> "max" or "min"."""
    constraints: dict[str, float] = {}
    """Metric -> upper bound."""
    single: bool = False
    """Whether `score` alone was minimized."""
    options: dict[str, Any] = {}
    """How the search was run: trials, max_concurrent, time_budget, sampler, seed, step_targets."""
    experiment: StoredRecipe = {}
    """The recipe that the trials are variations of."""
    provenance: dict[str, Any] = {}
    data: dict[str, Any] = {}
    """The data in numbers: private_people, test_pictures and others."""
    trials: list[TrialRecord] = []
    """In the order of their numbers."""
    undefended: TrialRecord | None = None
    null: Success = {}
    """Attacks that ask no model."""
    real: dict[str, Share] = {}
    """Evaluator -> share of real held-out pictures that it recognizes; empty where that is not noted."""
    front: list[int] = []
    """Numbers of the complete trials on the Pareto front."""
    recommended: int | None = None
    """The recommended trial's number."""
    audited: AuditedRun | None = Field(default=None, alias="rejudged")
    """Named as soon as a setting is recommended; the run itself may be yet to come."""
    importance: dict[str, dict[str, float]] = {}
    """Metric -> setting -> share; the shares of one metric add up to 1."""
    trainings: TrainingCounts | None = None
    tables: Tables = Tables()
    cost: dict[str, dict[str, float]] = {}
    """`train` and `attack`, each with `cpu_seconds` and `gpu_seconds`, all machines together."""
    timings: dict[str, float] = {}
    """Stage -> seconds."""
    timeline: list[dict[str, Any]] = []
    """How the cluster and the work in it changed; see `report.charts.timeline`."""
    targets: list[StoredNumber] = []
    """The attacked people's numbers."""
    repeats: StoredNumber = 1
    """Reconstructions of each target by each attack."""
    guesses: int = MANY
    """k: a try succeeds if the right person is among an evaluator's first k."""
    people: dict[str, int] = {}
    """Evaluator -> among how many people it chooses; empty where that is not noted."""
    aware: bool | None = None
    """Whether an attack that knows about the defense ran; None where an older version did not note it."""
    aware_attack: str = ""
    """The attack that knows about this defense."""

    @property
    def headline(self) -> Headline:
        """Which evaluator decides; `worst` decided before recipes could say so."""
        found = self.experiment.get("headline")
        return "first" if found == "first" else "worst"

    @property
    def evaluators(self) -> list[str]:
        """The evaluators' names in the recipe's order; the file itself sorts its keys."""
        evaluators = self.experiment.get("evaluators") or []
        return [e["name"] for e in evaluators if "name" in e]

    def strongest(self, success: Success) -> Strongest[str] | None:
        """The strongest of some attacks; None where there is none."""

        def in_order(attack: str) -> list[Estimate]:
            found = success[attack]
            return [found[name] for name in self.evaluators or found if name in found]

        return strongest(success, in_order, headline=self.headline)

    @cached_property
    def decides(self) -> str:
        """The evaluator that decides on the undefended victim; "" where none is known."""
        bare = self.undefended.strongest if self.undefended else None
        return bare.evaluator if bare else next(iter(self.evaluators), "")

    def guess_by(self, evaluator: str | None) -> Strongest[str] | None:
        """The null attack that succeeds most by this evaluator; None: by that which decides."""
        mine = {a: {evaluator: s[evaluator]} for a, s in self.null.items() if evaluator in s}
        return self.strongest(mine or self.null)

    @cached_property
    def guess(self) -> Strongest[str] | None:
        """The null attack that succeeds most by the evaluator that decides on the undefended victim."""
        bare = self.undefended.strongest if self.undefended else None
        return self.guess_by(bare.evaluator if bare else None)

    @cached_property
    def chance(self) -> float | None:
        """The success of blind guesses by the evaluator that decides on the undefended victim; None: not known."""
        judges = {e["name"]: e for e in self.experiment.get("evaluators") or [] if "name" in e}
        judge = judges.get(self.decides)
        if judge is None:
            return None
        protocol, targets = judge.get("protocol"), len(self.targets)
        people = self.people.get(self.decides) or known_people(
            protocol, self.data, self.experiment, targets
        )
        return self.guesses / people if people else None

    @cached_property
    def best(self) -> TrialRecord | None:
        """The best trial that keeps the constraints; it is recommended if it `helps`."""
        return next((t for t in self.trials if t.number == self.recommended), None)

    @cached_property
    def candidates(self) -> dict[str, TrialRecord]:
        """The first trial of each model among which the best was chosen, by the model's id."""
        return {t.protected: t for t in reversed(self.trials) if t.allowed}

    @cached_property
    def by_chance(self) -> float | None:
        """How likely the best trial leaves so much less than undefended by chance alone; None in older records.

        p of a paired test on the same people, corrected for the number of candidates (Holm).
        """
        chances = {name: trial.by_chance for name, trial in self.candidates.items()}
        known = {name: p for name, p in chances.items() if p is not None}
        corrected = dict(zip(known, paired.holm(list(known.values())), strict=True))
        return corrected.get(self.best.protected) if self.best else None

    @property
    def helps(self) -> bool:
        """Whether the best trial leaves clearly less to attackers than the undefended victim does.

        Nothing else is recommended. Where one of both was not attacked there is nothing to say against it. An
        older record has intervals alone, so they decide there.
        """
        if self.by_chance is not None:
            return self.by_chance < paired.CLEAR
        bare = self.undefended.attack_success if self.undefended else None
        left = self.best.attack_success if self.best else None
        return not (bare and left) or difference(bare, left).clear

    @cached_property
    def paper(self) -> TrialRecord | None:
        """The trial at the paper's own point."""
        return next((t for t in self.trials if t.paper), None)

    @cached_property
    def front_trials(self) -> list[TrialRecord]:
        """The trials on the front, by rising accuracy, then by rising success."""
        known = [
            (t.accuracy.value, t.attack_success.value, t)
            for t in self.trials
            if t.number in self.front and t.accuracy and t.attack_success
        ]
        return [t for *_, t in sorted(known, key=lambda k: k[:2])]

    @property
    def axes(self) -> list[str]:
        """The searched settings' dotted paths, in the space's order."""
        named = dict.fromkeys([*self.space.domains, *self.space.kinds])
        return list(named) or list(dict.fromkeys(k for t in self.trials for k in t.settings))

    @property
    def defense(self) -> str:
        """What the searched defense is called; "" where that is not recorded."""
        defense = self._section("defense")
        return str(defense.get("label") or defense.get("name") or "")

    @property
    def unseen(self) -> str:
        """What the recommended recipe attacks and the search did not, in words: new people while some are left."""
        found = self._section("targets").get("skip")
        skipped = found if isinstance(found, int) else 0
        people = self.data.get("private_people")
        left = not isinstance(people, int) or skipped + len(self.targets) < people
        return "targets and random starts" if left else "random starts (every person was attacked)"

    @property
    def first_repeat(self) -> int:
        """The number of the first reconstruction of each target."""
        found = self._section("targets").get("first_repeat")
        return found if isinstance(found, int) and 0 <= found < 2**31 else 0

    def _section(self, key: str) -> Mapping[str, Any]:
        """A section of the recipe; empty where there is none."""
        found = self.experiment.get(key)
        return found if isinstance(found, Mapping) else {}
