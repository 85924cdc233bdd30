"""Addresses of files and storages: a path on this machine, or a URI of a bucket. No secret in one is shown."""

import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from inversionlab.core.validation_errors import HIDDEN

LONGEST_PATH = 4000
"""Bytes of a path; Linux takes 4095 with those that are added."""
LONGEST_NAME = 255
"""Bytes of a name in a path, on every usual file system."""

_PORT = r"(:[0-9]{1,5})?"
_HADOOP = rf"([\w.-]+@)?[\w.-]*{_PORT}"
_AZURE = rf"([\w-]+@)?[\w.-]+{_PORT}"
_GOOGLE = r"(anonymous@)?[\w.-]+"
_PLACES = {
    "s3": r"[\w.-]+",
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("hdfs", "viewfs"), _HADOOP),
    **dict.fromkeys(("abfs", "abfss"), _AZURE),
}
"""What may stand between `://` and the first slash: a bucket or a host, a user only where it is no secret."""
_PLACE = rf"[\w.-]*{_PORT}"
_OPTIONS = re.compile(
    "region|scheme|endpoint_override|allow_bucket_(creation|deletion)|check_directory_existence_before_creation|"
    "tls_ca_(file|dir)_path|tls_verify_certificates|smart_defaults|retry_limit_seconds|project_id|location|"
    r"(blob|dfs)_storage_(authority|scheme)|enable_tls|user|replication|kerb_ticket|dfs\.[\w.-]+"
)
"""The options of Arrow's file systems that hold no secret; whatever else stands there may be one."""
_SCHEMES = "s3|gs|gcs|hdfs|viewfs|abfss?|wasbs?|az|https?|file"


def is_uri(address: str) -> bool:
    """Whether an address is a URI, such as s3://bucket/prefix, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", address) is not None


def meant_uri(text: str) -> str | None:
    """The URI that a text is, or that it would be with the slashes that it lacks; None: it may be a path."""
    begin = re.match(rf"\s*(?:([A-Za-z][A-Za-z0-9+.-]+):/|({_SCHEMES}):)", text, re.IGNORECASE)
    if begin is None:
        return None
    scheme = begin[1] or begin[2]
    rest = text[begin.end() :].lstrip("/")
    return f"{scheme}:{'///' if scheme.lower() == 'file' else '//'}{rest}"


def masked(uri: str) -> str:
    """The URI with *** for what may be a secret: users and passwords, options that are not known, a fragment."""
    scheme, _, rest = uri.partition("://")
    kind = scheme.lower()
    if kind == "file":
        # What follows is a path, which may hold any character.
        return f"{scheme}://{_masked_place(kind, rest)}"
    rest, number_sign, _ = rest.partition("#")
    place, question_mark, options = rest.partition("?")
    shown = f"{scheme}://{_masked_place(kind, place)}{question_mark}"
    if options:
        shown += "&".join(map(_masked_option, options.split("&")))
    return f"{shown}#***" if number_sign else shown


def _masked_place(kind: str, place: str) -> str:
    if _is_plain(kind, place):
        return place
    # A secret may hold a slash or an @ itself.
    _, at, after = place.rpartition("@")
    return f"***@{after}" if at and _is_plain(kind, after) else "***"


def _is_plain(kind: str, place: str) -> bool:
    """Whether a place, HOST/PATH, holds no secret."""
    host, _, path = place.partition("/")
    if re.fullmatch(_PLACES.get(kind, _PLACE), host) is None:
        return False
    # KEY:9/SECRET@bucket looks like a port and a path. Hadoop has ports and no passwords.
    return kind in ("hdfs", "viewfs") or not (":" in host and "@" in path)


def _masked_option(option: str) -> str:
    name, sign, value = option.partition("=")
    if _OPTIONS.fullmatch(name) and re.fullmatch(r"[\w.:/~, +-]*", unquote(value)):
        return option
    # The name itself may be the end of a secret.
    return f"{name}=***" if sign and re.fullmatch(r"[A-Za-z_.-]{1,40}", name) else "***"


WHERE_SECRETS_BELONG = (
    "holds a secret, or what may be one, which would appear in logs and in lists of processes; give it where the "
    "bucket's client looks for it (S3: in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in ~/.aws/credentials)"
)


def refuse_uri(text: str) -> None:
    """Check that a text is not a URI, or meant as one.

    Raises:
        ValueError: it is; the message hides what may be a secret, and so does pydantic's.
    """
    if (uri := meant_uri(text)) is not None:
        raise _hidden(f"{masked(uri)}: is a URI; only a path on this machine is possible here")


def absolute(path: Path) -> Path:
    """The path with `~` expanded, starting at the current folder; ValueError if it can be none."""
    text = str(path)
    # Every look at such a path would raise, each with another error.
    if "\0" in text:
        raise ValueError("holds a NUL character; it is not a path")
    if _bytes(text) > LONGEST_PATH:
        raise ValueError(f"is longer than {LONGEST_PATH:,} bytes; it is not a path")
    if any(_bytes(name) > LONGEST_NAME for name in path.parts):
        raise ValueError(f"holds a name of more than {LONGEST_NAME} bytes; it is not a path")
    refuse_uri(text)
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"the home folder is not known: {error}") from error


def _bytes(text: str) -> int:
    return len(os.fsencode(text.encode(errors="replace").decode()))


def _hidden(text: str) -> PydanticCustomError:
    return PydanticCustomError(HIDDEN, "{text}", {"text": text})


def refuse_empty(value: Any) -> None:
    """Check that a text that should be an address is not empty, as that of an unset shell variable is.

    Raises:
        ValueError: it is empty.
    """
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty; name a path (`.` is the current folder)")


def _address(value: Any, handler: ValidatorFunctionWrapHandler) -> Path | str:
    """A URI as it is; a path, also one behind `file://`, made absolute."""
    refuse_empty(value)
    if isinstance(value, str) and is_uri(value):
        if (shown := masked(value)) != value:
            raise _hidden(f"{shown}: {WHERE_SECRETS_BELONG}")
        if not value.lower().startswith("file://"):
            return value.rstrip("/")
        value = value[len("file://") :]
        if not value.startswith("/"):
            raise ValueError(
                "a file on this machine has three slashes: file:///folder, or /folder alone"
            )
    elif isinstance(value, str) and (uri := meant_uri(value)) is not None:
        raise _hidden(f"is not a path, and a URI has `://`; did you mean {masked(uri)}?")
    if not isinstance(value, str | Path):
        raise ValueError("should be a path, or a bucket's URI")
    return absolute(Path(handler(value)))


def path_text(value: Any) -> Any:
    """The value itself, of a setting that takes a path on this machine.

    Raises:
        ValueError: it is an empty text, or a URI.
    """
    refuse_empty(value)
    if isinstance(value, str):
        refuse_uri(value)
    return value


Address = Annotated[Path | str, WrapValidator(_address)]
"""A path with `~` expanded (a relative one starts at the folder that is current at load), or a bucket's URI."""
