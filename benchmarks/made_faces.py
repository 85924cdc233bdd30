"""Makes a large folder of pictures: `python -m benchmarks.made_faces ROOT 200000 10000`.

Every picture is a smooth random pattern of its person with a random pattern of its own on top: it compresses as a
photograph does, no two are equal, and nobody is shown.
"""

import io
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 112


def jpeg(person: int, number: int) -> bytes:
    """One picture of one person."""
    own = np.random.default_rng([1, person]).integers(40, 216, (7, 7, 3))
    rng = np.random.default_rng([2, person, number])
    pixels = own + rng.normal(0, 18, (7, 7, 3))
    coarse = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    whole = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.int16)
    whole = whole + rng.integers(-9, 10, whole.shape)
    sink = io.BytesIO()
    Image.fromarray(whole.clip(0, 255).astype(np.uint8)).save(sink, "JPEG", quality=85)
    return sink.getvalue()


def make_person(root: Path, each: int, person: int) -> int:
    """One person's folder; one that is there is left alone."""
    folder = root / f"p{person:05}"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(each):
        if not (file := folder / f"{number:03}.jpg").exists():
            file.write_bytes(jpeg(person, number))
    return each


def make(root: Path, pictures: int, people: int) -> None:
    """The folder, with as many pictures of each person."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(partial(make_person, root, pictures // people), range(people), chunksize=50)
        print(f"{sum(made):,} pictures of {people:,} people in {root}")


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
