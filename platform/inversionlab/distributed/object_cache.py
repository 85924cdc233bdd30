"""Splits and networks in Ray's object store: stored once, sent to each node once, read by every worker on it.

Splits travel as row numbers. Each worker maps the prepared pictures, so all workers of a node share one copy, the
operating system's. A network is packed as safetensors, and each worker builds its own module from it once. If an
object is lost with its node, Ray fetches another copy; if there is none, the worker reads from the storage.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray.exceptions import GetTimeoutError, ObjectLostError
from safetensors.torch import load
from torch import Tensor

from inversionlab.core.rows import Parts, PictureRows
from inversionlab.data.labelled import Labelled
from inversionlab.data.splits import Splits
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.prepared import PreparedPictures
from inversionlab.pipeline.session import Session
from inversionlab.store.storage import Storage

WAIT_SECONDS = 120.0
"""Time after which a worker stops waiting for an object and reads the storage."""
NETWORKS = 64
"""Networks that a driver keeps in the object store; a long search trains more and more of them."""


@dataclass(frozen=True)
class CachedObject:
    """An object in the object store. Ray does not send it along with a work item; `get` fetches it."""

    refs: tuple[Any, ...]
    """Ray's reference, in a tuple: Ray resolves references that are arguments themselves, not nested ones."""

    def get(self) -> Any:
        """The object, or None if it is lost."""
        try:
            return ray.get(self.refs[0], timeout=WAIT_SECONDS)
        except (ObjectLostError, GetTimeoutError):
            return None


class ObjectCache:
    """The driver's side: puts each object into the object store once; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._networks: OrderedDict[str, CachedObject] = OrderedDict()
        self._splits: dict[str, CachedObject] = {}

    def networks(self, session: Session) -> dict[str, CachedObject]:
        """The trained networks of a plan, by their keys."""
        with self._lock:
            for spec in session.plan.specs:
                if spec.key not in self._networks:
                    packed = np.frombuffer(session.artifacts.packed(spec), np.uint8)
                    self._networks[spec.key] = CachedObject((ray.put(packed),))
                self._networks.move_to_end(spec.key)
            wanted = {spec.key: self._networks[spec.key] for spec in session.plan.specs}
            # An object lives as long as a reference to it, and items at work keep theirs.
            while len(self._networks) > max(NETWORKS, len(wanted)):
                self._networks.popitem(last=False)
            return wanted

    def splits(self, session: Session) -> CachedObject:
        """The splits of an experiment: row numbers, and arrays in place of tensors, which Ray shares uncopied."""
        with self._lock:
            data_id, splits = session.plan.data_id, session.builder.splits
            if data_id not in self._splits:
                arrays = _changed(splits, _packed)
                self._splits[data_id] = CachedObject((ray.put(arrays),))
            return self._splits[data_id]


@dataclass(frozen=True)
class _Rows:
    """Pictures of a prepared set: its name, and the row numbers (N,)."""

    name: str
    row_N: NDArray[np.int64]


def _packed(value: Tensor | PictureRows) -> NDArray[Any] | _Rows:
    """What travels to a worker."""
    if isinstance(value, PictureRows):
        return _Rows(value.name, value.row_N.numpy())
    return value.numpy()


def read_splits(cached: CachedObject | None, storage: Storage) -> Splits | None:
    """The splits, their tensors in shared memory that must not be written to; None if they are lost.

    Raises:
        StorageError: their pictures are no longer in the storage.
    """
    arrays = cached.get() if cached is not None else None
    if arrays is None:
        return None
    opened: dict[str, Parts] = {}

    def unpacked(value: NDArray[Any] | _Rows) -> Tensor | PictureRows:
        if not isinstance(value, _Rows):
            return torch.from_numpy(value)
        if value.name not in opened:
            opened[value.name] = PreparedPictures(storage).parts(value.name)
        return PictureRows(opened[value.name], torch.from_numpy(value.row_N), name=value.name)

    with warnings.catch_warnings():
        # PyTorch warns that the memory is read-only; nobody writes to it.
        warnings.simplefilter("ignore", UserWarning)
        return _changed(arrays, unpacked)


def _changed(splits: Splits, change: Callable[[Any], Any]) -> Splits:
    """The splits with every tensor or array changed."""

    def changed(value: Any) -> Any:
        if isinstance(value, Labelled):
            return Labelled(change(value.images_NCHW), change(value.class_N))
        return (
            change(value) if isinstance(value, Tensor | PictureRows | np.ndarray | _Rows) else value
        )

    return replace(splits, **{f.name: changed(getattr(splits, f.name)) for f in fields(splits)})


def read_network(
    networks: Mapping[str, CachedObject], spec: NetworkSpec
) -> dict[str, Tensor] | None:
    """A network's weights; None if they were never put there or are lost."""
    cached = networks.get(spec.key)
    packed = cached.get() if cached is not None else None
    return None if packed is None else load(packed.tobytes())
