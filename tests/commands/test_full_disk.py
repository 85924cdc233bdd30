"""A disk that is full when pictures are prepared, or when the page is written: one line, no half-written file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inversionlab.commands.main import app
from inversionlab.core.yaml_io import dump_yaml
from tests import tiny
from tests.disks import resize, room, small_disk
from tests.golden import collect


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def files(disk: Path) -> dict[str, bytes]:
    return {str(p.relative_to(disk)): p.read_bytes() for p in disk.rglob("*") if p.is_file()}


def refused(disk: Path, *words: str) -> None:
    """The command ends with exit code 1 and a line, and leaves the disk's files as they were."""
    before = files(disk)
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 1, result.output
    (line,) = [text for text in result.output.splitlines() if text.startswith("error: ")]
    assert "No space left on device" in line
    assert files(disk) == before


def test_when_pictures_are_prepared(tmp_path: Path, disk: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(dump_yaml(tiny.recipe()))
    words = ("audit", str(recipe), "--storage", str(disk), "--plan")
    room(disk, 16)
    refused(disk, *words)
    resize(disk, "8m")
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    assert {name.partition("/")[0] for name in files(disk)} == {"pictures"}


@pytest.mark.parametrize("kind", ["runs", "searches"])
def test_when_the_page_is_written(tmp_path: Path, disk: Path, kind: str) -> None:
    resize(disk, "64m")
    store = collect.unpacked(disk)
    name = sorted(path.name for path in (store / kind).iterdir())[0]
    words = ("report", name, "--storage", str(store))
    room(disk, 8)
    refused(disk, *words)
    resize(disk, "64m")
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    (page,) = (store / kind / name).glob("*.html")
    assert page.read_text().rstrip().endswith("</html>")
