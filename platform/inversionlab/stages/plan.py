"""What an experiment needs done: networks to train, cells to attack; each named by all that goes into it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from inversionlab.attacks import ATTACKS, AttackSettings
from inversionlab.config import fingerprint
from inversionlab.defenses import DEFENSES, DefenseSettings
from inversionlab.defenses.none import NoneSettings
from inversionlab.experiment import Experiment, null_attacks
from inversionlab.generators import GENERATORS, GeneratorSettings
from inversionlab.recognizers import RecognizerSettings, recognizer_inputs

NETWORK_FORMAT = 1
"""Raise it when a trained network would differ for equal settings."""
ROW_FORMAT = 3
"""Raise it when a row would differ for equal settings."""


@dataclass(frozen=True)
class Task:
    """A network to be trained."""

    role: str
    """victim, evaluator:NAME, generator, attack, defense_generator, or defense."""
    id: str
    """Hash of everything that goes into it."""
    inputs: dict[str, Any]
    """What was hashed."""
    defense: DefenseSettings | None = None
    """For the role `defense`: the settings it is trained for."""
    generator: GeneratorSettings | None = None
    """For the roles `generator` and `defense_generator`: its settings."""
    attack: AttackSettings | None = None
    """For the role `attack`: the settings it is trained for."""
    taught_by: DefenseSettings | None = None
    """The model whose scores of the public pictures it learns from, if it does."""

    @property
    def title(self) -> str:
        """What users read: the role, and which one of it."""
        if self.taught_by is not None:
            kind = self.generator.name if self.generator else self.attack and self.attack.title
            return f"{self.role} {kind} {self.id[:6]}, taught by {self.taught_by.name}"
        known = self.generator or self.defense
        return f"{self.role} {known.name}" if known is not None else self.role

    @property
    def key(self) -> str:
        """Where it is stored."""
        return f"{self.role.replace(':', '-')}/{self.id}"


@dataclass(frozen=True)
class Cell:
    """One attack on one protected model (or a null attack, on none)."""

    id: str
    attack: AttackSettings
    defense: DefenseSettings | None
    protected: str
    """Id of the protected model; empty for a null attack."""
    point: float | None
    """The swept setting's value."""
    label: str
    generator: Task
    """The generator that the attacker searches."""
    network: Task | None
    """The attack's own network, if it trains one."""

    @property
    def baseline(self) -> bool:
        """Whether it is a row to compare with: a null attack, or the undefended victim."""
        return self.defense is None or self.defense.name == "none"


@dataclass(frozen=True)
class Plan:
    """Everything to be done; `tasks` in an order in which each finds what it needs."""

    data_id: str
    targets: tuple[int, ...]
    """Classes under attack."""
    pool: tuple[int, ...]
    """Classes that the person-disjoint judges know."""
    tasks: tuple[Task, ...]
    cells: tuple[Cell, ...]

    def task(self, role: str) -> Task:
        """The only task of this role: there are several of `generator`, `attack` and `defense`."""
        (found,) = [t for t in self.tasks if t.role == role]
        return found

    def defense_task(self, defense: DefenseSettings) -> Task | None:
        """The task whose network `defense` uses, if it trains one."""
        part = defense.trained_part()
        for task in self.tasks:
            if task.defense is not None and task.defense.trained_part() == part:
                return task
        return None


def make_plan(
    experiment: Experiment,
    data_id: str,
    targets: tuple[int, ...],
    pool: tuple[int, ...] | None = None,
) -> Plan:
    """The plan of an experiment on this data; without a `pool` the judges know the targets."""
    pool = targets if pool is None else pool
    base = {"format": NETWORK_FORMAT, "data": data_id, "seed": experiment.seed}
    tasks = [*_common_tasks(experiment, base, pool)]
    points = _points(experiment)
    tasks += _defense_tasks(experiment, base, [d for _, d in points])
    plan = Plan(data_id, targets, pool, tuple(tasks), ())
    cells = tuple(_cells(experiment, plan, base, points))
    # In this order: what is taught by a model comes after the model's own networks.
    needed = {task.key: task for task in tasks}
    for task in (t for c in cells for t in (c.generator, c.network) if t is not None):
        needed.setdefault(task.key, task)
    return replace(plan, tasks=tuple(needed.values()), cells=cells)


def _common_tasks(
    experiment: Experiment, base: dict[str, Any], pool: tuple[int, ...]
) -> list[Task]:
    victim = {**base, "recognizer": recognizer_inputs(experiment.victim)}
    tasks = [_task("victim", victim)]
    for judge in experiment.evaluators:
        inputs = {
            **base,
            "protocol": judge.protocol,
            "recognizer": recognizer_inputs(judge.recognizer),
        }
        if judge.protocol == "person_disjoint":
            inputs["targets"] = list(pool)
        tasks.append(_task(f"evaluator:{judge.name}", inputs))
    return [*tasks, _public_generator(base, experiment.generator)]


def _task(role: str, inputs: dict[str, Any], **kind: Any) -> Task:
    return Task(role, fingerprint({"role": role, **inputs}), inputs, **kind)


def _public_generator(base: dict[str, Any], settings: GeneratorSettings) -> Task:
    inputs = {**base, "on": "public", "generator": settings.model_dump(mode="json")}
    return _task("generator", inputs, generator=settings)


