"""The papers' printed figures: they load, stand in the papers' texts, and have a place in our tables."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.papers import PAPERS
from inversionlab.papers.printed import COLUMNS, Printed, printed, read_printed

TEXTS = {
    "kotsuji": "kotsuji-2025-dummy-recognizer.txt",
    "gong": "gong-2023-gan-defense.txt",
    "yoshimura": "yoshimura-2021-black-box-attack.txt",
    "khosravy": "khosravy-2021-gray-box-attack.txt",
    "wen": "wen-2021-adversarial-noise-defense.txt",
}
SIZES = {"kotsuji": 5, "gong": 749, "yoshimura": 37, "khosravy": 18, "wen": 34}
"""How many figures each paper prints, counted in the papers' tables."""


def plain(text: str) -> str:
    """With one blank between words, straight quotes, and no bars of tables."""
    return re.sub(r"[\s|]+", " ", text.replace("’", "'"))


def text_of(paper: str) -> str:
    folder = Path(__file__).resolve().parents[3] / "shared" / "papers"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: no paper to compare with")
    return plain((folder / TEXTS[paper]).read_text(encoding="utf-8"))


@pytest.mark.parametrize("paper", PAPERS)
def test_every_figure_stands_in_the_papers_text(paper: str) -> None:
    text = text_of(paper)
    lost: list[Printed | str] = []
    for (_, row), group in itertools.groupby(printed(paper), lambda p: (p.table, p.row)):
        figures = list(group)
        quoted = [p for p in figures if p.quote]
        lost += [p for p in quoted if p.text not in p.quote or plain(p.quote) not in text]
        # A row of a table stands in one piece.
        whole = " ".join(p.text for p in figures if not p.quote)
        lost += [f"{row}: {whole}"] if whole and f" {whole} " not in text else []
    assert not lost


@pytest.mark.parametrize("paper", PAPERS)
def test_every_figure_is_there_and_belongs_to_a_table(paper: str) -> None:
    figures = printed(paper)
    assert len(figures) == SIZES[paper]
    assert {p.table for p in figures} <= {table.key for table in PAPERS[paper].tables}


@pytest.mark.parametrize("paper", PAPERS)
def test_ours_has_a_cell_for_every_figure_but_human_judgements(paper: str) -> None:
    for table in PAPERS[paper].tables:
        theirs = {(p.row, p.column) for p in printed(paper) if p.table == table.key}
        assert table.why_not or theirs <= {cell.place for cell in table.cells}


def test_a_few_figures_by_hand() -> None:
    """Copied from the papers' pages, to catch a column that is off by one."""
    known = {("gong", *p.place): p for p in printed("gong")}
    for table, row, column, text in (
        ("table1", "Evaluation model", "VGG-Face2", "94.95%"),
        ("table2", "CelebA: Mirror", "none: AA", "69%"),
        ("table2", "CelebA: Mirror", "DP: MC(all)", "56.82%"),
        ("table2", "CelebA: Privacy", "Ad-mi: AA", "1%"),
        ("table2", "VGG-Face2: Mirror", "GAN-ID: AA", "1%"),
        ("table2", "VGG-Face2: AMI", "GAN-D: FID", "249"),
        ("table3", "CelebA: Mirror", "random fake samples: AA", "10%"),
        ("table4", "VGG-Face2: Mirror", "L_pri: AA", "7%"),
        ("table4", "VGG-Face: Privacy", "GAN-D(L_FL): FID", "443"),
        ("table5", "VGG-Face: Mirror", "L_pri + L_pub: AA", "13%"),
        ("table6", "VGG-Face2: Mirror", "CGAN: AA", "3%"),
    ):
        assert known["gong", table, row, column].text == text
    fig5 = {p.place: p for p in printed("kotsuji")}
    chosen = fig5["fig5", "alpha = 0.25", "success"]
    assert (chosen.shown, chosen.tries, chosen.units) == ("<= 27%", 81, 27)
    assert chosen.share is not None
    # Wilson's interval of 27 % of 27 people, not of 81 tries.
    assert chosen.share.low == pytest.approx(0.139, abs=0.002)
    assert chosen.share.high == pytest.approx(0.457, abs=0.002)


LINE = "table1,row,column,,80,%,80%,81,27,Table I,,"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (LINE.replace(",80,", ",eighty,"), "line 2: value = eighty: should be a number"),
        (LINE.replace(",%,", ",percent,"), "unit = percent: should be % or empty"),
        (LINE.replace(",81,", ",0,"), "tries = 0: should be a whole number from 1 on"),
        (LINE.replace(",,80", ",about,80"), "sign = about: should be one of <, <=, >, >="),
        (LINE.replace("table1", ""), "table = : should be given"),
        (LINE.rpartition(",")[0], "should have 12 columns"),
        (f"{LINE}\n{LINE}", "table1 / row / column is there twice"),
    ],
)
def test_a_wrong_line_is_refused_by_file_and_number(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "paper.csv"
    path.write_text(f"{','.join(COLUMNS)}\n{line}\n")
    with pytest.raises(ConfigError, match=r"paper\.csv") as caught:
        read_printed(path)
    assert told in str(caught.value)


def test_a_missing_file_and_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_printed(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="the columns should be table, row"):
        read_printed(tmp_path / "other.csv")
