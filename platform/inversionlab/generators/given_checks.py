"""Checks of a part of the user's generator: finite floats, their range, and their gradient."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inversionlab.core.seeds import torch_stream
from inversionlab.core.settings import ConfigError
from inversionlab.core.user_code import blamed_on

MARGIN = 0.05
"""How far outside its range a pixel may lie, in widths of the range."""
MOST_OUTSIDE = 0.1
"""Share of the pixels that may lie further outside; StyleGANs have no last activation that would bound them."""
RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0)}
"""Least and greatest value of a pixel, by the name of the range."""


def tried(
    part: Callable[[Tensor], Any], x_N: Tensor, where: str, what: str, *, finite: bool
) -> Tensor:
    """What a part makes of a batch `what`, without a gradient.

    Raises:
        ConfigError: it fails, or does not return floats, or not finite ones where these are asked for; the text
            begins with `where`.
    """
    with blamed_on(f"{where}: fails on {what}"), torch.no_grad():
        output_N = part(x_N)
    if not isinstance(output_N, Tensor) or not output_N.is_floating_point():
        got = getattr(output_N, "dtype", type(output_N).__name__)
        raise ConfigError(f"{where}: must return floats for {what}, but returned {got}")
    if finite and not bool(output_N.isfinite().all()):
        raise ConfigError(f"{where}: returns numbers that are not finite for {what}")
    return output_N


def check_range(raw_NCHW: Tensor, named: str, path: str) -> None:
    """Check that pictures of the class at `path` have the range that is `named`.

    Raises:
        ConfigError: they have another; the text says which.
    """
    least, most = float(raw_NCHW.min()), float(raw_NCHW.max())
    seen = f"range = {named}: the pixels of {path} go from {least:.3g} to {most:.3g}"
    if named == "-1..1" and least >= 0 and most <= 1:
        # Pictures of which no pixel is darker than middle gray.
        raise ConfigError(f"{seen}; set `range: 0..1`")
    if _outside(raw_NCHW, named) <= MOST_OUTSIDE:
        return
    for other in RANGES:
        if _outside(raw_NCHW, other) <= MOST_OUTSIDE:
            raise ConfigError(f"{seen}; set `range: {other}`")
    raise ConfigError(f"{seen}; bring them to one of {' or '.join(RANGES)} in the class")


def _outside(raw_NCHW: Tensor, named: str) -> float:
    """The share of pixels that lie outside a range by more than the margin."""
    low, high = RANGES[named]
    margin = MARGIN * (high - low)
    outside = (raw_NCHW < low - margin) | (raw_NCHW > high + margin)
    return float(outside.float().mean())


def check_gradient(where: str, part: Callable[[Tensor], Tensor], x_N: Tensor, course: str) -> None:
    """Check that the output of a part of the user's module has a gradient in its input.

    Raises:
        ConfigError: it has none, or one that is 0 or not finite; the text begins with `where`.
    """
    broken = f"{where}: breaks the gradient {course}, which attacks need; leave out detach, no_grad, argmax, NumPy"
    with blamed_on(broken), torch.enable_grad():
        input_N = x_N.detach().clone().requires_grad_(True)
        output_N = part(input_N)
        # Without a gradient at all, autograd itself would raise.
        if not output_N.requires_grad:
            raise ConfigError(broken)
        rng = torch_stream(0, "gradient")
        total = (output_N.float() * torch.randn(output_N.shape, generator=rng)).sum()
        (slope_N,) = torch.autograd.grad(total, input_N, allow_unused=True)
    if slope_N is None or not bool(slope_N.isfinite().all() and slope_N.any()):
        raise ConfigError(broken)
