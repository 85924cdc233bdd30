"""A person's page: one target, and what every attack made of it on every model, the best first."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.report.frame import fill
from inversionlab.report.pictures import (
    COLUMNS,
    GridPicture,
    attack_pictures,
    named_people,
    of_first_victim,
    reference_row,
)
from inversionlab.results.rows import Row
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import words
from inversionlab.store.storage import Storage

FOLDER = "people"
"""Beside the run's page."""


@dataclass(frozen=True)
class Rung:
    """One attack on one model, as it went with one person."""

    row: Row
    picture: GridPicture
    """Of the try that the attacker would choose, with its rank by the headline evaluator."""
    ranks: tuple[tuple[int, ...], ...]
    """By each evaluator the rank of the person in each try, in order of the tries."""
    queries: float
    """Mean of a try; NaN where it is not known."""
    steps: float

    @property
    def order(self) -> tuple[float, float, str]:
        """The smallest is the best: by the rank of the chosen try, then by the mean of all ranks."""
        every = [rank for ranks in self.ranks for rank in ranks]
        mean = sum(every) / len(every) if every else math.inf
        return self.picture.rank or math.inf, mean, self.row.attack


@dataclass(frozen=True)
class Ladder:
    """The attacks on one model, the best first."""

    title: str
    rungs: tuple[Rung, ...]


def write_people(storage: Storage, results: RunResults) -> dict[str, str]:
    """Write the page of each person whom the run's page shows, `runs/RUN/people/TARGET.html`.

    Returns their addresses by name, as the run's page links them. They hold private pictures: whoever wants none
    does not call this.
    """
    run = results.run
    people = named_people((run.reconstructions, run.references), COLUMNS)
    pages = {name: f"{FOLDER}/{target}.html" for target, name in people.items()}
    for target, name in people.items():
        page = render_person(results, target, name, pages)
        storage.write(f"runs/{run.record.run}/{pages[name]}", page.encode())
    return pages


def render_person(results: RunResults, target: int, name: str, pages: Mapping[str, str]) -> str:
    """The page of one person as an HTML document; `pages` are those of all, from the run's page."""
    run, one = results.run, {target: name}
    references = run.references.filter(pc.equal(run.references["target"], target)).to_pylist()
    real = [entry for entry in references if entry["kind"] == "real"]
    ladders = _ladders(results, one)
    evaluators = [words(evaluator) for evaluator in results.evaluators]
    context = {
        "record": run.record,
        "name": name,
        "real": reference_row(one, "real face", "", real).pictures[0],
        "ladders": ladders,
        "evaluators": evaluators,
        "headline": evaluators[results.headline_evaluator] if results.judged and evaluators else "",
        "k": results.guesses,
        "found": [
            (
                ladder.title,
                sum((r.picture.rank or math.inf) <= results.guesses for r in ladder.rungs),
            )
            for ladder in ladders
        ],
        "others": [(other, page.rpartition("/")[2]) for other, page in pages.items()],
    }
    return fill("person.html.j2", context, scripts=[], pictures=True, charts=False)


def _ladders(results: RunResults, one: Mapping[int, str]) -> list[Ladder]:
    rows = results.run.reconstructions
    mine = rows.filter(pc.equal(rows["target"], next(iter(one))))
    by_model: dict[str, list[Rung]] = {}
    for row in sorted(
        results.rows, key=lambda row: ("undefended", "defended", "null").index(row.kind)
    ):
        table = of_first_victim(mine, row)
        if table.num_rows:
            title = (
                f"{row.model}, recommended" if row.protected == results.recommended else row.model
            )
            by_model.setdefault(title, []).append(_rung(results, row, table, one))
    return [
        Ladder(title, tuple(sorted(rungs, key=lambda rung: rung.order)))
        for title, rungs in by_model.items()
    ]


def _rung(results: RunResults, row: Row, table: pa.Table, one: Mapping[int, str]) -> Rung:
    decides = results.evaluators[results.headline_evaluator] if results.judged else None
    (picture,) = attack_pictures(table, one, row.label, decides, first=row.inverts_outputs)
    tries = sorted(
        table.select(["repeat", "queries", "steps", "verdicts"]).to_pylist(),
        key=lambda t: t["repeat"],
    )
    said = [{v["evaluator"]: v["rank"] for v in t["verdicts"] or ()} for t in tries]
    ranks = tuple(
        tuple(ranked[name] for ranked in said if ranked.get(name)) for name in results.evaluators
    )
    spent = {key: [t[key] for t in tries if t[key] is not None] for key in ("queries", "steps")}
    means = {key: sum(of) / len(of) if of else math.nan for key, of in spent.items()}
    return Rung(row, picture, ranks, **means)
