"""A search space: one Python module of Ray Tune domains, read, checked, and applied to an experiment.

A module holds plain names: SPACE (dotted config path -> Tune domain), START (points tried first, the paper's own
first), OBJECTIVES (metric -> "max" or "min") and CONSTRAINTS (metric -> upper bound).
"""

import difflib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ray.tune.search.sample import Domain

from inversionlab.core.settings import ConfigError, assign, first_faults, validate
from inversionlab.experiment import Experiment
from inversionlab.tuning.attack_metrics import unfit_metrics
from inversionlab.tuning.domains import LARGEST, Kind, in_words, inside, is_number, kind_of, quoted
from inversionlab.tuning.space_module import imported
from inversionlab.tuning.trial_metrics import METRICS

SEARCHED = ("defense", "defense_generator")
"""Sections of an experiment that a search may change. With another victim, attack or evaluator in each trial,
trials could not be compared."""

NAMES = ("SPACE", "START", "OBJECTIVES", "CONSTRAINTS")

MAX_COMBINATIONS = 64
"""If a space has only choices, and at most this many combinations, each is checked before the search."""

MOST_KEYS = 100
"""Settings that a search may change."""
MOST_POINTS = 500
"""Points of START; to check one takes milliseconds."""

Refuse = Callable[[Mapping[str, Any], str], list[str]]
"""Returns the reasons why settings (dotted path -> value) are refused, as lines that begin with the text."""


@dataclass(frozen=True)
class SearchSpace:
    """The domains of a search, its start points, and its goals."""

    module: str
    """The module's name: the defense that it is for."""
    domains: Mapping[str, Domain]
    """Dotted config path -> Ray Tune domain."""
    start: tuple[Mapping[str, Any], ...]
    """Points tried first, each with every key of `domains`; the paper's own first."""
    objectives: Mapping[str, str]
    """Metric -> "max" or "min"."""
    constraints: Mapping[str, float]
    """Metric -> upper bound."""

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """The domains as plain data."""
        return {key: kind_of(domain) for key, domain in self.domains.items()}


def load_space(path: Path) -> SearchSpace:
    """Import the module at `path` and check it by itself; `check_space` checks it against an experiment.

    Raises:
        ConfigError: one line for each fault: file, name, value, and what would be right.
    """
    names = imported(path)
    start, constraints = names.get("START", []), names.get("CONSTRAINTS", {})
    kinds: dict[str, Kind] = {}
    faults = [
        *(f"{n}: unknown name{_near(n, NAMES)}" for n in sorted(names.keys() - set(NAMES))),
        *_domain_faults(names.get("SPACE"), kinds),
        *_start_faults(start, kinds),
        *_objective_faults(names.get("OBJECTIVES")),
        *_constraint_faults(constraints),
    ]
    if faults:
        raise ConfigError("\n".join(first_faults(f"{path}: {fault}" for fault in faults)))
    return SearchSpace(
        module=path.stem,
        domains=names["SPACE"],
        start=tuple(
            {k: float(point[k]) if kinds[k]["kind"] == "float" else point[k] for k in kinds}
            for point in start
        ),
        objectives=names["OBJECTIVES"],
        constraints={metric: float(bound) for metric, bound in constraints.items()},
    )


def check_space(space: SearchSpace, experiment: Experiment) -> None:
    """Refuse a space that does not fit the experiment: its defense, its keys, the settings' own bounds.

    Raises:
        ConfigError: one line for each fault: module, key, value, and what would be right.
    """

    def refuse(settings: Mapping[str, Any], where: str) -> list[str]:
        try:
            experiment_at(experiment, settings, origin=where)
        except ConfigError as error:
            return [str(error)]
        return []

    if not experiment.evaluators:
        raise ConfigError(
            f"evaluators: the recipe `{experiment.name}` has none, and a search compares models by what they "
            "find; name the folder of the people whom the model knows as `data`, and at least one evaluator "
            "(without them, only an audit can show what is reconstructed)"
        )
    defense = experiment.defense.name
    if space.module != defense:
        raise ConfigError(
            f"{space.module}.py: searches the defense `{space.module}`, but the recipe `{experiment.name}` has "
            f"defense.name = {defense}; take search_spaces/{defense}.py, or another recipe"
        )
    goals = {*space.objectives, *space.constraints}
    found = (*_key_faults(space.domains), *unfit_metrics(experiment, sorted(goals)))
    faults = [f"{space.module}.py: {fault}" for fault in found]
    faults = faults or refusals(space, refuse)
    if faults:
        raise ConfigError("\n".join(first_faults(faults)))


