"""The report: from the content of a store to tables, curves, pictures and one HTML page."""

from __future__ import annotations

from inversionlab.report.audit.page import render
from inversionlab.report.audit.sentence import headline_sentence
from inversionlab.report.audit.terminal import terminal_table
from inversionlab.results.recommendation import BestSetting, best_setting
from inversionlab.results.run_data import RunData

__all__ = [
    "BestSetting",
    "RunData",
    "best_setting",
    "headline_sentence",
    "render",
    "terminal_table",
]
