"""Work on many files at once, in threads: decoders and digests release the interpreter lock."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_PART = 32  # files that a thread takes at once
_T = TypeVar("_T")


def in_threads(
    work: Callable[[Any], _T], items: Sequence[Any], threads: int | None = None
) -> list[_T]:
    """`work` on every item, in order, in so many threads; None: as many as suit the machine."""
    if not items:
        return []
    # To hand over every file by itself costs more than its digest.
    parts = [items[start : start + _PART] for start in range(0, len(items), _PART)]
    with ThreadPoolExecutor(max_workers=threads or min(16, 2 * (os.cpu_count() or 1))) as pool:
        done = pool.map(lambda part: [work(item) for item in part], parts)
        return [result for results in done for result in results]
