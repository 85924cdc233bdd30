"""A Ray of this machine alone: only its owner can reach it, and it ends with the command that started it.

By itself Ray lets all users read and write its folders, listens on all interfaces, and serves metrics without
a token.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ray._private import ray_constants

from inversionlab.core.settings import ConfigError

NO_PORT = "65536"
"""The number of no port: the highest is one less."""
LONGEST = 40
"""Characters of a folder that leave Ray's sockets in it a path short enough for the system."""


def settings() -> dict[str, str]:
    """Environment variables with which a Ray that is only this user's is started; what the user has set stays.

    Raises:
        ConfigError: the folder for them cannot be made.
    """
    wanted = {
        "RAY_enable_metrics_collection": "0",
        # Both serve metrics of their own to whoever asks, and go on without where the port cannot be opened.
        "AUTOSCALER_METRIC_PORT": NO_PORT,
        "DASHBOARD_METRIC_PORT": NO_PORT,
    }
    if os.nice(0) > 0:
        # Ray would add 15 to what the user has chosen.
        wanted["RAY_worker_niceness"] = "0"
    kept = {name: os.environ.get(name, value) for name, value in wanted.items()}
    return {**kept, "RAY_TMPDIR": str(private_folder())}


def private_folder() -> Path:
    """A folder for Ray's files that only this user can enter: RAY_TMPDIR if it is such, or else one within it.

    Raises:
        ConfigError: another user has made the folder that it would be.
    """
    given = os.environ.get("RAY_TMPDIR")
    base = Path(given or tempfile.gettempdir()).resolve()
    if given is None and len(str(base)) > LONGEST:
        base = Path("/tmp")
    if given is not None and _is_private(base):
        return base
    folder = base / f"inversionlab-{os.getuid()}"
    with suppress(FileExistsError):
        try:
            folder.mkdir(0o700, parents=True)
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            raise ConfigError(
                f"RAY_TMPDIR = {base}: no folder can be made there: {error.strerror}"
            ) from error
    if not _is_private(folder):
        raise ConfigError(
            f"{folder}: is not this user's alone, so Ray's files would not be either; remove it, or set "
            "RAY_TMPDIR to a folder with a short path that only you can enter"
        )
    return folder


def _is_private(folder: Path) -> bool:
    """Whether this is a folder, no link to one, that its owner, this user, alone can enter."""
    try:
        there = folder.lstat()
    except OSError:
        return False
    mine = stat.S_ISDIR(there.st_mode) and there.st_uid == os.getuid()
    return mine and not stat.S_IMODE(there.st_mode) & 0o077


@contextmanager
def loopback() -> Iterator[None]:
    """Within the block, a Ray that is started takes 127.0.0.1 as its address and listens there alone.

    Ray does so by itself on macOS and Windows only, and it replaces a loopback address that it is given.
    """
    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def logs() -> Path:
    """The folder of what the processes of the newest Ray of this user have written."""
    return (private_folder() / "ray" / "session_latest" / "logs").resolve()


def logs_in_words(started: bool) -> str:
    """Where that is; of a cluster that was not `started` here nobody knows the folder."""
    elsewhere = (
        "Ray's dashboard shows it, and each node has it in Ray's folder, session_latest/logs"
    )
    return f"what Ray itself had to say: {logs() if started else elsewhere}"


def close_token() -> None:
    """Make the token that an older Ray has left readable for its owner alone."""
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    token = Path(given) if given else Path.home() / ".ray" / "auth_token"
    with suppress(OSError):
        if token.stat().st_mode & 0o077:
            token.chmod(0o600)
