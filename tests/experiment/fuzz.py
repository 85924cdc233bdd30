"""Recipes that a seed spoils: real ones with changes that the settings' own schemas guide.

`fuzzed(seed)` is the same on every machine, as long as recipes, settings and this file stay. So what a seed has
found is kept as a case of `test_fuzzed_recipes.py`, not as a number.
"""

from __future__ import annotations

import copy
import functools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inversionlab.core.yaml_io import parse_yaml
from inversionlab.experiment import Experiment
from tests import tiny

RECIPES = Path(__file__).resolve().parents[2] / "jobs" / "recipes"

WORDS = (
    "",
    " ",
    "x",
    "none",
    "null",
    "name",
    "../../etc",
    "/",
    ".",
    "..",
    "~",
    "~nobody/x",
    "a.b.c",
    "0",
    "-1",
    "1e3",
    "é",
    "日本語",
    "👩‍👩‍👧",
    "\u202eabc",
    "\ufeff",
    "a\nb",
    "a\0b",
    "\x1b[31m",
    "%s%n{}{0}",
    "${HOME}",
    "{{ 7 * 7 }}",
    "<script>",
    "x" * 300,
    "x" * 5000,
    "é" * 200,
    "os:getcwd",
    "no.such.module:Thing",
    ":",
    "os:",
    "..:..",
    "torchvision:resnet18",
    "timm:no_such",
    "https://",
    "http://[::1",
    "file:///etc/passwd",
    "s3:/x",
)
"""Texts that have broken programs."""
NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    -1,
    255,
    1024,
    65_537,
    10**6,
    2**31 - 1,
    2**31,
    2**63 - 1,
    2**63,
    2**64,
    10**50,
    0.0,
    -0.0,
    0.5,
    1.0,
    1.5,
    -1.5,
    1e-5,
    5e-324,
    1e-308,
    1e15,
    1e308,
    -1e308,
    float("inf"),
    float("nan"),
)


@dataclass(frozen=True)
class Fuzzed:
    """What a seed made."""

    recipe: str
    """The text of the recipe."""
    assignments: tuple[str, ...]
    """What `--set` changes."""


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON schema of an experiment."""
    return Experiment.model_json_schema()


@functools.cache
def bases() -> tuple[str, ...]:
    """The recipes that come along, each on a few drawn people, as JSON; and the smallest of the tests."""
    found = [json.dumps(tiny.RECIPE)] * 3
    for path in sorted(RECIPES.glob("*.yaml")):
        data = parse_yaml(path.read_text(encoding="utf-8"))
        data["data"] = {**tiny.RECIPE["data"], "image_size": 32, "channels": 3}
        data["split"] = tiny.RECIPE["split"]
        data.pop("public_data", None)
        data["targets"] = {**data.get("targets", {}), "count": 3, "skip": 0, "pool": None}
        data["victim"].setdefault("network", {"name": "small_resnet", "width": 8})
        found.append(json.dumps(data))
    return tuple(found)


def fuzzed(seed: int) -> Fuzzed:
    """The recipe of a seed, and assignments on it."""
    rng = random.Random(seed)
    data = json.loads(rng.choice(bases()))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        _change(rng, data)
    words = tuple(_assignment(rng, data) for _ in range(rng.choice((0, 0, 0, 1, 1, 2))))
    text = json.dumps(data, ensure_ascii=rng.random() < 0.5)
    # JSON has no infinity and YAML has; a lone surrogate cannot stand in a file.
    text = text.replace("-Infinity", "-.inf").replace("Infinity", ".inf").replace("NaN", ".nan")
    if rng.random() < 0.03:
        text = _broken_text(rng, text)
    return Fuzzed(text.encode("utf-8", "replace").decode(), words)


def _change(rng: random.Random, data: dict[str, Any]) -> None:
    """Spoil one place of a recipe."""
    places = list(_places(data, schema(), ()))
    path, known = rng.choice(places)
    parent, last = _parent(data, path)
    kind = rng.random()
    if kind < 0.55:
        parent[last] = _value(rng, known)
    elif kind < 0.75:
        _add(rng, data)
    elif kind < 0.80:
        del parent[last]
    elif kind < 0.85 and isinstance(parent, dict):
        parent[_spoiled_word(rng, str(last))] = parent.pop(last)
    elif kind < 0.89 and isinstance(parent, list):
        parent.extend(copy.deepcopy(parent) * rng.choice((1, 1, 3, 40)))
    elif kind < 0.93:
        parent[last] = _deep(rng, parent[last])
    elif kind < 0.97:
        other, _ = rng.choice(places)
        held, key = _parent(data, other)
        parent[last] = copy.deepcopy(held[key])
    else:
        parent[last] = _hostile(rng)


def _add(rng: random.Random, data: dict[str, Any]) -> None:
    """Set a setting that the recipe leaves at its default."""
    mappings = [
        (path, known)
        for path, known in [((), schema()), *_places(data, schema(), ())]
        if _object(known, _at(data, path)) is not None and isinstance(_at(data, path), dict)
    ]
    path, known = rng.choice(mappings)
    node = _at(data, path)
    made = _object(known, node)
    assert made is not None
    names = sorted(made.get("properties", {}).keys() - node.keys())
    if names:
        name = rng.choice(names)
        node[name] = _value(rng, made["properties"][name])


def _places(node: Any, known: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every path in a recipe, with its schema; {} where none is known."""
    items: list[tuple[Any, Any, Any]] = []
    if isinstance(node, dict):
        made = _object(known, node) or {}
        labels = next(iter(made.get("patternProperties", {}).values()), {})
        items = [(k, v, made.get("properties", {}).get(k, labels)) for k, v in node.items()]
    elif isinstance(node, list):
        inner = next((k.get("items", {}) for k in _options(known) if "items" in k), {})
        items = [(i, v, inner) for i, v in enumerate(node[:50])]
    for key, value, below in items:
        yield (*path, key), below
        if len(path) < 60:
            yield from _places(value, below, (*path, key))


