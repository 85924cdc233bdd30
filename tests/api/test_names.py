"""The names that `import inversionlab` offers: all of them, late, and the same for type checkers."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import inversionlab

STUB = Path(inversionlab.__file__).with_suffix(".pyi")


def run(code: str) -> str:
    path = {**os.environ, "PYTHONPATH": str(STUB.parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_name_is_there_and_an_unknown_one_is_not() -> None:
    assert len(inversionlab.__all__) == 8
    for name in inversionlab.__all__:
        assert getattr(inversionlab, name) is not None
    assert set(inversionlab.__all__) <= set(dir(inversionlab))
    with pytest.raises(AttributeError, match="has no attribute 'audits'"):
        inversionlab.audits  # noqa: B018


def test_type_checkers_see_the_same_names_from_the_same_places() -> None:
    tree = ast.parse(STUB.read_text())
    seen = {
        alias.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {n: f"inversionlab.{place}" for n, place in inversionlab._PLACES.items()}
    (listed,) = [n for n in tree.body if isinstance(n, ast.Assign)]
    assert set(ast.literal_eval(listed.value)) == set(inversionlab.__all__)


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    heavy = "{'torch', 'ray', 'pandas', 'numpy', 'pydantic'} & {*sys.modules}"
    assert run(f"import sys, inversionlab; print({heavy})") == "set()\n"
    # An attack in this process needs no Ray.
    loaded = run("import sys, inversionlab; inversionlab.invert; print('ray' in sys.modules)")
    assert loaded == "False\n"
