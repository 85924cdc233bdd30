"""The page of a run: made from the store, written into it, and its headline printed."""

import math

from inversionlab.core.yaml_io import dump_yaml
from inversionlab.metrics import Estimate
from inversionlab.report.audit import sentence
from inversionlab.report.audit.compare import columns, side_by_side
from inversionlab.report.audit.curves import accuracy_curves, guess_curves, success_curves
from inversionlab.report.audit.terminal import terminal_table
from inversionlab.report.audit.trade import trade_offs
from inversionlab.report.charts.line_chart import draw_all
from inversionlab.report.charts.timeline import timeline_chart
from inversionlab.report.frame import fill, publish
from inversionlab.report.pictures import grids
from inversionlab.results.evaluator_results import CMC_RANKS, METRICS, Metric
from inversionlab.results.load import RunData, load_run
from inversionlab.results.models import MODEL_METRICS, undefended_accuracy
from inversionlab.results.rows import Row
from inversionlab.results.run_results import MAX_LOSS_POINTS, RunResults
from inversionlab.store.storage import Storage


def write_report(root: str, run: str, *, pictures: bool, strict: bool = False) -> str:
    """Write `runs/RUN/report.html`, print the headline, the warnings and the page's place; returns the place.

    Raises:
        ConfigError: the storage holds no such run.
        DoubtError: it is `strict`, and the page has warnings; it is written.
    """
    storage = Storage(root)
    data = load_run(storage, run)
    page = render(data, pictures=pictures)
    results = RunResults.of(data, frechet=False)
    said = [sentence.headline_sentence(results), *sentence.prior_lines(results)]
    name = f"runs/{run}/report.html"
    return publish(
        storage,
        name,
        page,
        terminal_table(results),
        *said,
        kind="Report",
        warnings=sentence.caveats(results, names=pictures),
        strict=strict,
    )


def render(run: RunData, *, pictures: bool) -> str:
    """The report as one HTML document.

    `pictures=False` leaves out every picture, every person's name and the names of skipped files. What the check
    of a given victim found wrong is left out too, because it may name people.
    """
    results, record = RunResults.of(run), run.record
    nulls = [results.null_by(i) for i in range(len(results.evaluators))]
    sweep_charts = [*success_curves(results), *accuracy_curves(results), *trade_offs(results)]
    context = {
        "record": record,
        "results": results,
        "verdict": sentence.headline_sentence(results),
        "pooled": sentence.pooled_note(results),
        "caveats": sentence.caveats(results, names=pictures),
        "aware": sentence.defense_aware(results),
        "null_shares": [null.success.value if null else None for null in nulls],
        "groups": _groups(results),
        "inverting": any(not math.isnan(row.error) for row in results.rows),
        "metrics": [metric for metric in results.metrics if not metric.detail],
        "chance": chance(results),
        "details": [known_details(results, i) for i in range(len(results.evaluators))],
        "evaluators": run.evaluators.to_pylist(),
        "qualities": sentence.evaluator_qualities(run),
        "victim_accuracy": undefended_accuracy(run),
        "notes": results.evaluator_notes,
        "compared": side_by_side(results) if results.judged else None,
        "models": columns(results),
        "prior_lines": sentence.prior_lines(results),
        "model_metrics": MODEL_METRICS,
        "curves": draw_all(sweep_charts),
        "cmc": draw_all(guess_curves(results)),
        "cmc_ranks": CMC_RANKS,
        "timeline": timeline_chart(record.timeline),
        "pictures": pictures,
        "grids": grids(results) if pictures else [],
        "config": dump_yaml(record.experiment, width=100),
        "max_loss": MAX_LOSS_POINTS,
        "reconstructions": run.reconstructions.num_rows,
    }
    return fill("template.html.j2", context, scripts=["hover.js.j2"], pictures=pictures)


def _groups(results: RunResults) -> dict[str, list[Row]]:
    """The rows by heading: each attack, or the undefended model if nothing is defended, then the null attacks."""
    found: dict[str, list[Row]] = {}
    for row in results.rows:
        name = row.attack if results.defended else "the undefended model"
        if row.kind == "null":
            name = "no attack: guesses without the model"
        found.setdefault(name, []).append(row)
    return found


def chance(results: RunResults) -> tuple[float, float] | None:
    """What one and five blind guesses among the private people reach; None where their number is not known.

    Among few people only one guess counts, and both are the same.
    """
    people = results.run.record.data.get("private_people")
    if not isinstance(people, int) or not people:
        return None
    return 1 / people, results.guesses / people


def known_details(results: RunResults, place: int) -> list[Metric]:
    """The further metrics that an evaluator knows of any row."""
    found = [row.by_evaluator[place].metrics for row in results.rows if row.by_evaluator]
    return [m for m in METRICS if m.detail and any(_is_known(of[m.key]) for of in found)]


def _is_known(value: Estimate | float) -> bool:
    return bool(value.count) if isinstance(value, Estimate) else not math.isnan(value)
