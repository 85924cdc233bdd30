"""Paints procedural faces from back to front, one function for each larger layer."""

from collections.abc import Mapping

import torch
from torch import Tensor

from inversionlab.data.procedural_scene import Scene, bump, oval, set_scene, smooth


def paint(traits: Mapping[str, Tensor], size: int) -> Tensor:
    """RGB pictures (N, 3, size, size) in [0, 1]; `traits` as in `Scene.traits`."""
    s = set_scene(traits, size)
    turn = s["ground_turn"]
    across = 0.5 + 0.35 * (s.sx * torch.cos(turn) + s.sy * torch.sin(turn))
    s.canvas.copy_(s["ground_a"] + (s["ground_b"] - s["ground_a"]) * across)
    s.canvas.mul_(1.08 - 0.14 * (s.sx**2 + s.sy**2))
    _back_hair(s)
    _body(s)
    _skin(s)
    _eyes(s)
    _nose(s)
    _beard(s)
    _mouth(s)
    _front_hair(s)
    _glasses(s)
    warm = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    s.canvas.mul_((1 + s["exposure"]).clamp(0.6, 1.4) * (1 + warm * s["warmth"]))
    return s.canvas.clamp_(0, 1)


def _back_hair(s: Scene) -> None:
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


def _body(s: Scene) -> None:
    """Neck, shoulders and ears."""
    neck = s.inside(s.sx.abs() - s["neck"] * (1 + 0.5 * (s.sy - 0.75).clamp(min=0)))
    neck = neck * s.inside(0.2 - s.sy)
    s.paint(neck, s["skin"] * (0.80 - 0.30 * bump(s.sx, s.sy - s["chin_y"], 0.35, 0.14)))
    shoulders = s.inside(oval(s.sx, s.sy - 1.48, 1.05, 0.72, 2.6))
    shoulders = shoulders * s.inside(-oval(s.sx, s.sy - 0.74, s["neck"] * 1.05, 0.14))
    s.paint(shoulders, s["clothes"] * (0.95 - 0.25 * s.sx.abs()))
    x = s.sx + 0.16 * torch.sin(s["yaw"])
    y = s.sy - s["eye_y"] - 0.10
    near = x.abs() - s["head_width"] + 0.01
    s.paint(s.inside(oval(near, y, s["ear"], 0.13)), s["skin"] * 0.88)
    s.paint(0.6 * s.inside(oval(near - 0.01, y, s["ear"] * 0.5, 0.075), 0.03), s["skin"] * 0.62)


def _skin(s: Scene) -> None:
    """The head's skin: light on the ball, eye sockets, cheeks, lines of age, spots."""
    nx, ny, nz = s.normal
    light = 0.64 + 0.42 * nz + 0.34 * (s["light_x"] * nx + (s["light_y"] - 0.35) * ny)
    eye_dx, eye_dy = s.fx.abs() - s["eye_x"], s.fy - s["eye_y"]
    sockets = bump(eye_dx, eye_dy + 0.035, 0.13, 0.075)
    under = bump(eye_dx, eye_dy - 0.085, 0.10, 0.03) * (0.25 + 0.75 * s["age"])
    cheeks = bump(s.fx.abs() - 0.25, s.fy - 0.22, 0.12, 0.10)
    lower = bump(s.fx, s.fy - s["nose_y"] - s["mouth_gap"] - 0.115, 0.12, 0.035)
    lines = s.band(s.fy + 0.37 - 0.1 * s.fx**2, 0.005) + s.band(s.fy + 0.30 - 0.1 * s.fx**2, 0.005)
    forehead = lines * smooth(1.6 - s.fx.abs() / 0.18)
    # From the nose to the corners of the mouth.
    down = (s.fy - s["nose_y"] + 0.02) / (s["mouth_gap"] + 0.06)
    fold_x = s["nose_width"] + 0.02 + (s["mouth_width"] - s["nose_width"] + 0.02) * down.clamp(0, 1)
    fold = s.band(s.fx.abs() - fold_x, 0.010) * smooth(down * 4) * smooth((1 - down) * 4)
    folds = s["age"] * forehead + (0.15 + 0.85 * s["age"]) * fold
    relief = light - 0.13 * sockets - 0.13 * under + 0.06 * cheeks - 0.08 * lower
    relief = relief + 0.05 * bump(s.fx, s.fy + 0.36, 0.25, 0.12) - 0.16 * folds
    tone = s["skin"] * relief.clamp(0.25, 1.25)
    blush = torch.tensor([0.06, -0.10, -0.08]).view(1, 3, 1, 1)
    tone = tone + blush * (s["cheek_blush"] * cheeks)
    s.paint(s.head, tone)
    mole = s.inside(oval(s.fx - s["mole_x"], s.fy - s["mole_y"], 0.018, 0.018))
    s.feature(0.9 * s["has_mole"] * mole, s["skin"] * 0.30)
    for spot in s["freckles"].view(len(s.canvas), -1, 2, 1, 1, 1).unbind(1):
        if bool((spot < 5).any()):
            freckle = bump(s.fx - spot[:, 0], s.fy - spot[:, 1], 0.014, 0.014)
            s.feature(0.38 * freckle, s["skin"] * 0.55)