def _structure(settings: RecognizerSettings) -> dict[str, Any]:
    """What a network of the victim's structure, trained on other pictures in another way, depends on."""
    inputs = recognizer_inputs(settings)
    return {k: v for k, v in inputs.items() if k not in ("training", "augment")}


def _points(experiment: Experiment) -> list[tuple[float | None, DefenseSettings]]:
    """The defense settings to be attacked: the recipe's own, and every value of the sweep."""
    values = experiment.sweep.values if experiment.sweep else ()
    own: tuple[float | None, DefenseSettings] = (None, experiment.defense)
    swept = [(v, _at(experiment, v)) for v in values]
    return [*swept] if any(d == own[1] for _, d in swept) else [own, *swept]


def _at(experiment: Experiment, value: float) -> DefenseSettings:
    settings: DefenseSettings = experiment.defense_at(value)
    return settings


def _defense_tasks(
    experiment: Experiment, base: dict[str, Any], points: list[DefenseSettings]
) -> list[Task]:
    tasks: list[Task] = []
    parent: Task | None = None
    for settings in points:
        kind = DEFENSES[settings.name]
        if not kind.trains or any(
            t.defense is not None and t.defense.trained_part() == settings.trained_part()
            for t in tasks
        ):
            continue
        inputs = {
            **base,
            "defense": settings.trained_part(),
            "recognizer": _structure(experiment.victim),
        }
        if kind.needs_generator:
            parent = parent or _private_generator(experiment, base)
            inputs["generator"] = parent.id
        tasks.append(_task("defense", inputs, defense=settings))
    return tasks if parent is None else [parent, *tasks]


def _private_generator(experiment: Experiment, base: dict[str, Any]) -> Task:
    assert experiment.defense_generator is not None, "the experiment was checked at load"
    settings = experiment.defense_generator
    inputs = {**base, "on": "private", "generator": settings.model_dump(mode="json")}
    return _task("defense_generator", inputs, generator=settings)


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
            [e.name, plan.task(f"evaluator:{e.name}").id] for e in experiment.evaluators
        ],
    }
    cast = _Cast(experiment, plan, base)
    cells = [_cell(shared, cast, _default(name), None, None) for name in null_attacks()]
    for attack in experiment.attacks:
        if ATTACKS[attack.name].view is None:
            continue
        undefended: list[tuple[float | None, DefenseSettings]] = [(None, NoneSettings())]
        seen = set()
        for point, defense in undefended + points:
            cell = _cell(shared, cast, attack, defense, point)
            if cell.protected not in seen:
                seen.add(cell.protected)
                cells.append(cell)
    return cells


def _default(name: str) -> AttackSettings:
    return ATTACKS[name].Settings(name=name)


@dataclass(frozen=True)
class _Cast:
    """Which networks play along in an attack on a model."""

    experiment: Experiment
    plan: Plan
    base: dict[str, Any]

    def generator(self, attack: AttackSettings, model: DefenseSettings) -> Task:
        """The generator that the attacker searches."""
        settings = self.experiment.generator_of(attack)
        if not GENERATORS[settings.name].taught:
            return _public_generator(self.base, settings)
        inputs = {"on": "public", "generator": settings.model_dump(mode="json")}
        return self._taught("generator", inputs, model, generator=settings)

    def network(self, attack: AttackSettings, model: DefenseSettings) -> Task | None:
        """The attack's own network, if it trains one."""
        kind = ATTACKS[attack.name]
        if not kind.trains:
            return None
        teacher = model if kind.teacher(attack) == "protected" else NoneSettings()
        settings = {k: v for k, v in attack.trained_part().items() if k != "name"}
        inputs = {"network": kind.network_kind, "attack": settings}
        return self._taught("attack", inputs, teacher, attack=attack)

    def _taught(
        self, role: str, inputs: dict[str, Any], teacher: DefenseSettings, **kind: Any
    ) -> Task:
        whole = {**self.base, **inputs, "taught_by": protected_id(self.plan, teacher)}
        # An idle defense releases the victim itself: one network, under one name.
        idle = DEFENSES[teacher.name](teacher).idle()
        return _task(role, whole, taught_by=NoneSettings() if idle else teacher, **kind)


def _cell(
    shared: dict[str, Any],
    cast: _Cast,
    attack: AttackSettings,
    defense: DefenseSettings | None,
    point: float | None,
) -> Cell:
    generator = cast.generator(attack, defense or NoneSettings())
    network = cast.network(attack, defense) if defense is not None else None
    protected = protected_id(cast.plan, defense) if defense is not None else ""
    searches = ATTACKS[attack.name].needs_generator
    own = {
        # Which generator the label means is in its id.
        "attack": attack.model_dump(mode="json", exclude={"generator"}),
        "protected": protected,
        "generator": generator.id if searches else None,
        "network": network.id if network is not None else None,
    }
    label = attack.title if defense is None else f"{attack.title} on {defense.name}"
    if point is not None:
        label += f" at {point:g}"
    return Cell(
        fingerprint({**shared, **own}),
        attack,
        defense,
        protected,
        point,
        label,
        generator,
        network,
    )


def protected_id(plan: Plan, defense: DefenseSettings) -> str:
    """The name of the model that `defense` releases; at idle settings that of the victim itself."""
    victim = plan.task("victim").id
    if DEFENSES[defense.name](defense).idle():
        return fingerprint({"victim": victim})
    task = plan.defense_task(defense)
    return fingerprint(
        {
            "victim": victim,
            "defense": defense.model_dump(mode="json"),
            "network": task.id if task else None,
        }
    )
