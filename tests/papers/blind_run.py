"""What a blind page is made of: a run whose three people were attacked twice each."""

from __future__ import annotations

import dataclasses

from inversionlab.papers.paper import Blind
from inversionlab.results.run_results import RunResults
from tests.report.fake_run import fake_run

BLIND = Blind("Who are these?", "r", (("WB-MIA", "latent_white_box"),))


def run_of_three() -> RunResults:
    """The results of such a run."""
    made = fake_run(alphas=(0.5,), targets=3, repeats=2)
    jobs = made.record.jobs.model_copy(update={"targets": (0, 1, 2), "repeats": 2})
    record = made.record.model_copy(update={"jobs": jobs})
    return RunResults.of(dataclasses.replace(made, record=record), frechet=False)
