"""A search space: one Python module of Ray Tune domains, read, checked, and applied to an experiment.

A module holds plain names: SPACE (dotted config path -> Tune domain), START (points tried first, the paper's own
first), OBJECTIVES (metric -> "max" or "min") and CONSTRAINTS (metric -> upper bound).
"""

from __future__ import annotations

import difflib
import importlib.util
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.search.sample import Domain

from inversionlab.config import ConfigError, assign, validate
from inversionlab.experiment import Experiment
from inversionlab.runtime.domains import Kind, ends, in_words, inside, is_number, kind_of, name_of

METRICS: dict[str, str] = {
    "accuracy": "share of the private people's test pictures that the protected model names rightly, 0 to 1",
    "accuracy_loss": "percentage points of accuracy lost against the undefended victim",
    "distortion": "mean absolute change of a log-score against the undefended victim, in nats",
    "attack_success": "top-5 share of the strongest listed attack, by the judge that finds most, 0 to 1",
    "attack_success_low": "lower end of its 95 % Wilson interval, 0 to 1",
    "attack_success_high": "upper end of its 95 % Wilson interval, 0 to 1",
    "targets": "people attacked so far",
    "reconstructions": "reconstructions made so far",
    "seconds": "time that the last step of the trial took, in seconds",
    "score": "for one objective: attack_success where the constraints hold, else 1 + the largest excess over a "
    "bound / 100; lower is better",
}
"""What a trial reports: name -> what it means. All are finite numbers."""

SEARCHED = ("defense", "defense_generator")
"""Sections of an experiment that a search may change; another victim, attack or judge in each trial would
make trials incomparable."""

NAMES = ("SPACE", "START", "OBJECTIVES", "CONSTRAINTS")


@dataclass(frozen=True)
class SearchSpace:
    """What is searched, from where, and for what."""

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

    @property
    def kinds(self) -> dict[str, Kind]:
        """The domains as plain data."""
        return {key: kind_of(domain) for key, domain in self.domains.items()}


def load_space(path: Path) -> SearchSpace:
    """Import the module at `path` and check it by itself; `check_space` checks it against an experiment.

    Raises:
        ConfigError: one line a fault: file, name, value, and what would be right.
    """
    names = _import(path)
    kinds: dict[str, Kind] = {}
    faults = [
        *_name_faults(names),
        *_domain_faults(names.get("SPACE"), kinds),
        *_start_faults(names.get("START", []), kinds),
        *_objective_faults(names.get("OBJECTIVES")),
        *_constraint_faults(names.get("CONSTRAINTS", {})),
    ]
    if faults:
        raise ConfigError("\n".join(f"{path}: {fault}" for fault in faults))
    return SearchSpace(
        module=path.stem,
        domains=names["SPACE"],
        start=tuple(
            {k: float(point[k]) if kinds[k]["kind"] == "float" else point[k] for k in kinds}
            for point in names.get("START", [])
        ),
        objectives=names["OBJECTIVES"],
        constraints={m: float(bound) for m, bound in names.get("CONSTRAINTS", {}).items()},
    )


def check_space(space: SearchSpace, experiment: Experiment) -> None:
    """Refuse a space that does not fit the experiment: its defense, its keys, the settings' own bounds.

    Raises:
        ConfigError: one line a fault: module, key, value, and what would be right.
    """
    origin, defense = f"{space.module}.py", experiment.defense.name
    if space.module != defense:
        raise ConfigError(
            f"{origin}: searches the defense `{space.module}`, but the recipe `{experiment.name}` has "
            f"defense.name = {defense}; take search_spaces/{defense}.py, or another recipe"
        )
    faults = [
        f for key, kind in space.kinds.items() for f in _misfit(key, kind, experiment, origin)
    ]
    for index, point in enumerate(space.start if not faults else ()):
        faults += _refusal(experiment, point, f"{origin}: START[{index}]")
    if faults:
        raise ConfigError("\n".join(faults))


def experiment_at(
    base: Experiment, settings: Mapping[str, Any], *, origin: str = "trial"
) -> Experiment:
    """`base` with the settings (dotted path -> value) assigned, without its sweep and other defenses.

    Raises:
        ConfigError: a path leads nowhere, or a value is refused; `origin` begins each line.
    """
    data = base.model_dump(mode="json") | {"sweep": None, "defenses": []}
    try:
        for dotted, value in settings.items():
            assign(data, dotted, value)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    return validate(Experiment, data, origin=origin)


