"""Every random stream derives from what it is for, never from the order in which work is done.

`derive(7, "attack", "latent_white_box", target, repeat)` is the same number on every machine, in every
process, at any worker count; that is what makes results independent of how the work was cut.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

Label = str | int


def derive(seed: int, *labels: Label) -> int:
    """A seed in [0, 2**63) that depends on `seed` and every label, and on nothing else."""
    text = "\x1f".join([str(seed), *(f"{type(label).__name__}:{label}" for label in labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_stream(seed: int, *labels: Label) -> torch.Generator:
    """A CPU generator for the stream that the labels name (CPU, so that a GPU draws the same numbers)."""
    return torch.Generator().manual_seed(derive(seed, *labels))


def numpy_stream(seed: int, *labels: Label) -> np.random.Generator:
    """A NumPy generator for the stream that the labels name."""
    return np.random.default_rng(derive(seed, *labels))
