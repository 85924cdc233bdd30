"""The course of a training: the losses of its epochs, as the card of the network keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeGuard

MOST = 500
"""Epochs that are kept; of a longer training every second one is, or every third, and so on."""


@dataclass
class Curve:
    """Losses by epoch."""

    epochs: int
    """Those of the whole training."""
    points: dict[str, list[float | None]]
    """The epochs that are kept, under `epoch`, and their losses, by name; None in epochs without this loss."""

    @classmethod
    def resumed(cls, state: Mapping[str, Any] | None, epochs: int) -> Self:
        """The curve of a checkpoint, or an empty one. Checkpoints of earlier versions hold none."""
        kept = state.get("curve") if state is not None else None
        return cls(epochs, {k: [*v] for k, v in kept.items()} if _is_curve(kept) else {})

    def add(self, epoch: int, losses: Mapping[str, float]) -> None:
        """Note the mean losses of an epoch, counted from 1."""
        every = -(-self.epochs // MOST)
        if epoch % every and epoch != self.epochs:
            return
        before = len(self.points.get("epoch", []))
        now = {"epoch": float(epoch), **losses}
        for name in {**self.points, **now}:
            self.points.setdefault(name, [None] * before).append(now.get(name))


def _is_curve(kept: object) -> TypeGuard[Mapping[str, list[float | None]]]:
    """Whether something read from a checkpoint is a curve's points."""
    if not isinstance(kept, Mapping) or "epoch" not in kept:
        return False
    columns = [*kept.values()]
    return all(
        isinstance(column, list)
        and len(column) == len(kept["epoch"])
        and all(isinstance(value, int | float | None) for value in column)
        for column in columns
    )
