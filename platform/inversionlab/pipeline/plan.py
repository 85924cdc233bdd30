"""What an experiment needs done: networks to train, cells to attack; each named by all that goes into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from inversionlab.attacks import ATTACKS, AttackSettings
from inversionlab.core.settings import ConfigError, fingerprint
from inversionlab.core.views import WhiteBox
from inversionlab.defenses import DefenseSettings
from inversionlab.defenses.composition import awake, stripped
from inversionlab.defenses.none import NoneSettings
from inversionlab.experiment import Experiment
from inversionlab.experiment.references import attacker_generator, defense_at, null_attacks
from inversionlab.generators import GENERATORS
from inversionlab.pipeline.network_spec import (
    NETWORK_FORMAT,
    DefenseSpecs,
    NetworkSpec,
    new_spec,
    public_generator,
)
from inversionlab.recognizers import recognizer_inputs

ROW_FORMAT = 4
"""Raise it when a row would differ for equal settings."""


@dataclass(frozen=True)
class Cell:
    """One attack on one protected model (or a null attack, on none)."""

    id: str
    """Hash of everything that its rows depend on. To attack a stripped model is to attack what is left."""
    attack: AttackSettings
    defense: DefenseSettings | None
    """The defense under test."""
    protected: str
    """Id of the model that it releases; empty for a null attack."""
    attacked: DefenseSettings | None
    """What is attacked: the defense, or what a white-box attacker has left of it."""
    model: str
    """Id of the model that is attacked; empty for a null attack."""
    point: float | None
    """The swept setting's value."""
    label: str
    generator: NetworkSpec
    """The generator that the attacker searches."""
    network: NetworkSpec | None
    """The attack's own network, if it trains one."""

    @property
    def baseline(self) -> bool:
        """Whether it is a row to compare with: a null attack, or the undefended victim."""
        return self.defense is None or self.defense.name == "none"

    @property
    def stripped(self) -> bool:
        """Whether the attacker has taken something off that the defense put on."""
        return self.attacked != self.defense

    @property
    def attacker(self) -> str:
        """The attack, and whether it takes a defense off first."""
        return f"{self.attack.title}, stripped" if self.stripped else self.attack.title


@dataclass(frozen=True)
class Plan:
    """Everything to be done; `specs` in an order in which each finds what it needs."""

    data_id: str
    targets: tuple[int, ...]
    """Classes under attack."""
    pool: tuple[int, ...]
    """Classes that the person-disjoint judges know."""
    specs: tuple[NetworkSpec, ...]
    cells: tuple[Cell, ...]
    defense_specs: DefenseSpecs

    def spec(self, role: str) -> NetworkSpec:
        """The only task of this role: there are several of `generator`, `attack` and those of defenses."""
        (found,) = [t for t in self.specs if t.role == role]
        return found

    def defense_spec(self, defense: DefenseSettings) -> NetworkSpec | None:
        """The task whose network `defense` uses, if it trains one."""
        return self.defense_specs.own(defense)

    def work(self) -> list[Cell]:
        """The cells to be attacked, each id once."""
        found: dict[str, Cell] = {}
        for cell in self.cells:
            found.setdefault(cell.id, cell)
        return list(found.values())


def make_plan(
    experiment: Experiment,
    data_id: str,
    targets: tuple[int, ...],
    pool: tuple[int, ...] | None = None,
) -> Plan:
    """The plan of an experiment on this data; without a `pool` the judges know the targets.

    Raises:
        ConfigError: two of the defenses side by side release the same model.
    """
    pool = targets if pool is None else pool
    base = {"format": NETWORK_FORMAT, "data": data_id, "seed": experiment.seed}
    victim = new_spec("victim", {**base, "recognizer": recognizer_inputs(experiment.victim)})
    defense_specs = DefenseSpecs(experiment, base, victim, targets)
    points = _points(experiment)
    _refuse_twins(experiment, defense_specs)
    needed = [
        victim,
        *_evaluators(experiment, base, pool),
        public_generator(base, experiment.generator),
        *(spec for _, defense in points for spec in defense_specs.needed(defense)),
    ]
    plan = Plan(data_id, targets, pool, tuple(needed), (), defense_specs)
    cells = tuple(_cells(experiment, plan, base, points))
    # In this order: what is taught by a model comes after the model's own networks.
    needed += [spec for c in cells for spec in (c.generator, c.network) if spec is not None]
    specs: dict[str, NetworkSpec] = {}
    for spec in needed:
        specs.setdefault(spec.key, spec)
    return replace(plan, specs=tuple(specs.values()), cells=cells)


def _evaluators(
    experiment: Experiment, base: dict[str, Any], pool: tuple[int, ...]
) -> Iterator[NetworkSpec]:
    for evaluator in experiment.evaluators:
        inputs = {
            **base,
            "protocol": evaluator.protocol,
            "recognizer": recognizer_inputs(evaluator.recognizer),
        }
        if evaluator.protocol == "person_disjoint":
            inputs["targets"] = list(pool)
        yield new_spec(f"evaluator:{evaluator.name}", inputs)


