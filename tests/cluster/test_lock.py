"""The list of what the image installs: the tested versions, each file by its hash."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def _lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", ROOT / "cluster" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _pins(file: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)", file.read_text(encoding="utf-8"), re.M)
    return {canonicalize_name(name): version for name, version in found}


def test_the_list_is_that_of_the_tested_versions() -> None:
    lines = (ROOT / "cluster" / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# linux, x86_64, Python 3.11.")
    for line in lines[1:]:
        assert re.fullmatch(r"[\w.-]+==\S+ --hash=sha256:[0-9a-f]{64}", line), line
    pins, locked = (_pins(ROOT / name) for name in ("constraints.txt", "cluster/requirements.lock"))
    assert locked.items() <= pins.items()
    for need in map(Requirement, _lock().wanted()):
        assert need.specifier.contains(locked[canonicalize_name(need.name)]), need


def report(*packages: tuple[str, str, str | None]) -> dict[str, Any]:
    """What pip would report of packages: name, file and SHA-256."""
    return {
        "environment": {"sys_platform": "linux", "platform_machine": "m", "python_version": "3.11"},
        "install": [
            {
                "metadata": {"name": name, "version": "1.0"},
                "download_info": {
                    "url": f"https://host.example/{file}",
                    "archive_info": {"hashes": {"sha256": digest} if digest else {}},
                },
            }
            for name, file, digest in packages
        ],
    }


def test_a_list_is_made_of_pips_report() -> None:
    made = _lock().locked(report(("b", "b.whl", "22"), ("A", "a.whl", "11")))
    first, *rest = made.splitlines()
    assert first.startswith("# linux, m, Python 3.11. ")
    assert rest == ["A==1.0 --hash=sha256:11", "b==1.0 --hash=sha256:22"]


@pytest.mark.parametrize(("file", "digest"), [("a.tar.gz", "11"), ("a.whl", None)])
def test_what_runs_code_or_has_no_hash_is_refused(file: str, digest: str | None) -> None:
    with pytest.raises(ValueError, match=r"a 1\.0: is no wheel with a known SHA-256"):
        _lock().locked(report(("a", file, digest)))
