"""What pictures a given model takes, where it fails on those that its settings say."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from inversionlab.core.settings import ConfigError
from inversionlab.given.preprocessing import Preprocessing
from inversionlab.given.raw_model import RawModel
from inversionlab.given.settings import PreprocessingSettings

SIZES = (112, 160, 224, 128, 96, 64, 32, 299, 256, (112, 96))
"""Sizes that recognizers take, the most usual first."""


def input_advice(raw: RawModel, given: PreprocessingSettings, x_NCHW: Tensor) -> str:
    """`; it takes ...` with what to write, if the model fails on these pictures and not on others; else empty.

    Args:
        raw: the model.
        given: the preprocessing that the recipe says.
        x_NCHW: pictures (N, C, S, S) in [0, 1].
    """
    if _runs(raw, given, x_NCHW):
        return ""
    for changes in _others(given, x_NCHW.shape[1]):
        if _runs(raw, given.model_copy(update=changes), x_NCHW):
            said = ", ".join(f"{key}: {_plain(value)}" for key, value in changes.items())
            typed = " ".join(
                f"--set 'victim.preprocessing.{k}={_plain(v)}'" for k, v in changes.items()
            )
            return f"; it takes pictures with preprocessing.{said}: write that, or add {typed}"
    return ""


def _others(given: PreprocessingSettings, channels: int) -> Iterator[dict[str, Any]]:
    """Changes to try, one key first."""
    taken = 1 if given.colors == "gray" or (given.colors == "auto" and channels == 1) else 3
    colors: dict[str, Any] = {"colors": "rgb" if taken == 1 else "gray"}
    layout: dict[str, Any] = {"layout": "nchw" if given.layout == "nhwc" else "nhwc"}
    sizes: list[dict[str, Any]] = [
        {"size": size} for size in SIZES if size != given.size and given.points is None
    ]
    yield from (colors, layout, *sizes, {**colors, **layout})
    yield from ({**size, **other} for other in (colors, layout) for size in sizes)


@torch.no_grad()
def _runs(raw: RawModel, settings: PreprocessingSettings, x_NCHW: Tensor) -> bool:
    try:
        raw(Preprocessing(settings, x_NCHW.shape[1]).to(x_NCHW.device)(x_NCHW))
    except ConfigError:
        return False
    return True


def _plain(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
