"""Builds untrained networks to see whether settings fit: large ones without numbers, in moments and no memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from inversionlab.data.memory import memory_at_hand

LARGE = 2**26
"""Bytes of weights from which a network is built without numbers. PyTorch needs seconds to get ready for that."""
FACTORIES = (torch.empty, torch.zeros, torch.ones)
"""What makes the tensors of all layers."""
FEW = 512
"""Numbers that are drawn of a weight that has at least their square."""
DRAWS = {
    *(torch.Tensor.uniform_, torch.Tensor.normal_, nn.init.uniform_, nn.init.normal_),
    *(nn.init.kaiming_uniform_, nn.init.kaiming_normal_, nn.init.xavier_uniform_),
    *(nn.init.xavier_normal_, nn.init.trunc_normal_),
}
"""What fills them with random numbers, which takes most of the time and which nobody looks at here."""


def untrained(build: Callable[[], nn.Module]) -> nn.Module:
    """The network that `build` makes; a large one is on PyTorch's device `meta`.

    What `build` makes under a device of its own is real in any case, and not counted.

    Raises:
        ValueError: its weights do not fit into the memory.
    """
    try:
        with WithoutDraws(), _UpTo(LARGE):
            return build()
    except _IsLargeError:
        with torch.device("meta"):
            module = build()
    size = sum(p.numel() * p.element_size() for p in module.parameters())
    room = memory_at_hand()
    if room is not None and size > room:
        raise ValueError(
            f"its weights alone take {size / 1e9:,.1f} GB, but only {room / 1e9:,.1f} GB of memory are free here; "
            "make the network smaller"
        )
    return module


class WithoutDraws(TorchFunctionMode):
    """In its block, of large weights only a few numbers are drawn, and repeated; they are finite and not zero."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Draw small weights as ever."""
        named = kwargs or {}
        weight = args[0] if args else named.get("tensor")
        if func not in DRAWS or not isinstance(weight, torch.Tensor) or weight.numel() < FEW**2:
            return func(*args, **named)
        # A user's network is asked about a picture when it is built, and must give numbers.
        scale = (len(weight) / weight.numel()) ** 0.5
        with torch.no_grad():
            few = torch.empty(FEW, device=weight.device).uniform_(-scale, scale)
            whole = weight.numel() // FEW * FEW
            weight.view(-1)[:whole].view(-1, FEW).copy_(few)
            weight.view(-1)[whole:].copy_(few[: weight.numel() - whole])
        return weight


class _IsLargeError(Exception):
    """More is asked for than `_UpTo` allows."""


class _UpTo(TorchFunctionMode):
    """In its block tensors are made up to a number of bytes in all."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._left = most

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count what PyTorch is asked to make."""
        named = kwargs or {}
        if func in FACTORIES and named.get("device") is None:
            self._left -= func(*args, **{**named, "device": "meta"}).nbytes
            if self._left < 0:
                raise _IsLargeError
        return func(*args, **named)
