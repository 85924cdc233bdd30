"""Reads one picture file: upright, square, at the wanted size.

The picture is turned upright by its EXIF tag, its central square is cut out (side: the shorter
side; a 92x112 picture loses 10 rows above and 10 below) and brought to size by PIL's antialiased
bilinear filter, as RGB or luma.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"})
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")
_SMALLEST = 8  # pixels; below that no face can be told from another
_LARGEST = 89_000_000  # pixels in all; above that PIL warns of a decompression bomb


def read_picture(path: Path, size: int, channels: int) -> NDArray[np.uint8]:
    """Read one picture as uint8 (channels, size, size): upright, central square, resized.

    Raises:
        Exception: of any type, with a text that says why, where the file is no usable picture.
    """
    if path.stat().st_size == 0:
        raise ValueError("is empty (0 bytes)")
    with _open(path) as opened:
        width, height = opened.size
        if min(width, height) < _SMALLEST:
            raise ValueError(f"is {width}x{height} pixels; at least {_SMALLEST}x{_SMALLEST} needed")
        if width * height > _LARGEST:
            raise ValueError(f"is {width}x{height} pixels; more than {_LARGEST} in all are refused")
        upright = ImageOps.exif_transpose(opened)
    picture = _eight_bit(upright).convert("L" if channels == 1 else "RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    # Not by `resize(box=...)`: its filter reaches over the edge of the box.
    square = picture.crop((left, top, left + side, top + side))
    values = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    return values[None] if channels == 1 else values.transpose(2, 0, 1)


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError as error:  # its own text is no more than the full path
        raise ValueError(f"is none of {', '.join(_FORMATS)}, or its head is broken") from error


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit gray scaled to 8 bits; PIL's own conversion would cut it off at 255."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
