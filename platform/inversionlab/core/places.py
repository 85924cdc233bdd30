"""Whether two addresses mean one place, or one lies in the other, however they are spelled."""

import os
import posixpath
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote

Relation = Literal["is", "lies in", "holds"]


def relation(one: Path | str, other: Path | str) -> Relation | None:
    """What `one` is to `other`; None: neither lies in the other. Paths are compared with paths, URIs with URIs.

    Links are followed. Of two paths that exist, the file system says whether they are the same folder, so capitals
    and mounts that show a folder twice deceive nobody. Of URIs, the options and the user are left out.
    """
    if isinstance(one, Path) and isinstance(other, Path):
        return _relation(_folders(one), _folders(other))
    if isinstance(one, str) and isinstance(other, str):
        return _relation(_prefixes(one), _prefixes(other))
    return None


def _relation(one: list[object], other: list[object]) -> Relation | None:
    """By what stands for each place and for all that hold it, from the inside out."""
    if one[0] in other:
        return "is" if one[0] == other[0] else "holds"
    return "lies in" if other[0] in one else None


def _folders(path: Path) -> list[object]:
    real = Path(os.path.realpath(path))
    return [_identity(folder) for folder in (real, *real.parents)]


def _identity(folder: Path) -> object:
    try:
        found = folder.stat()
    except OSError:
        return folder
    return found.st_dev, found.st_ino


def _prefixes(uri: str) -> list[object]:
    scheme, _, rest = uri.partition("?")[0].partition("://")
    place = unquote(rest.rpartition("@")[2])
    inside = PurePosixPath(posixpath.normpath(f"/{place.lstrip('/')}"))
    # Google's buckets have two schemes.
    kind = scheme.lower().replace("gcs", "gs")
    return [(kind, folder) for folder in (inside, *inside.parents)]
