"""The identity of a given model: a hash of its files, of the user's code, or of where it answers."""

import hashlib
from typing import Any

from torch import nn

from inversionlab.core.settings import fingerprint
from inversionlab.core.user_code import code_digest
from inversionlab.given.loading import file_digests
from inversionlab.given.settings import SFACE, GivenModelSettings
from inversionlab.given.sface import SHA256

ASKED = {"url", "request", "field", "encoding", "answer", "version"}
"""Settings of an endpoint that its answers depend on; how many pictures are in a request is none of them."""


def model_digest(settings: GivenModelSettings, live: Any) -> str:
    """A hash of everything that a given model's answers depend on besides its settings.

    Args:
        settings: the model.
        live: the module itself, where it was handed over from Python.

    Raises:
        ConfigError: a file is missing, or the user's code cannot be imported.
    """
    if settings.endpoint is not None:
        return fingerprint(settings.endpoint.model_dump(mode="json", include=ASKED))
    if isinstance(live, nn.Module):
        return fingerprint([_weights_digest(live), code_digest(type(live).__module__)])
    if settings.model == SFACE:
        return SHA256[:16]
    content: list[Any] = [file_digests(settings)]
    module, _, name = str(settings.model).partition(":")
    if name and module not in ("torchvision", "timm"):
        content.append(code_digest(module))
    return fingerprint(content)


def _weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's state, with names and shapes, and of how it prints, which shows its structure."""
    digest = hashlib.sha256(repr(module).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
