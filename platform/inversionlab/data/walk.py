"""The picture files in folders on this machine. Nothing outside the root is followed."""

import os
import stat
from collections import Counter
from operator import attrgetter
from pathlib import Path

from inversionlab.core.text import printable
from inversionlab.data.decoding import ENDINGS, kind_of_other
from inversionlab.data.manifest import Listing, PictureFile

_USUAL = tuple(ENDINGS)
_name = attrgetter("name")


def walk(root: Path, most: int | None, *, loose: bool = False) -> Listing:
    """The pictures below `root`, at most `most` of each folder, the first by name.

    The person is the folder's path below the root. What was left out is named or counted. With `loose`, pictures
    directly in the root are taken, and their person is empty.
    """
    found = _Found(root, loose=loose)
    folders = [""]
    files: list[PictureFile] = []
    while folders:
        folder = folders.pop()
        inner, kept = found.look_into(folder)
        files += kept[:most]
        folders += reversed(inner)
    counted = sorted((kind, count) for kind, count in found.others.items() if count)
    skipped = found.skipped + [f"files {kind}: {count} not read" for kind, count in counted]
    return Listing(tuple(sorted(files, key=_by_person)), printable(skipped))


def _by_person(file: PictureFile) -> tuple[str, str]:
    return file.person, file.name.rpartition("/")[2]


class _Found:
    """What is left out on the way."""

    def __init__(self, root: Path, *, loose: bool) -> None:
        self._root, self._loose = root, loose
        self._real_root = root.resolve()
        self.skipped: list[str] = []
        self.others: Counter[str] = Counter()

    def look_into(self, folder: str) -> tuple[list[str], list[PictureFile]]:
        """The folders in a folder, and its pictures, both sorted; `folder` is relative to the root, or empty."""
        prefix = f"{folder}/" if folder else ""
        inner: list[os.DirEntry[str]] = []
        names: list[os.DirEntry[str]] = []
        try:
            with os.scandir(os.path.join(self._root, folder)) as entries:
                for entry in entries:
                    (inner if _is_folder(entry) else names).append(entry)
        except OSError as error:
            self.skipped.append(f"{error.filename}: {error.strerror}")
            return [], []
        wanted = []
        for entry in sorted(inner, key=_name):
            if entry.name.startswith("."):
                self.others["in hidden folders"] += _files_below(entry)
            elif entry.is_symlink():
                self.skipped.append(f"{prefix}{entry.name}: is a link to a folder, not followed")
            else:
                wanted.append(prefix + entry.name)
        kept = []
        for entry in sorted(names, key=_name):
            name = prefix + entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                status = None
            plain = status is not None and stat.S_ISREG(status.st_mode)
            if plain and folder and name.endswith(_USUAL) and entry.name[0] != ".":
                # Nearly every file; nothing else is to be asked.
                assert status is not None
                kept.append(_listed(folder, name, status))
            elif (file := self._picture(entry, folder, name, status, plain=plain)) is not None:
                kept.append(file)
        return wanted, kept

    def _picture(
        self,
        entry: "os.DirEntry[str]",
        folder: str,
        name: str,
        status: os.stat_result | None,
        *,
        plain: bool,
    ) -> PictureFile | None:
        if kind := _kind(entry, plain=plain):
            self.others[kind] += 1
            return None
        if not folder and not self._loose:
            self.skipped.append(f"{name}: lies directly in the root, in no person's folder")
            return None
        if not plain:
            path = Path(entry.path)
            # Not by `resolve`, which raises at a link in a circle.
            real = Path(os.path.realpath(path))
            if entry.is_symlink() and not real.is_relative_to(self._real_root):
                self.skipped.append(f"{name}: is a link that leaves the root")
                return None
            if not path.is_file():
                self.skipped.append(f"{name}: is not a file (a broken link?)")
                return None
            status = path.stat()
        assert status is not None
        return _listed(folder, name, status)


def _listed(person: str, name: str, status: os.stat_result) -> PictureFile:
    # A file that was put in another's place keeps its own time of writing, but not that of its entry.
    written, changed = status.st_mtime_ns, status.st_ctime_ns
    return PictureFile(person, name, name, status.st_size, max(written, changed))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _files_below(entry: "os.DirEntry[str]") -> int:
    """How many files lie in a hidden folder and below it; a link counts as one."""
    if entry.is_symlink():
        return 1
    return sum(len(names) for _, _, names in os.walk(entry.path))


def _kind(entry: "os.DirEntry[str]", *, plain: bool) -> str:
    """What kind of other file it is; empty for a picture, by its ending or its first bytes."""
    if entry.name.startswith("."):
        return "with hidden names"
    _, dot, ending = entry.name.rpartition(".")
    if dot and f".{ending.lower()}" in ENDINGS:
        return ""
    if not plain:
        return "that are links or no plain files"
    try:
        with open(entry.path, "rb") as stream:
            head = stream.read(12)
    except OSError:
        return "that cannot be opened"
    return kind_of_other(entry.name, head)
