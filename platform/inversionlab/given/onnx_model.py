"""ONNX models: through PyTorch where that gives the same answers, with gradients; else scores by onnxruntime."""

import os
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from inversionlab.core.files import NO_FILE, fault_of_file, read_file
from inversionlab.core.settings import ConfigError
from inversionlab.core.weights import contents, not_a_model
from inversionlab.core.yaml_io import cut
from inversionlab.given.raw_model import RawModel, answer_tensor, picture_size, told

TOLERANCE = 1e-3
"""The most that answers of both runtimes may differ, as a share of the largest answer (1 at least)."""
SIDES = (64, 112, 128, 160, 224, 256, 299, 32, 28)
"""Sides of random pictures for a model that does not say which it takes, in the order of trial."""
MISSING_EXTRA = "needs onnx, onnx2torch and onnxruntime: pip install 'inversionlab[onnx]'"


class OnnxRuntime(nn.Module):
    """Answers of onnxruntime, without gradients."""

    def __init__(self, raw: bytes) -> None:
        """Open a session on a model's bytes; raises what onnxruntime raises."""
        super().__init__()
        import onnxruntime

        self.raw = raw
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        known = onnxruntime.get_available_providers()
        wanted = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in known]
        self.session = onnxruntime.InferenceSession(raw, options, providers=wanted)
        self.input = self.session.get_inputs()[0]
        self.dtype = _DTYPES.get(self.input.type, np.dtype(np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """The first output; whole numbers are rounded where the model takes them."""
        pictures = x.detach().cpu().numpy()
        if self.dtype.kind in "iu":
            pictures = pictures.round()
        (answer, *_) = self.session.run(None, {self.input.name: pictures.astype(self.dtype)})
        return answer_tensor(answer)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A session has no state, so copies share it."""
        return self


_DTYPES = {
    f"tensor({name})": np.dtype(kind)
    for name, kind in [
        *[("float", "float32"), ("float16", "float16"), ("double", "float64")],
        *[(name, name) for name in ("uint8", "int8", "int32", "int64")],
    ]
}


def load_onnx(raw: bytes, name: str) -> RawModel:
    """A model from the bytes of an ONNX file that holds its own weights.

    Raises:
        ConfigError: the packages are missing, the bytes are no such model, or it does not take one picture tensor.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{name}: {MISSING_EXTRA}") from error
    from inversionlab.given.onnx_gradients import NotConvertibleError, to_module

    model = parsed(raw, name)
    if others := _external(model):
        raise ConfigError(
            f"{name}: keeps weights in another file (`{others[0].name}` and others); save it as one file: "
            "onnx.save(onnx.load(FILE), FILE)"
        )
    # Old exporters list weights among the inputs.
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [given for given in model.graph.input if given.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(f"`{given.name}`" for given in inputs) or "none"
        raise ConfigError(f"{name}: must take one input, the pictures, but takes {names}")
    dims = [d.dim_value or None for d in inputs[0].type.tensor_type.shape.dim]
    if len(dims) not in (0, 4):
        raise ConfigError(f"{name}: must take pictures (N, C, H, W), but takes {len(dims)} axes")
    size = picture_size(dims)
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    try:
        runtime = OnnxRuntime(model.SerializeToString())
    except Exception as error:  # onnxruntime raises errors of its own kinds
        raise ConfigError(f"{name}: onnxruntime cannot load it: {told(error)}") from error
    scores_only = partial(
        RawModel, runtime, name=name, differentiable=False, size=size, opaque=True
    )
    x, batch, how = _tried(runtime, dims)
    if x is None:
        return scores_only(batch=batch, note=how)
    if runtime.dtype.kind in "iu":
        how = f"it takes pictures of {runtime.dtype}, and rounding has no gradient"
        return scores_only(batch=batch, note=how)
    try:
        network = to_module(onnx.load_model_from_string(model.SerializeToString()))
    except ImportError as error:
        raise ConfigError(f"{name}: {MISSING_EXTRA}") from error
    except NotConvertibleError as error:
        note = f"{error}; onnxruntime gives scores only"
        return scores_only(batch=batch, note=note)
    twin = RawModel(network, name=name, differentiable=True, batch=batch, size=size)
    if difference := _difference(twin, runtime, x, batch):
        note = f"{difference}; onnxruntime gives scores only"
        return scores_only(batch=batch, note=note)
    return twin


def parsed(raw: bytes, name: str) -> Any:
    """The ModelProto in the bytes.

    Raises:
        ConfigError: there is none.
    """
    import onnx

    kind = contents(raw)
    if kind:
        holds = f"holds {kind} and is not an ONNX model"
        raise ConfigError(f"{name}: {not_a_model(kind) if kind in _BROKEN else holds}")
    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:  # protobuf raises errors of its own kinds
        raise ConfigError(f"{name}: is not an ONNX model: {not_a_model('')}") from error
    if not model.graph.node:
        raise ConfigError(f"{name}: is not an ONNX model: it holds no operators")
    return model


_BROKEN = ("empty", "html", "lfs")


def external_files(path: Path, name: str) -> dict[str, Path]:
    """The files beside an ONNX model that hold its weights, by `model_data`, `model_data_2` and so on.

    Raises:
        ConfigError: the model names one outside its own folder, or one that is missing.
    """
    locations = {
        entry.value: None
        for tensor in _external(parsed(read_file(path, name), name))
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = {}
    for number, location in enumerate(locations, 1):
        file = path.parent / location
        # A name alone, and no link: nothing outside the model's folder is read.
        if Path(location).name != location or os.path.islink(file):
            raise ConfigError(
                f"{name}: names `{cut(location)}` for its weights; only a file next to it is read"
            )
        if fault := fault_of_file(file):
            wrong = "must be next to it, but are not" if fault == NO_FILE else fault
            raise ConfigError(f"{name}: its weights `{cut(location)}` {wrong}")
        files["model_data" if number == 1 else f"model_data_{number}"] = file
    return files


def packed_onnx(path: Path, name: str) -> bytes:
    """An ONNX file's bytes, with the weights from files beside it inside.

    Raises:
        ConfigError: a file is missing, lies elsewhere, or does not fit the model.
    """
    raw = read_file(path, name)
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(f"{name}: {MISSING_EXTRA}") from error
    if not external_files(path, name):
        return raw
    model = parsed(raw, name)
    try:
        for tensor in _external(model):
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        return bytes(model.SerializeToString())
    except Exception as error:  # onnx and protobuf raise errors of their own kinds
        raise ConfigError(f"{name}: the weights beside it cannot be read: {told(error)}") from error


def _external(model: Any) -> list[Any]:
    """The tensors whose data lies in another file, wherever they stand: also in branches, loops and functions."""
    from google.protobuf.message import Message
    from onnx import TensorProto

    found: list[Any] = []
    level: list[Any] = [model.graph, *model.functions]
    # By depth, so that the graph's own weights come first: the numbers of their files are in the model's name.
    while level:
        found += [
            part
            for part in level
            if isinstance(part, TensorProto) and part.data_location == part.EXTERNAL
        ]
        held = [
            value
            for part in level
            if not isinstance(part, TensorProto)
            for field, value in part.ListFields()
            if field.message_type is not None
        ]
        level = [part for v in held for part in ([v] if isinstance(v, Message) else v)]
    return found


def _tried(runtime: OnnxRuntime, dims: list[int | None]) -> tuple[Tensor | None, int | None, str]:
    """Random pictures that the model takes, and the only batch size that it takes (None: any).

    No pictures are found for a model that says no sizes and fails on the usual ones; then the text says so.
    """
    batch, *shape = dims or [None, 3, None, None]
    rng = torch.Generator().manual_seed(0)
    for side in SIDES if None in shape else SIDES[:1]:
        sizes = [size or (3 if axis == 0 else side) for axis, size in enumerate(shape)]
        x = torch.rand(batch or 2, *sizes, generator=rng)
        rows = x.split(batch or 1)
        try:
            apart = torch.cat([runtime(row) for row in rows])
        except Exception:  # the model does not take this size
            continue
        if batch is None:
            # An export with a fixed size inside names its batch axis all the same.
            try:
                together = runtime(x)
                same = together.shape == apart.shape and bool(
                    (together - apart).abs().max() <= TOLERANCE * max(1, float(apart.abs().max()))
                )
            except Exception:
                same = False
            batch = None if same else 1
        return x, batch, ""
    return (
        None,
        batch,
        "it does not say which pictures it takes, so its gradients could not be compared",
    )


def _difference(twin: RawModel, runtime: OnnxRuntime, x: Tensor, batch: int | None) -> str:
    """How the PyTorch form's answers differ from onnxruntime's on these pictures; "" if they do not."""
    right = torch.cat([runtime(part) for part in x.split(batch or len(x))])
    try:
        with torch.no_grad():
            found = twin(x)
    except ConfigError as error:
        why = str(error).removeprefix(f"{twin.name}: ")
        return f"its PyTorch form (by onnx2torch) {why}"
    if found.shape != right.shape:
        return f"its PyTorch form (by onnx2torch) answers {tuple(found.shape)}, not {tuple(right.shape)}"
    off = float((found - right).abs().max())
    bound = TOLERANCE * max(1.0, float(right.abs().max()))
    return (
        ""
        if off <= bound
        else f"the answers of its PyTorch form (by onnx2torch) differ by up to {off:.3g}"
    )