def describe(space: SearchSpace) -> dict[str, Any]:
    """The space as the search's record holds it: module, domains (as texts), kinds, start."""
    kinds = space.kinds
    return {
        "module": space.module,
        "domains": {key: in_words(kind) for key, kind in kinds.items()},
        "kinds": kinds,
        "start": [dict(point) for point in space.start],
    }


def _import(path: Path) -> dict[str, Any]:
    """The module's public names in capitals."""
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.py"))
        near = difflib.get_close_matches(path.stem, known, n=1)
        hint = (
            f"did you mean `{path.with_name(near[0] + '.py')}`?" if near else f"there are: {known}"
        )
        raise ConfigError(f"{path}: there is no such search space; {hint}")
    spec = importlib.util.spec_from_file_location(f"search_space_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: is no Python module; a search space is a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = f" (line {frames[-1].lineno})" if frames else ""
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{path}: fails when it is imported{line}: {reason}") from error
    return {k: v for k, v in vars(module).items() if k.isupper() and not k.startswith("_")}


def _name_faults(names: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(names.keys() - set(NAMES)):
        yield f"{name}: unknown name{_near(name, NAMES)}"


def _domain_faults(space: Any, kinds: dict[str, Kind]) -> Iterator[str]:
    """Faults of SPACE; fills `kinds` with the domains that are right."""
    right = "a mapping of dotted config paths to Tune domains is needed"
    if not isinstance(space, dict) or not space:
        wrong = "is missing" if space is None else "is empty" if space == {} else f"= {space!r}"
        yield f"SPACE: {wrong}; {right}"
        return
    for key, domain in space.items():
        try:
            if not isinstance(key, str):
                raise ValueError("the key must be text")
            kinds[key] = kind_of(domain)
        except ValueError as error:
            yield f"SPACE[{key!r}] = {name_of(domain)}: {error}"


def _start_faults(start: Any, kinds: Mapping[str, Kind]) -> Iterator[str]:
    if not isinstance(start, list) or not all(isinstance(point, dict) for point in start):
        yield f"START = {start!r}: must be a list of points, each a mapping of SPACE's keys to values"
        return
    for index, point in enumerate(start if kinds else []):
        for key in sorted(kinds.keys() - point.keys()):
            yield f"START[{index}]: lacks `{key}`; each point gives every key of SPACE"
        for key, value in point.items():
            if key not in kinds:
                yield f"START[{index}]: {key} = {value!r}: is no key of SPACE{_near(key, kinds)}"
            elif not inside(kinds[key], value):
                yield f"START[{index}]: {key} = {value!r}: lies outside SPACE's {in_words(kinds[key])}"


def _objective_faults(objectives: Any) -> Iterator[str]:
    if not isinstance(objectives, dict) or not objectives:
        yield 'OBJECTIVES: is missing or empty; for example {"accuracy": "max", "attack_success": "min"}'
        return
    for metric, mode in objectives.items():
        yield from _metric_faults("OBJECTIVES", metric)
        if mode not in ("max", "min"):
            yield f'OBJECTIVES: {metric} = {mode!r}: must be "max" or "min"'


def _constraint_faults(constraints: Any) -> Iterator[str]:
    if not isinstance(constraints, dict):
        yield f"CONSTRAINTS = {constraints!r}: must map metrics to upper bounds"
        return
    for metric, bound in constraints.items():
        yield from _metric_faults("CONSTRAINTS", metric)
        if not is_number(bound):
            yield f"CONSTRAINTS: {metric} = {bound!r}: must be a finite number, an upper bound"


def _metric_faults(where: str, metric: Any) -> Iterator[str]:
    if metric not in METRICS:
        yield f"{where}: {metric}: unknown metric{_near(metric, METRICS)}"
    elif metric == "seconds":
        yield f"{where}: seconds: differs from run to run, so a search by it could not be repeated"


def _misfit(key: str, kind: Kind, experiment: Experiment, origin: str) -> list[str]:
    """Why a key of the space does not fit: the first refusal, so that a wrong key is named once."""
    if key.partition(".")[0] not in SEARCHED or "." not in key or key == "defense.name":
        sections = " or ".join(f"`{section}.`" for section in SEARCHED)
        return [
            f"{origin}: SPACE[{key!r}]: a search changes settings that begin with {sections} only"
        ]
    for value in ends(kind):
        refusal = _refusal(experiment, {key: value}, f"{origin}: SPACE[{key!r}]")
        if refusal:
            return refusal
    return []


def _refusal(experiment: Experiment, settings: Mapping[str, Any], origin: str) -> list[str]:
    try:
        experiment_at(experiment, settings, origin=origin)
    except ConfigError as error:
        return [str(error)]
    return []


def _near(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else f"; known are: {', '.join(known)}"
