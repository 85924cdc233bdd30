"""The wheel: the package, with the recipes and the search spaces in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = CHECKOUT / "platform" / "inversionlab"


def run(*words: str, cwd: Path, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy: setuptools leaves a folder behind, whose old files a later wheel would hold."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    shutil.copy(CHECKOUT / "pyproject.toml", source)
    for part in ("platform", "jobs", "search_spaces"):
        skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(CHECKOUT / part, source / part, ignore=skipped)
    build = ("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index")
    run(*build, "--quiet", "--wheel-dir", str(folder), ".", cwd=source)
    (built,) = folder.glob("*.whl")
    return built


def within(folder: Path, inside: str, patterns: Iterable[str]) -> set[str]:
    """The files of a folder, as the wheel names them."""
    files = (path for pattern in patterns for path in folder.rglob(pattern))
    return {f"{inside}/{path.relative_to(folder).as_posix()}" for path in files}


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    wanted = within(
        PACKAGE, "inversionlab", ("*.py", "*.pyi", "*.j2", "*.css", "*.csv", "py.typed")
    )
    wanted |= within(PACKAGE / "papers", "inversionlab/papers", ("*.yaml",))
    wanted |= within(CHECKOUT / "jobs" / "recipes", "inversionlab/recipes", ("*.yaml",))
    wanted |= within(CHECKOUT / "search_spaces", "inversionlab/search_spaces", ("*.py", "*.md"))
    assert {"inversionlab/recipes/demo.yaml", "inversionlab/report/templates/style.css"} < wanted
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in held if ".dist-info/" not in name} == wanted


def test_the_console_command_is_declared(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "inversionlab = inversionlab.commands.main:main" in archive.read(entry).decode()


@pytest.mark.slow
def test_an_installed_wheel_audits_by_name_from_an_empty_folder(
    wheel: Path, tmp_path: Path
) -> None:
    target, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    install = ("-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target")
    run(*install, str(target), str(wheel), cwd=empty)
    where = "import inversionlab; print(inversionlab.__file__)"
    path = {"PYTHONPATH": str(target)}
    assert run("-c", where, cwd=empty, **path).startswith(str(target))
    command = ("-m", "inversionlab", "audit", "demo", "--plan", "--storage", str(tmp_path / "runs"))
    planned = run(*command, cwd=empty, **path)
    assert planned.count("16 reconstructions to do") > 1
    assert run("-m", "inversionlab", "audit", "--list", cwd=empty, **path).startswith("demo ")
    # The script that pip makes for the console finds the package too.
    script = run(str(target / "bin" / "inversionlab"), "--version", cwd=empty, **path)
    assert script.startswith("inversionlab ")
    assert not list(empty.iterdir())


def test_the_list_of_packages_is_that_of_the_folders() -> None:
    setuptools = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    names = {".".join(("inversionlab", *f.relative_to(PACKAGE).parts)) for f in folders}
    extra = {"inversionlab.recipes", "inversionlab.report.templates"}
    extra |= {"inversionlab.search_spaces", "inversionlab.search_spaces.wide"}
    assert set(setuptools["packages"]) == names | extra
    for name, folder in setuptools["package-dir"].items():
        assert (CHECKOUT / folder).is_dir(), name


def test_every_extra_is_pinned() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()[1:]
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    extras = project["optional-dependencies"]
    models = {"endpoint", "faces", "onnx", "timm"}
    assert set(extras) == {"dev", "dashboards", "mlflow", "wandb", *models}
    wanted = [*project["dependencies"], *(need for needs in extras.values() for need in needs)]
    named = {need.split(">")[0].split("=")[0].split("[")[0].lower() for need in wanted}
    assert named <= pinned
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0].lower())
