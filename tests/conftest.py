"""Fixtures that tests of several rooms share."""

from pathlib import Path

import pytest


@pytest.fixture
def shared_data() -> Path:
    """The real pictures beside the checkout; the test is skipped where they are absent."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"{path} is absent: no real pictures to test on")
    return path
