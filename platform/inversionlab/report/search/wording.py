"""A search's settings and trials as text, the same everywhere."""

from collections.abc import Sequence
from typing import Any

from inversionlab.results.search import SearchRecord
from inversionlab.results.trial_record import TrialRecord
from inversionlab.results.wording import MISSING, change, estimate_text, number

DRAWN = ("stopped", "other", "front", "open", "paper", "best", "recommended")
"""The styles of trials in drawing order; the last ones are on top."""


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Each dotted path's last part, or the whole path where two end alike."""
    last = [p.rpartition(".")[2] for p in paths]
    return {p: n if last.count(n) == 1 else p for p, n in zip(paths, last, strict=True)}


def value_text(value: Any) -> str:
    """A setting's value for reading: numbers to 4 significant digits."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: MISSING}[value]
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def settings_text(search: SearchRecord, trial: TrialRecord) -> str:
    """A trial's settings in one line: "alpha = 0.25, sigma = 1"."""
    names = short_names(search.axes)
    known = [(names[k], trial.settings[k]) for k in names if k in trial.settings]
    return ", ".join(f"{name} = {value_text(value)}" for name, value in known)


def summary(search: SearchRecord, trial: TrialRecord) -> str:
    """A trial in one line, for a chart's hover text."""
    head = "undefended" if trial.number is None else f"trial {trial.number}"
    settings = settings_text(search, trial)
    lost = "" if trial.accuracy_loss is None else f", {change(trial.accuracy_loss)}"
    return (
        f"{head}{': ' if settings else ''}{settings}; accuracy {estimate_text(trial.accuracy)}{lost}; "
        f"attack success {estimate_text(trial.attack_success)} over {number(trial.targets)} targets"
    )


def style(search: SearchRecord, trial: TrialRecord) -> str:
    """How the charts draw a trial: one of `DRAWN`; open is the undefended victim."""
    if trial is search.undefended:
        return "open"
    if trial is search.best:
        return "recommended" if search.helps else "best"
    if trial.paper:
        return "paper"
    if not trial.complete:
        return "stopped"
    return "front" if trial.number in search.front else "other"
