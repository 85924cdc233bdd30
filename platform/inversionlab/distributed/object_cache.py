"""Data and networks in the object store: put there once, sent to each node once, read by every worker on it.

The splits are read in place, all workers of a node share one copy of the pictures; a network is packed as
safetensors, and each worker makes its own modules from it, once. If an object is lost with its node, Ray
fetches another copy, and if there is none, the worker reads from the storage what the driver read there.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import GetTimeoutError, ObjectLostError
from safetensors.torch import load
from torch import Tensor

from inversionlab.data.splits import Labelled, Splits
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.session import Session

WAIT_SECONDS = 120.0
"""Time after which a worker gives an object up and reads the storage."""
NETWORKS = 64
"""Networks that a driver keeps in the object store; a long search makes ever new ones."""


@dataclass(frozen=True)
class Ref:
    """A reference that Ray does not resolve on the way, so that only who wants the object fetches it."""

    objects: tuple[Any, ...]

    def get(self) -> Any:
        """The object, or None if it is lost."""
        try:
            return ray.get(self.objects[0], timeout=WAIT_SECONDS)
        except (ObjectLostError, GetTimeoutError):
            return None


class ObjectCache:
    """The driver's side: puts things into the object store, each once."""

    def __init__(self) -> None:
        self._networks: OrderedDict[str, Ref] = OrderedDict()
        self._splits: dict[str, Ref] = {}

    def networks(self, session: Session) -> dict[str, Ref]:
        """References of the trained networks of a plan, by their keys."""
        for spec in session.plan.specs:
            if spec.key not in self._networks:
                packed = np.frombuffer(session.artifacts.packed(spec), np.uint8)
                self._networks[spec.key] = _put(packed)
            self._networks.move_to_end(spec.key)
        found = {spec.key: self._networks[spec.key] for spec in session.plan.specs}
        # An object lives as long as a reference to it: orders at work keep theirs.
        while len(self._networks) > max(NETWORKS, len(found)):
            self._networks.popitem(last=False)
        return found

    def splits(self, session: Session) -> Ref:
        """The reference of an experiment's splits."""
        data_id = session.plan.data_id
        if data_id not in self._splits:
            self._splits[data_id] = _put(_disassembled(session.builder.splits))
        return self._splits[data_id]


def read_splits(ref: Ref | None) -> Splits | None:
    """The splits behind a reference, their pictures in shared memory that must not be written to."""
    parts = ref.get() if ref is not None else None
    return None if parts is None else _assembled(parts)


def read_network(refs: Mapping[str, Ref], spec: NetworkSpec) -> dict[str, Tensor] | None:
    """A network's weights, if a reference to it is there and leads somewhere."""
    ref = refs.get(spec.key)
    packed = ref.get() if ref is not None else None
    return None if packed is None else load(packed.tobytes())


def _put(value: Any) -> Ref:
    return Ref((ray.put(value),))


def _disassembled(splits: Splits) -> tuple[Splits, dict[str, Any]]:
    """The splits without tensors, and the tensors as arrays, which Ray shares without copying."""
    nothing = torch.zeros(0)
    parts = ("train", "test", "evaluator_train", "evaluator_test")
    arrays: dict[str, Any] = {
        "public": splits.public_NCHW.numpy(),
        "public_person": splits.public_person_N.numpy(),
    }
    for name in parts:
        part: Labelled = getattr(splits, name)
        arrays[f"{name}_images"] = part.images_NCHW.numpy()
        arrays[f"{name}_class"] = part.class_N.numpy()
    hollow = Labelled(nothing, nothing)
    empty: Any = dict.fromkeys(parts, hollow)
    hollowed = replace(splits, public_NCHW=nothing, public_person_N=nothing, **empty)
    return hollowed, arrays


def _assembled(parts: tuple[Splits, dict[str, Any]]) -> Splits:
    hollow, arrays = parts
    with warnings.catch_warnings():
        # PyTorch warns that the memory is read-only; nobody writes to the pictures.
        warnings.simplefilter("ignore", UserWarning)
        tensor = {name: torch.from_numpy(array) for name, array in arrays.items()}
    labelled: Any = {
        name: Labelled(tensor[f"{name}_images"], tensor[f"{name}_class"])
        for name in ("train", "test", "evaluator_train", "evaluator_test")
    }
    public: Any = {
        "public_NCHW": tensor["public"],
        "public_person_N": tensor["public_person"],
    }
    return replace(hollow, **public, **labelled)
