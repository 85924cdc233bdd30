"""Reads one picture file: upright, square, at the size asked for.

The picture is turned upright by its EXIF tag, cropped to its central square (side: the shorter side; a 92x112
picture loses 10 rows above and 10 below) and resized by PIL's antialiased bilinear filter, as RGB or luma.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"})
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")
_SMALLEST = 8  # pixels; a smaller picture shows no face
_LARGEST = 89_000_000  # pixels in all; PIL warns of a decompression bomb above that


def read_picture(path: Path, size: int, channels: int) -> NDArray[np.uint8]:
    """Read one picture as uint8 (channels, size, size): upright, central square, resized.

    Raises:
        Exception: of any type, with a text that says why the file cannot be used.
    """
    if path.stat().st_size == 0:
        raise ValueError("is empty (0 bytes)")
    try:
        opened = Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError as error:  # whose own text is only the full path
        raise ValueError(f"is none of {', '.join(_FORMATS)}, or its head is broken") from error
    with opened:
        width, height = opened.size
        if min(width, height) < _SMALLEST:
            raise ValueError(f"is {width}x{height} pixels; at least {_SMALLEST}x{_SMALLEST} needed")
        if width * height > _LARGEST:
            raise ValueError(f"is {width}x{height} pixels; more than {_LARGEST} in all are refused")
        upright = ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I"):  # PIL itself would cut 16-bit gray off at 255
        gray = np.asarray(upright).clip(0, 65535) // 257
        upright = Image.fromarray(gray.astype(np.uint8))
    picture = upright.convert("L" if channels == 1 else "RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    # Not by `resize(box=...)`: its filter reaches over the edge of the box.
    square = picture.crop((left, top, left + side, top + side))
    values = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    return values[None] if channels == 1 else values.transpose(2, 0, 1)
