"""Forward passes whose result for a picture does not depend, to the last bit, on the rest of the batch.

A matrix product of another height may be summed in another order. The difference is in the seventh digit, but an
attack of hundreds of steps that has not converged amplifies it into another picture, and a row would depend on
how the work was cut. Measured layer by layer on a CPU (`torch` 2.15, float32, one thread, as in an attack
worker), a convolution gives a row the same bits at every batch size but 1, and a linear layer does not. So linear
layers are computed in lanes of one height, the last one padded, and a batch of one is doubled. Padding is no
query, because nobody sees its result. Its cost is not measurable next to the convolutions.

A given ONNX model in its PyTorch form has linear layers like any other. Those of TorchScript, of torch.export and
of onnxruntime cannot be seen here, so on a CPU `given/raw_model.py` asks such a model in lanes as a whole.

Networks that mix rows by other products, such as attention over the batch, and GPUs keep float tolerance.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from inversionlab.defenses import ProtectedModel
from inversionlab.generators.base import Generator
from inversionlab.pipeline.compiled import Precision, bfloat16

Pass = Callable[[Tensor], Tensor]
LANE = 8
"""Rows that a linear layer takes at once."""


class BatchInvariantModel(ProtectedModel):
    """A protected model with batch-invariant scores."""

    def __init__(self, model: ProtectedModel) -> None:
        super().__init__()
        self.model = model
        self.classes = model.classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The model's log-probabilities (N, K)."""
        return batch_invariant(self.model.log_scores, x_NCHW)


class BatchInvariantPrior:
    """An attacker's generator with batch-invariant pictures and encodings; its methods are `GenerativePrior`'s."""

    def __init__(self, generator: Generator, precision: Precision = "fp32") -> None:
        """Wrap a frozen generator, to be run in `precision`; it takes and gives float32."""
        self.generator, self.precision = generator, precision
        self.latent_size, self.draw = generator.latent_size, generator.draw
        self.critic = partial(self._run, generator.critic)
        self.style = partial(self._run, generator.style)
        self.synthesize = partial(self._run, generator.synthesize)

    def __call__(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) of latents (N, m)."""
        return self._run(self.generator, z_ND)

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        """Latents (N, m) of pictures, or None where the generator has no encoder."""
        if self.generator.encode(x_NCHW[:1]) is None:
            return None
        return self._run(cast(Pass, self.generator.encode), x_NCHW)

    def _run(self, forward: Pass, x_N: Tensor) -> Tensor:
        with bfloat16(x_N, self.precision):
            return batch_invariant(forward, x_N).float()


def batch_invariant(forward: Pass, x_N: Tensor) -> Tensor:
    """`forward(x_N)` for a network that treats each row separately; differentiable."""
    count = len(x_N)
    padded_N = torch.cat([x_N, x_N.detach()]) if count == 1 else x_N
    with _LinearInLanes():
        return forward(padded_N)[:count]


class _LinearInLanes(TorchFunctionMode):
    """Computes every linear layer of a two-dimensional input in lanes."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func is not functional.linear or args[0].ndim != 2:
            return func(*args, **given)
        x_ND, *rest = args
        count = len(x_ND)
        if missing := -count % LANE:
            x_ND = torch.cat([x_ND, x_ND.new_zeros(missing, x_ND.shape[1])])
        return torch.cat([func(lane, *rest, **given) for lane in x_ND.split(LANE)])[:count]
