"""The strict, frozen base of every setting: load, override, refuse, hash.

What the settings of one method are stands beside that method (its `Settings` class); the whole
experiment is put together from the rooms in `experiment.py`. This file knows no method.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from inversionlab.core.yaml_io import DEEPEST, cut, parse_yaml


class ConfigError(ValueError):
    """A recipe, an override or a data folder is wrong; the text says what, where and what would be right."""


class Settings(BaseModel):
    """Base of every group of settings: frozen, unknown keys refused, no silent conversions."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    inference_only: ClassVar[frozenset[str]] = frozenset()
    """Names of the settings that no trained network depends on; they stay out of `trained_part`."""

    def trained_part(self) -> dict[str, Any]:
        """The settings that a trained network depends on, as plain JSON values."""
        return self.model_dump(mode="json", exclude=set(self.inference_only))


SettingsT = TypeVar("SettingsT", bound=Settings)


def fingerprint(value: Any) -> str:
    """16 hex digits that name a JSON-like value; equal values have equal names, whatever their key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a YAML recipe with the safe loader.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not hold a mapping.
    """
    if not path.is_file():
        near = difflib.get_close_matches(path.name, _siblings(path), n=1)
        hint = f"; did you mean `{path.parent / near[0]}`?" if near else ""
        raise ConfigError(f"{path}: there is no such recipe{hint}")
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not readable as YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must hold a mapping of settings, but holds a {_kind(data)}")
    return data


def _siblings(path: Path) -> list[str]:
    return [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []


def override(data: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return a copy of `data` with every `a.b=c` applied; `c` is read as YAML, list items go by number.

    Raises:
        ConfigError: an assignment is not of the form `a.b=c`, or leads through something that has no keys.
    """
    result: dict[str, Any] = json.loads(json.dumps(data, default=str))
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        if not sign or not path.strip():
            raise ConfigError(f"--set {cut(assignment)}: must be of the form `section.key=value`")
        try:
            value = parse_yaml(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"--set {cut(assignment)}: the value is not readable as YAML: {error}"
            ) from error
        assign(result, path.strip(), value)
    return result


def assign(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `data["a"]["b"] = value` for `dotted` = "a.b", in place, making mappings on the way."""
    node: Any = data
    *parents, last = dotted.split(".")
    if len(parents) >= DEEPEST:
        raise ConfigError(f"{cut(dotted)}: leads more than {DEEPEST} levels deep")
    for part in parents:
        if isinstance(node, dict):
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
        else:
            node = _item(node, part, dotted)
    if isinstance(node, dict):
        node[last] = value
    elif isinstance(node, list):
        _item(node, last, dotted)
        node[int(last)] = value
    else:
        raise ConfigError(f"{dotted}: `{last}` cannot be set, its parent is a {_kind(node)}")


def _item(node: Any, part: str, dotted: str) -> Any:
    if isinstance(node, list):
        # Compared as texts: `²` and `٠` are digits too, and int() refuses 5000 of them.
        numbers = [str(number) for number in range(len(node))]
        if part in numbers:
            return node[int(part)]
        there = (
            f"is not one of the items 0 to {len(node) - 1}" if node else "leads into an empty list"
        )
        raise ConfigError(f"{cut(dotted)}: `{cut(part)}` {there}")
    raise ConfigError(f"{dotted}: `{part}` leads into a {_kind(node)}, which has no keys")


def validate(model: type[SettingsT], data: Mapping[str, Any], *, origin: str) -> SettingsT:
    """Make `model` from plain data, or say everything that is wrong with it at once.

    Raises:
        ConfigError: one line a fault: origin, dotted key, value, what would be right.
    """
    try:
        return model.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        lines = [_explain(model, data, fault) for fault in _telling(error.errors())]
        raise ConfigError("\n".join(f"{origin}: {line}" for line in lines)) from error


def _telling(faults: Sequence[Any]) -> list[Any]:
    """The faults without those that only follow from another one, or say less than it."""
    places = [fault["loc"] for fault in faults]
    # A list is too short to pydantic when an item of it is wrong.
    prefixes = {place[:end] for place in places for end in range(len(place))}
    told = [f for f in faults if f["type"] != "too_short" or f["loc"] not in prefixes]
    # Where a whole number or another one may stand, what the wider kind wants is what is right.
    wide = {place[:-1] for place in places if place and place[-1] == "float"}
    return [f for f in told if not (f["type"].startswith("int_") and f["loc"][:-1] in wide)]


def _explain(model: type[BaseModel], data: Any, fault: Any) -> str:
    """One fault of pydantic's list as `key = value: what is wrong (what would be right)`."""
    path = _real_path(data, fault["loc"])
    dotted = ".".join(str(part) for part in path) or "(whole recipe)"
    kind, value = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), _known_keys(model, fault["loc"]), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else _known_hint(model, fault["loc"])
        return f"{dotted} = {_short(value)}: unknown key{hint}"
    if kind == "missing":
        return f"{dotted}: is missing and has no default"
    if kind == "union_tag_invalid":
        names = [n.strip().strip("'") for n in fault["ctx"]["expected_tags"].split(",")]
        near = difflib.get_close_matches(str(fault["ctx"]["tag"]), names, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known are: {', '.join(names)}"
        return f"{dotted}.name = {fault['ctx']['tag']}: unknown name; {hint}"
    if kind == "union_tag_not_found":
        return f"{dotted}: needs a `name` that says which one it is"
    message = fault["msg"].removeprefix("Value error, ")
    for subject in ("Input should ", "String should ", "Tuple should ", "Dictionary should "):
        message = message.replace(subject, "should ", 1)
    message = message.replace(" after validation", "")
    return message if not path else f"{dotted} = {_short(value)}: {message}"


def _real_path(data: Any, loc: Sequence[int | str]) -> list[int | str]:
    """Drop the union tags that pydantic puts into a location: keep only steps that exist in `data`."""
    path: list[int | str] = []
    node = data
    for index, part in enumerate(loc):
        is_step = (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        )
        if is_step:
            path.append(part)
            node = node[part]
        elif index == len(loc) - 1 and isinstance(node, dict) and node.get("name") != part:
            path.append(part)
    return path


def _known_keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys that would be right where `loc` points."""
    current: list[type[BaseModel]] = [model]
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        tagged = [m for m in current if _tag(m) == part]
        if tagged:
            current = tagged
            continue
        fields = [m.model_fields[part] for m in current if part in m.model_fields]
        if not fields:
            continue  # A label of the user's own: what stands below it is known already.
        current = [m for f in fields for m in _models_in((f.annotation, *f.metadata))]
    return sorted({name for m in current for name in m.model_fields})


def _known_hint(model: type[BaseModel], loc: Sequence[int | str]) -> str:
    known = _known_keys(model, loc)
    return f"; known are: {', '.join(known)}" if known else ""


def _tag(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("name")
    return field.default if field is not None else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    parts = annotation if isinstance(annotation, tuple) else get_args(annotation)
    return [m for part in parts for m in _models_in(part)]


def _short(value: Any) -> str:
    return cut(json.dumps(value, default=str))


def _kind(value: Any) -> str:
    names = {dict: "mapping", list: "list", str: "text", type(None): "nothing (an empty file?)"}
    return names.get(type(value), type(value).__name__)
