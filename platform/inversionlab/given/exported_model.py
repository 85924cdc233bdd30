"""Models as `torch.export.save` and `torch.jit.save` write them."""

import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.core.weights import contents, not_a_model, refuse_far_larger
from inversionlab.given.exported_archive import check_archive, pickles_refused
from inversionlab.given.raw_model import RawModel, picture_size, told


class ExportedProgram(nn.Module):
    """A program of torch.export on whatever device the pictures are."""

    def __init__(self, program: Any) -> None:
        """Wrap a `torch.export.ExportedProgram`."""
        super().__init__()
        self.program = program
        self.graph = program.module(check_guards=False).requires_grad_(False)
        self.device = torch.device("cpu")

    def forward(self, x: Tensor) -> Any:
        """What the program answers to pictures."""
        if x.device != self.device:
            # Moving the weights alone would leave the devices that are written in the graph.
            from torch.export.passes import move_to_device_pass

            moved = move_to_device_pass(self.program, x.device)
            self.graph = moved.module(check_guards=False).requires_grad_(False)
            self.program, self.device = moved, x.device
        return self.graph(x)


def load_exported(raw: bytes, name: str) -> RawModel:
    """A model from the bytes of a `*.pt2` file; nothing in the file is executed but its operators.

    Raises:
        ConfigError: it is no such file, could execute more, or was exported in training mode.
    """
    kind = contents(raw)
    if kind != "exported":
        raise ConfigError(f"{name}: is not a torch.export model: it {_holds(kind)}")
    refuse_far_larger(raw, name)
    check_archive(raw, name)
    try:
        with pickles_refused():
            program = torch.export.load(io.BytesIO(raw))
    except Exception as error:  # PyTorch raises errors of a dozen kinds
        raise ConfigError(f"{name}: torch.export cannot load it: {told(error)}") from error
    if program.graph_signature.buffers_to_mutate or any(map(_trains, program.graph.nodes)):
        raise ConfigError(
            f"{name}: was exported in training mode, so its answers depend on the batch; call model.eval() and "
            "export it again"
        )
    taken = program.graph_signature.user_inputs
    if len(taken) != 1:
        names = ", ".join(f"`{given}`" for given in taken) or "none"
        raise ConfigError(f"{name}: must take one input, the pictures, but takes {names}")
    (placeholder,) = [
        node for node in program.graph.nodes if node.op == "placeholder" and node.name == taken[0]
    ]
    # What is not fixed is a symbol and no number.
    dims = [d if isinstance(d, int) else None for d in placeholder.meta["val"].shape]
    network, size = ExportedProgram(program), picture_size(dims)
    return RawModel(network, name=name, differentiable=True, batch=dims[0], size=size, opaque=True)


def _trains(node: Any) -> bool:
    """Whether a node normalizes by its batch, or drops units at random."""
    schema = getattr(node.target, "_schema", None)
    for position, argument in enumerate(schema.arguments if schema else ()):
        if argument.name in ("training", "train"):
            return (*node.args, *([None] * position))[position] is True or (
                node.kwargs.get(argument.name) is True
            )
    return False


def load_torchscript(raw: bytes, name: str) -> RawModel:
    """A model from the bytes of a TorchScript archive.

    Such an archive holds code of TorchScript alone, which PyTorch's own interpreter runs: it can call operators,
    but no Python.

    Raises:
        ConfigError: it holds something else; the text says how to give that.
    """
    kind = contents(raw)
    if kind != "torchscript":
        raise ConfigError(f"{name}: is not a TorchScript model: it {_holds(kind)}")
    refuse_far_larger(raw, name)
    try:
        with warnings.catch_warnings():
            # PyTorch recommends torch.export to whoever wrote the file.
            warnings.simplefilter("ignore", FutureWarning)
            module = torch.jit.load(io.BytesIO(raw), map_location="cpu").eval()
    except Exception as error:  # PyTorch raises errors of a dozen kinds
        raise ConfigError(f"{name}: TorchScript cannot load it: {told(error)}") from error
    return RawModel(module, name=name, differentiable=True, opaque=True)


def _holds(kind: str) -> str:
    if kind in ("pickle", "safetensors"):
        return (
            "holds weights, or an object that would have to be unpickled and was not. Name the network's class, "
            "and a state dict: `model: package.module:Class`, `weights: FILE`"
        )
    if kind == "exported":
        return "is a torch.export model; name it *.pt2"
    if kind == "torchscript":
        return "is a TorchScript model; name it *.ts"
    return not_a_model(kind)  # type: ignore[arg-type]
