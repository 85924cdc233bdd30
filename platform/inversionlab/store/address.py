"""Addresses of storages: a path or a URI, in full, and without a secret in it."""

import os
from contextlib import suppress
from pathlib import Path

from inversionlab.core.addresses import WHERE_SECRETS_BELONG, is_uri, masked, meant_uri
from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import cut

__all__ = ["default_root", "full_address", "is_uri"]


def default_root() -> str:
    """Where results go by default; for a submitted job the home folder, as Ray deletes the job's own."""
    if given := os.environ.get("INVERSIONLAB_STORAGE"):
        return given
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return str(Path.home() / "inversionlab")
    return "runs"


def full_address(root: str) -> str:
    """A URI as it is; a path with `~` expanded, made absolute.

    Raises:
        ConfigError: it is neither, or it is clear that the other was meant.
    """
    if not root.strip():
        raise ConfigError("--storage: is empty; name a folder or a bucket's URI, or leave it out")
    if "\0" in root or root != root.encode(errors="ignore").decode():
        raise ConfigError(f"--storage {cut(ascii(root))}: holds a NUL, or bytes that are not text")
    if is_uri(root):
        if (shown := masked(root)) != root:
            raise ConfigError(f"--storage {cut(shown)}: {WHERE_SECRETS_BELONG}")
        return root
    if (uri := meant_uri(root)) is not None:
        if (shown := masked(uri)) != uri:
            raise ConfigError(
                f"--storage: a URI has `://`, and {cut(shown)} {WHERE_SECRETS_BELONG}"
            )
        raise ConfigError(
            f"--storage {cut(root)}: a URI has `://`; did you mean {cut(uri)}? (a folder of "
            f"that name is ./{cut(root)})"
        )
    try:
        path = Path(root).expanduser().resolve()
        with suppress(FileNotFoundError):
            path.lstat()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--storage {cut(root)}: is not a usable path: {reason}") from error
    return str(path)
