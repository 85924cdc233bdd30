"""What a released model needs to answer: networks, numbers in them, memory. No Ray in here."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inversionlab.core.images import to_float
from inversionlab.data.splits import Labelled
from inversionlab.defenses import ProtectedModel

BATCH = 64
"""Pictures in the batch that is measured, or as many as there are."""


def networks(model: ProtectedModel) -> int:
    """Separate networks that answer: children with parameters of all `ProtectedModel` modules, each once."""
    found = {
        id(child)
        for part in _parts(model)
        for child in part.children()
        if not isinstance(child, ProtectedModel) and any(True for _ in child.parameters())
    }
    return len(found)


def parameters(model: ProtectedModel) -> int:
    """Trained numbers in them; what two networks share counts once."""
    return sum(p.numel() for p in model.parameters())


def facts(model: ProtectedModel) -> dict[str, float]:
    """What all parts of the model tell of themselves; the outer part's word counts where two differ."""
    found: dict[str, float] = {}
    for part in reversed(list(_parts(model))):
        found |= part.facts()
    return found


@torch.no_grad()
def memory(log_scores: Callable[[Tensor], Tensor], test: Labelled, device: torch.device) -> int:
    """Bytes a picture at the peak of a batch, beyond the weights and the pictures themselves, rounded up.

    On CUDA what the allocator held for tensors (`max_memory_allocated`, its rounding and the kernels'
    workspaces included); elsewhere the tensors that were alive at once, which leaves workspaces out.
    """
    x_NCHW = to_float(test.images_NCHW[:BATCH], device)
    log_scores(x_NCHW)  # so that what is made once only is there
    peak = _peak_cuda(log_scores, x_NCHW) if device.type == "cuda" else _peak(log_scores, x_NCHW)
    return -(-peak // len(x_NCHW))


def _parts(model: ProtectedModel) -> Iterator[ProtectedModel]:
    return (m for m in model.modules() if isinstance(m, ProtectedModel))


def _peak_cuda(log_scores: Callable[[Tensor], Tensor], x_NCHW: Tensor) -> int:
    torch.cuda.synchronize(x_NCHW.device)
    torch.cuda.reset_peak_memory_stats(x_NCHW.device)
    before = torch.cuda.memory_allocated(x_NCHW.device)
    log_scores(x_NCHW)
    torch.cuda.synchronize(x_NCHW.device)
    return int(torch.cuda.max_memory_allocated(x_NCHW.device) - before)


def _peak(log_scores: Callable[[Tensor], Tensor], x_NCHW: Tensor) -> int:
    ledger = _Ledger()
    with ledger:
        log_scores(x_NCHW)
    return ledger.peak


class _Ledger(TorchDispatchMode):
    """Adds up the storages that operations make, as long as they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0
        self._watches: list[Any] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # What it would skip is compiled code, of which there is none here; to skip it torch imports its whole
        # compiler, which takes seconds.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        # What is first seen going in was there before: weights and the pictures.
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
