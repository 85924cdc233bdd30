"""Preparing large data sets: Ray Data decodes their parts all over the cluster, and stores each when it is made.

Only file names travel. After a kill, the parts that are stored are not made again.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch

from inversionlab.core.clock import clock
from inversionlab.distributed.progress import Say
from inversionlab.pipeline.picture_index import SetIndex
from inversionlab.pipeline.picture_parts import PartNote
from inversionlab.pipeline.preparation import Preparation, WantedPart, finished
from inversionlab.pipeline.prepared import EVERY
from inversionlab.store.address import is_uri
from inversionlab.store.storage import Storage, StorageError


class PreparesOnRay:
    """Prepares large sets of files; connects to Ray, or starts it, with the first."""

    def __init__(self, say: Say, *, job: Mapping[str, str] | None = None) -> None:
        """`job` is the job's metadata."""
        self._say, self._job = say, job
        self.started = False
        """Whether a Ray was started for it."""

    def __call__(self, storage: Storage, wanted: Preparation) -> SetIndex:
        """Make the missing parts of a set, and its index.

        Raises:
            ConfigError: too few people have usable pictures.
            StorageError: the storage cannot be written to.
        """
        # Imported late: Ray takes seconds.
        from inversionlab.distributed.cluster import connect

        self.started |= connect(self._say, job=self._job)
        return _prepare(wanted, storage, self._say)


def _prepare(wanted: Preparation, storage: Storage, say: Say) -> SetIndex:
    import ray
    import ray.data

    parts = wanted.parts(storage)
    say(
        f"      {len(wanted.files):,} pictures are prepared once: {len(parts)} parts, "
        f"{wanted.size / 1e9:.1f} GB in {storage.uri(f'pictures/{wanted.name}')}"
    )
    # It warns of every progress bar that it is told not to show.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    where = None
    if not is_uri(str(getattr(wanted.settings, "root", ""))):
        # Only this node is known to have the folder.
        where = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    # Ray Data's tables hold numbers and bytes alone, so a row says which of these it is.
    wanted_parts = [ray.put(part) for part in parts]
    items = [{"number": part.number} for part in parts]
    todo = ray.data.from_items(items, override_num_blocks=len(parts))
    done = todo.map(
        cast(Any, _make), fn_args=(storage.root, wanted_parts), num_cpus=1, label_selector=where
    )
    made, began, last = {}, time.monotonic(), time.monotonic()
    for row in done.iter_rows() if parts else ():
        if row["fault"]:
            raise StorageError(row["fault"])
        entry_N = torch.from_numpy(np.frombuffer(row["entry"], np.int64).copy())
        content_ND = torch.from_numpy(np.frombuffer(row["content"], np.uint8).copy())
        tensors = {"entry": entry_N, "content": content_ND.view(-1, 16)}
        made[row["number"]] = str(row["file"]), PartNote.of(tensors, row)
        now = time.monotonic()
        if now - last >= EVERY and len(made) < len(parts):
            last, left = now, (now - began) / len(made) * (len(parts) - len(made))
            say(f"      {len(made)} of {len(parts)} parts are prepared, {clock(left)} left")
    index = finished(storage, wanted, [made[part.number] for part in parts])
    say(f"      prepared in {clock(time.monotonic() - began)}")
    return index


def _make(row: dict[str, Any], root: str, wanted_parts: Sequence[Any]) -> dict[str, Any]:
    """Make one part, in a task. A storage's fault travels as text, because Ray Data would wrap the error."""
    import ray

    part: WantedPart = ray.get(wanted_parts[row["number"]])
    try:
        file, note = part.make(Storage(root), threads=1)
    except StorageError as error:
        empty = {"entry": b"", "content": b"", "faults": "", "remarks": ""}
        return {"number": part.number, "file": "", **empty, "fault": str(error)}
    arrays = {name: tensor.numpy().tobytes() for name, tensor in note.tensors().items()}
    return {"number": part.number, "file": file, **arrays, **note.said(), "fault": ""}
