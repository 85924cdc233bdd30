"""A storage among the pictures is refused, because its own pictures would become a person."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from inversionlab.core.settings import ConfigError
from inversionlab.pipeline.session import open_experiment
from inversionlab.store.storage import Storage
from tests import tiny


@pytest.mark.parametrize("place", [".", "runs", "p0/runs"])
@pytest.mark.parametrize("key", ["data", "public_data"])
def test_a_storage_below_the_pictures_is_refused(tmp_path: Path, key: str, place: str) -> None:
    root = tmp_path / "faces"
    for person in range(2):
        (root / f"p{person}").mkdir(parents=True)
        Image.new("L", (20, 20), person).save(root / f"p{person}" / "1.png")
    folder = {"name": "folder", "root": str(root), "image_size": 16, "channels": 1}
    experiment = tiny.experiment(**{key: folder})
    with pytest.raises(ConfigError, match=rf"lies inside {key}\.root"):
        open_experiment(experiment, Storage(str(root / place)))
