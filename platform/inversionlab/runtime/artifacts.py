"""Trained networks as artifacts: addressed by the hash of all that went into them, checked when read.

    artifacts/ROLE/ID/weights.safetensors   the weights
    artifacts/ROLE/ID/card.json             written last: what, from what, how well, and the weights' SHA-256
    artifacts/ROLE/ID/checkpoint.pt         the state of an unfinished training
    artifacts/ROLE/ID/samples.png           a grid of pictures, for generators
    pictures/ID.safetensors                 a data set, decoded

Checkpoints are kept here, under the task's own hash, and not by Ray Train: so a training goes on whatever
run, worker count or batch of trainings it was in when it was stopped, and Ray's snapshot, which may lag
behind a checkpoint after a kill, does not matter.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load, save
from torch import Tensor

from inversionlab.data.base import DataSettings, Pictures
from inversionlab.stages.data import load_pictures, pack, unpack
from inversionlab.stages.plan import Task
from inversionlab.storage import Storage


@dataclass(frozen=True)
class Artifacts:
    """The artifacts of one storage root."""

    storage: Storage

    def card(self, task: Task) -> dict[str, Any] | None:
        """The card of a finished task, or None."""
        name = f"artifacts/{task.key}/card.json"
        if not self.storage.exists(name):
            return None
        return cast(dict[str, Any], self.storage.read_json(name))

    def finished(self, task: Task) -> bool:
        """Whether the task's weights are there and whole; a damaged artifact counts as not made."""
        card = self.card(task)
        name = f"artifacts/{task.key}/weights.safetensors"
        if card is None or not self.storage.exists(name):
            return False
        return hashlib.sha256(self.storage.read(name)).hexdigest() == str(card["sha256"])

    def save(
        self,
        task: Task,
        weights: Mapping[str, Tensor],
        card: Mapping[str, Any],
        samples: bytes | None,
    ) -> None:
        """Keep a finished network; the card is written last, so that a half-written artifact is none."""
        packed = save({k: v.detach().cpu().contiguous().clone() for k, v in weights.items()})
        self.storage.write(f"artifacts/{task.key}/weights.safetensors", packed)
        if samples is not None:
            self.storage.write(f"artifacts/{task.key}/samples.png", samples)
        digest = hashlib.sha256(packed).hexdigest()
        whole = {**card, "role": task.role, "id": task.id, "inputs": task.inputs, "sha256": digest}
        self.storage.write_json(f"artifacts/{task.key}/card.json", whole)
        self.storage.delete(f"artifacts/{task.key}/checkpoint.pt")

    def weights(self, task: Task) -> dict[str, Tensor]:
        """The weights of a finished task.

        Raises:
            RuntimeError: there are none, or they are damaged; the next run trains them again.
        """
        if not self.finished(task):
            raise RuntimeError(
                f"artifacts/{task.key}: is missing or damaged; run the command again"
            )
        return load(self.storage.read(f"artifacts/{task.key}/weights.safetensors"))

    def pictures(self, settings: DataSettings, name: str) -> Pictures:
        """A data set, decoded now or by an earlier run."""
        file = f"pictures/{name}.safetensors"
        if not self.storage.exists(file):
            self.storage.write(file, pack(load_pictures(settings)))
        local = Path(self.storage.path(file))
        if local.is_file():
            return unpack(str(local))
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
            copy.write(self.storage.read(file))
            copy.flush()
            return unpack(copy.name)


@dataclass(frozen=True)
class TaskCheckpoints:
    """The checkpoint of one task."""

    storage: Storage
    task: Task

    @property
    def _name(self) -> str:
        return f"artifacts/{self.task.key}/checkpoint.pt"

    def load(self) -> dict[str, Any] | None:
        """The last state, or None; read with the loader that builds tensors and plain values only."""
        if not self.storage.exists(self._name):
            return None
        raw = io.BytesIO(self.storage.read(self._name))
        return cast(dict[str, Any], torch.load(raw, map_location="cpu", weights_only=True))

    def save(self, state: dict[str, Any]) -> None:
        """Keep a state, whole."""
        sink = io.BytesIO()
        torch.save(state, sink)
        self.storage.write(self._name, sink.getvalue())
