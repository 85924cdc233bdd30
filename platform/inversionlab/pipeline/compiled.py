"""Frozen networks as they are run: batch normalisation folded, weights channels-last, in bfloat16 where asked.

A network is run as a copy. The original, which is stored, fine-tuned or shared, stays as it is. The copy differs
from it in three ways:

1. A batch normalisation that follows a convolution is folded into it by torch's own formula. `torch.fx` traces
   the network to find such pairs. A pair is left alone where anything else could see the map in between, or the
   weights: another layer, a hook, a second call. A network that cannot be traced is left as it is.
2. The weights of convolutions are channels-last, as the maps are.
3. In bf16 the convolutions and dense layers run under autocast to bfloat16. Pictures, latents and gradients at the
   network's ends stay float32, and so do a recognizer's head, the softmax and what defenses do to scores.

Of a given victim, a PyTorch module is folded, keeps its layout (`view` fails on channels-last maps), and its last
layer stays float32. ONNX, TorchScript, endpoints and given generators run as they are; one trace does not show
every use of a given generator's layers. Evaluators and the accuracy of models are always measured in fp32.

Measured on an AMD EPYC with AVX512-BF16 and no AMX, one thread: `docs/precision.md`.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from inversionlab.core.learner import Precision
from inversionlab.experiment import RuntimeSettings
from inversionlab.generators.base import Generator
from inversionlab.generators.given import Given
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.recognizers import Recognizer

_compiled: WeakKeyDictionary[nn.Module, dict[Precision, nn.Module]] = WeakKeyDictionary()
"""The copies of each network, for as long as the network itself lives."""


def chip_precision(runtime: RuntimeSettings) -> Precision:
    """What `runtime.precision = auto` means where attack workers run on chips like those of this machine.

    bf16 on GPUs that compute in it, and on CPUs with AMX or AVX512-BF16.
    """
    gpu = runtime.attack_gpu != "never" and torch.cuda.is_available()
    return best_precision(torch.device("cuda" if gpu else "cpu"))


def training_precision(runtime: RuntimeSettings, device: torch.device) -> Precision:
    """What networks on this device are trained in; auto: what the device has."""
    return best_precision(device) if runtime.precision == "auto" else runtime.precision


def best_precision(device: torch.device) -> Precision:
    """bf16 on a device that computes in it, else fp32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Older releases of PyTorch cannot tell.
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if has.get("amx_bf16") or has.get("avx512_bf16") else "fp32"


def compiled(module: nn.Module, precision: Precision = "fp32") -> nn.Module:
    """The copy of a frozen network that is run in its place, made once; the network itself if it runs as it is."""
    if not _can_compile(module):
        return module
    copies = _compiled.setdefault(module, {})
    if precision not in copies:
        try:
            copies[precision] = _made(copy.deepcopy(module), precision)
        except Exception:  # A user's module may hold what cannot be copied.
            return module
    return copies[precision]


def _can_compile(module: nn.Module) -> bool:
    if module.training or isinstance(module, Given):
        return False
    if isinstance(module, GivenRecognizer):
        # Only the user's own modules; converted and exported ones, functions and endpoints are not trainable.
        return module.raw.trainable and isinstance(module.raw.network, nn.Module)
    return True


def _made(module: nn.Module, precision: Precision) -> nn.Module:
    """The copy `module`, compiled in place."""
    given = isinstance(module, GivenRecognizer)
    for part in _parts(module):
        fold(part)
        if not given:
            _channels_last(part)
    if precision == "bf16":
        _to_bfloat16(module)
    return module


def _parts(module: nn.Module) -> Iterable[nn.Module]:
    """The networks within `module` that are only ever called as a whole."""
    if isinstance(module, GivenRecognizer):
        assert isinstance(module.raw.network, nn.Module), "checked by `_can_compile`"
        return [module.raw.network]
    if isinstance(module, Generator):
        return module.children()
    backbones = [part.backbone for part in module.modules() if isinstance(part, Recognizer)]
    return backbones or [module]


