"""From the bytes of a picture file to uint8 (C, S, S), within bounded memory.

A picture is turned upright by its EXIF tag, laid over a background where it is transparent, converted to RGB or
luma, cropped (by default to its central square, whose side is the shorter side; a 92x112 picture loses 10 rows
above and 10 below), and resized by PIL's antialiased bilinear filter. 16-bit gray is scaled to 8 bits. Pictures of
floating-point numbers are refused, because nothing says what their range is.

A JPEG of more than 16 million pixels, of which the central square is taken, is read at 1/2, 1/4 or 1/8 of its size
(libjpeg's scaled inverse transform), as long as twice the wanted size is left.
"""

import io
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from inversionlab.data.crops import (
    SMALLEST,
    Box,
    ListedBox,
    PixelBox,
    aligned,
    central_square,
    fixed_square,
    square_around,
)
from inversionlab.data.manifest import PictureFile

ENDINGS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"})
"""What picture files are named; others are pictures if their first bytes say so."""
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")
"""PIL's names of the formats that are read."""
LARGEST = 89_000_000
"""Pixels in all; PIL warns of a decompression bomb above that."""
LARGE = 16_000_000
"""Pixels above which a JPEG is read at a part of its size."""
ROOM = 512 * 2**20
"""Bytes that the pictures which one process decodes at the same time may take."""
SMALL = 1_000_000
"""Pixels, and bytes of a file, below which a picture does not count for that."""
_BYTES_PER_PIXEL = 12  # as stored, turned upright, converted and cropped, at 3 bytes each
_HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"BM", b"RIFF", b"P5", b"P6")
_NEVER_TRANSPARENT = (b"\xff\xd8\xff", b"P")
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_SHADES = {"white": 255, "gray": 128, "black": 0}


@dataclass(frozen=True)
class Decoded:
    """One picture."""

    values_CHW: NDArray[np.uint8]
    remark: str = ""
    """What was done to it that is not done to every picture; empty: nothing."""


class Room:
    """Memory that several threads share: whoever wants more than is left waits."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._freed = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Hold so many bytes; who wants more than there are in all waits until it is alone."""
        wanted = min(size, self._size)
        with self._freed:
            self._freed.wait_for(lambda: self._left >= wanted)
            self._left -= wanted
        try:
            yield
        finally:
            with self._freed:
                self._left += wanted
                self._freed.notify_all()


class Decoder:
    """Turns bytes into pictures of one size. Its threads share `room` bytes."""

    def __init__(
        self,
        size: int,
        channels: int,
        *,
        crop: str | PixelBox | ListedBox = "square",
        background: str = "white",
        room: int = ROOM,
    ) -> None:
        """`size` is S, `channels` C of the pictures; `crop` and `background` are as in `FileFields`."""
        self._size, self._channels = size, channels
        self._crop, self._background = crop, background
        self._room = Room(room)
        # Another one, so that whoever holds bytes and waits for pixels waits for nobody who waits for bytes.
        self._bytes = Room(room)

    def reading(self, file: PictureFile) -> AbstractContextManager[None]:
        """Hold the memory that the bytes of a large file take, until its picture is decoded."""
        return self._bytes.taken(large(file))

    def decode(self, content: bytes, file: PictureFile) -> Decoded:
        """One picture as uint8 (C, S, S).

        Raises:
            Exception: of any type, with a text that says why the picture cannot be used.
        """
        if not content:
            raise ValueError("is empty (0 bytes)")
        with _opened(content) as opened:
            width, height = opened.size
            if min(width, height) < SMALLEST:
                raise ValueError(
                    f"is {width}x{height} pixels; at least {SMALLEST}x{SMALLEST} needed"
                )
            if width * height > LARGEST:
                raise ValueError(
                    f"is {width}x{height} pixels; more than {LARGEST} in all are refused"
                )
            if opened.mode == "F":
                raise ValueError("holds floating-point numbers, whose range is not known")
            remark = self._draft(opened)
            width, height = opened.size
            pixels = width * height
            with self._room.taken(pixels * _BYTES_PER_PIXEL if pixels > SMALL else 0):
                return self._finished(opened, file, remark)

    def _draft(self, opened: Image.Image) -> str:
        """Let a large JPEG be read at a part of its size; returns what was done."""
        width, height = opened.size
        if opened.format != "JPEG" or width * height <= LARGE or self._crop != "square":
            return ""
        # PIL takes the least of its sizes that is not smaller than this one.
        opened.draft(None, (2 * self._size, 2 * self._size))
        return "" if opened.size == (width, height) else "read at a part of their size"

    def _finished(self, opened: Image.Image, file: PictureFile, remark: str) -> Decoded:
        upright = ImageOps.exif_transpose(opened)
        if upright.mode.startswith("I"):  # PIL itself would cut 16-bit gray off at 255
            gray = np.asarray(upright).clip(0, 65535) // 257
            upright = Image.fromarray(gray.astype(np.uint8))
        if _has_alpha(upright):
            upright = self._laid_over(upright)
            remark = f"with transparent parts, laid over {self._background}"
        picture = upright.convert("L" if self._channels == 1 else "RGB")
        if self._crop == "five_point":
            small = aligned(picture, file.points, self._size)
        else:
            # Not by `resize(box=...)`: its filter reaches over the edge of the box.
            square = picture.crop(self._box(picture, file))
            small = square.resize((self._size, self._size), Image.Resampling.BILINEAR)
        values = np.asarray(small)
        return Decoded(values[None] if self._channels == 1 else values.transpose(2, 0, 1), remark)

    def _box(self, picture: Image.Image, file: PictureFile) -> Box:
        if isinstance(self._crop, PixelBox):
            return fixed_square(self._crop.box, *picture.size)
        if isinstance(self._crop, ListedBox):
            return square_around(file.box, self._crop.margin, *picture.size)
        return central_square(*picture.size)

    def _laid_over(self, picture: Image.Image) -> Image.Image:
        shade = _SHADES[self._background]
        clear = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, (shade,) * 3 + (255,)), clear)


def large(file: PictureFile) -> int:
    """The bytes of a file that count against the room; those of a small one do not."""
    return file.size if file.size > SMALL and file.row is None else 0


def kind_of_other(name: str, head: bytes) -> str:
    """What kind of other file it is, by its name and first 12 bytes; empty for a picture."""
    if is_picture(head):
        return ""
    stem, dot, ending = name.rpartition(".")
    return f"named *.{ending.lower()}" if dot and stem and ending else "without an ending"


def is_picture(head: bytes) -> bool:
    """Whether a file that begins with these 12 bytes is a picture."""
    return head.startswith(_HEADS) and (head[:4] != b"RIFF" or head[8:12] == b"WEBP")


def is_transparent(content: bytes) -> bool:
    """Whether a picture has transparent parts, or may have them; only the head is read."""
    if not content or content.startswith(_NEVER_TRANSPARENT):
        return False
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            return _has_alpha(opened)
    except Exception:  # A decoder may raise anything on a broken file; it is left out later.
        return False


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in _ALPHA or "transparency" in picture.info


def _opened(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:  # whose own text says nothing
        raise ValueError(f"is none of {', '.join(FORMATS)}, or its head is broken") from error
