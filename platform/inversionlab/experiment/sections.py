"""The sections of an experiment: data, victim, evaluators, attacker, defenses, sweep, and how it is run.

The settings of each method stand beside the method; here they are put together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from inversionlab.attacks import AnyAttack
from inversionlab.core.settings import Settings
from inversionlab.data import AnyData
from inversionlab.data.splits import SplitSettings
from inversionlab.defenses import AnyDefense, DefenseSettings
from inversionlab.generators import AnyGenerator
from inversionlab.recognizers import RecognizerSettings

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class EvaluatorSettings(Settings):
    """A judge: a recognizer that the attacker never sees."""

    name: str = Field(pattern=NAME, max_length=64)
    """What the tables call it."""
    protocol: Literal["same_people", "person_disjoint", "nearest_identity"]
    """same_people: trained on the victim's own training set, with another structure (Gong).
    person_disjoint: it shares only the targets with the victim, its other classes are evaluator-only
    people (Kotsuji, Khosravy, Yoshimura).
    nearest_identity: an embedding trained on public people alone; a reconstruction shows the private person
    whose mean embedding is nearest. What only fools a classifier does not pass here."""
    recognizer: RecognizerSettings = RecognizerSettings()
    """Its structure and training."""


class TargetSettings(Settings):
    """Who is attacked, and how often."""

    count: int = Field(default=20, ge=1, le=1_000_000)
    """Private people under attack, drawn by the seed."""
    repeats: int = Field(default=3, ge=1, le=100_000)
    """Reconstructions of each, from different starts."""
    skip: int = Field(default=0, ge=0, le=1_000_000)
    """People of that draw who are left out before `count` are taken: whom another run attacked."""
    first_repeat: int = Field(default=0, ge=0, le=1_000_000)
    """Number of the first repeat; another one gives other random starts."""
    pool: int | None = Field(default=None, ge=1, le=1_000_000)
    """People of that draw whom the person-disjoint judges know; null: the targets. Runs with other targets
    and the same pool share their judges."""


class SweepSettings(Settings):
    """One setting of the defense taken through several values."""

    setting: str = "defense.alpha"
    """Dotted path of the setting."""
    values: tuple[int | float, ...] = Field(min_length=1, max_length=1001)
    """The values, in the order of the report."""
    marked: float | None = None
    """A value that the plots mark: the paper's own."""


class RuntimeSettings(Settings):
    """How the work is laid out. What an attack finds does not depend on it; a network that several
    workers train differs from one worker's as two seeds differ."""

    train_workers: int = Field(default=1, ge=1, le=4096)
    """Ray Train workers that share each training."""
    train_cpus: int = Field(default=2, ge=1, le=1024)
    """CPUs (and torch threads) of a training worker; cut to what the largest node has."""
    train_groups: int = Field(default=1, ge=1, le=1024)
    """Trainings that a search may run at once, each with `train_workers`."""
    train_resources: dict[str, float] = Field(default_factory=dict)
    """Further Ray resources of a training worker, such as {"train": 1}: they lead it to its kind of node."""
    attack_workers: int | None = Field(default=None, ge=1, le=65_536)
    """Attack workers at most; null: what the cluster has room for now. On a cluster that grows with the work,
    say how many it may grow to."""
    attack_cpus: float = Field(default=1.0, gt=0, le=1024)
    """CPUs of an attack worker; its torch has one thread."""
    attack_resources: dict[str, float] = Field(default_factory=dict)
    """Further Ray resources of an attack worker."""
    shard_seconds: float = Field(default=30.0, gt=0, le=86_400)
    """Work that a worker takes at once, by the measured pace; what dies with it is at most that."""
    shard_size: int = Field(default=64, ge=1, le=100_000)
    """Reconstructions that a worker makes at once, at most: it bounds its memory."""
    train_gpu: Literal["auto", "never", "always"] = "auto"
    """Whether a training worker takes a GPU: if the cluster has one; never; or refuse to start without."""
    attack_gpu: Literal["auto", "never", "always"] = "auto"
    """Whether attack workers share GPUs."""
    grows: bool = False
    """Whether the cluster starts nodes when work waits for them; then `always` asks for GPUs that are not
    there yet, and a training for all the CPUs that it is to have."""
    attack_gpu_share: float = Field(default=0.25, gt=0, le=1)
    """Share of a GPU that an attack worker takes, where GPUs are used."""
    checkpoint_seconds: float = Field(default=20.0, ge=0, le=86_400)
    """Training time between checkpoints, at epoch ends."""

    @model_validator(mode="after")
    def _says_how_far_it_grows(self) -> RuntimeSettings:
        if self.grows and self.attack_workers is None:
            raise ValueError(
                "runtime.grows = true: say runtime.attack_workers too, how many attack workers the cluster may "
                "grow to; what it has room for at the start says nothing"
            )
        return self


class ExperimentSections(Settings):
    """Every section of an experiment; `Experiment` adds the check that they go together."""

    name: str = Field(pattern=NAME, max_length=64)
    """What the run's folder and the report are called."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Root of every random stream."""
    data: AnyData
    """The pictures of people; private, evaluator-only and, unless `public_data` is given, public."""
    public_data: AnyData | None = None
    """Another data set as the attacker's public pictures."""
    split: SplitSettings = SplitSettings()
    """Who goes into which set."""
    victim: RecognizerSettings = RecognizerSettings()
    """R_T, the model whose leak is measured."""
    evaluators: tuple[EvaluatorSettings, ...] = Field(min_length=1, max_length=8)
    """The judges; the first one decides the headline."""
    headline: Literal["first", "worst"] = "first"
    """Which evaluator decides what is strongest: the first one, or the worst, which finds most."""
    generator: AnyGenerator
    """The attacker's generator, trained on the public set."""
    generators: dict[Annotated[str, Field(pattern=NAME)], AnyGenerator] = Field(
        default_factory=dict
    )
    """Further generators of the attacker's, by a label of your own, for attacks that need another kind."""
    defense_generator: AnyGenerator | None = None
    """The defender's generator, trained on the private set, for defenses that need one."""
    defense: AnyDefense
    """The defense under test; the undefended victim is always a row beside it."""
    defenses: tuple[AnyDefense, ...] = ()
    """Further defenses, to compare with it side by side."""
    attacks: tuple[AnyAttack, ...] = Field(min_length=1)
    """The attacks; the null attacks are always rows beside them."""
    targets: TargetSettings = TargetSettings()
    """Who is attacked, how often."""
    sweep: SweepSettings | None = None
    """A setting of the defense to take through several values."""
    runtime: RuntimeSettings = RuntimeSettings()
    """How the work is laid out; changes nothing that an attack finds."""

    def every_defense(self) -> Iterable[tuple[str, DefenseSettings]]:
        """The defenses under test with their keys in the recipe."""
        own: DefenseSettings = self.defense
        others: tuple[DefenseSettings, ...] = self.defenses
        return [("defense", own), *((f"defenses.{i}", d) for i, d in enumerate(others))]
