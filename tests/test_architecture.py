"""Imports run one way, and what must stay out stays out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from inversionlab import plain_yaml

PACKAGE = Path(__file__).resolve().parents[1] / "platform" / "inversionlab"
ROOMS = {"data", "recognizers", "generators", "attacks", "defenses", "metrics"}
CORE = {
    "config",
    "access",
    "seeds",
    "learning",
    "inversion_model",
    "storage",
    "store",
    "pictures",
    "plain_yaml",
    "handbook",
    "",
}
"""Shared files that know no room; "" is the package itself (its version)."""

MAY_IMPORT = {
    **{room: CORE | {room} for room in ROOMS},
    **dict.fromkeys(CORE, CORE),
    "commands": set(),
    # The experiment for its type alone.
    "coherence": CORE | ROOMS | {"experiment"},
    "experiment": CORE | ROOMS | {"coherence"},
    "stages": CORE | ROOMS | {"stages", "experiment"},
    "runtime": CORE | ROOMS | {"stages", "experiment", "runtime"},
    "report": CORE | {"metrics", "report"},
}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "inversionlab":
                found |= {f"inversionlab.{alias.name}" for alias in node.names}
    return found


def part_of(module: str) -> str:
    """The room or core file that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).exists() else _file(parts)


def _file(parts: list[str]) -> str:
    return parts[1] if len(parts) > 1 and (PACKAGE / f"{parts[1]}.py").exists() else ""


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    where = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    where = "" if where == "__init__" else where
    used = {part_of(m) for m in imports(path) if m.split(".")[0] == "inversionlab"}
    assert used <= MAY_IMPORT[where], f"{where} may not import {used - MAY_IMPORT[where]}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_runtime_imports_ray(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] != "runtime":
        assert not {m for m in imports(path) if m.split(".")[0] == "ray"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_is_unpickled(path: Path) -> None:
    """Weights are safetensors; checkpoints go through the loader for tensors and plain values."""
    assert not imports(path) & {"pickle", "dill", "cloudpickle", "joblib", "shelve"}
    for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)):
        if ast.unparse(call.func) == "torch.load":
            assert "weights_only=True" in ast.unparse(call)
        if ast.unparse(call.func) == "yaml.load":
            assert ast.unparse(call.keywords[0].value) == "_Loader"
        assert ast.unparse(call.func) not in {"yaml.unsafe_load", "yaml.full_load", "yaml.load_all"}


def test_the_loader_of_recipes_is_a_safe_one() -> None:
    assert issubclass(plain_yaml._Loader, yaml.SafeLoader)
    with pytest.raises(yaml.YAMLError):
        plain_yaml.parse_yaml("!!python/object/apply:os.getcwd []")


def test_the_source_root_does_not_shadow_pythons_platform() -> None:
    assert not (PACKAGE.parent / "__init__.py").exists()
