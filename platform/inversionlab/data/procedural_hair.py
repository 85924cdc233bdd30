"""Paints the hair and beards of procedural faces."""

from __future__ import annotations

import torch
from torch import Tensor

from inversionlab.data.procedural_scene import Scene, bump, oval, smooth


def _curls(s: Scene, x: Tensor) -> Tensor:
    """How far curls move the outline of the hair outwards, in face units."""
    angle = torch.atan2(x, -s.sy - 0.02)
    return s["hair_curl"] * (0.5 * torch.sin(13 * angle).abs() - 0.25)


def _hair_colour(s: Scene, x: Tensor) -> Tensor:
    """The colour with strands and a band of sheen; strands finer than a pixel fade out."""
    nx, ny, _ = s.normal
    angle = torch.atan2(x, -s.sy + 1.1)
    fine = smooth(1.4 - 14 * s.pixel)
    curly = smooth(40 * s["hair_curl"])
    straight = torch.sin(61 * angle + 5 * torch.sin(7 * angle)) + torch.sin(103 * angle - 2 * s.sy)
    across = torch.sin(25 * x + 3 * torch.sin(11 * s.sy))
    curled = across * torch.sin(27 * s.sy + 3 * torch.sin(13 * x))
    sheen = bump(torch.zeros(1), s.sy + 0.50 + 0.25 * x**2, 1.0, 0.10)
    light = 0.92 + 0.30 * s["light_x"] * nx - 0.12 * ny + 0.22 * sheen
    strands = fine * (0.05 * straight * (1 - curly) + 0.16 * curled * curly)
    return s["hair"] * (light + strands) + 0.03 * sheen


def paint_back_hair(s: Scene) -> None:
    """The hair behind the head and neck, and a knot on top."""
    x = s.sx + 0.10 * torch.sin(s["yaw"])
    width = s["head_width"] + s["hair_side"] + _curls(s, x)
    low = s["hair_fall"]
    spread = width * (1 + 0.10 * s.sy.clamp(min=0))
    sheet = torch.maximum(x.abs() - spread, torch.maximum(s.sy - low, -s.sy - 0.1))
    shown = smooth((low + 0.5) * 4)
    s.paint(shown * s.inside(sheet, 0.05), _hair_colour(s, x) * 0.72)
    knot = oval(x, s.sy + 0.76, s["hair_bun"] + 1e-3, s["hair_bun"] * 0.9 + 1e-3)
    s.paint(s.inside(knot) * smooth(s["hair_bun"] * 20), _hair_colour(s, x) * 0.9)


def paint_front_hair(s: Scene) -> None:
    """The hair over the skull, with the face cut out of it along the hairline."""
    x = s.sx + 0.06 * torch.sin(s["yaw"])
    curls = _curls(s, x)
    width, height = s["head_width"] + s["hair_side"] + curls, 0.66 + s["hair_top"] + curls
    dome = oval(x, s.sy, width, height, 2.3)
    taper = smooth(1 + (s.sy - s["hair_low"]) / 0.28) * s.inside(s["hair_fall"].expand_as(s.sy))
    sides = x.abs() - width + (s["hair_side"] + 0.02) * taper
    volume = torch.where(s.sy < 0, dome, sides)
    bend = s["hair_curve"] * (s.fx - s["hair_part"] * smooth(s["hair_curve"])) ** 2
    line = s["hair_line"] + s["hair_lift"] + bend + 0.4 * curls
    above = s.fy - line
    temple = (s["head_width"] * (0.93 - 0.05 * smooth(s.fy * 4)) - s.fx.abs()).clamp(min=-1)
    # The far side of a turned head.
    far_side = 3 * (s.sy - 0.1).clamp(min=0) - 0.02 - s.outline
    covered = torch.minimum(torch.minimum(above, temple), far_side)
    hair = s.inside(torch.maximum(torch.maximum(volume, covered), s.sy - s["hair_low"]), 0.02)
    s.paint(hair * s["hair_cover"], _hair_colour(s, x))
    shadow = s.inside(above - 0.03, 0.07) * s.inside(volume + 0.03, 0.05) * (1 - hair)
    s.shade(-0.18 * shadow * s["hair_cover"] * smooth((s["hair_line"] + 0.6) * 10))


def paint_beard(s: Scene) -> None:
    """Stubble, moustache, goatee or full beard, below the nose."""
    mouth_y = s["nose_y"] + s["mouth_gap"]
    x, y = s.fx, s.fy - mouth_y
    jaw = s.inside(0.02 + s["beard_low"] - y - 2.2 * (x.abs() - 0.12).clamp(min=0), 0.13)
    jaw = jaw * s.inside(s["eye_y"] + 0.04 - s.fy, 0.10)
    longer = oval(s.sx, s.sy - 0.1, s["head_width"] * 0.97, s["chin_y"] - 0.06, s["jaw_square"])
    under = torch.maximum(s.head, s.inside(longer) * s.inside(0.3 - s.sy, 0.1))
    lip = s.band(y + 0.5 * s["mouth_gap"] - 0.9 * x**2, 0.036)
    lip = lip * s.inside(x.abs() - s["mouth_width"] * 1.05, 0.05)
    chin = s.inside(oval(x, y - 0.14, s["mouth_width"] * 0.72, 0.13, 2.6), 0.04)
    colour = s["hair"] * 0.80
    strands = torch.sin(83 * x + 4 * torch.sin(17 * y)) * torch.sin(23 * y + 5 * torch.sin(19 * x))
    texture = 1 + 0.08 * strands * smooth(1.4 - 14 * s.pixel)
    whole = torch.maximum(jaw, lip)
    s.paint(0.95 * s["is_full"] * torch.maximum(under * jaw, s.head * lip), colour * texture)
    s.paint(0.30 * s["is_stubble"] * s.head * whole, colour)
    s.paint(0.95 * (s["is_moustache"] + s["is_goatee"]) * s.head * lip, colour * texture)
    s.paint(0.95 * s["is_goatee"] * under * chin, colour * texture)
