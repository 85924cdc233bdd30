"""ArcFace's template of a face, and the similarity transform that brings a face to it by five points."""

from collections.abc import Sequence

import numpy as np

TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Both eyes, nose and both corners of the mouth, in pixels. (0, 0) is the centre of the first pixel, as in OpenCV,
which aligns the pictures that such models are trained on."""
SIDE = 112
"""Height and width of the template, in pixels."""
WORST_FIT = 12.0
"""Five points further from the template, in its pixels (root mean square), are no face seen from the front."""


def similarity(points: Sequence[tuple[float, float]]) -> tuple[complex, complex]:
    """The least-squares similarity transform w = a z + b from a picture to the template (Umeyama 1991).

    `points` are the five points (x, y) in shares of the picture's side. z and w are x + iy on the picture and on
    the template. Both run from -1 - i at the upper left corner to 1 + i at the lower right one.

    Raises:
        ValueError: the points are not those of a face.
    """
    # Multiplication by a complex number turns and scales, and cannot reflect.
    z_5 = np.array([complex(x, y) for x, y in points]) * 2 - (1 + 1j)
    w_5 = (np.array([complex(x, y) for x, y in TEMPLATE]) + (0.5 + 0.5j)) * 2 / SIDE - (1 + 1j)
    z0, w0 = complex(z_5.mean()), complex(w_5.mean())
    spread = float((abs(z_5 - z0) ** 2).sum())
    a = complex(((z_5 - z0).conj() * (w_5 - w0)).sum()) / spread if spread else 0j
    apart = float(np.sqrt((abs(a * (z_5 - z0) + w0 - w_5) ** 2).mean())) * SIDE / 2
    # The same face upside down fits well too, with the points in reverse order.
    if apart > WORST_FIT or a.real <= 0:
        raise ValueError(
            "do not look like a face; give the left eye, the right eye, the nose, the left and the right "
            "corner of the mouth, as they appear on the picture, each as [x, y] in shares of its side"
        )
    return a, w0 - a * z0
