"""Imports run downwards, and what must stay out stays out."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import tokenize
from pathlib import Path

import pytest
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

from inversionlab.core import yaml_io
from inversionlab.core.settings import Settings

PACKAGE = Path(__file__).resolve().parents[1] / "platform" / "inversionlab"
LEVELS = (
    {"", "core", "metrics"},
    {"data", "recognizers", "generators", "store"},
    {"attacks", "defenses", "given", "results", "tracking"},
    {"experiment", "report"},
    {"pipeline"},
    {"distributed"},
    {"tuning"},
    {"papers"},
    {"commands"},
    {"api"},
    {"__main__"},
)
"""The rooms from the bottom up; a room imports from lower levels and from itself. "" is the version alone."""

RAY = {"distributed", "tuning"}
"""The rooms that may import Ray."""


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file; of the package also `from room import file`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            files = {f"{node.module}.{alias.name}" for alias in node.names}
            inner = {name for name in files if name in MODULES}
            found |= inner
            if len(inner) < len(files):
                found.add(node.module)
    return found


def module_of(path: Path) -> str:
    """A file's dotted name."""
    parts = ("inversionlab", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room that a module of the package belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {module_of(path): path for path in FILES}
EACH_FILE = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))


def level(room: str) -> int:
    """How high a room stands."""
    (found,) = [i for i, rooms in enumerate(LEVELS) if room in rooms]
    return found


@EACH_FILE
def test_imports_run_downwards(path: Path) -> None:
    mine = room_of(module_of(path))
    used = {room_of(m) for m in imports(path) if m.split(".")[0] == "inversionlab"} - {mine}
    upwards = {room for room in used if level(room) >= level(mine) and room}
    assert not upwards, f"{mine} (level {level(mine)}) may not import {upwards}"


def test_no_file_imports_itself_in_a_circle() -> None:
    """Not even for a type alone."""
    graph = {m: {u for u in imports(p) if u in MODULES and u != m} for m, p in MODULES.items()}
    while leaves := [m for m, used in graph.items() if not used & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph, f"a circle runs through some of: {sorted(graph)}"


@EACH_FILE
def test_only_two_rooms_import_ray(path: Path) -> None:
    outside = {m.split(".")[0] for m in imports(path)}
    room = room_of(module_of(path))
    assert "ray" not in outside or room in RAY
    assert "optuna" not in outside or room == "tuning"


@EACH_FILE
def test_nothing_is_unpickled(path: Path) -> None:
    """Weights are safetensors; checkpoints go through the loader for tensors and plain values."""
    assert not imports(path) & {"pickle", "dill", "cloudpickle", "joblib", "shelve"}
    for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)):
        if ast.unparse(call.func) == "torch.load":
            assert "weights_only=True" in ast.unparse(call)
        if ast.unparse(call.func).split(".")[-1] == "YAML":
            assert "typ='safe'" in ast.unparse(call)
    # PyYAML would be a second loader, with unsafe ones of its own.
    assert "yaml" not in {module.split(".")[0] for module in imports(path)}


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.getcwd []", "!!python/name:os.getcwd", "!own {a: 1}"]
)
def test_the_loader_of_recipes_is_a_safe_one(text: str) -> None:
    yaml = yaml_io._yaml()
    assert yaml.typ == ["safe"]
    assert yaml.Constructor is SafeConstructor
    with pytest.raises(YAMLError):
        yaml_io.parse_yaml(text)


def test_the_source_root_does_not_shadow_pythons_platform() -> None:
    assert not (PACKAGE.parent / "__init__.py").exists()


@EACH_FILE
def test_no_file_is_longer_than_one_thing(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_inheritance_is_flat() -> None:
    """At most two of our own classes deep; PyTorch's, pydantic's and our `Settings` bases do not count."""
    deep = {}
    for module in MODULES:
        for name, kind in inspect.getmembers(importlib.import_module(module), inspect.isclass):
            if kind.__module__ == module and own_depth(kind) > 2:
                deep[f"{module}.{name}"] = own_depth(kind)
    assert not deep


def own_depth(kind: type) -> int:
    """How many of our own classes stand on the longest way up from a class, itself included."""
    ours = kind.__module__.startswith("inversionlab") and kind is not Settings
    return int(ours) + max((own_depth(base) for base in kind.__bases__), default=0)


HOUSE_WORDS = (
    *("foreman", "crew", "desk", "shelf", "workbench", "workshop", "lesson", "judge", "taught"),
    *("overhear", "overhears", "overheard", "handbook", "coherence", "rejudged", "narrowing"),
)
"""Words that once needed a glossary, in capitals too."""
STORED = {"judge", "rejudged", "taught_by"}
"""Of those: keys in records and recipes, and the option `--judge`, which users have."""


@EACH_FILE
def test_names_are_the_fields_own_words(path: Path) -> None:
    names = {
        token.string.lower().strip("_")
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        if token.type == tokenize.NAME
    }
    parts = {part for name in names - STORED for part in name.split("_")}
    assert not parts & set(HOUSE_WORDS)
