"""Forward passes whose result for a picture does not depend, to the last bit, on the rest of the batch.

A matrix product of another height may be summed in another order. The difference is in the seventh digit, but an
attack of hundreds of steps that has not converged amplifies it into another picture, and a row would depend on
how the work was cut. Measured layer by layer on a CPU (`torch` 2.15, float32, one thread, as in an attack
worker), a convolution gives a row the same bits at every batch size but 1, unless its kernel is 1x1 and it has
few channels, and a linear layer does not. So these are computed in lanes of one height, the last one padded,
and a batch of one is doubled. Padding is no query, because nobody sees its result. Its cost is not measurable next
to the other convolutions.

A given ONNX model in its PyTorch form has linear layers like any other. Those of TorchScript, of torch.export and
of onnxruntime cannot be seen here, so on a CPU `given/raw_model.py` asks such a model in lanes as a whole.

Networks that mix rows by other products, such as attention over the batch, and GPUs keep float tolerance.

All of this was seen to hold for folded and channels-last networks too, and in bfloat16 (AVX512-BF16) for every
network but `style_gan`, which stays in float32 on CPUs (`compiled.py`); in bfloat16 it is no promise.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from inversionlab.core.learner import Precision
from inversionlab.defenses import ProtectedModel
from inversionlab.generators.base import Generator
from inversionlab.generators.given import Given
from inversionlab.pipeline.compiled import bfloat16
from inversionlab.recognizers import Recognizer

Pass = Callable[[Tensor], Tensor]
LANE = 32
"""Rows that a linear layer takes at once. An update of 64 rows of the LFW recipe costs 2 % more than with one
product a layer, in lanes of 8 rows 7 %; a pass of a few rows is 2 % slower for it."""
FEW = 12
"""Channels before or after a 1x1 convolution below which its rows depend on the batch."""


class BatchInvariantModel(ProtectedModel):
    """A protected model with batch-invariant scores."""

    def __init__(self, model: ProtectedModel) -> None:
        super().__init__()
        self.model = model
        self.classes = model.classes
        self.centres = getattr(model, "centres", 1)

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The model's log-probabilities (N, K)."""
        return batch_invariant(self.model.log_scores, x_NCHW)

    def centre_log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Those of its identities (N, K, C)."""
        return batch_invariant(self.model.centre_log_scores, x_NCHW)

    def centre_lengths(self) -> Tensor | None:
        """The lengths of their weights (K, C)."""
        return self.model.centre_lengths()


class BatchInvariantRecognizer(nn.Module):
    """An attacker's own recognizer with batch-invariant scores and features."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.recognizer = recognizer
        self.classes = recognizer.classes

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The recognizer's log-probabilities (N, K)."""
        return batch_invariant(self.recognizer.log_scores, x_NCHW)

    def features(self, x_NCHW: Tensor) -> Tensor:
        """Its features (N, D)."""
        return batch_invariant(self.recognizer.features, x_NCHW)


class BatchInvariantPrior:
    """An attacker's generator with batch-invariant pictures and encodings; its methods are `GenerativePrior`'s."""

    def __init__(self, generator: Generator, precision: Precision = "fp32") -> None:
        """Wrap a frozen generator, to be run in `precision`; it takes and gives float32."""
        self.generator, self.precision = generator, precision
        self.latent_size, self.draw = generator.latent_size, generator.draw
        given = isinstance(generator, Given)
        self.offers = generator.offers_at(generator.settings) if given else generator.offers
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

    def of_class(self, z_ND: Tensor, class_N: Tensor) -> Tensor:
        """The latents (N, m), of these classes."""
        return self.generator.of_class(z_ND, class_N)

    def autocast(self, x_N: Tensor) -> torch.autocast:
        """Lets the generator run in its precision on the device of `x_N`."""
        half = self.precision == "bf16" and (x_N.is_cuda or self.generator.bf16_on_cpu)
        return bfloat16(x_N, "bf16" if half else "fp32")

    def _run(self, forward: Pass, x_N: Tensor) -> Tensor:
        with self.autocast(x_N):
            return batch_invariant(forward, x_N).float()


def batch_invariant_network(network: nn.Module | None) -> nn.Module | None:
    """An attack's own network, with batch-invariant scores, and features, where it is a recognizer or several."""
    if isinstance(network, nn.ModuleList):
        return nn.ModuleList(BatchInvariantRecognizer(cast(Recognizer, part)) for part in network)
    return BatchInvariantRecognizer(network) if isinstance(network, Recognizer) else network


def batch_invariant(forward: Pass, x_N: Tensor) -> Tensor:
    """`forward(x_N)` for a network that treats each row separately; differentiable."""
    if x_N.is_cuda:
        # Lanes would not give equal bits there, and every one of them is a kernel to launch.
        return forward(x_N)
    count = len(x_N)
    padded_N = torch.cat([x_N, x_N.detach()]) if count == 1 else x_N
    with _InLanes():
        return forward(padded_N)[:count]


class _InLanes(TorchFunctionMode):
    """Computes every layer whose rows would depend on the batch in lanes."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if not _varies(func, args):
            return func(*args, **given)
        x_N, *rest = args
        count = len(x_N)
        if missing := -count % LANE:
            x_N = torch.cat([x_N, x_N.new_zeros(missing, *x_N.shape[1:])])
        return torch.cat([func(lane, *rest, **given) for lane in x_N.split(LANE)])[:count]


def _varies(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether a layer's rows depend on the height of the batch."""
    if func is functional.linear:
        return bool(args[0].ndim == 2)
    if func is not functional.conv2d or len(args) < 2 or args[0].ndim != 4:
        return False
    return bool(args[1].shape[2:] == (1, 1) and min(args[1].shape[:2]) < FEW)
