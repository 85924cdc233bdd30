"""Weights from files that the user names: read without executing anything, and put into a module key by key."""

import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from inversionlab.core.files import read_file
from inversionlab.core.settings import ConfigError

NESTS = ("state_dict", "model_state_dict", "model", "net", "weights")
"""Keys under which checkpoints hold the state dict, in the order in which they are tried."""
SHOWN = 3
"""Keys of each kind that a message names."""
ROOM, ROOM_FACTOR = 64_000_000, 4
"""Bytes that any model's archive may take, and how many times its own bytes in addition."""
ADVICE = "save the weights alone, by torch.save(model.state_dict(), FILE) or as safetensors"

Contents = Literal["empty", "html", "lfs", "torchscript", "exported", "pickle", "safetensors", ""]


def contents(raw: bytes) -> Contents:
    """What a file holds, by its first bytes and the names in its archive; "": something else, or cut off."""
    start = raw[:256].lstrip().lower()
    if not raw:
        return "empty"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "html"
    if start.startswith(b"version https://git-lfs"):
        return "lfs"
    if raw[:2] == b"PK":
        try:
            names = zipfile.ZipFile(io.BytesIO(raw)).namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            return ""
        first = raw[30 : 30 + int.from_bytes(raw[26:28], "little")].decode(errors="replace")
        if first not in names:
            return ""  # cut off: what was found is the end of an archive within this one
        ends = {name.rpartition("/")[2] for name in names}
        if "constants.pkl" in ends:
            return "torchscript"
        if "archive_format" in ends or "serialized_exported_program.json" in ends:
            return "exported"
        return "pickle" if "data.pkl" in ends else ""
    if raw[:1] == b"\x80":
        return "pickle"
    return "safetensors" if raw[8:9] == b"{" else ""


def not_a_model(kind: Contents) -> str:
    """What is wrong with a file that holds neither weights nor a model."""
    texts: dict[Contents, str] = {
        "empty": "is empty",
        "html": "is a web page, not a model; the download failed",
        "lfs": "is a Git LFS pointer, not the file; run `git lfs pull`",
    }
    return texts.get(kind, "is damaged, cut off, or of another format")


def read_state_dict(source: Path | bytes, key: str) -> dict[str, Tensor]:
    """The tensors of a state dict, on the CPU; nothing in the file is executed.

    Args:
        source: a file, or what it holds: safetensors, or what `torch.save` wrote. A checkpoint that holds the
            state dict under one of `NESTS` will do.
        key: where the recipe names the file, for messages.

    Raises:
        ConfigError: the file is missing, is no state dict, or holds objects that would run code.
    """
    if isinstance(source, Path):
        raw, where = read_file(source, key), f"{key} = {source}"
    else:
        raw, where = source, key
    kind = contents(raw)
    if kind == "torchscript":
        raise ConfigError(f"{where}: is a TorchScript model; give it as `model` without `weights`")
    if kind == "exported":
        raise ConfigError(f"{where}: is a torch.export model; give it as `model` without `weights`")
    if kind == "safetensors":
        try:
            return safetensors.torch.load(raw)
        except (SafetensorError, ValueError, KeyError) as error:
            raise ConfigError(f"{where}: {not_a_model('')} ({error})") from error
    if kind != "pickle":
        raise ConfigError(f"{where}: {not_a_model(kind)}; expected a state dict: {ADVICE}")
    refuse_larger(raw, where)
    state = _tensors(_plain_values(raw, where), where)
    for name, tensor in state.items():
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise ConfigError(
                f"{where}: `{name}` has the shape {tuple(tensor.shape)}, but the file holds fewer numbers than "
                f"that; {ADVICE}"
            )
    return state


def unpacked_size(raw: bytes) -> int:
    """Bytes that an archive says it becomes; 0 for what is no archive; BadZipFile if it is a broken one."""
    if raw[:2] != b"PK":
        return 0
    try:
        return sum(member.file_size for member in zipfile.ZipFile(io.BytesIO(raw)).infolist())
    except (ValueError, NotImplementedError) as error:
        raise zipfile.BadZipFile(str(error)) from error


def refuse_larger(raw: bytes, where: str, advice: str = ADVICE) -> None:
    """Raise ConfigError if what `torch.save` seems to have written would take more memory than it has bytes;
    BadZipFile if it is a broken archive.

    PyTorch compresses nothing, but reads a file that is: one of a megabyte can take gigabytes.
    """
    if (size := unpacked_size(raw)) > len(raw):
        raise ConfigError(f"{where}: {_becomes(raw, size)}; {advice}")
    # The only plain value that is made from its length alone.
    if b"bytearray" in raw:
        raise ConfigError(f"{where}: holds a bytearray beside tensors; {advice}")


def refuse_far_larger(raw: bytes, where: str) -> None:
    """Raise ConfigError if a model's archive would take far more memory than it has bytes.

    PyTorch compresses the code of TorchScript, and nothing else.
    """
    size = unpacked_size(raw)
    if size > len(raw) * ROOM_FACTOR + ROOM:
        raise ConfigError(
            f"{where}: {_becomes(raw, size)}; save it again as PyTorch does, uncompressed"
        )


