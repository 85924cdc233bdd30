"""A run as a notebook shows it: the headline, the table, and a few pictures, as a piece of HTML."""

from inversionlab.report.audit.sentence import headline_sentence, pooled_note
from inversionlab.report.frame import fragment
from inversionlab.report.pictures import Grid, grids
from inversionlab.results.run_results import RunResults


def compact_html(results: RunResults, *, pictures: bool) -> str:
    """A piece of HTML without scripts. `pictures=False` leaves out every picture and every person's name."""
    shown: list[Grid] = grids(results)[:1] if pictures else []
    context = {
        "results": results,
        "judged": bool(results.evaluators),
        "verdict": headline_sentence(results),
        "pooled": pooled_note(results),
        "metrics": [metric for metric in results.metrics if metric.printed],
        "grids": shown,
    }
    return fragment("notebook.html.j2", context)
