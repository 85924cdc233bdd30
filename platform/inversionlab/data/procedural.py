"""Drawn faces: any number of people at any size from a seed, without a single file.

Each person has a shape of head, eyes, brows, nose and mouth, and skin, hair, beard, glasses and spots
(`procedural_traits.py`). Each picture has a pose, light, expression, framing, background, clothes and noise.
Person 7, and picture 3 of person 7, are the same at every number of people and pictures. The faces are
caricatures: they replace photographs that are missing or may not be used. Figures measured on them do not carry
over to real faces.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.core import seeds
from inversionlab.core.settings import fingerprint
from inversionlab.data.base import DataSet, DataSettings, Pictures
from inversionlab.data.memory import require_memory
from inversionlab.data.procedural_face import paint
from inversionlab.data.procedural_traits import identity, picture

DRAWING = 1
"""Raise it with every change that alters a picture; data and results then get new names."""
_CHUNK_PIXELS = 1 << 16  # A layer of this size stays in the processor's cache.
_LUMA = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


class ProceduralSettings(DataSettings):
    """How many people and pictures, and how much the pictures differ."""

    name: Literal["procedural"] = "procedural"
    people: int = Field(default=100, ge=2, le=10_000)
    """Number of people. They are named f0000, f0001, ..."""
    pictures_per_person: int = Field(default=30, ge=1, le=10_000)
    """Number of pictures of each person."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """The seed that the people are drawn from. Another seed gives other people."""
    variation: float = Field(default=1.0, ge=0, le=1.5)
    """Strength of the differences in pose, light, expression, framing and background; 0: none."""
    noise: float = Field(default=0.02, ge=0, le=0.5)
    """Standard deviation of the camera's noise; pixels range from 0 to 1."""


class Procedural(DataSet):
    """People that do not exist."""

    Settings = ProceduralSettings
    photographs = False
    settings: ProceduralSettings

    def fingerprint(self) -> str:
        """See `DataSet.fingerprint`."""
        return fingerprint({"settings": self.settings.model_dump(mode="json"), "drawing": DRAWING})

    def load(self) -> Pictures:
        """See `DataSet.load`; fails only if the pictures do not fit into the memory."""
        s = self.settings
        what = f"people = {s.people} with pictures_per_person = {s.pictures_per_person}"
        require_memory(s, s.people * s.pictures_per_person, what)
        numbers = [(person, j) for person in range(s.people) for j in range(s.pictures_per_person)]
        per_chunk = max(1, _CHUNK_PIXELS // s.image_size**2)
        shape = (len(numbers), s.channels, s.image_size, s.image_size)
        images_NCHW = torch.empty(shape, dtype=torch.uint8)
        # There are hundreds of thousands of small steps. On a busy machine, threads that wait for each other at
        # every step took 25 times as long as one thread.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for start in range(0, len(numbers), per_chunk):
                chunk = numbers[start : start + per_chunk]
                images_NCHW[start : start + len(chunk)] = self._render(chunk)
        finally:
            torch.set_num_threads(threads)
        person_N = torch.arange(s.people).repeat_interleave(s.pictures_per_person)
        people = tuple(f"f{person:04d}" for person in range(s.people))
        return Pictures(images_NCHW, person_N, people)

    def _render(self, numbers: Sequence[tuple[int, int]]) -> Tensor:
        """uint8 pictures (len(numbers), C, H, W) of (person, picture) pairs."""
        s = self.settings
        people = {person: identity(s.seed, person) for person in {p for p, _ in numbers}}
        streams = [seeds.numpy_stream(s.seed, "identity", p, "picture", j) for p, j in numbers]
        traits = [
            people[p] | picture(rng, s.variation)
            for (p, _), rng in zip(numbers, streams, strict=True)
        ]
        finer = 2 if s.image_size < 40 else 1  # The thin lines of a face need some pixels.
        stacked = {
            name: torch.from_numpy(np.stack([t[name] for t in traits]))[:, :, None, None]
            for name in traits[0]
        }
        images_NCHW = paint(stacked, s.image_size * finer)
        images_NCHW = functional.avg_pool2d(images_NCHW, finer) if finer > 1 else images_NCHW
        if s.channels == 1:
            images_NCHW = (images_NCHW * _LUMA).sum(1, keepdim=True)
        if s.noise > 0:
            shape = images_NCHW.shape[1:]
            grain = [rng.standard_normal(shape, dtype=np.float32) for rng in streams]
            images_NCHW = images_NCHW + s.noise * torch.from_numpy(np.stack(grain))
        return (images_NCHW * 255).round_().clamp_(0, 255).to(torch.uint8)
