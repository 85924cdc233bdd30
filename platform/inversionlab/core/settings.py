"""The strict, frozen base of all settings: read a recipe, override values, validate, name by hash."""

import functools
import hashlib
import itertools
import json
import math
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from ruamel.yaml.error import YAMLError

from inversionlab.core.addresses import absolute, path_text, refuse_empty
from inversionlab.core.paths import Kind, did_you_mean, found
from inversionlab.core.validation_errors import explain
from inversionlab.core.yaml_io import DEEPEST, cut, fault_in, parse_yaml


class ConfigError(ValueError):
    """A recipe, an override or a data folder is wrong. The text says what, where, and what would be right."""


class Settings(BaseModel):
    """Base of every group of settings: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    inference_only: ClassVar[frozenset[str]] = frozenset()
    """Names of the settings that no trained network depends on; `trained_part` leaves them out."""

    def trained_part(self) -> dict[str, Any]:
        """The settings that a trained network depends on, as plain JSON values."""
        return self.model_dump(mode="json", exclude=set(self.inference_only))


LONGEST = 100_000
"""Bytes of a recipe, and of a value after `--set`. ruamel.yaml reads 20 kB in a second on a busy machine; those
that come along have 5."""
MOST_FAULTS = 20
"""Faults that are told of one recipe; more than anybody mends before the next try."""

AbsolutePath = Annotated[Path, BeforeValidator(path_text), AfterValidator(absolute)]
"""A path with `~` expanded; a relative one starts at the folder that is current at load."""

SettingsT = TypeVar("SettingsT", bound=Settings)

NAMING: dict[str, Any] = {"naming": True}
"""The context of a dump that names what is stored: settings that came later are left out of it at the values that
mean what was done before they came, so that what was stored then keeps its name."""


def any_of(entries: Mapping[str, Any]) -> Any:
    """The type of the settings of any of a room's entries; their `name` tells them apart."""
    settings = (entry.Settings for entry in entries.values())
    return Annotated[functools.reduce(operator.or_, settings), Field(discriminator="name")]


def _finite(value: dict[str, Any]) -> dict[str, Any]:
    for place, number in _numbers(value, ()):
        if not math.isfinite(number):
            raise ValueError(
                f"`{place}` is {number}, which JSON has no word for; give a finite number"
            )
    return value


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """The floating-point numbers in plain data, each with its dotted key."""
    if isinstance(value, float):
        yield ".".join(path), value
    elif isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, inner in items:
            yield from _numbers(inner, (*path, str(key)))


Arguments = Annotated[dict[str, Any], AfterValidator(_finite)]
"""Keyword arguments of a user's own class, as plain values. A name's JSON would make null of numbers that are not
finite, and two networks would have one name."""


def fingerprint(value: Any) -> str:
    """16 hex digits that name a JSON-like value; equal values have equal names, in any key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def usable_path(given: Path | str, *, origin: str) -> Path:
    """A path that a user gives, absolute.

    Raises:
        ConfigError: it can be no path; `origin` begins the text.
    """
    try:
        refuse_empty(given)
        return absolute(Path(given))
    except PydanticCustomError as error:
        # The path may be a URI with a secret.
        raise ConfigError(f"{origin}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{origin} {cut(str(given))}: {error}") from error


def kind_at(path: Path, *, origin: str) -> Kind | None:
    """What there is at a path; None: nothing.

    Raises:
        ConfigError: nobody can look there; `origin` begins the text.
    """
    try:
        return found(path)
    except ValueError as error:
        raise ConfigError(f"{cut(origin)}: {error}") from error


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a YAML recipe.

    Raises:
        ConfigError: the file is missing, is too long, is not YAML, or does not hold a mapping.
    """
    if kind_at(path, origin=str(path)) != "file":
        raise ConfigError(f"{path}: there is no such recipe{did_you_mean(path, '*.y*ml')}")
    try:
        if (size := path.stat().st_size) > LONGEST:
            raise ConfigError(
                f"{path}: has {size / 1e3:,.0f} kB, but a recipe has at most {LONGEST // 1000} kB; is it another "
                "file?"
            )
        text = path.read_text(encoding="utf-8")
        data = parse_yaml(text)
    except YAMLError as error:
        # The error itself shows the line, which may hold what should not be in a recipe.
        raise ConfigError(f"{path}: cannot be read as YAML: {fault_in(error, text)}") from None
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must hold a mapping of settings, but holds a {_kind(data)}")
    return data