def _options(known: Any) -> list[dict[str, Any]]:
    """The alternatives of a schema, without references."""
    if not isinstance(known, dict):
        return []
    if "$ref" in known:
        return _options(schema()["$defs"][known["$ref"].rpartition("/")[2]])
    several = known.get("oneOf") or known.get("anyOf")
    return [o for k in several for o in _options(k)] if several else [known]


def _object(known: Any, node: Any) -> dict[str, Any] | None:
    """The schema of a mapping: of several, that with its name, or most of its keys."""
    options = [o for o in _options(known) if "properties" in o or "patternProperties" in o]
    if not options or not isinstance(node, dict):
        return None

    def fit(option: dict[str, Any]) -> tuple[bool, int]:
        fields = option.get("properties", {})
        named = "name" in fields and fields["name"].get("const") == node.get("name")
        return named, len(fields.keys() & node.keys())

    return max(options, key=fit)


def _value(rng: random.Random, known: Any, depth: int = 0) -> Any:
    """A value for a schema: mostly within it, often at its bounds, sometimes outside."""
    options = _options(known)
    if not options or rng.random() < 0.15:
        return _hostile(rng)
    option = rng.choice(options)
    if "const" in option:
        return option["const"]
    if "enum" in option:
        return rng.choice(option["enum"])
    match option.get("type"):
        case "integer" | "number":
            return _number(rng, option)
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
        case "string":
            return rng.choice(WORDS)
        case "array":
            count = rng.choice((0, 1, 1, 2, 3, 5, option.get("maxItems", 9), 70))
            return [_value(rng, option.get("items", {}), depth + 1) for _ in range(min(count, 200))]
    return _section(rng, option, depth)


def _section(rng: random.Random, option: dict[str, Any], depth: int) -> dict[str, Any]:
    """A mapping for a schema, with few of its settings."""
    fields, made = option.get("properties", {}), {}
    for name, below in fields.items():
        if "const" in below or name in option.get("required", ()):
            made[name] = below.get("const", None) or _value(rng, below, depth + 1)
        elif depth < 6 and rng.random() < 0.15:
            made[name] = _value(rng, below, depth + 1)
    for below in option.get("patternProperties", {}).values():
        made |= {rng.choice(("a", "b", *WORDS)): _value(rng, below, depth + 1) for _ in range(2)}
    if not fields and not made and isinstance(more := option.get("additionalProperties"), dict):
        made = {rng.choice(WORDS): _value(rng, more, depth + 1) for _ in range(2)}
    return made


