"""Pictures of people in folders on this machine.

A person is any folder below the root, at any depth, that directly holds pictures; its identifier
is its path relative to the root, with `/`. Files with other extensions and names that begin with
a dot are not looked at, and links that lead out of the root or to a folder are refused. A picture
that cannot be used is left out and named in `Pictures.skipped`. How a picture is cut and brought
to size: `decode.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from pydantic import Field

from inversionlab.core.settings import ConfigError, fingerprint
from inversionlab.data.base import DataSet, DataSettings, Pictures
from inversionlab.data.decode import EXTENSIONS, read_picture
from inversionlab.data.paths import AbsolutePath, require_folder

_EXPECTED = "a folder that holds one folder of pictures for each person"
_T = TypeVar("_T")


class FolderSettings(DataSettings):
    """Where the pictures are and what they are brought to."""

    name: Literal["folder"] = "folder"
    root: AbsolutePath
    """The folder that holds one folder a person; `~` and relative paths are allowed."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=1_000_000)
    """Take only the first so many files of each person, in the order of their names; null: all."""


@dataclass(frozen=True)
class _Found:
    """The picture files below a root, sorted: (the person's identifier, file); what was refused."""

    files: tuple[tuple[str, Path], ...]
    skipped: tuple[str, ...]


class Folder(DataSet):
    """A folder of folders of pictures; one folder a person."""

    Settings = FolderSettings

    def __init__(self, settings: FolderSettings) -> None:
        """Take the settings; nothing is read yet."""
        self.settings = settings

    def fingerprint(self) -> str:
        """See `DataSet.fingerprint`: names and contents of the files, and the settings."""
        found = self._find()
        digests = _in_threads(_file_digest, [path for _, path in found.files])
        content = [
            [path.relative_to(self.settings.root).as_posix(), digest]
            for (_, path), digest in zip(found.files, digests, strict=True)
        ]
        settings = self.settings.model_dump(mode="json", exclude={"root"})
        return fingerprint({"settings": settings, "content": content})

    def load(self) -> Pictures:
        """See `DataSet.load`."""
        found = self._find()
        size, channels = self.settings.image_size, self.settings.channels
        images_NCHW = np.empty((len(found.files), channels, size, size), dtype=np.uint8)

        def read(index: int) -> str | None:
            try:
                images_NCHW[index] = read_picture(found.files[index][1], size, channels)
            except Exception as error:  # a decoder fed with a broken file raises anything
                return (
                    f"{found.files[index][1].relative_to(self.settings.root).as_posix()}: {error}"
                )
            return None

        faults = _in_threads(read, range(len(found.files)))
        kept = [index for index, fault in enumerate(faults) if fault is None]
        skipped = (*found.skipped, *(fault for fault in faults if fault is not None))
        owners = [found.files[index][0] for index in kept]
        people = self._check_people(owners, skipped)
        number = {person: index for index, person in enumerate(people)}
        person_N = torch.tensor([number[owner] for owner in owners], dtype=torch.int64)
        if len(kept) < len(images_NCHW):
            images_NCHW = images_NCHW[kept]
        return Pictures(torch.from_numpy(images_NCHW), person_N, people, skipped)

    def _find(self) -> _Found:
        root = self.settings.root
        require_folder(root, _EXPECTED)
        found = _walk(root, self.settings.max_pictures_per_person)
        self._check_people([owner for owner, _ in found.files], found.skipped)
        return found

    def _check_people(self, owners: Sequence[str], skipped: Sequence[str]) -> tuple[str, ...]:
        """The sorted identifiers, or what is wrong with there being fewer than two."""
        people = tuple(sorted(set(owners)))
        if len(people) >= 2:
            return people
        left_out = f"; {len(skipped)} left out, the first: {skipped[0]}" if skipped else ""
        kinds = ", ".join(sorted(EXTENSIONS))
        if people:
            raise ConfigError(
                f"{self.settings.root}: only one person (`{people[0]}`) has usable pictures; "
                f"at least two are needed: {_EXPECTED}{left_out}"
            )
        raise ConfigError(
            f"{self.settings.root}: no usable picture ({kinds}) in any folder below it; "
            f"expected {_EXPECTED}{left_out}"
        )


def _walk(root: Path, most: int | None) -> _Found:
    """Find the pictures below `root`; nothing outside it is followed."""
    files: list[tuple[str, Path]] = []
    skipped: list[str] = []
    real_root = root.resolve()

    def complain(error: OSError) -> None:
        skipped.append(f"{error.filename}: {error.strerror}")

    for here, folders, names in os.walk(root, onerror=complain):
        folder = Path(here)
        inside = folder.relative_to(root).as_posix()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (folder / name).is_symlink():  # os.walk does not go into it
                skipped.append(f"{_join(inside, name)}: is a link to a folder, not followed")
        kept = []
        for name in sorted(names):
            if name.startswith(".") or Path(name).suffix.lower() not in EXTENSIONS:
                continue
            fault = _refuse(folder, name, real_root, in_root=inside == ".")
            if fault is None:
                kept.append((inside, folder / name))
            else:
                skipped.append(f"{_join(inside, name)}: {fault}")
        files.extend(kept[:most])
    files.sort(key=lambda item: (item[0], item[1].name))
    return _Found(tuple(files), tuple(skipped))


def _join(inside: str, name: str) -> str:
    return name if inside == "." else f"{inside}/{name}"


def _refuse(folder: Path, name: str, real_root: Path, *, in_root: bool) -> str | None:
    """Why this file is no picture of a person, or None."""
    if in_root:
        return "lies directly in the root, in no person's folder"
    path = folder / name
    if path.is_symlink() and not path.resolve().is_relative_to(real_root):
        return "is a link that leaves the root"
    if not path.is_file():
        return "is not a file (a broken link?)"
    return None


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"  # `load` leaves it out by name


def _in_threads(work: Callable[..., _T], items: Sequence[object]) -> list[_T]:
    """`work` on every item, in order; decoders and digests let go of the interpreter lock."""
    with ThreadPoolExecutor(max_workers=min(16, 2 * (os.cpu_count() or 1))) as pool:
        return list(pool.map(work, items))
