"""Writes docs/leaderboard.md out of the tables of the pages that it links: no figure is typed twice.

python docs/leaderboard.py
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
Table = list[dict[str, str]]
"""The rows of a Markdown table, by its headings."""

PAGE = """# Leaderboard

`python docs/leaderboard.py` makes this page out of the tables that it links. The evaluator is SFace, an
embedding that others trained on other people; shares are in per cent, with 95 % intervals that count people.
Rows whose intervals overlap are not clearly in this order.

## Attacks, on one undefended model

158 people, 64x64, 60 of them once each ([recipe, run, and everything else](attacks.md#what-they-find)). A
higher place finds more. **Bold**: clearly more than the best of 256 strangers' faces.

{attacks}

## Attacks, over three victims

The same people and three victims of other seeds ([the same page](attacks.md#what-they-find)).

{victims}

## Defenses

62 people, 32x32, 60 of them once each, against the standard suite ([recipe, run, and every
attack](defenses.md#what-they-leave)). A higher place leaves less to its strongest attack. That page has the test
of each against the undefended model.

{defenses}

## Decoys

158 people, 32x32, 60 of them once each ([the anonymity set](anonymity_set.md#what-was-seen)), D strangers under
every label.

{decoys}

## Take part

An entry is a recipe, a run's name and its table. [Add an attack](tutorials/add_an_attack.md) or a
[defense](defenses.md), run `jobs/recipes/lfw_attacks.yaml` or `lfw_suite.yaml` with it, and put its row into
the page that is linked above; then make this page again.
"""


def table(page: str, heading: str) -> Table:
    """The first table of a page whose line of headings begins like this.

    Raises:
        LookupError: the page has no such table any more.
    """
    lines = (HERE / page).read_text(encoding="utf-8").splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith(heading)), None)
    if start is None:
        raise LookupError(f"{page}: has no table that begins with {heading!r}")
    names, rows = _cells(lines[start]), []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(names, _cells(line), strict=True)))
    return rows


def leaderboard() -> str:
    """The page."""
    attacks = table("attacks.md", "| attack | SFace | beats the look-alike")
    tried = [row for row in attacks if row["beats the look-alike, p"]]
    floors = [row for row in attacks if not row["beats the look-alike, p"]]
    victims = table("attacks.md", "| attack | SFace, top-1 / top-5 | from, to")
    suite = table("defenses.md", "| top-1 / top-5 by SFace, the suite | undefended")
    decoys = table("anonymity_set.md", "| attack | undefended | D = 1")
    return PAGE.format(
        attacks=_written(
            ("", "attack", "top-1", "top-5", "beats the look-alike, p"),
            [
                *(
                    (str(n), row["attack"], *_both(row["SFace"]), row["beats the look-alike, p"])
                    for n, row in enumerate(sorted(tried, key=_top5), start=1)
                ),
                *(
                    ("", row["attack"], *_both(row["SFace"]), "")
                    for row in sorted(floors, key=_top5)
                ),
            ],
        ),
        victims=_written(
            ("", "attack", "top-1", "top-5", "from, to", "beats the look-alike, p"),
            [
                (
                    str(n),
                    row["attack"],
                    *_both(row["SFace, top-1 / top-5"]),
                    row["from, to"],
                    row["beats the look-alike, p"],
                )
                for n, row in enumerate(victims, start=1)
            ],
        ),
        defenses=_written(
            ("", "defense", "accuracy", "strongest attack", "left to it, top-5"),
            [(str(n), *row) for n, row in enumerate(sorted(_columns(suite), key=_left), start=1)],
        ),
        decoys=_written(
            ("", "model", "accuracy", "strongest attack", "left to it, top-5"),
            [(str(n), *row) for n, row in enumerate(sorted(_columns(decoys), key=_left), start=1)],
        ),
    )


def _columns(rows: Table) -> list[tuple[str, str, str, str]]:
    """Model, accuracy, strongest attack and what is left to it, out of a table with a column for each model."""
    what, *models = rows[0]
    by_name = {row[what]: row for row in rows}
    left = next(name for name in by_name if name.startswith("the strongest"))
    attacks = [name for name in by_name if name.startswith("`")]
    found = []
    for model in models:
        most = max(attacks, key=lambda name, model=model: _share(by_name[name][model]))
        equal = [a for a in attacks if _share(by_name[a][model]) == _share(by_name[most][model])]
        found.append((model, by_name["accuracy"][model], ", ".join(equal), by_name[left][model]))
    return found


def _share(cell: str) -> float:
    """Top-5 of "12 / 37" or "12 / 37 (26-49), 97"; -1 where there is none."""
    found = re.search(r"/ ([\d.]+)", cell)
    return float(found[1]) if found else -1.0


def _left(row: tuple[str, str, str, str]) -> tuple[float, float]:
    return float(row[3].split()[0]), -float(row[1])


def _top5(row: dict[str, str]) -> float:
    return -_share(row["SFace"])


def _both(cell: str) -> tuple[str, str]:
    """ "36.7 / 61.7 (49-73)" as top-1 and top-5."""
    first, _, second = cell.partition(" / ")
    return first, second


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _written(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    (HERE / "leaderboard.md").write_text(leaderboard(), encoding="utf-8")