def _number(rng: random.Random, option: dict[str, Any]) -> Any:
    low = option.get("minimum", option.get("exclusiveMinimum", 0))
    high = option.get("maximum", option.get("exclusiveMaximum", max(low * 10, 10)))
    whole = option["type"] == "integer"
    chosen = rng.choice(
        (low, high, low + 1, high - 1, low - 1, high + 1, rng.choice(NUMBERS))
        + (rng.uniform(low, min(high, low + 20)), rng.uniform(low, high)) * 2
    )
    return int(chosen) if whole and abs(chosen) < 1e300 and rng.random() < 0.95 else chosen


def _hostile(rng: random.Random) -> Any:
    """A value of any type."""
    kind = rng.randrange(12)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind < 8:
        return rng.choice(WORDS)
    return rng.choice(
        (
            None,
            True,
            False,
            [],
            {},
            [[]],
            [{}],
            {"name": None},
            {"name": "x"},
            {"name": ["x"]},
            {"": {}},
            {"x" * 500: 1},
            [0] * 3000,
            ["x"] * 300,
            {f"k{i}": i for i in range(200)},
            [{"name": f"n{i}"} for i in range(100)],
            functools.reduce(lambda inner, _: [inner], range(45), 1),
            functools.reduce(lambda inner, _: {"inner": inner}, range(45), None),
        )
    )


def _deep(rng: random.Random, value: Any) -> Any:
    """A value inside values of its own kind."""
    times = rng.choice((1, 2, 5, 20, 60))
    key = rng.choice(("inner", "x", "name"))
    for _ in range(times):
        if isinstance(value, dict) and "name" in value and rng.random() < 0.9:
            value = {**{k: v for k, v in value.items() if k != "inner"}, key: value}
        else:
            value = [value] if rng.random() < 0.5 else {key: value}
    return value


def _spoiled_word(rng: random.Random, word: str) -> str:
    place = rng.randrange(len(word) + 1)
    return rng.choice(
        (word[:place] + word[place + 1 :], word + "s", word.upper(), word[::-1], rng.choice(WORDS))
    )


def _assignment(rng: random.Random, data: dict[str, Any]) -> str:
    """What somebody may type after `--set`."""
    path, known = rng.choice(list(_places(data, schema(), ())) or [(("name",), {})])
    dotted = ".".join(map(str, path))
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(
            (dotted, f"{dotted}=", "=", f"={dotted}", f"{dotted}={{", f"{dotted}=!!x")
        )
    if kind < 0.25:
        dotted += rng.choice((".x", ".0", ".-1", ".name", "..", ".²", ".x.y.z", "."))
    elif kind < 0.35:
        dotted = rng.choice((*WORDS, _spoiled_word(rng, dotted)))
    value = json.dumps(_value(rng, known), ensure_ascii=False)
    return f"{dotted}={value.replace('Infinity', '.inf').replace('NaN', '.nan')}"


def _broken_text(rng: random.Random, text: str) -> str:
    """A text that is hardly YAML any more."""
    place = rng.randrange(len(text))
    return rng.choice(
        (
            text[:place],
            text[:place] + rng.choice('{}[]",:&*!|>%@`\t\0\x07\n-#') + text[place:],
            text + text,
            f"--- {text}\n--- {text}",
            f"&a {text}",
            f"!!python/object:os.system {text}",
            f"\ufeff{text}",
            text.replace('"', "'"),
            f"%YAML 1.3\n---\n{text}",
            f"- {text}",
            "",
            "\0",
        )
    )


def _parent(data: Any, path: tuple[Any, ...]) -> tuple[Any, Any]:
    """What holds the item of a path, and its key there."""
    return _at(data, path[:-1]), path[-1]


def _at(data: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        data = data[part]
    return data
