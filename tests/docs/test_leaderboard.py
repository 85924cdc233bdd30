"""The leaderboard says what its source pages say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROW = re.compile(
    r"^\| (\d*) \| (.+?) \| ([\d.]+) \| (.+?) \| (.*?) \|(?: (.*?) \|)?$", re.MULTILINE
)


@pytest.fixture(scope="module")
def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("leaderboard", DOCS / "leaderboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_made_of_the_pages_of_today(made: ModuleType) -> None:
    assert (DOCS / "leaderboard.md").read_text() == made.leaderboard(), "python docs/leaderboard.py"


def test_each_attack_has_its_figures_in_a_line_of_the_page_of_attacks(made: ModuleType) -> None:
    lines = (DOCS / "attacks.md").read_text().splitlines()
    board = made.leaderboard().partition("## Defenses")[0]
    rows = ROW.findall(board)
    assert len(rows) >= 30
    for _, attack, top1, top5, *_ in rows:
        wanted = f"| {attack} | {top1} / {top5} |"
        assert any(line.startswith(wanted) for line in lines), wanted


def test_places_are_in_the_order_of_the_headline(made: ModuleType) -> None:
    parts = re.split(r"^## ", made.leaderboard(), flags=re.MULTILINE)
    attacks, victims, defenses, decoys = parts[1:5]
    for part in (attacks, victims):
        top5 = [float(row[3].split()[0]) for row in ROW.findall(part) if row[0]]
        assert top5 == sorted(top5, reverse=True)
    for part in (defenses, decoys):
        left = [float(row[4].split()[0]) for row in ROW.findall(part)]
        assert len(left) >= 4
        assert left == sorted(left)


def test_a_table_that_is_gone_is_an_error(made: ModuleType) -> None:
    with pytest.raises(LookupError, match="has no table that begins with"):
        made.table("attacks.md", "| no such heading")
