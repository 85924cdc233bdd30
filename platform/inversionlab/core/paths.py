"""What lies at a path on this machine, and what lies beside it."""

import difflib
import stat
from contextlib import suppress
from pathlib import Path
from typing import Literal

Kind = Literal["file", "folder", "other"]


def found(path: Path) -> Kind | None:
    """What there is at a path; None: nothing.

    Raises:
        ValueError: nobody can look there: a name is too long, a folder is closed, links go round in a circle.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"is not a usable path: {reason}") from error
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "other"


def did_you_mean(path: Path, pattern: str = "*", *, folders: bool = False) -> str:
    """A hint at the nearest name beside a path at which there is nothing: "; did you mean `NAME`?", or ""."""
    beside: list[str] = []
    # The folder may be missing or closed.
    with suppress(OSError):
        beside = sorted(
            p.name for p in path.parent.glob(pattern) if (not folders or p.is_dir()) and p != path
        )
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f"; did you mean `{path.parent / near[0]}`?" if near else ""