def _refuse_twins(experiment: Experiment, defense_specs: DefenseSpecs) -> None:
    """Whoever is to be compared has a model of his own, or he would have no row."""
    seen = {defense_specs.released(NoneSettings()): "the undefended victim, which is a row anyway"}
    seen.setdefault(defense_specs.released(experiment.defense), "defense")
    for value in experiment.sweep.values if experiment.sweep else ():
        seen.setdefault(
            defense_specs.released(_at(experiment, value)), f"the sweep's point {value}"
        )
    wrong = []
    for index, other in enumerate(experiment.defenses):
        key = f"defenses.{index}"
        twin = seen.setdefault(defense_specs.released(other), key)
        if twin != key:
            wrong.append(
                f"{key} ({other.title}): is the same model as {twin}; leave one of them out"
            )
    if wrong:
        raise ConfigError("; ".join(wrong))


def _points(experiment: Experiment) -> list[tuple[float | None, DefenseSettings]]:
    """The models to be attacked: the recipe's own, every value of the sweep, and those to compare with."""
    values = experiment.sweep.values if experiment.sweep else ()
    own: tuple[float | None, DefenseSettings] = (None, experiment.defense)
    swept = [(v, _at(experiment, v)) for v in values]
    first = [*swept] if any(d == own[1] for _, d in swept) else [own, *swept]
    return [*first, *((None, other) for other in experiment.defenses)]


def _at(experiment: Experiment, value: float) -> DefenseSettings:
    settings: DefenseSettings = defense_at(experiment, value)
    return settings


def _cells(
    experiment: Experiment,
    plan: Plan,
    base: dict[str, Any],
    points: list[tuple[float | None, DefenseSettings]],
) -> list[Cell]:
    shared = {
        **base,
        "rows": ROW_FORMAT,
        "evaluators": [
            [e.name, plan.spec(f"evaluator:{e.name}").id] for e in experiment.evaluators
        ],
    }
    cast = _Cast(experiment, plan, base)
    cells = [_cell(shared, cast, _default(name), None, None, None) for name in null_attacks()]
    for attack in experiment.attacks:
        if ATTACKS[attack.name].view is None:
            continue
        undefended: list[tuple[float | None, DefenseSettings]] = [(None, NoneSettings())]
        seen = set()
        for point, defense in undefended + points:
            for attacked in _faces(attack, defense):
                cell = _cell(shared, cast, attack, defense, attacked, point)
                if (cell.protected, cell.id) not in seen:
                    seen.add((cell.protected, cell.id))
                    cells.append(cell)
    return cells


def _faces(attack: AttackSettings, defense: DefenseSettings) -> list[DefenseSettings]:
    """What the attack meets: the model as released, and what is left for who can take some of it off."""
    if ATTACKS[attack.name].view_at(attack) is not WhiteBox:
        return [defense]
    bare = stripped(defense)
    return [defense] if bare == defense else [defense, bare]


def _default(name: str) -> AttackSettings:
    return ATTACKS[name].Settings(name=name)


@dataclass(frozen=True)
class _Cast:
    """Which networks play along in an attack on a model."""

    experiment: Experiment
    plan: Plan
    base: dict[str, Any]

    def generator(self, attack: AttackSettings, model: DefenseSettings) -> NetworkSpec:
        """The generator that the attacker searches."""
        settings = attacker_generator(self.experiment, attack)
        if not GENERATORS[settings.name].learns_from_target:
            return public_generator(self.base, settings)
        inputs = {"on": "public", "generator": settings.model_dump(mode="json")}
        return self._learning("generator", inputs, model, generator=settings)

    def network(self, attack: AttackSettings, model: DefenseSettings) -> NetworkSpec | None:
        """The attack's own network, if it trains one."""
        kind = ATTACKS[attack.name]
        if not kind.trains:
            return None
        teacher = model if kind.teacher(attack) == "protected" else NoneSettings()
        settings = {k: v for k, v in attack.trained_part().items() if k != "name"}
        inputs = {"network": kind.network_kind, "attack": settings}
        return self._learning("attack", inputs, teacher, attack=attack)

    def _learning(
        self, role: str, inputs: dict[str, Any], teacher: DefenseSettings, **kind: Any
    ) -> NetworkSpec:
        whole = {**self.base, **inputs, "taught_by": self.plan.defense_specs.released(teacher)}
        return new_spec(role, whole, learns_from=awake(teacher), **kind)


def _cell(
    shared: dict[str, Any],
    cast: _Cast,
    attack: AttackSettings,
    defense: DefenseSettings | None,
    attacked: DefenseSettings | None,
    point: float | None,
) -> Cell:
    released = cast.plan.defense_specs.released
    model = released(attacked) if attacked is not None else ""
    generator = cast.generator(attack, attacked or NoneSettings())
    network = cast.network(attack, attacked) if attacked is not None else None
    searches = ATTACKS[attack.name].needs_generator
    own = {
        # Which generator the label means is in its id.
        "attack": attack.model_dump(mode="json", exclude={"generator"}),
        "protected": model,
        "generator": generator.id if searches else None,
        "network": network.id if network is not None else None,
    }
    return Cell(
        id=fingerprint({**shared, **own}),
        attack=attack,
        defense=defense,
        protected=released(defense) if defense is not None and attacked != defense else model,
        attacked=attacked,
        model=model,
        point=point,
        label=_label(attack, defense, point) + (", stripped" if attacked != defense else ""),
        generator=generator,
        network=network,
    )


def _label(attack: AttackSettings, defense: DefenseSettings | None, point: float | None) -> str:
    label = attack.title if defense is None else f"{attack.title} on {defense.title}"
    return label if point is None else f"{label} at {point:g}"


def model_id(plan: Plan, defense: DefenseSettings) -> str:
    """The name of the model that `defense` releases."""
    return plan.defense_specs.released(defense)
