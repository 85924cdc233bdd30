"""Addresses of files and storages: a path on this machine, or a URI of a bucket."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from inversionlab.core.validation_errors import HIDDEN

LONGEST_PATH = 4000
"""Bytes of a path; Linux takes 4095 with those that are added."""


def is_uri(address: str) -> bool:
    """Whether an address is a URI, such as s3://bucket/prefix, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", address) is not None


def masked(uri: str) -> str:
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


WHERE_SECRETS_BELONG = (
    "holds a secret, which would appear in logs and in lists of processes; give it where the bucket's client "
    "looks for it (S3: in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in ~/.aws/credentials)"
)


def absolute(path: Path) -> Path:
    """The path with `~` expanded, starting at the current folder; ValueError if it can be none."""
    # Every look at such a path would raise, each with another error.
    if "\0" in str(path):
        raise ValueError("holds a NUL character; it is not a path")
    if len(os.fsencode(str(path).encode(errors="replace").decode())) > LONGEST_PATH:
        raise ValueError(f"is longer than {LONGEST_PATH:,} bytes; it is not a path")
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"the home folder is not known: {error}") from error


def _address(value: Any, handler: ValidatorFunctionWrapHandler) -> Path | str:
    """A URI as it is; a path, also one behind `file://`, made absolute."""
    if isinstance(value, str) and is_uri(value):
        if (shown := masked(value)) != value:
            text = f"{shown}: {WHERE_SECRETS_BELONG}".replace("{", "{{").replace("}", "}}")
            raise PydanticCustomError(HIDDEN, text)
        if not value.lower().startswith("file://"):
            return value.rstrip("/")
        value = value[len("file://") :]
    if not isinstance(value, str | Path):
        raise ValueError("should be a path, or a bucket's URI")
    return absolute(Path(handler(value)))


Address = Annotated[Path | str, WrapValidator(_address)]
"""A path with `~` expanded (a relative one starts at the folder that is current at load), or a bucket's URI."""
