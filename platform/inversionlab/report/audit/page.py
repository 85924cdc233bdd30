"""The page of a run: made from the store, written into it, and its headline printed."""

import math
from collections.abc import Mapping

from inversionlab.core.yaml_io import dump_yaml
from inversionlab.metrics import Estimate
from inversionlab.report.audit import sentence
from inversionlab.report.audit.compare import columns, side_by_side
from inversionlab.report.audit.current import is_current, mark, origin_of
from inversionlab.report.audit.curves import accuracy_curves, guess_curves, success_curves
from inversionlab.report.audit.person import write_people
from inversionlab.report.audit.terminal import is_narrow, terminal_table
from inversionlab.report.audit.trade import trade_offs
from inversionlab.report.audit.training import training_figures
from inversionlab.report.charts.figure import Figure, FileKind
from inversionlab.report.charts.timeline import timeline_figure
from inversionlab.report.files import write_files
from inversionlab.report.frame import fill, page_name, publish
from inversionlab.report.pictures import example, grids
from inversionlab.results.comparison_rows import recognized
from inversionlab.results.evaluator_results import CMC_RANKS, METRICS, Metric
from inversionlab.results.flat import flat_table, parquet
from inversionlab.results.frames import attack_frame, evaluator_frame, model_frame, prior_frame
from inversionlab.results.load import RunData, load_run
from inversionlab.results.models import MODEL_METRICS, undefended_accuracy
from inversionlab.results.rows import Row
from inversionlab.results.run_results import MAX_LOSS_POINTS, RunResults
from inversionlab.store.storage import Storage


def write_report(
    root: str,
    run: str,
    *,
    pictures: bool,
    strict: bool = False,
    figures: FileKind | None = None,
    tables: bool = False,
    keep: bool = False,
) -> str:
    """Write the page of a run, print its headline, its warnings and where it is; returns that place.

    It is `runs/RUN/report.html`, and without pictures `report-no-pictures.html`. Beside the page with pictures lie
    those of the people whom it shows.
    With `keep`, a page that is there and made from the same stays as it is.
    With `figures` each chart is written as a file too, with `tables` each table. Without `pictures` these hold no
    names.

    Raises:
        ConfigError: the storage holds no such run.
        DoubtError: it is `strict`, and the page has warnings; it is written.
    """
    storage = Storage(root)
    data = load_run(storage, run, trainings=True)
    results = RunResults.of(data, frechet=tables)
    folder, frames = f"runs/{run}", None
    name, origin = page_name(folder, "report", pictures=pictures), origin_of(storage, data.record)
    page = None
    if not (keep and is_current(storage, name, origin)):
        pages = write_people(storage, results) if pictures else {}
        page = render(data, pictures=pictures, pages=pages, origin=origin)
    said = [sentence.headline_sentence(results), *sentence.prior_lines(results)]
    if tables:
        flat = flat_table(results, names=pictures)
        frames = {
            "attacks": attack_frame(results),
            "evaluators": evaluator_frame(results),
            "models": model_frame(results),
            "priors": prior_frame(results),
            "results": flat.to_pandas(),
            "results.parquet": parquet(flat),
        }
    charts = run_figures(results) if figures or tables else {}
    said += write_files(storage, folder, charts, figures, frames)
    return publish(
        storage,
        name,
        page,
        terminal_table(results, narrow=is_narrow()),
        *said,
        kind="Report",
        warnings=sentence.caveats(results, names=pictures),
        strict=strict,
    )


def run_figures(results: RunResults) -> dict[str, list[Figure]]:
    """Every chart of a run's page, by its section."""
    timeline = timeline_figure(results.run.record.timeline)
    return {
        "curves": [*success_curves(results), *accuracy_curves(results), *trade_offs(results)],
        "cmc": guess_curves(results),
        "trainings": training_figures(results.run.trainings),
        "timeline": [timeline] if timeline else [],
    }


def render(
    run: RunData, *, pictures: bool, pages: Mapping[str, str] | None = None, origin: str = ""
) -> str:
    """The report as one HTML document; `pages` are the addresses of people's own pages, by their names.

    `origin` is what the page says that it was made from.

    `pictures=False` leaves out every picture, every person's name and the names of skipped files. What the check
    of a given victim found wrong is left out too, because it may name people.
    """
    results, record = RunResults.of(run), run.record
    nulls = [results.null_by(i) for i in range(len(results.evaluators))]
    context = {
        "record": record,
        "results": results,
        "answers": sentence.run_answers(results),
        "example": example(results) if pictures else [],
        "pooled": sentence.pooled_note(results),
        "caveats": sentence.caveats(results, names=pictures),
        "aware": sentence.defense_aware(results),
        "pages": (pages or {}) if pictures else {},
        "mark": mark(origin),
        "null_shares": [null.success.value if null else None for null in nulls],
        "groups": _groups(results),
        "inverting": any(not math.isnan(row.error) for row in results.rows),
        "metrics": [metric for metric in results.metrics if not metric.detail],
        "chance": chance(results),
        "details": [known_details(results, i) for i in range(len(results.evaluators))],
        "evaluators": run.evaluators.to_pylist(),
        "qualities": recognized(run),
        "victim_accuracy": undefended_accuracy(run),
        "notes": results.evaluator_notes,
        "compared": side_by_side(results) if results.judged else None,
        "models": columns(results),
        "model_metrics": MODEL_METRICS,
        **run_figures(results),
        "prior_lines": sentence.prior_lines(results),
        "cmc_ranks": CMC_RANKS,
        "pictures": pictures,
        "grids": grids(results) if pictures else [],
        "config": dump_yaml(record.experiment, width=100),
        "max_loss": MAX_LOSS_POINTS,
        "reconstructions": run.reconstructions.num_rows,
    }
    return fill("template.html.j2", context, scripts=["charts.js.j2"], pictures=pictures)


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
