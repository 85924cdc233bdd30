"""Pictures as bytes: 8-bit rounding, PNG files, grids."""

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_bytes(x_NCHW: Tensor) -> Tensor:
    """Float pictures in [0, 1] as uint8 pictures on the CPU."""
    return (255 * x_NCHW.detach()).round().clamp(0, 255).byte().cpu()


def to_float(x_NCHW: Tensor, device: torch.device) -> Tensor:
    """uint8 pictures as float pictures in [0, 1] on the device."""
    return x_NCHW.to(device).float() / 255


def png(x_CHW: Tensor) -> bytes:
    """One uint8 picture (C, H, W), C = 1 or 3, as a PNG file."""
    array = x_CHW.permute(1, 2, 0).contiguous().numpy()
    image = Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array)
    sink = io.BytesIO()
    image.save(sink, format="PNG", optimize=True)
    return sink.getvalue()


def from_png(file: bytes) -> Tensor:
    """The uint8 picture (C, H, W) of a PNG file that `png` wrote."""
    array = np.array(Image.open(io.BytesIO(file), formats=("PNG",)))
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)


def grid(x_NCHW: Tensor) -> Tensor:
    """uint8 pictures (N, C, H, W) in a near-square grid: one uint8 picture (C, H', W')."""
    n, c, h, w = x_NCHW.shape
    columns = math.ceil(math.sqrt(n))
    lines = math.ceil(n / columns)
    padded = torch.zeros(lines * columns, c, h, w, dtype=torch.uint8)
    padded[:n] = x_NCHW
    tiles = padded.view(lines, columns, c, h, w)
    return tiles.permute(2, 0, 3, 1, 4).reshape(c, lines * h, columns * w)