def refusals(space: SearchSpace, refuse: Refuse, most: int | None = None) -> list[str]:
    """Why points of a space are refused.

    The ends or choices of each key (at most `most` choices) are tried alone, up to the first refusal. If there is
    none, the START points are tried. If these pass too, combinations of choices follow, up to the first refusal.
    """
    origin, found = f"{space.module}.py", []
    for key, kind in space.kinds.items():
        values = (kind.get("values") or [kind["low"], kind["high"]])[:most]
        alone = (refuse({key: value}, f"{origin}: SPACE[{key!r}]") for value in values)
        found += next(filter(None, alone), [])
    if not found:
        for index, point in enumerate(space.start):
            found += refuse(point, f"{origin}: START[{index}]")
    together = (refuse(p, f"{origin}: SPACE can draw {point_text(p)}") for p in products(space))
    return found or next(filter(None, together), [])


def products(space: SearchSpace) -> list[dict[str, Any]]:
    """Every combination of a space that has only choices, at least two, if there are few; otherwise none."""
    kinds = space.kinds
    values = [kind["values"] for kind in kinds.values() if kind["kind"] == "choice"]
    many = math.prod(len(v) for v in values) > MAX_COMBINATIONS
    if len(values) < len(kinds) or len(kinds) < 2 or many:
        return []
    return [dict(zip(kinds, point, strict=True)) for point in itertools.product(*values)]


def point_text(point: Mapping[str, Any]) -> str:
    """Settings as an error message quotes them: "defense.alpha = 0.5, defense.beta = 1.0"."""
    return ", ".join(f"{key} = {quoted(value)}" for key, value in point.items())


def experiment_at(
    base: Experiment, settings: Mapping[str, Any], *, origin: str = "trial"
) -> Experiment:
    """`base` with the settings (dotted path -> value) assigned, without its sweep and further defenses.

    Raises:
        ConfigError: a path leads nowhere, or a value is refused; `origin` begins each line.
    """
    if base.protect == "each":
        raise ConfigError(
            f"{origin}: protect: each: a search tries one network for all attacked people; set protect to "
            "together, or targets.count to 1"
        )
    data = base.model_dump(mode="json") | {"sweep": None, "defenses": []}
    try:
        for dotted, value in settings.items():
            assign(data, dotted, value)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    return validate(Experiment, data, origin=origin)


def describe(space: SearchSpace) -> dict[str, Any]:
    """The space as plain data: module, domains (as texts), kinds, start. The search's name is a hash of it."""
    return {
        "module": space.module,
        "domains": {key: in_words(kind) for key, kind in space.kinds.items()},
        "kinds": space.kinds,
        "start": [dict(point) for point in space.start],
    }


def _domain_faults(space: Any, kinds: dict[str, Kind]) -> Iterator[str]:
    """Faults of SPACE; fills `kinds` with the domains that are right."""
    if not isinstance(space, dict) or not space:
        given = ": is missing" if space is None else f" = {quoted(space)}"
        yield f"SPACE{given}; a mapping of dotted config paths to Tune domains is needed"
        return
    if len(space) > MOST_KEYS:
        yield f"SPACE: has {len(space):,} keys; a search takes at most {MOST_KEYS}"
        return
    for key, domain in space.items():
        try:
            if not isinstance(key, str):
                raise ValueError("the key must be text")
            kinds[key] = kind_of(domain)
        except ValueError as error:
            yield f"SPACE[{quoted(key)}] = {quoted(domain)}: {error}"