def _eyes(s: Scene) -> None:
    """Eyes and brows."""
    side = torch.sign(s.fx)
    x, y = s.fx.abs() - s["eye_x"], s.fy - s["eye_y"]
    y = y + s["eye_slant"] * x
    opening = (1 + s["eye_open"] - 0.10 * s["smile"].clamp(min=0)).clamp(0.3, 1.5) * s["eye_height"]
    arch = (1 - (x / s["eye_width"]) ** 2).clamp(min=-1)
    upper, lower = y + opening * arch, y - 0.62 * opening * arch
    eye = s.inside(torch.maximum(-upper, lower))
    white = torch.tensor([0.96, 0.95, 0.94]).view(1, 3, 1, 1)
    s.feature(eye, white - 0.18 * s.inside(upper - 0.03, 0.04))
    ix = x - side * 0.045 * s["gaze_x"]
    iy = y + 0.006 - 0.04 * s["gaze_y"]
    iris = oval(ix, iy, s["iris"], s["iris"])
    s.feature(eye * s.inside(iris), s["iris_colour"] * 0.55)
    s.feature(eye * s.inside(iris + 0.012), s["iris_colour"] * (1.1 + 6 * iy))
    s.feature(eye * s.inside(iris + 0.55 * s["iris"]), torch.zeros(1))
    glint = oval(ix - side * 0.015, iy + 0.016, 0.010, 0.010)
    s.feature(0.9 * eye * s.inside(glint), torch.ones(1))
    along = smooth(3 * arch + 0.6)
    lid = s.band(upper, 0.007 + 0.009 * s["lashes"]) * along
    s.feature(0.9 * lid, s["skin"] * 0.12)
    s.feature(0.35 * s.band(lower, 0.005) * along, s["skin"] * 0.35)
    s.feature(0.40 * s.band(upper + 0.035, 0.006) * along, s["skin"] * 0.45)
    x = (s.fx.abs() - s["eye_x"] - 0.005) / s["brow_length"]
    y = s.fy - s["eye_y"] + s["brow_gap"] + 0.022 * s["brow_raise"]
    y = y + s["brow_arch"] * (1 - x * x) - s["brow_tilt"] * 0.12 * x
    thick = s["brow_thick"] * (1 - 0.45 * x.clamp(-1, 1))
    brow = s.band(y, thick) * s.inside((x.abs() - 1) * s["brow_length"], 0.03)
    s.feature(0.88 * brow, s["hair"] * 0.62 + s["skin"] * 0.05)


