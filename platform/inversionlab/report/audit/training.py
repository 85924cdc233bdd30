"""How the networks of a run learned: a chart of the losses of each training."""

from collections.abc import Sequence
from typing import Any

from inversionlab.report.charts.figure import Figure, pivoted
from inversionlab.report.charts.lines import loss_chart
from inversionlab.results.trainings import TrainingCurve
from inversionlab.results.wording import number, words

MOST = 100
"""Epochs that are drawn of one training; of a longer one every second is, or every third, and so on."""


def training_figures(curves: Sequence[TrainingCurve]) -> list[Figure]:
    """A chart for each training with more than one epoch."""
    return [_figure(curve) for curve in curves if len(curve.epochs) > 1]


def _figure(curve: TrainingCurve) -> Figure:
    rows: list[dict[str, Any]] = []
    last = len(curve.epochs) - 1
    kept = sorted({*range(0, last + 1, -(-len(curve.epochs) // MOST)), last})
    for name, losses in curve.losses.items():
        for i in kept:
            if (loss := losses[i]) is None:
                continue
            epoch, said = curve.epochs[i], number(loss)
            text = f"{words(name)}: {said} in epoch {epoch:g}"
            row = {"series": words(name), "place": "axis", "x": epoch, "y": loss}
            rows.append({**row, "text": text, "said": said})
    return Figure(
        name=f"training-{curve.title}-{curve.id[:6]}",
        title=words(curve.title),
        about="",
        rows=rows,
        drawing=loss_chart(rows),
        numbers=pivoted(rows, "epoch"),
    )
