"""The sections of an experiment: data, victim, evaluators, attacker, defenses, sweep, and how it is run.

Each method's settings are in the method's file; this file puts them together.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from inversionlab.attacks import AnyAttack
from inversionlab.core.settings import NAMING, Settings
from inversionlab.data import AnyData, DataSettings
from inversionlab.data.split_settings import SplitSettings
from inversionlab.defenses import AnyDefense, DefenseSettings
from inversionlab.defenses.none import NoneSettings
from inversionlab.generators import AnyGenerator
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.given.settings import GivenModelSettings
from inversionlab.recognizers import RecognizerSettings

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


def _given_or_trained(victim: Any) -> str:
    """Which kind of victim a recipe's section, or a victim's settings, describe."""
    given = isinstance(victim, Mapping) and not victim.keys().isdisjoint(GIVEN_KEYS)
    given = given or isinstance(victim, GivenModelSettings)
    return (GivenModelSettings if given else RecognizerSettings).__name__


GIVEN_KEYS = GivenModelSettings.model_fields.keys() - RecognizerSettings.model_fields.keys()

if TYPE_CHECKING:
    AnyVictim = RecognizerSettings | GivenModelSettings
else:
    AnyVictim = Annotated[
        Annotated[RecognizerSettings, Tag(RecognizerSettings.__name__)]
        | Annotated[GivenModelSettings, Tag(GivenModelSettings.__name__)],
        Discriminator(_given_or_trained),
    ]


class EvaluatorSettings(Settings):
    """An evaluator: a recognizer that the attacker never sees."""

    name: str = Field(pattern=NAME, max_length=64)
    """The evaluator's name in the tables."""
    protocol: Literal["same_people", "person_disjoint", "nearest_identity", "embedding", "given"]
    """same_people: trained on the victim's training set, with another structure (Gong).
    person_disjoint: shares only the pool (by default the targets) with the victim; its other classes are
    evaluator-only people (Kotsuji, Khosravy, Yoshimura).
    nearest_identity: an embedding trained on public people alone; a reconstruction shows the private person
    whose mean embedding is nearest. A picture that only fools a classifier does not pass here.
    embedding: the same decision by an embedding that was trained elsewhere, by default SFace; its gallery is made
    of private pictures that were held out of the victim's training.
    given: a classifier of the user's own that knows the targets."""
    recognizer: RecognizerSettings = RecognizerSettings()
    """The evaluator's structure and training, where it is trained here."""
    another_network: bool = False
    """Whether a network of the victim's own kind is refused, whatever its width (Gong: IR-50 judges VGG-16)."""
    given: GivenModelSettings | None = None
    """The evaluator of the protocols `embedding` and `given`, which is not trained; null: SFace."""

    @model_serializer(mode="wrap")
    def _as_stored(
        self, plain: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """Leave out what older recipes lack, so that their hashes stay, and in names what changes no network."""
        without = [] if self.given is not None else ["given"]
        if info.context == NAMING or not self.another_network:
            without.append("another_network")
        return {k: v for k, v in plain(self).items() if k not in without}


class TargetSettings(Settings):
    """Which people are attacked, and how often."""

    count: int = Field(default=20, ge=1, le=1_000_000)
    """Number of private people under attack. The seed draws them."""
    repeats: int = Field(default=3, ge=1, le=100_000)
    """Number of reconstructions of each person, from different starts."""
    skip: int = Field(default=0, ge=0, le=1_000_000)
    """Number of people of that draw to skip before `count` are taken, because another run attacks them."""
    first_repeat: int = Field(default=0, ge=0, le=1_000_000)
    """Number of the first repeat; another number gives other random starts."""
    pool: int | None = Field(default=None, ge=1, le=1_000_000)
    """Number of first people of that draw that the person-disjoint evaluators are trained on; null: the targets.
    Runs with different targets and the same pool share their evaluators."""


class SweepSettings(Settings):
    """Several values of one setting of the defense."""

    setting: str = "defense.alpha"
    """Dotted path of the setting."""
    values: tuple[int | float, ...] = Field(min_length=1, max_length=1001)
    """The values of the setting, in the order of the report."""
    marked: float | None = None
    """A value that the plots mark, for example the paper's."""


_ELSEWHERE = {
    "CPU": "set runtime.train_cpus or runtime.attack_cpus",
    "GPU": "set runtime.train_gpu, runtime.attack_gpu or runtime.attack_gpu_share",
    "memory": "Ray does not hold workers to it; give the nodes a resource of your own, such as `train`",
    "object_store_memory": "it belongs to the nodes (`ray start --object-store-memory`)",
    "bundle": "Ray keeps this name for its placement groups",
}
"""Names that Ray does not take as resources of one's own, and what to say in their place."""


def _placeable(resources: dict[str, float]) -> dict[str, float]:
    """Refuse what Ray would refuse, or wait for without end, once the trainings are done."""
    for name, amount in resources.items():
        advice = next((a for n, a in _ELSEWHERE.items() if n.casefold() == name.casefold()), "")
        wrong = (
            (f"is a name of Ray's own; {advice}" if advice else "")
            or ("" if name.strip() == name != "" else "must be a name without spaces around it")
            or ("" if 0.0001 <= amount <= 1e9 else "must be from 0.0001 to 1e9")
            or ("" if amount <= 1 or amount == int(amount) else "must be a whole number above 1")
        )
        if wrong:
            raise ValueError(f"`{name}`: {amount:g}: {wrong}")
    return resources


ExtraResources = Annotated[dict[str, float], AfterValidator(_placeable)]
"""Ray resources of the nodes' own, by name; each above 0, and whole above 1."""


class RuntimeSettings(Settings):
    """How the work is distributed. No attack's result depends on it but for `precision`. A network trained by
    several workers differs from one trained by one worker as two seeds differ."""

    train_workers: int = Field(default=1, ge=1, le=4096)
    """Ray Train workers that share each training."""
    train_cpus: int = Field(default=2, ge=1, le=1024)
    """CPUs and torch threads of a training worker; at most those of the largest node."""
    train_groups: int = Field(default=1, ge=1, le=1024)
    """Trainings that may run at once, each with `train_workers` workers. They train networks that do not need each
    other."""
    train_resources: ExtraResources = Field(default_factory=dict)
    """More Ray resources of a training worker, such as {"train": 1}, that place it on its kind of node."""
    attack_workers: int | None = Field(default=None, ge=1, le=65_536)
    """At most this many attack workers; null: as many as the cluster has room for now. A cluster that grows with
    the work needs this number as its limit."""
    attack_cpus: float = Field(default=1.0, gt=0, le=1024)
    """CPUs of an attack worker; it uses one torch thread."""
    attack_resources: ExtraResources = Field(default_factory=dict)
    """More Ray resources of an attack worker."""
    shard_seconds: float = Field(default=30.0, gt=0, le=86_400)
    """Duration of a shard, at the measured pace. A worker that dies loses about this much. Up to eight slow
    reconstructions, which are quicker together, may take five times as long."""
    shard_size: int = Field(default=512, ge=1, le=100_000)
    """At most this many reconstructions in a shard; a worker holds their pictures until all are done."""
    attack_width: int | None = Field(default=None, ge=1, le=65_536)
    """Pictures that an attack worker sends through the networks at once, as long as there are enough; null: the
    number measured to be best, for every attack and device. It bounds a worker's memory."""
    train_gpu: Literal["auto", "never", "always"] = "auto"
    """Whether training workers use GPUs. auto: if the cluster has one; always: refuse to start without one."""
    attack_gpu: Literal["auto", "never", "always"] = "auto"
    """Whether attack workers share GPUs; values as for `train_gpu`."""
    grows: bool = False
    """Whether the cluster starts nodes when work waits for them. If so, `always` requests GPUs that are not there
    yet, and a training requests all of its CPUs."""
    attack_gpu_share: float = Field(default=0.25, gt=0, le=1)
    """Share of a GPU for each attack worker, if GPUs are used."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """The number format in which attacks run networks. Results in bf16 and in fp32 are stored apart. auto: that of
    stored results, else bf16 if the machine that starts the command has a GPU with it, or a CPU with AMX or
    AVX512-BF16. Networks are trained in it too (auto: what the worker's chip has), and keep their names."""
    checkpoint_seconds: float = Field(default=20.0, ge=0, le=86_400)
    """Training time between checkpoints, at epoch ends."""
    verify_data: bool = False
    """Whether a command reads every picture file again (`--verify-data`). Otherwise it reads those that are new,
    and those whose size or time of change differs from what an earlier command found."""

    @model_validator(mode="after")
    def _says_how_far_it_grows(self) -> Self:
        if self.grows and self.attack_workers is None:
            raise ValueError(
                "runtime.grows = true: set runtime.attack_workers too, the number of attack workers that the "
                "cluster may grow to; its room at the start does not show it"
            )
        return self


class ExperimentSections(Settings):
    """Every section of an experiment; `Experiment` adds the check that they fit together."""

    name: str = Field(pattern=NAME, max_length=64)
    """Name of the run's folder and of the report."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Root of every random stream."""
    seeds: tuple[int, ...] | None = Field(default=None, min_length=1, max_length=100)
    """Seeds of the victims. For each seed the victim is trained anew and attacked, with all networks that the
    defender trains and all that learn from the victim. People, targets, evaluators and the attacker's other
    networks are those of `seed`. Figures are pooled over the victims. null: one victim, of `seed`."""
    data: AnyData | None = None
    """The pictures of private and evaluator-only people, and of public people unless `public_data` is given. null,
    for a given victim alone: no private pictures are at hand, and success cannot be judged."""
    public_data: AnyData | None = None
    """Another data set for the attacker's public pictures."""
    split: SplitSettings = SplitSettings()
    """Which people go into which set."""
    victim: AnyVictim = RecognizerSettings()
    """R_T, the model whose leakage is measured: a recognizer to be trained, or a model that exists (`model`,
    `weights`, `endpoint`, ...)."""
    evaluators: tuple[EvaluatorSettings, ...] = Field(default=(), max_length=8)
    """The evaluators of every reconstruction; one or more wherever there is `data`."""
    headline: Literal["first", "worst"] = "first"
    """The evaluator that decides which attack is strongest: the first one, or the one that finds most (worst)."""
    generator: AnyGenerator
    """The attacker's generator, trained on the public set."""
    generators: dict[Annotated[str, Field(pattern=NAME, max_length=64)], AnyGenerator] = Field(
        default_factory=dict, max_length=100
    )
    """More generators of the attacker, by labels of your own, for attacks that need another kind."""
    defense_generator: AnyGenerator | None = None
    """The defender's generator, trained on the private set, for defenses that need one."""
    defense: AnyDefense = NoneSettings()
    """The defense under test; the tables always have a row for the undefended victim too."""
    protect: Literal["together", "each"] = "together"
    """Whether a defense of the attacked people is one network for all of them, or (Gong) one for each."""
    defenses: tuple[AnyDefense, ...] = Field(default=(), max_length=200)
    """More defenses to compare with `defense`."""
    suite: Literal["standard"] | None = None
    """A named list of attacks that is added to `attacks`. A claim needs `standard`. An entry of `attacks` replaces
    the one with the same title in the list. Generators that the list needs are added with default settings."""
    attacks: tuple[AnyAttack, ...] = Field(default=(), validate_default=True, max_length=200)
    """The attacks, one or more unless there is a `suite`; the tables always have rows for the null attacks too."""
    targets: TargetSettings = TargetSettings()
    """Which people are attacked, and how often."""
    prior_ceiling: bool = False
    """Whether the best private faces that each attacker's generator can make are searched for. The share that the
    first evaluator recognizes is the ceiling of every attack on that generator. It takes seconds per generator."""
    sweep: SweepSettings | None = None
    """A setting of the defense to try at several values."""
    runtime: RuntimeSettings = RuntimeSettings()
    """How the work is distributed, and the number format in which attacks compute."""

    @field_validator("attacks")
    @classmethod
    def _some(cls, attacks: tuple[AnyAttack, ...], info: ValidationInfo) -> tuple[AnyAttack, ...]:
        if not attacks and info.data.get("suite", "wrong") is None:
            hint = "; name at least one, or set `suite: standard`"
            raise PydanticCustomError("missing", "is missing", {"hint": hint})
        return attacks

    @model_serializer(mode="wrap")
    def _as_stored(self, plain: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        """Leave out `seeds` and `protect` where they change nothing, and `suite` where it is null, as before.

        Names never hold the suite, whose attacks name what is stored, or what changes no network and no row.
        """
        values = plain(self)
        if self.seeds is None or self.seeds == (self.seed,):
            values.pop("seeds", None)
        if self.protect == "together":
            values.pop("protect", None)
        if info.context == NAMING or values.get("suite") is None:
            values.pop("suite", None)
        if info.context == NAMING:
            values.pop("prior_ceiling", None)
        return values

    @property
    def victim_seeds(self) -> tuple[int, ...]:
        """The seeds of the victims, in the recipe's order."""
        return self.seeds or (self.seed,)

    @property
    def endpoint(self) -> EndpointSettings | None:
        """The endpoint that the victim is behind, if it is."""
        return self.victim.endpoint if isinstance(self.victim, GivenModelSettings) else None

    @property
    def pictures(self) -> DataSettings:
        """The settings of the data that shows how large pictures are."""
        shown = self.data or self.public_data
        assert shown is not None, "checked at load"
        return shown

    def every_defense(self) -> Iterable[tuple[str, DefenseSettings]]:
        """The defenses under test, with their keys in the recipe."""
        others = ((f"defenses.{i}", d) for i, d in enumerate(self.defenses))
        return [("defense", self.defense), *others]
