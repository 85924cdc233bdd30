from __future__ import annotations

import pytest

from tests.given.outside_model import OutsideFiles, made_up_people, train_outside


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> OutsideFiles:
    """A model that was trained outside, saved in every form."""
    return train_outside(tmp_path_factory.mktemp("outside"), *made_up_people())
