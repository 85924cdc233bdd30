"""The public pictures of an attack in Python: in whatever form they come, as uint8 (N, C, S, S)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inversionlab.core.images import to_bytes
from inversionlab.core.settings import ConfigError
from inversionlab.data.folder import Folder, FolderSettings

ACCEPTED = (
    "give a folder with one folder for each person, a tensor (N, C, S, S) or an array (N, C, S, S) or "
    "(N, S, S, C) of square pictures, C = 1 or 3, as uint8 from 0 to 255 or as floats from 0 to 1"
)


def public_pictures(public: Any, *, image_size: int, channels: int | None) -> Tensor:
    """The pictures as uint8 (N, C, S, S) on the CPU.

    Args:
        public: a tensor, an array, or the path of a folder.
        image_size: S of the pictures of a folder, whose central squares are resized.
        channels: C of the pictures of a folder; None: 3.

    Raises:
        ConfigError: they have another form, or numbers outside of their range.
    """
    if isinstance(public, str | Path):
        settings = FolderSettings(
            root=Path(public), image_size=image_size, channels=1 if channels == 1 else 3
        )
        return Folder(settings).load().images_NCHW[:]
    if not isinstance(public, Tensor | np.ndarray):
        raise ConfigError(
            f"public = {type(public).__name__}: is not one of the known forms; {ACCEPTED}"
        )
    shape = tuple(public.shape)
    if len(shape) != 4 or len(public) < 1:
        raise ConfigError(f"public: has the shape {shape}; {ACCEPTED}")
    x_NCHW = public if isinstance(public, Tensor) else _channels_first(public)
    x_NCHW = x_NCHW.detach().cpu()
    channels, height, width = x_NCHW.shape[1:]
    if channels not in (1, 3) or height != width:
        raise ConfigError(f"public: has the shape {shape}; {ACCEPTED}")
    if x_NCHW.dtype == torch.uint8:
        return x_NCHW.clone().contiguous()
    if not x_NCHW.is_floating_point():
        raise ConfigError(f"public: holds {x_NCHW.dtype}; {ACCEPTED}")
    least, most = float(x_NCHW.min()), float(x_NCHW.max())
    if not (least >= 0 and most <= 1):
        raise ConfigError(f"public: its floats go from {least:.3g} to {most:.3g}; {ACCEPTED}")
    return to_bytes(x_NCHW)


def _channels_first(array: Any) -> Tensor:
    """An array of either order of the axes as (N, C, H, W)."""
    first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
    if last and not first:
        array = np.moveaxis(array, 3, 1)
    try:
        return torch.from_numpy(np.ascontiguousarray(array))
    except TypeError as error:
        raise ConfigError(f"public: holds {array.dtype}; {ACCEPTED}") from error
