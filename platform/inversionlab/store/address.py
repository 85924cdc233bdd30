"""Addresses of storages: a path or a URI, in full, and without a secret in it."""

import os
import re
from contextlib import suppress
from pathlib import Path

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import cut


def default_root() -> str:
    """Where results go by default; for a submitted job the home folder, as Ray deletes the job's own."""
    if given := os.environ.get("INVERSIONLAB_STORAGE"):
        return given
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return str(Path.home() / "inversionlab")
    return "runs"


def is_uri(root: str) -> bool:
    """Whether a storage's address is a URI, such as s3://bucket/prefix, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", root) is not None


def _masked(uri: str) -> str:
    """The URI without the secrets in it: KEY:SECRET@ before the bucket, and options such as secret_key."""
    scheme, _, rest = uri.partition("://")
    before, at, bucket = rest.rpartition("@")
    # A secret may hold a slash; a port is no secret.
    user, colon, secret = before.partition(":")
    if at and colon and "/" not in user and not re.match(r"[0-9]+/", secret):
        rest = f"***@{bucket}"
    secrets = r"([?&][^=&]*(?:key|secret|token|password|credential|sig)[^=&]*=)[^&]+"
    hidden = re.sub(secrets, r"\1***", rest, flags=re.IGNORECASE)
    return f"{scheme}://{hidden}"


def full_address(root: str) -> str:
    """A URI as it is; a path with `~` expanded, made absolute.

    Raises:
        ConfigError: it is neither, or it is clear that the other was meant.
    """
    if not root.strip():
        raise ConfigError("--storage: is empty; name a folder or a bucket's URI, or leave it out")
    if "\0" in root or root != root.encode(errors="ignore").decode():
        raise ConfigError(f"--storage {cut(ascii(root))}: holds a NUL, or bytes that are no text")
    if is_uri(root):
        if (shown := _masked(root)) != root:
            raise ConfigError(
                f"--storage {cut(shown)}: holds a secret, which would stand in logs and in lists of processes; "
                "give it where the bucket's client looks for it (S3: in AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or in ~/.aws/credentials)"
            )
        return root
    scheme = re.match(r"(s3|gs|gcs|hdfs|viewfs|abfss?|wasbs?|az|https?|file):", root, re.IGNORECASE)
    if scheme:
        rest = root[scheme.end() :].lstrip("/")
        meant = f"{scheme[1]}:{'///' if scheme[1].lower() == 'file' else '//'}{cut(rest)}"
        raise ConfigError(
            f"--storage {cut(root)}: a URI has `://`; did you mean {meant}? (a folder of "
            f"that name is ./{cut(root)})"
        )
    try:
        path = Path(root).expanduser().resolve()
        with suppress(FileNotFoundError):
            path.lstat()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--storage {cut(root)}: is no usable path: {reason}") from error
    return str(path)
