"""What an experiment needs done: networks to train and cells to attack, each named by all that goes into it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations

from inversionlab.attacks import ATTACKS, AttackSettings
from inversionlab.core.learner import Precision
from inversionlab.core.settings import NAMING, ConfigError, fingerprint
from inversionlab.core.views import WhiteBox
from inversionlab.defenses import DefenseSettings
from inversionlab.defenses.composition import alone_for_each, stripped
from inversionlab.defenses.none import NoneSettings
from inversionlab.experiment import Experiment
from inversionlab.experiment.references import defense_at, null_attacks
from inversionlab.given.sface import SFACE_SETTINGS
from inversionlab.pipeline.attacker_specs import attacker_networks, generator_spec
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.defense_specs import DefenseSpecs, victim_specs
from inversionlab.pipeline.given_facts import GivenFacts
from inversionlab.pipeline.given_specs import GivenSpec
from inversionlab.pipeline.network_spec import NETWORK_FORMAT, NetworkSpec
from inversionlab.pipeline.recognizer_specs import PROTOCOLS, RecognizerSpec

ROW_FORMAT = 4
"""Raise it when a row would differ for equal settings."""
MOST = 4
"""Evaluators whose orders are looked at, at most; of four there are 63 other choices."""


@dataclass(frozen=True)
class Plan:
    """Everything to be done."""

    data_id: str
    targets: tuple[int, ...]
    """Classes under attack."""
    pool: tuple[int, ...]
    """Classes that the person-disjoint evaluators know."""
    specs: tuple[NetworkSpec, ...]
    """Every network once, each after those that its training needs."""
    cells: tuple[Cell, ...]
    evaluators: Mapping[str, RecognizerSpec | GivenSpec]
    """The evaluators by their names in the recipe."""
    victims: Mapping[int, DefenseSpecs]
    """By its seed each victim, with the networks of any defense of it and the names of the released models."""
    precision: Precision = "fp32"
    """In which attacks run the networks."""

    @property
    def defense_specs(self) -> DefenseSpecs:
        """What `victims` holds of the only victim."""
        (only,) = self.victims.values()
        return only

    def of_seed(self, seed: int | None) -> DefenseSpecs:
        """What `victims` holds of the victim of this seed; None: of the only victim."""
        return self.defense_specs if seed is None else self.victims[seed]

    def spec(self, role: str) -> NetworkSpec:
        """The only network of this role; `generator`, `attack` and the defenses' roles may have several, and with
        several victims `victim` has too."""
        (only,) = [spec for spec in self.specs if spec.role == role]
        return only

    @cached_property
    def work(self) -> dict[str, Cell]:
        """The cells to be attacked, each once, by their ids."""
        work: dict[str, Cell] = {}
        for cell in self.cells:
            work.setdefault(cell.id, cell)
        return work


def make_plan(
    experiment: Experiment,
    data_id: str,
    targets: tuple[int, ...],
    pool: tuple[int, ...] | None = None,
    given: Mapping[str, GivenFacts] | None = None,
    precision: Precision = "fp32",
) -> Plan:
    """The plan of an experiment on this data; without a `pool` the evaluators know the targets.

    `given` holds the facts of its given models, by role, and `precision` is that of its attacks.

    Raises:
        ConfigError: two of the defenses side by side release the same model.
    """
    pool, seed = targets if pool is None else pool, experiment.seed
    facts = given or {}
    victims = {
        one.seed: DefenseSpecs(experiment, one, targets, facts)
        for one in victim_specs(experiment, data_id, facts)
    }
    evaluators: dict[str, RecognizerSpec | GivenSpec] = {}
    for e in experiment.evaluators:
        role = f"evaluator:{e.name}"
        if e.protocol in PROTOCOLS:
            evaluators[e.name] = RecognizerSpec(
                data_id, seed, role, e.name, e.recognizer, PROTOCOLS[e.protocol], pool
            )
        else:
            own = e.given or SFACE_SETTINGS
            evaluators[e.name] = GivenSpec(
                data_id, seed, role, e.name, own, facts[role], experiment, e.protocol, pool
            )
    points = _points(experiment, next(iter(victims.values())))
    cells = tuple(_cells(victims, evaluators, points, precision))
    needed = [
        *(specs.victim for specs in victims.values()),
        *evaluators.values(),
        generator_spec(data_id, seed, experiment.generator, facts),
        *(
            spec
            for specs in victims.values()
            for _, defense in _for_each(specs, points)
            for spec in specs.needed(defense)
        ),
        # A network that learns from a model comes after the model's own networks.
        *(spec for cell in cells for spec in (cell.generator, cell.network) if spec is not None),
    ]
    specs: dict[str, NetworkSpec] = {}
    for spec in needed:
        specs.setdefault(spec.key, spec)
    made = tuple(specs.values())
    return Plan(data_id, targets, pool, made, cells, evaluators, victims, precision)


Point = tuple[float | None, DefenseSettings]
"""A value of the swept setting (None: it is not swept), and the defense there."""


def _points(experiment: Experiment, defense_specs: DefenseSpecs) -> list[Point]:
    """The defenses under test: the recipe's own, the sweep's, and those to compare with.

    Raises:
        ConfigError: one to compare with releases the same model as another, so it would have no row of its own.
    """
    values = experiment.sweep.values if experiment.sweep else ()
    swept: list[Point] = [(value, defense_at(experiment, value)) for value in values]
    seen: dict[str, str] = {}
    for name, defense in (
        ("the undefended victim, which is a row anyway", NoneSettings()),
        ("defense", experiment.defense),
        *((f"the sweep's point {value}", defense) for value, defense in swept),
    ):
        seen.setdefault(defense_specs.model(defense).id, name)
    wrong = []
    for index, other in enumerate(experiment.defenses):
        key = f"defenses.{index}"
        twin = seen.setdefault(defense_specs.model(other).id, key)
        if twin != key:
            wrong.append(
                f"{key} ({other.title}): is the same model as {twin}; leave one of them out"
            )
    if wrong:
        raise ConfigError("; ".join(wrong))
    if experiment.defense not in [defense for _, defense in swept]:
        swept.insert(0, (None, experiment.defense))
    return [*swept, *((None, other) for other in experiment.defenses)]


def _cells(
    victims: Mapping[int, DefenseSpecs],
    evaluators: Mapping[str, NetworkSpec],
    points: list[Point],
    precision: Precision,
) -> Iterator[Cell]:
    """The null attacks, then for each victim every attack on it undefended and with the defenses under test."""
    for name in null_attacks():
        settings = ATTACKS[name].Settings(name=name)
        # It asks no model, so it is the same for every victim.
        any_victim = next(iter(victims.values()))
        yield _cell(any_victim, evaluators, settings, None, None, None, precision)
    for specs in victims.values():
        yield from _cells_of(specs, evaluators, points, precision)


def _cells_of(
    specs: DefenseSpecs,
    evaluators: Mapping[str, NetworkSpec],
    points: list[Point],
    precision: Precision,
) -> Iterator[Cell]:
    undefended: Point = (None, NoneSettings())
    for attack in specs.experiment.attacks:
        kind, seen = ATTACKS[attack.name], set()
        if kind.view is None:
            continue
        for point, defense in (undefended, *_for_each(specs, points)):
            models = [defense]
            if kind.view_at(attack) is WhiteBox and (left := stripped(defense)) != defense:
                # An attacker who holds the weights can also take a part of the defense off.
                models.append(left)
            for attacked in models:
                cell = _cell(specs, evaluators, attack, defense, attacked, point, precision)
                if (cell.protected, cell.id) not in seen:
                    seen.add((cell.protected, cell.id))
                    yield cell


def _for_each(specs: DefenseSpecs, points: list[Point]) -> list[Point]:
    """The points; with `protect: each`, for each attacked person one with a defense that protects them alone."""
    people = specs.targets if specs.experiment.protect == "each" else ()
    return [(value, one) for value, whole in points for one in alone_for_each(whole, people)]


def _other_judges(judges: list[list[str]]) -> Iterator[list[list[str]]]:
    """Some of the evaluators, or all in another order; of more than MOST only in the given order."""
    choose = permutations if len(judges) <= MOST else combinations
    for count in range(len(judges), 0, -1):
        yield from ([*some] for some in choose(judges, count) if [*some] != judges)


def _cell(
    specs: DefenseSpecs,
    evaluators: Mapping[str, NetworkSpec],
    attack: AttackSettings,
    defense: DefenseSettings | None,
    attacked: DefenseSettings | None,
    point: float | None,
    precision: Precision,
) -> Cell:
    model = specs.model(attacked).id if attacked is not None else ""
    seed = specs.victim.seed if attacked is not None else specs.experiment.seed
    generator, network = attacker_networks(specs, attack, attacked)
    judges = [[name, spec.id] for name, spec in evaluators.items()]
    inputs = {
        "format": NETWORK_FORMAT,
        "data": specs.victim.data_id,
        "seed": seed,
        "rows": ROW_FORMAT,
        "evaluators": judges,
        # Which generator the label means is in its id.
        "attack": attack.model_dump(mode="json", exclude={"generator"}, context=NAMING),
        "protected": model,
        "generator": generator.id if ATTACKS[attack.name].needs_generator else None,
        "network": network.id if network is not None else None,
        # Left out in fp32, so that rows of before there was a choice stay.
        **({} if precision == "fp32" else {"precision": precision}),
    }
    label = attack.title if defense is None else f"{attack.title} on {defense.title}"
    label += "" if point is None else f" at {point:g}"
    label += "" if attacked == defense else ", stripped"
    label += "" if defense is None or defense.aimed_at is None else f", person {defense.aimed_at}"
    if attacked is not None and specs.victim.for_each_seed:
        label += f", seed {seed}"
    return Cell(
        id=fingerprint(inputs),
        attack=attack,
        defense=defense,
        protected=specs.model(defense).id if defense is not None else "",
        attacked=attacked,
        model=model,
        point=point,
        label=label,
        generator=generator,
        network=network,
        judged_otherwise=tuple(
            fingerprint(inputs | {"evaluators": some}) for some in _other_judges(judges)
        ),
        seed=seed,
    )
