"""Code of a user's own, good and bad, that tests name by its import path."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from tests.given.outside_model import OutsideNet

CALLS: list[Tensor] = []
"""What `predict` was sent."""
AN_INSTANCE = nn.Linear(2, 2)


class LoadsItself(OutsideNet):
    def __init__(self, file: str, head: bool = True) -> None:
        super().__init__()
        state = safetensors.torch.load_file(file)
        self.load_state_dict({k: v for k, v in state.items() if head or "head" not in k}, False)


class Fails(nn.Module):
    def __init__(self) -> None:
        raise ValueError("no such thing")


class Exits(nn.Module):
    def __init__(self) -> None:
        sys.exit(3)


class NoModule:
    pass


def factory(file: Path | str = "") -> nn.Module:
    return LoadsItself(str(file))


def returns_nothing() -> None:
    return None


def predict(x: Tensor) -> Any:
    CALLS.append(x)
    return x.flatten(1)[:, :4].numpy()


def predict_list(x: Tensor) -> Any:
    return x.flatten(1)[:, :4].tolist()


def predict_rows(x: Tensor) -> Any:
    return [row.flatten()[:4] for row in x]


def predict_and_fail(x: Tensor) -> Any:
    raise KeyError("gallery")
