"""Imports run downwards, and what must stay out stays out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

from inversionlab.core import yaml_io

PACKAGE = Path(__file__).resolve().parents[1] / "platform" / "inversionlab"
LEVELS = (
    {"", "core", "metrics"},
    {"data", "recognizers", "generators", "store"},
    {"attacks", "defenses", "results"},
    {"experiment", "report"},
    {"pipeline"},
    {"distributed"},
    {"tuning"},
    {"cli"},
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
