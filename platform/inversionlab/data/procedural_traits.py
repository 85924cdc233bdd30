"""The traits of procedural people, and what differs from picture to picture.

Each person's traits are drawn from a stream of the person's own, in a fixed order. Lengths are in face units:
the head is about 1 wide and 1.3 high, its middle is the origin, x points right and y down. Angles are in
radians.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inversionlab.core import seeds

Traits = dict[str, NDArray[np.float32]]
"""By name: a number (1,) or an RGB colour (3,)."""

_SHAPE = {
    "head_width": (0.42, 0.55),
    "chin_y": (0.57, 0.78),
    "jaw_square": (1.75, 3.4),
    "eye_x": (0.175, 0.245),
    "eye_y": (-0.10, 0.02),
    "eye_width": (0.085, 0.125),
    "eye_height": (0.036, 0.072),
    "eye_slant": (-0.16, 0.18),
    "iris": (0.040, 0.052),
    "brow_gap": (0.095, 0.165),
    "brow_thick": (0.008, 0.036),
    "brow_arch": (-0.01, 0.065),
    "brow_tilt": (-0.22, 0.22),
    "brow_length": (0.11, 0.165),
    "nose_width": (0.055, 0.125),
    "nose_y": (0.15, 0.27),
    "nose_bridge": (0.022, 0.045),
    "mouth_gap": (0.14, 0.21),
    "mouth_width": (0.13, 0.235),
    "lip_upper": (0.014, 0.050),
    "lip_lower": (0.022, 0.064),
    "lip_bow": (0.0, 0.022),
    "ear": (0.04, 0.085),
    "neck": (0.22, 0.36),
    "cheek_blush": (0.0, 0.30),
    "lip_colour": (0.0, 1.0),
    "mole_x": (-0.30, 0.30),
    "mole_y": (0.10, 0.46),
    "glasses_size": (0.135, 0.185),
    "glasses_round": (2.0, 5.0),
    "hair_part": (-0.22, 0.22),
    "hair_lift": (-0.05, 0.05),
    "beard_low": (0.0, 0.10),
}

_SKINS = (
    (0.96, 0.83, 0.75),
    (0.96, 0.80, 0.68),
    (0.91, 0.73, 0.57),
    (0.80, 0.60, 0.43),
    (0.63, 0.43, 0.29),
    (0.50, 0.33, 0.23),
    (0.39, 0.25, 0.18),
)
_HAIRS = (
    (0.09, 0.07, 0.07),  # black
    (0.23, 0.14, 0.09),  # dark brown
    (0.42, 0.26, 0.14),  # brown
    (0.62, 0.30, 0.12),  # ginger
    (0.79, 0.63, 0.40),  # blond
    (0.93, 0.85, 0.64),  # light blond
    (0.70, 0.70, 0.71),  # gray
)
_IRISES = ((0.24, 0.13, 0.07), (0.42, 0.27, 0.10), (0.28, 0.45, 0.26), (0.28, 0.50, 0.74))
_FRAMES = ((0.06, 0.06, 0.07), (0.45, 0.10, 0.10), (0.72, 0.58, 0.25), (0.12, 0.22, 0.50))

# The parts of a hair style. top, side: distance from the skull; fall: y down to which it hangs behind the head
# (-1: it does not); low: y down to which it covers the temples; line, curve: y of the hairline in the middle, and
# how it falls to the sides; curl: depth of the curls; bun: radius of a knot on top; cover: opacity.
_STYLES = {
    "bald": (0.0, 0.0, -1.0, -0.10, -0.75, 0.2, 0.0, 0.0, 0.0),
    "wreath": (0.0, 0.03, -1.0, 0.08, -0.85, 0.1, 0.0, 0.0, 1.0),
    "buzz": (0.02, 0.02, -1.0, 0.00, -0.42, 0.6, 0.0, 0.0, 0.72),
    "short": (0.10, 0.04, -1.0, 0.05, -0.42, 1.1, 0.0, 0.0, 1.0),
    "crop": (0.07, 0.04, -1.0, 0.02, -0.31, 0.1, 0.02, 0.0, 1.0),
    "quiff": (0.22, 0.01, -1.0, -0.02, -0.45, -0.5, 0.0, 0.0, 1.0),
    "curly": (0.17, 0.14, -1.0, 0.10, -0.38, 0.5, 0.06, 0.0, 1.0),
    "afro": (0.27, 0.27, -1.0, 0.22, -0.42, 0.6, 0.03, 0.0, 1.0),
    "long": (0.08, 0.10, 1.20, 1.20, -0.47, 2.4, 0.0, 0.0, 1.0),
    "long_fringe": (0.08, 0.10, 1.20, 1.20, -0.27, 0.0, 0.0, 0.0, 1.0),
    "long_curls": (0.14, 0.19, 0.85, 0.85, -0.43, 1.3, 0.06, 0.0, 1.0),
    "bob": (0.09, 0.12, 0.36, 0.36, -0.30, 0.3, 0.0, 0.0, 1.0),
    "bun": (0.04, 0.01, -1.0, 0.00, -0.43, 0.7, 0.0, 0.19, 1.0),
}
_STYLE_PARTS = ("top", "side", "fall", "low", "line", "curve", "curl", "bun", "cover")
_STYLES_A = ("bald", "wreath", "buzz", "short", "short", "crop", "quiff", "curly", "afro", "long")
_STYLES_B = (
    *("long", "long", "long_fringe", "long_curls", "bob", "bob"),
    *("bun", "afro", "crop", "curly"),
)
_BEARDS = ("none", "none", "stubble", "moustache", "goatee", "full", "full")
_FRECKLES = 18


def identity(seed: int, number: int) -> Traits:
    """The traits that all pictures of person `number` share."""
    rng = seeds.numpy_stream(seed, "identity", number)
    at = rng.random(len(_SHAPE))
    traits: dict[str, Any] = {
        name: low + (high - low) * at[index]
        for index, (name, (low, high)) in enumerate(_SHAPE.items())
    }
    bearded = rng.random() < 0.5  # Whether beards and the first list of styles are possible.
    style = str(rng.choice(_STYLES_A if bearded else _STYLES_B))
    traits |= {
        f"hair_{part}": value for part, value in zip(_STYLE_PARTS, _STYLES[style], strict=True)
    }
    beard = str(rng.choice(_BEARDS)) if bearded else "none"
    traits |= {f"is_{kind}": beard == kind for kind in ("stubble", "moustache", "goatee", "full")}
    traits["lashes"] = 0.3 if bearded else 1.0
    traits["has_glasses"] = rng.random() < 0.28
    traits["has_mole"] = rng.random() < 0.25
    traits["age"] = max(0.0, rng.random() * 1.6 - 0.6)
    # Dark skin goes with dark hair and eyes; age makes hair gray.
    tone = rng.random() * (len(_SKINS) - 1)
    skin = np.array(
        [np.interp(tone, range(len(_SKINS)), column) for column in zip(*_SKINS, strict=True)]
    )
    traits["skin"] = (skin + rng.normal(0, 0.012, 3)).clip(0.1, 1)
    dark = tone > 3.2
    hair = np.array(_HAIRS[int(rng.integers(2 if dark else 6))])
    grayness = np.clip((traits["age"] - 0.55) * 2.5, 0, 1) * (rng.random() < 0.8)
    hair = hair + grayness * (np.array(_HAIRS[-1]) - hair)
    hair = hair * (1 + rng.normal(0, 0.08) + rng.normal(0, 0.02, 3))
    traits["hair"] = hair.clip(0.03, 1)
    iris = np.array(_IRISES[int(rng.integers(2 if dark else 4))]) + rng.normal(0, 0.03, 3)
    traits["iris_colour"] = iris.clip(0, 1)
    traits["frame"] = np.array(_FRAMES[int(rng.integers(len(_FRAMES)))])
    shown = rng.random() < 0.3 and float(np.mean(traits["skin"])) > 0.6
    spots = rng.uniform((-0.34, 0.02), (0.34, 0.26), (_FRECKLES, 2))
    traits["freckles"] = spots.ravel() if shown else np.full(2 * _FRECKLES, 9.0)
    return {name: np.atleast_1d(np.asarray(v, dtype=np.float32)) for name, v in traits.items()}


# Standard deviations of what changes from picture to picture, at variation 1.
_CHANGES = {
    "yaw": 0.20,
    "pitch": 0.12,
    "roll": 0.07,
    "shift_x": 0.035,
    "shift_y": 0.03,
    "zoom": 0.05,
    "light_x": 0.55,
    "light_y": 0.30,
    "exposure": 0.10,
    "warmth": 0.035,
    "smile": 0.55,
    "open_mouth": 0.45,
    "brow_raise": 0.5,
    "eye_open": 0.16,
    "gaze_x": 0.30,
    "gaze_y": 0.12,
    "ground_turn": 1.5,
}
_GROUND, _GROUND_SPREAD = np.array((0.54, 0.57, 0.62)), 0.15
_CLOTHES, _CLOTHES_SPREAD = np.array((0.36, 0.38, 0.45)), 0.17


def picture(rng: np.random.Generator, strength: float) -> Traits:
    """The traits of one picture: pose, light, expression, framing, background, clothes."""
    spread = strength * np.array(list(_CHANGES.values()))
    values = spread * rng.standard_normal(len(_CHANGES)).clip(-2, 2)
    traits: dict[str, Any] = dict(zip(_CHANGES, values, strict=True))
    draws = rng.standard_normal((3, 4)).clip(-2, 2)
    colours = strength * (draws[:, :1] + 0.55 * draws[:, 1:])
    traits["ground_a"] = (_GROUND + _GROUND_SPREAD * colours[0]).clip(0.05, 0.95)
    traits["ground_b"] = (traits["ground_a"] + 0.6 * _GROUND_SPREAD * colours[1]).clip(0.05, 0.95)
    traits["clothes"] = (_CLOTHES + _CLOTHES_SPREAD * colours[2]).clip(0.05, 0.95)
    return {name: np.atleast_1d(np.asarray(v, dtype=np.float32)) for name, v in traits.items()}