def _start_faults(start: Any, kinds: Mapping[str, Kind]) -> Iterator[str]:
    if not isinstance(start, list) or not all(isinstance(point, dict) for point in start):
        yield f"START = {quoted(start)}: must be a list of points, each a mapping of SPACE's keys to values"
        return
    if len(start) > MOST_POINTS:
        yield f"START: has {len(start):,} points; a search begins with at most {MOST_POINTS}"
        return
    for index, point in enumerate(start if kinds else []):
        for key in sorted(kinds.keys() - point.keys()):
            yield f"START[{index}]: lacks `{key}`; each point gives every key of SPACE"
        for key, value in point.items():
            said = f"START[{index}]: {key} = {quoted(value)}"
            if key not in kinds:
                yield f"{said}: is not a key of SPACE{_near(key, kinds)}"
            elif not inside(kinds[key], value):
                yield f"{said}: lies outside SPACE's {in_words(kinds[key])}"


def _objective_faults(objectives: Any) -> Iterator[str]:
    if not isinstance(objectives, dict) or not objectives:
        yield 'OBJECTIVES: is missing or empty; for example {"accuracy": "max", "attack_success": "min"}'
        return
    for metric, mode in objectives.items():
        yield from _metric_faults("OBJECTIVES", metric)
        better = METRICS.get(metric)
        if mode not in ("max", "min"):
            yield f'OBJECTIVES: {metric} = {quoted(mode)}: must be "max" or "min"'
        elif better is not None and mode != better:
            yield (
                f'OBJECTIVES: {metric} = "{mode}": would look for the worst settings; must be "{better}"'
            )


def _constraint_faults(constraints: Any) -> Iterator[str]:
    if not isinstance(constraints, dict):
        yield f"CONSTRAINTS = {quoted(constraints)}: must map metrics to upper bounds"
        return
    for metric, bound in constraints.items():
        yield from _metric_faults("CONSTRAINTS", metric)
        if metric == "score":
            yield "CONSTRAINTS: score: is made from the constraints; bound `attack_success` instead"
        if METRICS.get(metric) == "max":
            instead = "bound `accuracy_loss` instead" if metric == "accuracy" else "maximize it"
            yield f"CONSTRAINTS: {metric}: a larger value is better, but a constraint is an upper bound; {instead}"
        if not is_number(bound):
            yield (
                f"CONSTRAINTS: {metric} = {quoted(bound)}: must be a finite number, {LARGEST:.2g} "
                "at most: an upper bound"
            )


def _metric_faults(where: str, metric: Any) -> Iterator[str]:
    if metric not in METRICS:
        near = difflib.get_close_matches(str(metric), METRICS, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        modes = ("max", "min") if where == "OBJECTIVES" else ("min",)
        there = [m for m, mode in METRICS.items() if mode in modes and m != "score"]
        yield f"{where}: {metric}: unknown metric; {hint}known: {', '.join(there)}"
    elif metric == "seconds":
        yield f"{where}: seconds: differs from run to run, so a search by it could not be repeated"
    elif METRICS[metric] is None:
        yield f"{where}: {metric}: says how much was attacked, not how good a setting is"


def _key_faults(keys: Iterable[str]) -> Iterator[str]:
    """Keys that a search may not change, or that change nothing."""
    sections = " or ".join(f"`{section}.`" for section in SEARCHED)
    for key in keys:
        if key.partition(".")[0] not in SEARCHED or "." not in key or key == "defense.name":
            yield f"SPACE[{key!r}]: a search changes settings that begin with {sections} only"
        elif key.rpartition(".")[2] == "label":
            yield (
                f"SPACE[{key!r}]: is only what the tables call a defense, so all trials would be the same; "
                "leave it out"
            )


def _near(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(known)}"
