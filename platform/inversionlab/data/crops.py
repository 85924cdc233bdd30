"""Which part of a picture is taken: a square in it, or a face turned upright by five points."""

import math
from collections.abc import Sequence
from typing import Self

from PIL import Image
from pydantic import Field, model_validator

from inversionlab.core.alignment import similarity
from inversionlab.core.settings import Settings

SMALLEST = 8
"""Height and width of the least part of a picture that may show a face, in pixels."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first ones outside."""


class PixelBox(Settings):
    """A square at the same place of every picture, as for a set of aligned pictures."""

    box: Box
    """Left, top, right and bottom, in pixels; right and bottom are the first ones outside."""

    @model_validator(mode="after")
    def _is_a_square(self) -> Self:
        left, top, right, bottom = self.box
        width, height = right - left, bottom - top
        if min(left, top) < 0 or width != height or width < SMALLEST:
            raise ValueError(
                f"box = {list(self.box)}: is {width} x {height} pixels from ({left}, {top}); a square of 8 "
                "pixels or more inside the picture is needed, as [left, top, right, bottom]"
            )
        return self


class ListedBox(Settings):
    """The face's box by the set's own list."""

    margin: float = Field(default=0.0, ge=0, le=2)
    """Share of the box's side that is added on each side. VGGFace2's own models saw boxes extended by 0.3."""


def central_square(width: int, height: int) -> Box:
    """The largest square in the middle."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def fixed_square(box: Box, width: int, height: int) -> Box:
    """The box itself.

    Raises:
        ValueError: it reaches over the picture's edge.
    """
    if box[2] > width or box[3] > height:
        raise ValueError(f"is {width}x{height} pixels; crop.box = {list(box)} reaches beyond it")
    return box


def square_around(box: Sequence[float] | None, margin: float, width: int, height: int) -> Box:
    """The square around the part of a listed box that lies in the picture, with the margin.

    It may reach over the picture's edge.

    Raises:
        ValueError: the list has no box for this picture, or one that holds too little of it.
    """
    if box is None:
        raise ValueError("has no box in the set's list; crop.margin needs one")
    if not all(map(math.isfinite, box)):
        raise ValueError(f"has the box {list(box)} in the set's list, which is none")
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(float(width), box[2]), min(float(height), box[3])
    if min(right - left, bottom - top) < SMALLEST:
        raise ValueError(
            f"is {width}x{height} pixels, and its box in the set's list, {list(box)}, holds less than "
            f"{SMALLEST}x{SMALLEST} of them"
        )
    side = max(right - left, bottom - top) * (1 + 2 * margin)
    x, y = (left + right) / 2 - side / 2, (top + bottom) / 2 - side / 2
    return round(x), round(y), round(x) + round(side), round(y) + round(side)


def aligned(picture: Image.Image, points: Sequence[float] | None, size: int) -> Image.Image:
    """The face as (size, size): a similarity transform brings its five points to ArcFace's template.

    Black fills what lies beyond the picture.

    Raises:
        ValueError: the list has no points for this picture, or they are none of a face.
    """
    if points is None:
        raise ValueError("has no five points in the set's list; crop: five_point needs them")
    side = max(picture.size)
    pairs = [(points[i] + 0.5, points[i + 1] + 0.5) for i in range(0, len(points), 2)]
    inside = all(0 <= x <= picture.width and 0 <= y <= picture.height for x, y in pairs)
    try:
        if not inside:
            raise ValueError("lie outside")
        a, b = similarity([(x / side, y / side) for x, y in pairs])
    except ValueError as error:
        raise ValueError(
            f"its five points {[round(p) for p in points]} are none of a face"
        ) from error
    # The template's w = a z + b, with z and w from -1 to 1; PIL wants x of the picture by x of the template.
    finer = max(
        1, math.ceil(side / (abs(a) * size) - 0.01)
    )  # several points in a pixel, or it would alias
    grid = size * finer
    step = (2 / grid) / a * side / 2
    start = ((-1 - 1j) - b) / a
    x0, y0 = (start.real + 1) * side / 2, (start.imag + 1) * side / 2
    across = (step.real, -step.imag, x0, step.imag, step.real, y0)
    turned = picture.transform(
        (grid, grid), Image.Transform.AFFINE, across, Image.Resampling.BILINEAR
    )
    return turned if finer == 1 else turned.reduce(finer)