def override(data: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return a copy of `data` with every `a.b=c` applied; `c` is read as YAML, list items go by number.

    Raises:
        ConfigError: an assignment is not of the form `a.b=c`, or leads through something that has no keys.
    """
    result: dict[str, Any] = json.loads(json.dumps(data, default=str))
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        named = key_of(assignment)
        if not sign or not path.strip():
            raise ConfigError(f"--set {named}: must be of the form `section.key=value`")
        if len(text) > LONGEST:
            raise ConfigError(
                f"--set {named}: has {len(text):,} characters, but a value has at most {LONGEST:,}"
            )
        try:
            value = parse_yaml(text)
        except YAMLError as error:
            raise ConfigError(
                f"--set {named}: the value cannot be read as YAML: {fault_in(error, assignment)}"
            ) from None
        assign(result, path.strip(), value)
    return result


def key_of(assignment: str) -> str:
    """The dotted key of an assignment. The value may be a secret, so no message shows it."""
    begin = re.match(r"\s*([\w.-]*)", assignment.partition("=")[0])
    assert begin is not None, "an empty key matches too"
    return cut(begin[1])


def assign(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `data["a"]["b"] = value` for `dotted` = "a.b", in place; missing mappings are added.

    Raises:
        ConfigError: the path is too deep, or leads through something that has no such item.
    """
    node: Any = data
    *parents, last = dotted.split(".")
    if len(parents) >= DEEPEST:
        raise ConfigError(f"{cut(dotted)}: leads more than {DEEPEST} levels deep")
    for part in parents:
        if isinstance(node, dict):
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
        elif isinstance(node, list):
            node = node[_position(node, part, dotted)]
        else:
            raise ConfigError(f"{dotted}: `{part}` leads into a {_kind(node)}, which has no keys")
    if isinstance(node, dict):
        node[last] = value
    elif isinstance(node, list):
        node[_position(node, last, dotted)] = value
    else:
        raise ConfigError(
            f"{dotted}: `{last}` cannot be set, because its parent is a {_kind(node)}"
        )


def _position(items: list[Any], part: str, dotted: str) -> int:
    # Compared as text: `²` and `٠` are digits too, and int() refuses 5000 of them.
    numbers = [str(number) for number in range(len(items))]
    if part not in numbers:
        wrong = f"is not one of the items 0 to {len(items) - 1}"
        raise ConfigError(
            f"{cut(dotted)}: `{cut(part)}` {wrong if items else 'leads into an empty list'}"
        )
    return int(part)


def validate(model: type[SettingsT], data: Mapping[str, Any], *, origin: str) -> SettingsT:
    """Make `model` from plain data.

    Raises:
        ConfigError: something is wrong; one line for each fault: origin, dotted key, value, what would be right.
    """
    try:
        return model.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        lines = first_faults(f"{origin}: {line}" for line in explain(model, data, error))
        # The error itself shows every value, also those that are secrets.
        raise ConfigError("\n".join(lines)) from None


def first_faults(faults: Iterable[str]) -> list[str]:
    """The first faults, and how many more there are."""
    left = iter(faults)
    found = list(itertools.islice(left, MOST_FAULTS))
    more = sum(1 for _ in left)
    return [*found, f"and {more:,} more faults"] if more else found


def _kind(value: Any) -> str:
    names = {dict: "mapping", list: "list", str: "text", type(None): "nothing (an empty file?)"}
    return names.get(type(value), type(value).__name__)
