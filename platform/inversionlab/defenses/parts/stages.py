"""The stages of a backbone, for defenses that treat early and late layers differently.

A backbone is cut where the picture's map gets smaller: an entry of its `layers` whose output has fewer pixels than
its input begins a stage, and so does the entry that flattens the map. Every stage has weights: a pooling goes with
the layers after it. `small_resnet` with three groups of blocks has five stages: the first convolution, three
groups, and the dense layer that makes the feature. `ir50`, `vgg16`, `yang_cnn` and `khosravy_cnn` are cut by the
same rule. A network without such a sequence of layers (`torchvision`, `imported`) has no stages, and is refused.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from inversionlab.core.contracts import ModelShape

Stage = list[nn.Module]
"""Consecutive layers of a backbone."""
LARGE = 2**26
"""Bytes of weights from which shapes alone are computed; for fewer, PyTorch takes longer to get ready for that."""


def stages(recognizer: nn.Module, shape: ModelShape, user: str) -> list[Stage]:
    """The stages of the recognizer's backbone, from the picture on; together they are all its layers.

    One black picture of this shape is sent through a backbone in inference mode, whose mode is then restored.

    Raises:
        ValueError: the backbone has no sequence of layers; the message begins with `user`.
    """
    # Any: defenses do not import the recognizers' classes.
    network: Any = recognizer
    layers = getattr(network.backbone, "layers", None)
    if not isinstance(layers, nn.Sequential):
        raise ValueError(
            f"{user} needs the stages of the victim's network, and `{type(network.backbone).__name__}` has no "
            "sequence of layers to cut; choose victim.network small_resnet, ir50, vgg16, yang_cnn or khosravy_cnn"
        )
    pixels: list[tuple[int, int]] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        pixels.append((_pixels(given[0]), _pixels(output)))

    handles = [layer.register_forward_hook(note) for layer in layers]
    was_training = recognizer.training
    try:
        with torch.no_grad():
            recognizer.eval()
            state, side = network.backbone.state_dict(), shape.image_size
            size = sum(tensor.nbytes for tensor in state.values())
            device = "meta" if size > LARGE else next(recognizer.parameters()).device
            state = {name: tensor.to(device) for name, tensor in state.items()}
            black_NCHW = torch.zeros(1, shape.channels, side, side, device=device)
            functional_call(network.backbone, state, (black_NCHW,))
    finally:
        recognizer.train(was_training)
        for handle in handles:
            handle.remove()
    found: list[Stage] = []
    for layer, (before, after) in zip(layers, pixels, strict=True):
        # A pooling and the flattening after it belong to the layers that follow.
        if not found or (after < before and any(_weights(part) for part in found[-1])):
            found.append([])
        found[-1].append(layer)
    return found


def _weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _pixels(x: Tensor) -> int:
    """Pixels of a map (N, C, H, W); 0 for vectors (N, D)."""
    return x.shape[2] * x.shape[3] if x.ndim == 4 else 0


@contextmanager
def recorded(parts: Sequence[Stage]) -> Iterator[list[Tensor]]:
    """Collects the outputs of these stages, in their order, in a forward pass inside the block."""
    outputs: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output)

    handles = [stage[-1].register_forward_hook(keep) for stage in parts]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
