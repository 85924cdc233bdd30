"""The experiments behind a paper's tables: `recipes/NAME.yaml`, at three scales.

    base:  a whole recipe, that of the scale `small`
    tiny:  {dotted.setting: value}, what the scale `tiny` changes in it; `paper` likewise
    recipes:
      fig5:
        scales: [tiny, small, paper]     # default: all; where it has none, `why` says why
        changes: {dotted.setting: value} # at every scale, after those of the scale
        tiny: {dotted.setting: value}    # at that scale, last; `small` and `paper` likewise
        like: fig4                       # what that recipe says holds here too, before what this one says
        within: {tiny: fig4}             # at that scale, that recipe's experiment has all that this one needs
        each: {tiny: 2, small: 10}       # so many targets, each behind a network of their own (`protect: each`)

A value in place of a mapping or list takes the place of all of it; items of a list go by number.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inversionlab.core.settings import ConfigError, assign, override, read_recipe, validate
from inversionlab.core.yaml_io import cut
from inversionlab.experiment import Experiment
from inversionlab.papers.paper import SCALES, Scale

FOLDER = Path(__file__).resolve().parent / "recipes"
_KEYS = {"like", "scales", "changes", "each", "within", "why", *SCALES}


@dataclass(frozen=True)
class Recipe:
    """One recipe of a paper at one scale."""

    name: str
    experiment: Experiment | None
    """None where there is none at this scale."""
    why_not: str = ""
    """Why there is none at this scale."""


def recipes_of(
    paper: str, scale: Scale, wanted: Iterable[str], assignments: Sequence[str] = ()
) -> dict[str, Recipe]:
    """The wanted recipes of a paper, checked, by their names.

    An assignment `a.b=c` changes a setting of every recipe, `NAME:a.b=c` of that recipe alone.

    Raises:
        ConfigError: the file or an assignment is wrong.
    """
    path = FOLDER / f"{paper}.yaml"
    data = read_recipe(path)
    known: Mapping[str, Any] = data.get("recipes") or {}
    scoped = [_scoped(assignment) for assignment in assignments]
    for name, _ in scoped:
        if name and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{near[0]}:`?" if near else f"there are: {', '.join(known)}"
            raise ConfigError(f"--set {cut(name)}:...: {paper} has no recipe `{cut(name)}`; {hint}")
    found = {}
    for name in dict.fromkeys(wanted):
        if name not in known:
            raise ConfigError(f"{path}: has no recipe `{name}`")
        mine = [assignment for scope, assignment in scoped if scope in ("", name)]
        found[name] = _recipe(f"{path}: {name}", paper, name, scale, data, mine)
    return found


def _scoped(assignment: str) -> tuple[str, str]:
    """The name of the recipe that an assignment is for, "" for all of them, and the assignment without it."""
    path, sign, value = assignment.partition("=")
    name, colon, rest = path.partition(":")
    return (name.strip(), f"{rest}{sign}{value}") if colon else ("", assignment)


def _spec(known: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the file says of a recipe, on top of what it says of the one that it is like."""
    own: dict[str, Any] = dict(known[name] or {})
    like = own.pop("like", None)
    if like is None:
        return own
    below = _spec(known, like)
    joined = {
        key: {**below[key], **own[key]}
        for key in below.keys() & own.keys()
        if isinstance(own[key], dict)
    }
    return {**below, **own, **joined}


def _recipe(
    origin: str,
    paper: str,
    name: str,
    scale: Scale,
    data: Mapping[str, Any],
    assignments: Sequence[str],
) -> Recipe:
    spec = _spec(data["recipes"], name)
    if unknown := spec.keys() - _KEYS:
        raise ConfigError(f"{origin}: `{min(unknown)}` is none of {', '.join(sorted(_KEYS))}")
    if scale not in spec.get("scales", SCALES):
        return Recipe(name, None, spec.get("why") or f"there is no recipe for the scale `{scale}`")
    if (whole := (spec.get("within") or {}).get(scale)) is not None:
        inside = _recipe(origin, paper, whole, scale, data, assignments)
        return Recipe(name, inside.experiment, inside.why_not)
    plain: dict[str, Any] = json.loads(json.dumps(data["base"]))
    for changes in (data.get(scale), spec.get("changes"), spec.get(scale)):
        for dotted, value in (changes or {}).items():
            assign(plain, dotted, json.loads(json.dumps(value)))
    plain["name"] = f"{paper}-{name}-{scale}".replace("_", "-")
    if (people := (spec.get("each") or {}).get(scale)) is not None:
        assign(plain, "targets.count", people)
        plain["protect"] = "each"
    plain = override(plain, assignments)
    return Recipe(name, validate(Experiment, plain, origin=origin))
