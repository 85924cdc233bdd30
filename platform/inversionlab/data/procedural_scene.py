"""The pixel grid, the head's pose, and the shapes that procedural faces are painted with.

All tensors are (N, C, H, W) or broadcast to it. A shape is a coverage in [0, 1]: a smoothstep, one pixel wide,
of the signed distance to its outline. Edges therefore have no steps, and a picture is nearly the same at every
size.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scene:
    """N half-painted pictures."""

    canvas: Tensor
    """(N, 3, H, W), painted in place."""
    sx: Tensor
    """(N, 1, H, W): coordinates on the flat picture in face units, after roll, shift and zoom."""
    sy: Tensor
    fx: Tensor
    """(N, 1, H, W): coordinates on the face, which follow the head's yaw and pitch."""
    fy: Tensor
    pixel: Tensor
    """(N, 1, 1, 1): the side of a pixel in face units."""
    normal: tuple[Tensor, Tensor, Tensor]
    """The normal of the head's surface seen from the camera, each part (N, 1, H, W)."""
    outline: Tensor
    """(N, 1, H, W): signed distance to the head's outline."""
    head: Tensor
    """(N, 1, H, W): coverage of the head without ears and hair."""
    traits: Mapping[str, Tensor]
    """(N, 1, 1, 1) numbers and (N, 3, 1, 1) colours."""

    def __getitem__(self, trait: str) -> Tensor:
        return self.traits[trait]

    def paint(self, cover: Tensor, colour: Tensor) -> None:
        """Blend `colour` over the canvas by `cover`."""
        self.canvas.lerp_(colour.expand_as(self.canvas), cover.expand_as(self.canvas))

    def feature(self, cover: Tensor, colour: Tensor) -> None:
        """Like `paint`, but only on the head: the far side of a turned face is out of sight."""
        self.paint(cover * self.head, colour)

    def shade(self, change: Tensor) -> None:
        """Make the head lighter (`change` > 0) or darker (< 0), relative to its colour."""
        self.canvas.mul_(1 + change * self.head)

    def inside(self, distance: Tensor, blur: float = 0.0) -> Tensor:
        """Coverage of the area where `distance` is negative; the edge is a pixel or `blur` wide."""
        return _inside(distance, self.pixel, blur)

    def band(self, distance: Tensor, half: Tensor | float) -> Tensor:
        """Coverage of a line of half-width `half` along distance 0; a line below a pixel is fainter."""
        width = 1.4 * self.pixel
        return smooth(0.5 + (half - distance) / width) - smooth(0.5 - (half + distance) / width)


def _inside(distance: Tensor, pixel: Tensor, blur: float = 0.0) -> Tensor:
    return smooth(0.5 - distance / (1.4 * pixel).clamp(min=blur))


def smooth(t: Tensor) -> Tensor:
    """Smoothstep from 0 at t = 0 to 1 at t = 1."""
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Tensor, y: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """A soft spot: 1 in the middle, with a Gaussian fall-off."""
    square = (x / width) ** 2 + (y / height) ** 2
    return torch.exp(-square.clamp(max=40))  # Subnormal numbers are very slow.


def oval(
    x: Tensor, y: Tensor, width: Tensor | float, height: Tensor | float, power: Tensor | float = 2.0
) -> Tensor:
    """Approximate signed distance to |x/width|^power + |y/height|^power = 1 (2: an ellipse)."""
    u, v = (x / width).abs() + 1e-4, (y / height).abs() + 1e-4
    if isinstance(power, float) and power == 2.0:
        value = u * u + v * v
        slope = 2 * ((u / width) ** 2 + (v / height) ** 2).sqrt()
        radius = value.sqrt()
        return (radius - 1) * 2 * radius / slope
    up, vp = u**power, v**power
    radius = (up + vp) ** (1 / power)
    slope = ((up / u / width) ** 2 + (vp / v / height) ** 2).sqrt()
    return (radius - 1) * (up + vp) / radius / slope


def set_scene(traits: Mapping[str, Tensor], size: int) -> Scene:
    """An empty scene: the grid rolled, shifted and scaled, and wrapped around the turned head."""
    count = len(traits["yaw"])
    step = 2 / size
    line = torch.arange(size, dtype=torch.float32) * step + step / 2 - 1
    u, v = line.view(1, 1, 1, size), line.view(1, 1, size, 1)
    scale = (1 + traits["zoom"]).clamp(min=0.7) * 1.10
    cos, sin = torch.cos(traits["roll"]), torch.sin(traits["roll"])
    u, v = (u - traits["shift_x"]) / scale, (v - traits["shift_y"] - 0.04) / scale
    sx, sy = cos * u + sin * v, cos * v - sin * u
    x, y = sx / 0.66, sy / 0.85
    depth = (1 - 0.75 * (x * x + y * y)).clamp(min=0.06).sqrt()
    yaw, pitch = traits["yaw"].clamp(-0.6, 0.6), traits["pitch"].clamp(-0.35, 0.35)
    turned = x * torch.sin(yaw) + depth * torch.cos(yaw)
    fx = 0.66 * (x * torch.cos(yaw) - depth * torch.sin(yaw))
    fy = 0.85 * (y * torch.cos(pitch) - turned * torch.sin(pitch))
    length = (x * x + y * y + depth * depth).sqrt()
    normal = (x / length, y / length, depth / length)
    canvas = torch.empty(count, 3, size, size)
    # The outline: a round skull above, the jaw below.
    head_x, width = sx + 0.06 * torch.sin(traits["yaw"]), traits["head_width"]
    skull = oval(head_x, sy, width, 0.66, 2.2)
    jaw = oval(head_x, sy, width, traits["chin_y"], traits["jaw_square"])
    outline = torch.where(sy < 0, skull, jaw)
    pixel = step / scale
    head = _inside(outline, pixel)
    return Scene(canvas, sx, sy, fx, fy, pixel, normal, outline, head, traits)
