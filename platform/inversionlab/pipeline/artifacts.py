"""Trained networks as artifacts: named by the hash of everything that went into them, and checked when read.

    artifacts/ROLE/ID/weights.safetensors   the weights
    artifacts/ROLE/ID/card.json             written last: the inputs, the metrics, and the weights' SHA-256
    artifacts/ROLE/ID/checkpoint.pt         the state of an unfinished training
    artifacts/ROLE/ID/samples.png           a grid of pictures, for generators
    artifacts/ROLE/ID/lease.json            the run that is training it now

Checkpoints are kept here, under the network's own hash, and not by Ray Train. So a training continues in any run,
with any worker count and group of networks. Ray's snapshot, which may lag behind a checkpoint after a kill, does
not matter.
"""

import errno
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from inversionlab.core.weights import refuse_larger
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.store.storage import Storage, StorageError


@dataclass(frozen=True)
class Artifacts:
    """The artifacts of one storage root.

    Every method that reads raises StorageError if a folder lies in a file's place, and OSError if the storage
    cannot be reached.
    """

    storage: Storage

    def card(self, spec: NetworkSpec) -> dict[str, Any] | None:
        """The card of a finished network; None if there is none, or it is damaged."""
        written = _read(self.storage, f"artifacts/{spec.key}/card.json")
        try:
            card = None if written is None else json.loads(written)
        except (ValueError, RecursionError):
            return None
        return card if isinstance(card, dict) else None

    def finished(self, spec: NetworkSpec) -> bool:
        """Whether the network's weights are there and whole."""
        return self._whole(spec) is not None

    def weights(self, spec: NetworkSpec) -> dict[str, Tensor]:
        """The weights of a finished network.

        Raises:
            RuntimeError: there are none, or they are damaged; the next run trains them again.
        """
        return load(self.packed(spec))

    def packed(self, spec: NetworkSpec) -> bytes:
        """The weights of a finished network as a safetensors file; raises as `weights` does."""
        packed = self._whole(spec)
        if packed is None:
            raise RuntimeError(
                f"artifacts/{spec.key}: is missing or damaged; run the command again"
            )
        return packed

    def _whole(self, spec: NetworkSpec) -> bytes | None:
        """The weights' file, if it is there and is the one that its card was written for."""
        name, card = f"artifacts/{spec.key}/weights.safetensors", self.card(spec)
        if card is None:
            # A folder is refused now, and not when the result of hours of training is to be stored.
            _refuse_folder(self.storage, name)
            return None
        packed = _read(self.storage, name)
        if packed is None or hashlib.sha256(packed).hexdigest() != card.get("sha256"):
            return None
        return packed

    def save(
        self,
        spec: NetworkSpec,
        weights: Mapping[str, Tensor],
        card: Mapping[str, Any],
        samples: bytes | None,
    ) -> None:
        """Store a finished network; the card is written last, so a half-written artifact counts as none."""
        packed = save({k: v.detach().cpu().contiguous().clone() for k, v in weights.items()})
        self.storage.write(f"artifacts/{spec.key}/weights.safetensors", packed)
        if samples is not None:
            self.storage.write(f"artifacts/{spec.key}/samples.png", samples)
        digest = hashlib.sha256(packed).hexdigest()
        whole = {**card, "role": spec.role, "id": spec.id, "inputs": spec.inputs, "sha256": digest}
        self.storage.write_json(f"artifacts/{spec.key}/card.json", whole)
        self.storage.delete(f"artifacts/{spec.key}/checkpoint.pt")


@dataclass(frozen=True)
class NetworkCheckpoints:
    """The checkpoint of one network's training."""

    storage: Storage
    spec: NetworkSpec

    @property
    def _name(self) -> str:
        return f"artifacts/{self.spec.key}/checkpoint.pt"

    def load(self) -> dict[str, Any] | None:
        """The last state; None if there is none, or it is damaged. Its `file` says where it was read.

        Raises:
            StorageError: a folder lies in its place.
        """
        kept = _read(self.storage, self._name)
        if kept is None:
            return None
        raw, where = io.BytesIO(kept), self.storage.uri(self._name)
        try:
            refuse_larger(kept, where)
            # PyTorch does not compare the checksums that it writes.
            if (bad := zipfile.ZipFile(raw).testzip()) is not None:
                raise zipfile.BadZipFile(f"{bad} is not what was written")
            raw.seek(0)
            # This loader builds tensors and plain values only.
            state = torch.load(raw, map_location="cpu", weights_only=True)
            return {**state, "file": where}
        except Exception as error:
            # A damaged file fails in a dozen ways, and none should stop a run. Only the error's type is shown:
            # PyTorch's message advises the loader that would execute what is in the file.
            kind = type(error).__name__
            print(f"{where}: is damaged ({kind}); {self.spec.role} starts anew", flush=True)
            return None

    def save(self, state: dict[str, Any]) -> None:
        """Keep a state."""
        sink = io.BytesIO()
        torch.save(state, sink)
        self.storage.write(self._name, sink.getvalue())


def _read(storage: Storage, name: str) -> bytes | None:
    """A file's content; None if there is none, and `b""` if it is a link that leads in a circle.

    An outage or a missing permission is raised as it is: the file may well be there and whole.

    Raises:
        StorageError: a folder lies there.
    """
    try:
        return storage.read(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        _refuse_folder(storage, name)
        # Writing the file again replaces the link itself, but not a folder on the way to it.
        if error.errno == errno.ELOOP and Path(storage.path(name)).is_symlink():
            return b""
        raise


def _refuse_folder(storage: Storage, name: str) -> None:
    """Raise StorageError if a folder lies in a file's place, where the result could not be stored."""
    place = Path(storage.path(name))
    # A bucket's paths are not absolute, and a "folder" in a bucket is in nobody's way.
    if place.is_absolute() and place.is_dir():
        raise StorageError(
            f"{storage.uri(name)}: is a folder, but a file belongs there; remove it and run the same command again"
        )
