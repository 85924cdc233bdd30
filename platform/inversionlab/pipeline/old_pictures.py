"""Prepared data sets as the first versions stored them: one safetensors file, named by its own SHA-256."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from inversionlab.core.rows import Parts, PictureRows
from inversionlab.data.base import Pictures
from inversionlab.store.local_copies import local_copy
from inversionlab.store.storage import Storage


def old_set(storage: Storage, name: str) -> Pictures | None:
    """A set that an old version has prepared; None: there is none, or only a damaged one."""
    for file in storage.files(f"pictures/{name}", ".safetensors"):
        place = local_copy(storage, file, Path(file).stem)
        pictures = _unpacked(place, name) if place is not None else None
        if pictures is not None:
            return pictures
        print(f"{storage.uri(file)}: is damaged; the pictures are read again", flush=True)
        storage.delete(file)
    return None


def _unpacked(path: Path, name: str) -> Pictures | None:
    """The pictures in a file, memory-mapped; None if it holds something else, even under a correct digest."""
    try:
        with safe_open(path, framework="pt") as file:
            note = file.metadata()
            images_NCHW, person_N = file.get_tensor("images"), file.get_tensor("person")
            people = tuple(json.loads(note["people"]))
            skipped = tuple(json.loads(note["skipped"]))
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        return None
    if not (
        images_NCHW.dtype == torch.uint8
        and images_NCHW.ndim == 4
        and person_N.dtype == torch.int64
        and person_N.shape == images_NCHW.shape[:1]
        and bool(((person_N >= 0) & (person_N < len(people))).all())
    ):
        return None
    count, channels, height, width = images_NCHW.shape
    parts = Parts([count], (channels, height, width), lambda number: images_NCHW)
    return Pictures(PictureRows(parts, name=name), person_N, people, skipped)
