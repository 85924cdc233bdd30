"""The five papers, each with its tables and figures, its printed figures and the experiments behind ours."""

from inversionlab.papers.gong import GONG
from inversionlab.papers.khosravy import KHOSRAVY
from inversionlab.papers.kotsuji import KOTSUJI
from inversionlab.papers.paper import Paper
from inversionlab.papers.wen import WEN
from inversionlab.papers.yoshimura import YOSHIMURA

PAPERS: dict[str, Paper] = {
    "kotsuji": KOTSUJI,
    "gong": GONG,
    "yoshimura": YOSHIMURA,
    "khosravy": KHOSRAVY,
    "wen": WEN,
}
"""The papers by the names that the command takes."""
