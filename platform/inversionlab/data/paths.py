"""Paths in a data set's settings, and the error for one that leads nowhere."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from inversionlab.core.settings import ConfigError


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"the home folder is not known: {error}") from error


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
"""A path with `~` expanded; a relative one starts at the folder that is current at load."""


def require_folder(path: Path, what: str) -> None:
    """Check that `path` is a folder.

    Raises:
        ConfigError: it is missing or not a folder; names what was expected and the nearest folder there is.
    """
    if path.is_dir():
        return
    if path.exists():
        raise ConfigError(f"{path}: is a file; expected {what}")
    parent = next(p for p in path.parents if p.is_dir())
    missing = path.relative_to(parent).parts[0]
    try:
        siblings = sorted(p.name for p in parent.iterdir() if p.is_dir())
    except PermissionError:
        siblings = []
    near = difflib.get_close_matches(missing, siblings, n=1)
    hint = f"; did you mean `{parent / near[0]}`?" if near else f"; `{parent}` has no `{missing}`"
    raise ConfigError(f"{path}: there is no such folder (expected {what}){hint}")
