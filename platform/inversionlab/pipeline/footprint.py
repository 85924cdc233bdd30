"""The footprint of a released model: its networks, their parameters, and the memory of an answer."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inversionlab.core.images import to_float
from inversionlab.data.labelled import Labelled
from inversionlab.defenses import ProtectedModel

BATCH = 64
"""Pictures in the batch that is measured, or as many as there are."""


def networks(model: ProtectedModel) -> int:
    """Separate networks that answer: children with parameters of all `ProtectedModel` modules, each once."""
    children = {child for part in _parts(model) for child in part.children()}
    return sum(
        not isinstance(c, ProtectedModel) and any(True for _ in c.parameters()) for c in children
    )


def parameters(model: ProtectedModel) -> int:
    """Parameters of these networks; what two networks share counts once."""
    return sum(p.numel() for p in model.parameters())


def facts(model: ProtectedModel) -> dict[str, float]:
    """The facts that the parts of the model state; where two parts differ, the outer one's count."""
    merged: dict[str, float] = {}
    for part in reversed(_parts(model)):
        merged |= part.facts()
    return merged


def _parts(model: ProtectedModel) -> list[ProtectedModel]:
    return [m for m in model.modules() if isinstance(m, ProtectedModel)]


@torch.no_grad()
def memory(log_scores: Callable[[Tensor], Tensor], test: Labelled, device: torch.device) -> int:
    """Bytes per picture at the peak of a batch, beyond the weights and the pictures themselves, rounded up.

    On CUDA it is what the allocator holds for tensors (`max_memory_allocated`, with its rounding and the kernels'
    workspaces). Elsewhere it is the tensors that are alive at once, without workspaces.
    """
    x_NCHW = to_float(test.images_NCHW[:BATCH], device)
    log_scores(x_NCHW)  # The first call makes what later calls reuse.
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        log_scores(x_NCHW)
        torch.cuda.synchronize(device)
        peak = int(torch.cuda.max_memory_allocated(device) - before)
    else:
        with _Ledger() as ledger:
            log_scores(x_NCHW)
        peak = ledger.peak
    return -(-peak // len(x_NCHW))


class _Ledger(TorchDispatchMode):
    """Adds up the storages that operations allocate, as long as they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0
        self._watches: list[Any] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # There is no compiled code to skip here. To skip it, torch would import its whole compiler, which takes
        # seconds.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        # Storages that are first seen as inputs existed before: the weights and the pictures.
        self._see((args, given), count=False)
        result = func(*args, **given)
        self._see(result, count=True)
        return result

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for watch in self._watches:
            watch.detach()

    def _see(self, value: Any, count: bool) -> None:
        for leaf in tree_leaves(value):
            if not isinstance(leaf, Tensor):
                continue
            storage = leaf.untyped_storage()
            key = storage._cdata
            if key not in self.alive:
                self.alive[key] = storage.nbytes() if count else 0
                self.now += self.alive[key]
                self._watches.append(weakref.finalize(storage, self._leave, key))
        self.peak = max(self.peak, self.now)

    def _leave(self, key: int) -> None:
        self.now -= self.alive.pop(key)
