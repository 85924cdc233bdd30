"""Random streams that derive from their purpose, never from the order of the work.

`derive(7, "attack", "latent_white_box", target, repeat)` is the same number on every machine, in every process
and at any worker count, so results do not depend on how the work was cut.
"""

import hashlib

import numpy as np
import torch

Label = str | int


def derive(seed: int, *labels: Label) -> int:
    """A seed in [0, 2**63) that depends on `seed`, the labels and their types alone."""
    text = "\x1f".join([str(seed), *(f"{type(label).__name__}:{label}" for label in labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_stream(seed: int, *labels: Label) -> torch.Generator:
    """A generator for the stream that the labels name; on the CPU, so that a GPU gets the same numbers."""
    return torch.Generator().manual_seed(derive(seed, *labels))


def numpy_stream(seed: int, *labels: Label) -> np.random.Generator:
    """A NumPy generator for the stream that the labels name."""
    return np.random.default_rng(derive(seed, *labels))