def _nose(s: Scene) -> None:
    """Bridge, tip and nostrils, mostly by light and shade."""
    tip, width = s["nose_y"], s["nose_width"]
    down = ((s.fy - s["eye_y"] + 0.05) / (tip - s["eye_y"] + 0.05)).clamp(0, 1)
    half = s["nose_bridge"] + (0.62 * width - s["nose_bridge"]) * down**2
    along = smooth(down * 5) * s.inside(s.fy - tip, 0.06)
    lit = 1 + 0.5 * torch.sign(s.fx) * s["light_x"].clamp(-1, 1)
    flank = bump(s.fx.abs() - half - 0.012, torch.zeros(1), 0.028, 1.0)
    s.shade(-0.20 * (flank * along * (1.6 - lit).clamp(0.2, 1.6)))
    s.shade(0.10 * bump(s.fx, torch.zeros(1), 0.020, 1.0) * along)
    s.shade(0.13 * bump(s.fx, s.fy - tip + 0.035, 0.03, 0.03))
    wing = s.band(oval(s.fx.abs() - 0.72 * width, s.fy - tip + 0.012, 0.30 * width, 0.040), 0.007)
    outer = smooth((s.fx.abs() - 0.70 * width) / 0.02) * s.inside(tip - 0.045 - s.fy, 0.02)
    s.feature(0.45 * wing * outer, s["skin"] * 0.40)
    s.shade(-0.26 * bump(s.fx, s.fy - tip - 0.038, width * 0.95, 0.022))
    nostril = oval(s.fx.abs() - 0.45 * width, s.fy - tip - 0.016, 0.25 * width, 0.014)
    s.feature(0.85 * s.inside(nostril, 0.015), s["skin"] * 0.22)


def _beard(s: Scene) -> None:
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


def _mouth(s: Scene) -> None:
    smile = (0.35 + s["smile"]).clamp(-0.6, 1.2)
    width = s["mouth_width"] * (1 + 0.16 * smile.clamp(min=0))
    t = s.fx / width
    arch = (1 - t * t).clamp(min=-1)
    y = s.fy - s["nose_y"] - s["mouth_gap"] + 0.055 * smile * (t * t - 0.35)
    gap = 0.055 * s["open_mouth"].clamp(min=0) * arch
    bow = s["lip_bow"] * (1 - 2 * bump(t, torch.zeros(1), 0.22, 1.0)).clamp(min=-1)
    top = y + (s["lip_upper"] * 1.1) * arch + bow * arch + gap
    bottom = y - s["lip_lower"] * 1.1 * arch - gap
    lips = s.inside(torch.maximum(-top, bottom))
    red = torch.tensor([0.74, 0.26, 0.27]).view(1, 3, 1, 1)
    mix = 0.28 + 0.42 * s["lip_colour"]
    colour = (s["skin"] * 0.82) * (1 - mix) + red * (0.35 + 0.65 * s["skin"][:, :1]) * mix
    s.feature(lips, colour * (0.93 + 2.4 * y.clamp(-0.05, 0.05)))
    s.shade(0.16 * bump(t, y - gap - 0.6 * s["lip_lower"], 0.45, 0.012) * lips)
    inner = s.inside(y.abs() - gap) * smooth(gap / 0.01)
    s.feature(inner, torch.tensor([0.30, 0.09, 0.09]).view(1, 3, 1, 1))
    teeth = inner * s.inside(y + gap * 0.1)
    s.feature(teeth, torch.tensor([0.95, 0.94, 0.90]).view(1, 3, 1, 1))
    closed = 0.75 * s.band(y, 0.005) * smooth(1 - gap / 0.01) * smooth(arch * 6 + 0.5)
    s.feature(closed, s["skin"] * 0.25)
    corner = bump(s.fx.abs() - width, y + 0.02 * smile, 0.022, 0.016)
    s.shade(-0.30 * corner)


def _front_hair(s: Scene) -> None:
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


def _glasses(s: Scene) -> None:
    """Two rims, a bridge and temples; the lenses lighten what is behind them a little."""
    half = s["glasses_size"]
    x, y = s.fx.abs() - s["eye_x"] - 0.015, s.fy - s["eye_y"] - 0.015
    rim = oval(x, y, half, half * 0.78, s["glasses_round"])
    s.paint(0.13 * s["has_glasses"] * s.inside(rim), torch.ones(1))
    inner = (half - s["eye_x"] - 0.015).abs()
    bridge = s.band(y + 0.03, 0.010) * s.inside(s.fx.abs() - inner)
    temple = s.band(y + 0.035, 0.010) * s.inside(s["eye_x"] + half - s.fx.abs())
    temple = temple * s.inside(s.outline - 0.02)
    frame = torch.maximum(s.band(rim, 0.013), torch.maximum(bridge, temple))
    s.paint(s["has_glasses"] * frame, s["frame"])


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
