"""One experiment, whole: data, victim, judges, attacker, defense, sweep, and how it is run.

The settings of each method stand beside the method; here they are put together, and what does not go
together is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from inversionlab.access import Scores, WhiteBox
from inversionlab.attacks import ATTACKS, AnyAttack, AttackSettings
from inversionlab.coherence import all_faults
from inversionlab.config import (
    ConfigError,
    Settings,
    assign,
    override,
    read_recipe,
    validate,
)
from inversionlab.data import AnyData
from inversionlab.data.splits import SplitSettings
from inversionlab.defenses import AnyDefense, DefenseSettings
from inversionlab.generators import GENERATORS, AnyGenerator, GeneratorSettings
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


class Experiment(Settings):
    """The whole experiment."""

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

    @model_validator(mode="after")
    def _goes_together(self) -> Experiment:
        wrong = all_faults(self)
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def generator_of(self, attack: AttackSettings) -> GeneratorSettings:
        """The generator that an attack searches.

        Raises:
            ValueError: it names none of `generators`, or there is none that has what the attack needs.
        """
        own: GeneratorSettings = self.generator
        if attack.generator is not None:
            named = self._labelled(attack.generator, f"attacks ({attack.title})")
            if GENERATORS[named.name].taught and not _may_be_taught(attack):
                raise ValueError(
                    f"attacks ({attack.title}): generator = {attack.generator}: `{named.name}` learns "
                    "from whole score vectors, which this attacker does not see; give another one"
                )
            if not _suits(named, attack):
                raise ValueError(
                    f"attacks ({attack.title}): generator = {attack.generator}: {_lack(attack)}"
                )
            return named
        # One that learns from the model only for who needs what only such a one has.
        choice = sorted((own, *self.generators.values()), key=lambda g: GENERATORS[g.name].taught)
        for settings in choice:
            if _suits(settings, attack):
                return settings
        raise ValueError(f"attacks ({attack.title}): {_lack(attack)}")

    def defender_generator_of(self, defense: DefenseSettings) -> GeneratorSettings:
        """The structure of the generator that a defense trains on public pictures.

        Raises:
            ValueError: it names none of `generators`, or there is none with a critic.
        """
        label = getattr(defense, "generator", None)
        every: list[GeneratorSettings] = [self.generator, *self.generators.values()]
        every.sort(key=lambda g: GENERATORS[g.name].taught)
        if label is not None:
            named = self._labelled(label, f"({defense.title})")
            if "critic" not in GENERATORS[named.name].offers:
                able = " or ".join(n for n, kind in GENERATORS.items() if "critic" in kind.offers)
                raise ValueError(
                    f"({defense.title}): generator = {label}: `{named.name}` has no critic, which "
                    f"`{defense.name}` needs; name one that has: {able}"
                )
            return named
        for settings in every:
            if "critic" in GENERATORS[settings.name].offers:
                return settings
        raise ValueError(
            f"({defense.title}): `{defense.name}` needs a generator with a critic; give one under `generators` "
            "(for example mine: {name: wgan_gp}) and its label as the defense's `generator`"
        )

    def _labelled(self, label: str, who: str) -> GeneratorSettings:
        """The generator that somebody names by its label."""
        if label not in self.generators:
            known = ", ".join(self.generators) or "none"
            raise ValueError(
                f"{who}: generator = {label}: is not one of `generators` (there: {known})"
            )
        found: GeneratorSettings = self.generators[label]
        return found

    def every_defense(self) -> Iterable[tuple[str, DefenseSettings]]:
        """The defenses under test with their keys in the recipe."""
        own: DefenseSettings = self.defense
        others: tuple[DefenseSettings, ...] = self.defenses
        return [("defense", own), *((f"defenses.{i}", d) for i, d in enumerate(others))]

    def defense_at(self, value: int | float | None) -> Any:
        """The defense's settings with the swept setting at `value` (None: as the recipe has them).

        Raises:
            ValueError: the sweep names no setting of the defense, or a value that it refuses.
        """
        if value is None or self.sweep is None:
            return self.defense
        head, _, rest = self.sweep.setting.partition(".")
        if head != "defense" or not rest:
            raise ValueError(f"sweep.setting = {self.sweep.setting}: must begin with `defense.`")
        data = self.defense.model_dump(mode="json")
        try:
            assign(data, rest, value)
            return type(self.defense).model_validate_json(json.dumps(data))
        except (ValidationError, ConfigError) as error:
            reason = _reason(error) if isinstance(error, ValidationError) else str(error)
            known = ", ".join(f"defense.{k}" for k in type(self.defense).model_fields)
            raise ValueError(
                f"sweep of {self.sweep.setting} at {value}: {reason} (the settings of "
                f"`{self.defense.name}` are: {known})"
            ) from error


def _reason(error: ValidationError) -> str:
    fault = error.errors()[0]
    if fault["type"] == "extra_forbidden":
        return "there is no such setting"
    return fault["msg"].replace("Input should ", "the value should ", 1)


def _suits(settings: GeneratorSettings, attack: AttackSettings) -> bool:
    kind = GENERATORS[settings.name]
    wants: frozenset[str] = ATTACKS[attack.name].wants
    return wants <= kind.offers and (not kind.taught or _may_be_taught(attack))


def _may_be_taught(attack: AttackSettings) -> bool:
    """Whether the attacker sees whole score vectors, from which a taught generator learns."""
    view = ATTACKS[attack.name].view_at(attack)
    return view in (Scores, WhiteBox) and getattr(attack, "truncate", None) is None


def _lack(attack: AttackSettings) -> str:
    wants = ATTACKS[attack.name].wants
    able = " or ".join(name for name, kind in GENERATORS.items() if wants <= kind.offers)
    return (
        f"`{attack.name}` needs a generator with {' and '.join(sorted(wants))}; give one under "
        f"`generators` (for example mine: {{name: {able}}})"
    )


def null_attacks() -> tuple[str, ...]:
    """Names of the attacks that never look at the model."""
    return tuple(name for name, attack in ATTACKS.items() if attack.view is None)


def load(path: Path, assignments: Iterable[str] = ()) -> Experiment:
    """Read a recipe, apply `--set` assignments, and refuse whatever is wrong.

    Raises:
        ConfigError: one line a fault: file, key, value, and what would be right.
    """
    assignments = list(assignments)
    data = override(read_recipe(path), assignments)
    origin = f"{path}" + (" with --set " + " ".join(assignments) if assignments else "")
    return validate(Experiment, data, origin=origin)
