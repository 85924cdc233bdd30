"""A given model from its settings: what kind `model` names, which files belong to it, and how it is loaded."""

import re
from pathlib import Path

from inversionlab.core.files import NO_FILE, fault_of_file, file_digest, read_file
from inversionlab.core.paths import did_you_mean
from inversionlab.core.settings import ConfigError, usable_path
from inversionlab.given.exported_model import load_exported, load_torchscript
from inversionlab.given.onnx_model import external_files, load_onnx, packed_onnx
from inversionlab.given.python_model import load_imported, load_registered
from inversionlab.given.raw_model import RawModel
from inversionlab.given.settings import LIVE, SFACE, GivenModelSettings

SUFFIXES = (".onnx", ".pt2", ".pt", ".ts", ".torchscript")
"""Endings of files that hold a whole model."""
WEIGHTS_ALONE = (".pth", ".bin", ".ckpt", ".safetensors")
"""Endings of files that hold weights without a network."""
FORMS = (
    "expected `package.module:Class`, `package.module:predict`, a file *.onnx, *.pt2 (torch.export) or *.pt, "
    f"*.ts, *.torchscript (TorchScript), `torchvision:NAME`, `timm:NAME` or `{SFACE}`"
)


def load_model(
    settings: GivenModelSettings, classes: int | None = None, file: bytes | None = None
) -> RawModel:
    """The user's model, frozen, on the CPU.

    Args:
        settings: a model that is neither an endpoint nor a live module.
        classes: K, for the last layer of models of torchvision and timm; None: as their weights say.
        file: what `packed_file` gave, where the user's own files cannot be reached.

    Raises:
        ConfigError: the model cannot be found, imported, read or built; the text says what would be right.
    """
    model = str(settings.model)
    path = model_path(settings)
    if path is None:
        if model.startswith(("torchvision:", "timm:")):
            return load_registered(settings, classes, file)
        if model == SFACE:
            from inversionlab.given.sface import load_sface

            network = load_sface(file)
            name = f"model = {SFACE}"
            return RawModel(network, name=name, differentiable=False, note=network.note)
        return load_imported(settings, file)
    raw = packed_file(settings) if file is None else file
    assert raw is not None
    load = {".onnx": load_onnx, ".pt2": load_exported}.get(path.suffix.lower(), load_torchscript)
    loaded = load(raw, f"model = {model}")
    if loaded.differentiable and settings.access in ("scores", "labels"):
        loaded.differentiable, loaded.note = False, f"`access` is {settings.access}"
    return loaded


def model_path(settings: GivenModelSettings) -> Path | None:
    """The file that holds the model; None if `model` names something else.

    Raises:
        ConfigError: `model` names nothing that can be loaded, or a file that needs or has no `weights`.
    """
    model = settings.model or ""
    if model == LIVE:
        raise ConfigError(f"model = {LIVE}: is a module that only a call from Python can hand over")
    if model == SFACE or re.fullmatch(r"(torchvision|timm):\S+", model):
        return None
    path = Path(model)
    if path.suffix.lower() in WEIGHTS_ALONE:
        raise ConfigError(
            f"model = {model}: holds weights but no network; name its class, as in `model: package.module:Class`, "
            f"`weights: {model}`"
        )
    if path.suffix.lower() in SUFFIXES:
        if settings.weights is not None:
            raise ConfigError(
                f"weights = {settings.weights}: `model = {model}` holds its own weights; leave `weights` out, or "
                "name the network's class as `model`"
            )
        if settings.arguments:
            raise ConfigError(f"arguments: `model = {model}` is a file, which takes none")
        return usable_path(path, origin="model =")
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", model):
        return None
    colon = (
        f"; did you mean `{':'.join(model.rsplit('.', 1))}`?"
        if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", model)
        else ""
    )
    raise ConfigError(f"model = {model}: names no model{colon}; {FORMS}")


def model_files(settings: GivenModelSettings) -> dict[str, Path]:
    """The user's files that go into the model: `model` or `weights`; `model_data` for weights beside an ONNX file.

    Raises:
        ConfigError: `model` names nothing that can be loaded, or a file is missing.
    """
    path = model_path(settings)
    files = {"model": path} if path else {}
    if settings.weights is not None:
        files["weights"] = settings.weights
    for key, file in files.items():
        if fault := fault_of_file(file):
            hint = did_you_mean(file) if fault == NO_FILE else ""
            raise ConfigError(f"{key} = {file}: {fault}{hint}")
    if path and path.suffix.lower() == ".onnx":
        files |= external_files(path, f"model = {settings.model}")
    return files


def file_digests(settings: GivenModelSettings) -> dict[str, str]:
    """SHA-256 of each of `model_files`, in hex digits; raises as that does."""
    return {key: file_digest(file, key) for key, file in model_files(settings).items()}


def packed_file(settings: GivenModelSettings) -> bytes | None:
    """All of the user's files that the model needs, as one: the model with its weights, or the weights.

    None for a model without files. SFace's file comes with its package. Raises as `model_files` does.
    """
    if settings.model == SFACE:
        from inversionlab.given.sface import read_sface

        return read_sface()
    files = model_files(settings)
    if not files:
        return None
    if "model_data" in files:
        return packed_onnx(files["model"], f"model = {settings.model}")
    ((key, file),) = files.items()
    return read_file(file, key)
