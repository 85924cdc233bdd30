"""A paper's figures for the page: charts of a table's columns or of a measure, and grids of pictures."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from inversionlab.metrics import Estimate
from inversionlab.papers.clones import best_clone
from inversionlab.papers.compare import ComparedTable, Runs
from inversionlab.papers.finder import DECOYS, Measured, NotRunError, target_at
from inversionlab.papers.finders import Success
from inversionlab.papers.measures import HIGH_COSINE, LOW_CRITERION
from inversionlab.papers.paper import Pictures
from inversionlab.report.audit.curves import swept
from inversionlab.report.charts.figure import Figure, pivoted, with_known
from inversionlab.report.charts.lines import line_chart
from inversionlab.report.charts.points import point_chart
from inversionlab.report.pictures import (
    COLUMNS,
    Grid,
    GridPicture,
    GridRow,
    attack_pictures,
    named_people,
    reference_row,
)
from inversionlab.results.run_results import RunResults


def charts(compared: ComparedTable, runs: Runs) -> list[Figure]:
    """The charts of a table: its columns over the number at the end of each row, and those of its measures.

    The columns of which the paper prints something have a chart of their own.
    """
    found = []
    table = compared.table
    printed = {cell.column for cell in compared.cells if cell.printed is not None}
    rows = _column_rows(compared) if table.drawn else []
    for name, title, shown in (
        (table.key, table.title, [row for row in rows if row["series"] in printed]),
        (
            f"{table.key}-others",
            "The other columns",
            [r for r in rows if r["series"] not in printed],
        ),
    ):
        if shown:
            found.append(
                Figure(
                    name=name,
                    title=title,
                    about="Shares with bands of their 95% intervals.",
                    rows=shown,
                    drawing=line_chart(shown, x_title=table.drawn),
                    numbers=pivoted(shown, table.drawn),
                    wide=True,
                )
            )
    for recipe, measure in table.measures:
        known = runs[recipe].measured.get(measure) if recipe in runs else None
        if known and measure == "gradient_estimates":
            found.append(_gradient_chart(recipe, known))
        if known and measure == "score_line":
            found.append(_score_chart(recipe, known))
    return found


def _column_rows(compared: ComparedTable) -> list[Mapping[str, Any]]:
    """Each column that is a share, over the number at the end of each row."""
    found = []
    for cell in compared.cells:
        place = cell.row.rpartition(" ")[2]
        if cell.ours is not None and cell.ours.share and _is_number(place):
            found.append(swept(cell.column, float(place), cell.ours.estimate))
    return with_known(found)


def _gradient_chart(recipe: str, known: Mapping[str, Any]) -> Figure:
    """Cosine over C, a point for each estimate, with the paper's guide lines."""
    rows = [
        {
            "series": f"σ² = {variance:g}",
            "x": x,
            "y": y,
            "text": f"σ² = {variance:g}: C = {x:.3g}, cosine {y:.2f}",
        }
        for variance, criteria, cosines in zip(
            known["variances"], known["criterion"], known["cosine"], strict=True
        )
        for x, y in zip(criteria, cosines, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    return Figure(
        name=f"gradient-estimates-{recipe}",
        title="Criterion C against the cosine of estimated and true gradient",
        about=f"The dashed lines are the paper’s: C = {LOW_CRITERION:g} and a cosine of {HIGH_COSINE:g}.",
        rows=rows,
        drawing=point_chart(
            rows,
            x_title="criterion C",
            y_title="cosine",
            x_guide=LOW_CRITERION,
            y_guide=HIGH_COSINE,
        ),
        wide=True,
    )


def _score_chart(recipe: str, known: Mapping[str, Any]) -> Figure:
    """The target's mean score from a real face, at 0, to the synthetic one, at 1."""
    rows = [
        {
            **swept(name, x, Estimate(y, y, y, 0)),
            "text": f"{name}: {y:.1%}",
            "said": f"{y:.1%}",
            "dot": False,
        }
        for name in ("victim", "dummy", "mixture")
        for x, y in zip(known["places"], known[f"{name} line"], strict=True)
    ]
    return Figure(
        name=f"score-line-{recipe}",
        title=f"The target’s score between the two faces, recipe {recipe}",
        about="Means over the targets, along straight lines from a real face (0) to the synthetic one (1).",
        rows=rows,
        drawing=line_chart(rows, x_title="from the real face to the synthetic one"),
        wide=True,
    )


def picture_grids(compared: ComparedTable, runs: Runs) -> list[Grid]:
    """The grids of pictures of a table; one whose experiment was not run is left out."""
    found = []
    for pictures in compared.table.pictures:
        ran = runs.get(pictures.recipe)
        if ran is not None and ran.results is not None:
            found.append(_grid(pictures, ran.results, ran.measured))
    return [grid for grid in found if any(row.filled for row in grid.rows)]


def _grid(pictures: Pictures, results: RunResults, measured: Measured) -> Grid:
    run = results.run
    people = named_people((run.reconstructions, run.references), COLUMNS)
    evaluator = results.evaluators[0] if results.evaluators else None
    rows = []
    if pictures.real:
        rows.append(reference_row(people, "real face", "private picture", _kept(results, "real")))
    for heading, attack, model, point in pictures.rows:
        try:
            table = Success(pictures.recipe, model, attack, point=point).first_table(results)
        except NotRunError:
            continue
        if pictures.clones:
            rows += _clones(table, list(people), heading, pictures.clones)
        elif pictures.best_by_evaluator and evaluator is not None:
            rows.append(_best(results, table, heading, evaluator))
        else:
            inverting = any(r.inverts_outputs for r in results.rows if r.attack == attack)
            shown = attack_pictures(table, people, heading, evaluator, first=inverting)
            rows.append(GridRow(heading, "", shown))
    if pictures.decoys and (known := measured.get(DECOYS)):
        shown_of = {target: base64.b64decode(decoy["picture"]) for target, decoy in known.items()}
        entries = [{"target": int(t), "picture": picture} for t, picture in shown_of.items()]
        note = "the public person of the protected label, l_p"
        rows.append(reference_row(people, "decoy", note, entries))
    if pictures.synthetic:
        made = _kept(results, "synthetic")
        rows.append(reference_row(people, "synthetic face", "what the defense leads to", made))
    return Grid("", tuple(people.values()), tuple(row for row in rows if row.filled))


def _clones(table: pa.Table, targets: Sequence[int], heading: str, count: int) -> list[GridRow]:
    """A row for each of the first tries."""
    repeats = sorted(set(table["repeat"].to_pylist()))[:count]
    rows = []
    for repeat in repeats:
        mine = table.filter(pc.equal(table["repeat"], repeat)).select(["target", "picture"])
        shown = {item["target"]: item["picture"] for item in mine.to_pylist()}
        cells = tuple(GridPicture(_png(shown.get(t)), heading) for t in targets)
        rows.append(GridRow(f"{heading}, try {repeat + 1}", "", cells))
    return rows


def _best(results: RunResults, table: pa.Table, heading: str, evaluator: str) -> GridRow:
    """Of each person the clone that the evaluator ranks best."""
    pictures = []
    for place in range(min(COLUMNS, len(results.run.record.jobs.targets))):
        clone = best_clone(table, target_at(results, place), evaluator, "evaluator")
        pictures.append(GridPicture(_png(clone["picture"]), heading, clone["rank"]))
    return GridRow(heading, "chosen by the evaluator, as in the paper", tuple(pictures))


def _kept(results: RunResults, kind: str) -> list[dict[str, Any]]:
    table = results.run.references
    found: list[dict[str, Any]] = table.filter(pc.equal(table["kind"], kind)).to_pylist()
    return found


def _png(picture: bytes | None) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode() if picture else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
