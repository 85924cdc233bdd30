"""What an experiment needs done: networks to train, cells to attack; each named by all that goes into it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from inversionlab.attacks import ATTACKS, AttackSettings
from inversionlab.config import fingerprint
from inversionlab.defenses import DEFENSES, DefenseSettings
from inversionlab.defenses.none import NoneSettings
from inversionlab.experiment import Experiment, null_attacks
from inversionlab.recognizers import RecognizerSettings, recognizer_inputs

NETWORK_FORMAT = 1
"""Raise it when a trained network would differ for equal settings."""
ROW_FORMAT = 2
"""Raise it when a row would differ for equal settings."""


@dataclass(frozen=True)
class Task:
    """A network to be trained."""

    role: str
    """victim, evaluator:NAME, generator, defense_generator, or defense."""
    id: str
    """Hash of everything that goes into it."""
    inputs: dict[str, Any]
    """What was hashed."""
    defense: DefenseSettings | None = None
    """For the role `defense`: the settings it is trained for."""

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
        """The only task of this role."""
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
    return replace(plan, cells=tuple(_cells(experiment, plan, base, points)))


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
    generator = {**base, "on": "public", "generator": experiment.generator.model_dump(mode="json")}
    return [*tasks, _task("generator", generator)]


def _task(role: str, inputs: dict[str, Any], defense: DefenseSettings | None = None) -> Task:
    return Task(role, fingerprint({"role": role, **inputs}), inputs, defense)


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
        tasks.append(_task("defense", inputs, settings))
    return tasks if parent is None else [parent, *tasks]


def _private_generator(experiment: Experiment, base: dict[str, Any]) -> Task:
    assert experiment.defense_generator is not None, "the experiment was checked at load"
    settings = experiment.defense_generator.model_dump(mode="json")
    return _task("defense_generator", {**base, "on": "private", "generator": settings})


def _cells(
    experiment: Experiment,
    plan: Plan,
    base: dict[str, Any],
    points: list[tuple[float | None, DefenseSettings]],
) -> list[Cell]:
    shared = {
        **base,
        "rows": ROW_FORMAT,
        "generator": plan.task("generator").id,
        "evaluators": [
            [e.name, plan.task(f"evaluator:{e.name}").id] for e in experiment.evaluators
        ],
    }
    listed = [a for a in experiment.attacks if ATTACKS[a.name].view is not None]
    cells = [_cell(shared, _default(name), None, "", None) for name in null_attacks()]
    undefended = NoneSettings()
    for attack in listed:
        victim = protected_id(plan, undefended)
        cells.append(_cell(shared, attack, undefended, victim, None))
        seen = {victim}
        for point, defense in points:
            protected = protected_id(plan, defense)
            if protected not in seen:
                seen.add(protected)
                cells.append(_cell(shared, attack, defense, protected, point))
    return cells


def _default(name: str) -> AttackSettings:
    return ATTACKS[name].Settings(name=name)


def _cell(
    shared: dict[str, Any],
    attack: AttackSettings,
    defense: DefenseSettings | None,
    protected: str,
    point: float | None,
) -> Cell:
    own = {"attack": attack.model_dump(mode="json"), "protected": protected}
    label = attack.name if defense is None else f"{attack.name} on {defense.name}"
    if point is not None:
        label += f" at {point:g}"
    return Cell(fingerprint({**shared, **own}), attack, defense, protected, point, label)


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
