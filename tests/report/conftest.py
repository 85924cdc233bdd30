from __future__ import annotations

import pytest
from tests.report.fake_run import fake_run

from inversionlab.report import RunData


@pytest.fixture(scope="session")
def run() -> RunData:
    """Three attacks, three alphas, two judges, 6 targets x 2 repeats; do not change it."""
    return fake_run(alphas=(0.1, 0.25, 0.6), targets=6, repeats=2)
