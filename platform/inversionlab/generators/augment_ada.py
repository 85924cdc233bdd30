"""Differentiable augmentation for a discriminator, each kind applied with probability p.

Paper: Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020 (section 2.2, appendix B).
Every kind leaves a picture unchanged with probability 1 - p, so for p < 1 the augmented distributions of real and
generated pictures agree only where the plain ones do (the changes do not leak).
Inputs: pictures (N, C, H, W) in [0, 1]. Outputs may leave [0, 1]: a clamp would cut the gradient.
Random numbers are drawn on the CPU, separately for each picture.
Deviations: one resampling for all geometry; rotations within 45 degrees; no filtering and no noise.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def augment_ada(x_NCHW: Tensor, p: float, rng: torch.Generator) -> Tensor:
    """Augmented pictures (N, C, H, W); each kind of change has probability `p` in [0, 1]."""
    if p <= 0:
        return x_NCHW
    count = len(x_NCHW)
    on_AN = torch.rand(9, count, generator=rng) < p
    u_AN = torch.rand(8, count, generator=rng) * 2 - 1
    normal_AN = torch.randn(6, count, generator=rng)
    affine_N23 = _affine(on_AN, u_AN, normal_AN, x_NCHW.shape[-1]).to(x_NCHW.device)
    grid_NHW2 = functional.affine_grid(affine_N23, list(x_NCHW.shape), align_corners=False)
    x_NCHW = functional.grid_sample(
        x_NCHW, grid_NHW2, padding_mode="reflection", align_corners=False
    )
    device = x_NCHW.device
    x_NCHW = _colour(x_NCHW, on_AN[5:8].to(device), u_AN[6].to(device), normal_AN[4:].to(device))
    return _cut(x_NCHW, on_AN[8].to(device), torch.rand(2, count, generator=rng).to(device))


def _affine(on_AN: Tensor, u_AN: Tensor, normal_AN: Tensor, side: int) -> Tensor:
    """Matrices (N, 2, 3): mirror, whole-pixel shift, zoom, rotation, fractional shift."""
    flip_N = torch.where(on_AN[0] & (u_AN[0] < 0), -1.0, 1.0)
    # Coordinates run from -1 to 1: a pixel is 2 / side.
    whole_2N = (u_AN[1:3] * 0.125 * side).round() * 2 / side * on_AN[1]
    zoom_N = torch.exp2(normal_AN[0] * 0.2 * on_AN[2])
    angle_N = u_AN[3] * math.radians(45) * on_AN[3]
    part_2N = normal_AN[1:3] * 0.125 * on_AN[4]
    cos_N, sin_N = angle_N.cos() * zoom_N, angle_N.sin() * zoom_N
    shift_2N = whole_2N + part_2N
    row_x = torch.stack([cos_N * flip_N, -sin_N, shift_2N[0]], dim=1)
    row_y = torch.stack([sin_N * flip_N, cos_N, shift_2N[1]], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def _colour(x_NCHW: Tensor, on_3N: Tensor, u_N: Tensor, normal_2N: Tensor) -> Tensor:
    """Brightness, contrast and saturation."""
    brightness_N = u_N * 0.2 * on_3N[0]
    contrast_N = torch.exp2(normal_2N[0] * 0.5 * on_3N[1])
    saturation_N = torch.exp2(normal_2N[1] * on_3N[2])
    brightness_N111, contrast_N111, saturation_N111 = (
        v_N[:, None, None, None] for v_N in (brightness_N, contrast_N, saturation_N)
    )
    mean_N111 = x_NCHW.mean(dim=(1, 2, 3), keepdim=True)
    x_NCHW = (x_NCHW - mean_N111) * contrast_N111 + mean_N111 + brightness_N111
    if x_NCHW.shape[1] == 1:
        return x_NCHW
    gray_N1HW = x_NCHW.mean(dim=1, keepdim=True)
    return (x_NCHW - gray_N1HW) * saturation_N111 + gray_N1HW


def _cut(x_NCHW: Tensor, on_N: Tensor, centre_2N: Tensor) -> Tensor:
    """A square of half the side, anywhere, turned to mid-gray."""
    side = x_NCHW.shape[-1]
    place = (torch.arange(side, device=x_NCHW.device) + 0.5) / side
    inside_2NS = (place - centre_2N[:, :, None]).abs() < 0.25
    hole_NHW = inside_2NS[0, :, :, None] & inside_2NS[1, :, None, :] & on_N[:, None, None]
    return torch.where(hole_NHW[:, None], torch.full_like(x_NCHW, 0.5), x_NCHW)