def _becomes(raw: bytes, size: int) -> str:
    return f"has {len(raw) / 1e6:,.1f} MB that would become {size / 1e6:,.1f} MB"


def _plain_values(raw: bytes, where: str) -> Any:
    """What `torch.save` wrote, if it is made of tensors and plain values alone."""
    try:
        with warnings.catch_warnings():
            # It warns of pickle protocols that it may not read.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch's message is not shown, since it advises the loader that would execute what is in the file.
        text = str(error)
        if re.search("unsupported|not an allowed|is blocked", text, re.IGNORECASE):
            named = re.search(r"GLOBAL\s+([\w.]+)", text)
            what = f"`{named[1]}`" if named else "objects"
            raise ConfigError(
                f"{where}: holds {what} beside tensors, and reading that would run code from the file; it was "
                f"not executed. In the program that made the file, {ADVICE}"
            ) from None
        raise ConfigError(f"{where}: {not_a_model('')}; expected a state dict: {ADVICE}") from None


def _tensors(value: Any, where: str) -> dict[str, Tensor]:
    """The state dict in a checkpoint: the mapping itself, or the one under a key that is usual for it."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{where}: holds a {type(value).__name__}; expected a state dict: {ADVICE}"
        )
    for name in NESTS:
        if isinstance(value.get(name), Mapping):
            return _tensors(value[name], where)
    state = {str(name): item for name, item in value.items() if isinstance(item, Tensor)}
    if state:
        return state
    held = ", ".join(f"`{name}`" for name in list(value)[:SHOWN]) or "nothing"
    raise ConfigError(f"{where}: holds no tensors but {held}; expected a state dict: {ADVICE}")


def load_into(module: nn.Module, state: Mapping[str, Tensor], key: str) -> None:
    """Copy a state dict into a module, in place; prefixes of wrappers are taken off or put on where that fits.

    Args:
        module: the module; it keeps its data types and devices.
        state: the tensors by name.
        key: where the recipe names the file, such as `weights = faces.pt`, for messages.

    Raises:
        ConfigError: keys are missing, unexpected or misshapen, or a weight is NaN or infinite.
    """
    wanted = module.state_dict()
    found = fitted(state, wanted)
    # Files from before PyTorch 0.4.1 lack this counter, which nothing reads in evaluation.
    missing = [
        name for name in wanted.keys() - found.keys() if not name.endswith("num_batches_tracked")
    ]
    unexpected = found.keys() - wanted.keys()
    misshapen = [
        f"`{name}` (file {tuple(found[name].shape)}, model {tuple(wanted[name].shape)})"
        for name in wanted
        if name in found
        and isinstance(wanted[name], Tensor)
        and found[name].shape != wanted[name].shape
    ]
    faults = [
        *_named("missing", [f"`{name}`" for name in wanted if name in missing]),
        *_named("unexpected", [f"`{name}`" for name in found if name in unexpected]),
        *_named("of another shape", misshapen),
    ]
    if faults:
        raise ConfigError(f"{key}: does not fit the model: {'; '.join(faults)}")
    # An infinite buffer may be the mask of an attention layer; an infinite parameter never makes sense.
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    broken = [
        f"`{name}`"
        for name, tensor in found.items()
        if tensor.is_floating_point()
        and bool((~tensor.isfinite() if name in parameters else tensor.isnan()).any())
    ]
    for text in _named("with NaN or infinite numbers", broken):
        raise ConfigError(f"{key}: holds weights {text}")
    module.load_state_dict(found, strict=False)


def _named(what: str, items: list[str]) -> Iterator[str]:
    """One text that counts the items and shows the first of them; none for no items."""
    if items:
        more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
        yield f"{len(items)} {what}: {', '.join(items[:SHOWN])}{more}"


def fitted(state: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """`state` under the names in `wanted`, as far as a wrapper's prefix is all that tells them apart.

    A prefix that all names of the state share (`module.` of DataParallel, `_orig_mod.` of torch.compile, `model.`
    of Lightning) is taken off where more names fit without it. One that all names in `wanted` share is put on
    where all names fit with it.
    """
    names = set(wanted)
    candidates = [dict(state)]
    while prefix := _shared_prefix(candidates[-1]):
        candidates.append({name[len(prefix) :]: item for name, item in candidates[-1].items()})
    outer = ""
    while prefix := _shared_prefix(name[len(outer) :] for name in names):
        outer += prefix
        if (longer := {outer + name: item for name, item in state.items()}).keys() == names:
            candidates.append(longer)
    return max(candidates, key=lambda candidate: len(candidate.keys() & names))


def _shared_prefix(names: Iterable[str]) -> str:
    """The first part that all dotted names share, with its dot; "" if there is none."""
    firsts = {name.partition(".")[0] if "." in name else "" for name in names}
    (first,) = firsts if len(firsts) == 1 else ("",)
    return f"{first}." if first else ""