def fold(network: nn.Module) -> int:
    """Fold, in place, each batch normalisation that follows a convolution; returns how many were folded."""
    try:
        # Tracing runs the user's code, which may keep what it sees.
        graph = fx.Tracer().trace(copy.deepcopy(network))
    except Exception:  # Whatever the user's code raises where it meets no true tensor.
        return 0
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    modules, folded = dict(network.named_modules()), 0
    for node in graph.nodes:
        source = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        names = {str(source.target), str(node.target)}
        convolution, norm = modules[str(source.target)], modules[str(node.target)]
        if any(calls[name] > 1 for name in names) or names & read or not _fits(convolution, norm):
            continue
        _fold_pair(convolution, norm)
        folded += 1
    return folded


def _fits(convolution: nn.Module, norm: nn.Module) -> bool:
    """Whether the two are plain layers, frozen and without hooks, that torch's formula covers."""
    # Subclasses may compute something else.
    if type(convolution) not in (nn.Conv2d, nn.ConvTranspose2d) or type(norm) is not nn.BatchNorm2d:
        return False
    grouped = type(convolution) is nn.ConvTranspose2d and convolution.groups > 1
    seen = any(
        getattr(layer, f"_{kind}")
        for layer in (convolution, norm)
        for kind in ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")
    )
    same = norm.running_mean is not None and norm.running_mean.dtype == convolution.weight.dtype
    return same and not (grouped or seen or norm.training)


def _fold_pair(convolution: Any, norm: Any) -> None:
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        *(convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps),
        *(norm.weight, norm.bias),
        transpose=isinstance(convolution, nn.ConvTranspose2d),
    )
    convolution.requires_grad_(False)
    # Not replaced by another module: the network's code may hold this one under several names.
    norm.forward = _same


def _same(x: Tensor) -> Tensor:
    return x


def _channels_last(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.to(memory_format=torch.channels_last)


class InBfloat16(nn.Module):
    """Runs a network under autocast to bfloat16; it answers in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.fails = False

    def forward(self, x: Tensor) -> Any:
        """What the network returns. A network that cannot run in bfloat16 runs in float32."""
        if not self.fails:
            try:
                with bfloat16(x):
                    answer = self.network(x)
                return answer.float() if _is_half(answer) else answer
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, TypeError):
                self.fails = True
        return self.network(x)


def bfloat16(x: Tensor, precision: Precision = "bf16") -> torch.autocast:
    """Autocast to bfloat16 on the device of `x`; in fp32 it does nothing."""
    # Only weights with gradients would be cached, and a frozen network has none.
    return torch.autocast(
        x.device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False
    )


def _is_half(answer: object) -> bool:
    return isinstance(answer, Tensor) and answer.dtype == torch.bfloat16


def _to_bfloat16(module: nn.Module) -> None:
    """Let the networks in `module` run in bfloat16; a generator's caller does that (`BatchInvariantPrior`)."""
    if isinstance(module, GivenRecognizer):
        network: Any = module.raw.network
        layers = [part for part in network.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
        if layers:
            # The scores of a bfloat16 layer would have two digits.
            _keep_float32(layers[-1])
        module.raw.network = InBfloat16(network)
        return
    for layer in module.modules():
        if isinstance(layer, nn.Sigmoid):
            # It ends a generator, and bfloat16 has fewer numbers below 1 than a picture has shades.
            _keep_float32(layer)
    for part in list(module.modules()):
        if isinstance(part, Recognizer):
            part.backbone = InBfloat16(part.backbone)  # type: ignore[assignment]


def _keep_float32(layer: nn.Module) -> None:
    """Let a layer compute in float32 inside of autocast."""
    plain = layer.forward

    def forward(x: Tensor) -> Any:
        with bfloat16(x, "fp32"):
            return plain(x.float())

    layer.forward = forward
