"""Random changes of a recognizer's training pictures, on a whole batch at once.

One affine resampling does flip, shift, zoom and rotation together; brightness, contrast and an erased rectangle
follow. Inputs and outputs: (N, C, H, W) in [0, 1]. Every picture has random numbers of its own, drawn on the CPU.
"""

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.core.settings import Settings


class AugmentSettings(Settings):
    """How strongly the training pictures are changed; 0 turns a change off."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a mirror image."""
    shift: float = Field(default=0.06, ge=0, le=0.5)
    """Largest shift along each axis, as a share of the side."""
    zoom: float = Field(default=0.1, ge=0, le=0.9)
    """Largest change of size: the factor lies in [1 - zoom, 1 + zoom]."""
    rotation: float = Field(default=8.0, ge=0, le=180)
    """Largest rotation, in degrees either way."""
    brightness: float = Field(default=0.15, ge=0, le=1)
    """Largest amount added to or subtracted from every pixel."""
    contrast: float = Field(default=0.2, ge=0, lt=1)
    """Largest relative change of the distance from the picture's mean."""
    erase: float = Field(default=0.3, ge=0, le=1)
    """Probability that a rectangle is replaced by the picture's mean."""
    erase_side: float = Field(default=0.4, gt=0, le=1)
    """Longest side of that rectangle, as a share of the picture's."""


def augment(x_NCHW: Tensor, settings: AugmentSettings, rng: torch.Generator) -> Tensor:
    """Changed copies of pictures (N, C, H, W) in [0, 1]; `rng` is a generator on the CPU."""
    # All numbers are drawn at once, so turning one change off leaves the others' numbers as they are.
    u_AN = torch.rand(12, len(x_NCHW), generator=rng).to(x_NCHW.device)
    s_AN = 2 * u_AN - 1
    x_NCHW = _resample(x_NCHW, u_AN[0], s_AN[1:5], settings)
    x_NCHW = _light(x_NCHW, s_AN[5:7], settings)
    return _erase(x_NCHW, u_AN[7:12], settings)


def _resample(x_NCHW: Tensor, flip_N: Tensor, s_4N: Tensor, settings: AugmentSettings) -> Tensor:
    if settings.flip == settings.shift == settings.zoom == settings.rotation == 0:
        return x_NCHW
    angle_N = s_4N[0] * math.radians(settings.rotation)
    size_N = 1 + s_4N[1] * settings.zoom
    mirror_N = torch.where(flip_N < settings.flip, -1.0, 1.0)
    cos_N, sin_N = angle_N.cos() / size_N, angle_N.sin() / size_N
    # grid_sample's coordinates run from -1 to 1, so a shift by the whole side is 2.
    row_x = torch.stack([cos_N * mirror_N, -sin_N, 2 * settings.shift * s_4N[2]], dim=1)
    row_y = torch.stack([sin_N * mirror_N, cos_N, 2 * settings.shift * s_4N[3]], dim=1)
    affine_N23 = torch.stack([row_x, row_y], dim=1)
    grid_NHW2 = functional.affine_grid(affine_N23, list(x_NCHW.shape), align_corners=False)
    return functional.grid_sample(x_NCHW, grid_NHW2, padding_mode="border", align_corners=False)


def _light(x_NCHW: Tensor, s_2N: Tensor, settings: AugmentSettings) -> Tensor:
    if settings.brightness == settings.contrast == 0:
        return x_NCHW
    factor_N111 = (1 + settings.contrast * s_2N[0])[:, None, None, None]
    added_N111 = (settings.brightness * s_2N[1])[:, None, None, None]
    mean_N111 = x_NCHW.mean(dim=(1, 2, 3), keepdim=True)
    return ((x_NCHW - mean_N111) * factor_N111 + mean_N111 + added_N111).clamp(0, 1)


def _erase(x_NCHW: Tensor, u_5N: Tensor, settings: AugmentSettings) -> Tensor:
    if settings.erase == 0:
        return x_NCHW
    height, width = x_NCHW.shape[2:]
    inside_NHW = _span(u_5N[1], u_5N[2], height, settings.erase_side)[:, :, None]
    inside_NHW = inside_NHW & _span(u_5N[3], u_5N[4], width, settings.erase_side)[:, None, :]
    inside_NHW = inside_NHW & (u_5N[0] < settings.erase)[:, None, None]
    mean_N111 = x_NCHW.mean(dim=(1, 2, 3), keepdim=True)
    return torch.where(inside_NHW[:, None], mean_N111, x_NCHW)


def _span(length_N: Tensor, centre_N: Tensor, size: int, longest: float) -> Tensor:
    """Which of `size` places lie in a span of up to `longest` of the side: bool (N, size)."""
    place = (torch.arange(size, device=length_N.device) + 0.5) / size
    # A span is at least a quarter of the longest: shorter ones would hide nothing of a face.
    half_N1 = (longest * (0.25 + 0.75 * length_N) / 2)[:, None]
    return (place - centre_N[:, None]).abs() < half_N1
