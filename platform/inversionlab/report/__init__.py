"""The report: from the content of a store to tables, curves, pictures and one HTML page."""

from __future__ import annotations

from inversionlab.report.choice import BestSetting, best_setting
from inversionlab.report.page import render
from inversionlab.report.run_data import RunData
from inversionlab.report.sentence import headline_sentence
from inversionlab.report.terminal import terminal_table

__all__ = [
    "BestSetting",
    "RunData",
    "best_setting",
    "headline_sentence",
    "render",
    "terminal_table",
]
