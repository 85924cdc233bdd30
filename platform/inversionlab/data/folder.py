"""Pictures of people in folders on this machine.

A person is any folder below the root, at any depth, that directly holds pictures; the identifier is the
folder's path relative to the root, with `/`. A folder of pictures below a person's folder, and two people of one
name in different folders (`train/p00`, `val/p00`), are refused, because one person could become two. Links that
lead out of the root or to a folder are refused.

A file is a picture by its ending, or by its first bytes. Every other file, and every picture that cannot be used,
is named or counted in `Pictures.skipped`.

A picture is turned upright by its EXIF tag, cropped to its central square (side: the shorter side; a 92x112
picture loses 10 rows above and 10 below) and resized by PIL's antialiased bilinear filter, as RGB or luma.
"""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field

from inversionlab.core.settings import AbsolutePath, ConfigError, fingerprint
from inversionlab.data.base import DataSet, DataSettings, Pictures, require_folder
from inversionlab.data.memory import require_memory
from inversionlab.data.names import alike, folded

_EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"})
_HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"BM", b"RIFF", b"P5", b"P6")
"""How files of these formats begin."""
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")
_SMALLEST = 8  # pixels; a smaller picture shows no face
_LARGEST = 89_000_000  # pixels in all; PIL warns of a decompression bomb above that
_PART = 32  # files that a thread takes at once
_EXPECTED = "a folder that holds one folder of pictures for each person"
_File = tuple[str, Path]
"""A person's identifier, and one of the person's picture files."""
_T = TypeVar("_T")


class FolderSettings(DataSettings):
    """Where the pictures are, and how many are taken."""

    name: Literal["folder"] = "folder"
    root: AbsolutePath
    """The folder that holds one folder for each person; `~` and relative paths are allowed."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=1_000_000)
    """Take at most this many files of each person, the first by name; null: all."""


class Folder(DataSet):
    """A folder with one folder of pictures for each person."""

    Settings = FolderSettings
    settings: FolderSettings

    def fingerprint(self) -> str:
        """See `DataSet.fingerprint`. It depends on the files' names and contents and on the settings."""
        files, _ = self.files()

        def digest(file: _File) -> str:
            try:
                return hashlib.sha256(file[1].read_bytes()).hexdigest()
            except OSError as error:
                return f"unreadable: {error.strerror}"  # `load` leaves the file out and names it.

        names = [f"{person}/{path.name}" for person, path in files]
        digests = _in_threads(digest, files)
        content = [list(pair) for pair in zip(names, digests, strict=True)]
        settings = self.settings.model_dump(mode="json", exclude={"root"})
        return fingerprint({"settings": settings, "content": content})

    def load(self) -> Pictures:
        """See `DataSet.load`."""
        files, skipped = self.files()
        require_memory(self.settings, len(files), f"the files of {self.settings.root}")
        size, channels = self.settings.image_size, self.settings.channels
        images_NCHW = np.empty((len(files), channels, size, size), dtype=np.uint8)

        def read(index: int) -> str | None:
            path = files[index][1]
            try:
                images_NCHW[index] = _read_picture(path, size, channels)
            except Exception as error:  # A decoder may raise anything on a broken file.
                return f"{path.relative_to(self.settings.root).as_posix()}: {error}"
            return None

        faults = _in_threads(read, range(len(files)))
        skipped += [fault for fault in faults if fault is not None]
        kept = [index for index, fault in enumerate(faults) if fault is None]
        if len(kept) < len(files):
            images_NCHW = images_NCHW[kept]
        owners = [files[index][0] for index in kept]
        people = self._check_people(owners, skipped)
        number = {person: index for index, person in enumerate(people)}
        person_N = torch.tensor([number[owner] for owner in owners], dtype=torch.int64)
        return Pictures(torch.from_numpy(images_NCHW), person_N, people, tuple(skipped))

    def files(self) -> tuple[list[_File], list[str]]:
        """The picture files, sorted by person and name, and what was left out.

        Raises:
            ConfigError: the root is missing, or fewer than two people have pictures.
        """
        require_folder(self.settings.root, _EXPECTED)
        files, skipped = _walk(self.settings.root, self.settings.max_pictures_per_person)
        self._check_people([owner for owner, _ in files], skipped)
        return files, skipped

    def _check_people(self, owners: Sequence[str], skipped: Sequence[str]) -> tuple[str, ...]:
        """The sorted identifiers.

        Raises:
            ConfigError: there are fewer than two people, or one person may be two.
        """
        people = tuple(sorted(set(owners)))
        if len(people) >= 2:
            self._check_layout(people)
            return people
        left_out = f"; {len(skipped)} left out, the first: {skipped[0]}" if skipped else ""
        wrong = (
            f"no usable picture ({', '.join(sorted(_EXTENSIONS))}) in any folder below it; expected"
        )
        if people:
            wrong = f"only one person (`{people[0]}`) has usable pictures; at least two are needed:"
        raise ConfigError(f"{self.settings.root}: {wrong} {_EXPECTED}{left_out}")

    def _check_layout(self, people: Sequence[str]) -> None:
        """Refuse folders of which it is not clear whether they show one person or two."""
        root, known = self.settings.root, set(people)
        for person in people:
            above = next((str(p) for p in PurePosixPath(person).parents if str(p) in known), None)
            if above is not None:
                raise ConfigError(
                    f"{root}: `{above}` and `{person}` both hold pictures; move those of `{person}` into "
                    f"`{above}` if they show the same person, else out of that folder"
                )
        if same := alike(people, lambda person: folded(PurePosixPath(person).name)):
            first, second = same[0][:2]
            raise ConfigError(
                f"{root}: `{first}` and `{second}` have the same name in different folders ({len(same)} such "
                "names); join them if they are one person, as with folders for training and validation, else "
                "rename one"
            )


def _walk(root: Path, most: int | None) -> tuple[list[_File], list[str]]:
    """The pictures below `root`, at most `most` for each person, and what was left out.

    Nothing outside the root is followed.
    """
    files: list[_File] = []
    skipped: list[str] = []
    real_root = root.resolve()

    def complain(error: OSError) -> None:
        skipped.append(f"{error.filename}: {error.strerror}")

    others: Counter[str] = Counter()
    for here, folders, names in os.walk(root, onerror=complain):
        folder = Path(here)
        person = folder.relative_to(root).as_posix()
        prefix = "" if person == "." else f"{person}/"
        others["in hidden folders"] += _hidden_files(folder, folders)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (folder / name).is_symlink():  # os.walk does not go into it.
                skipped.append(f"{prefix}{name}: is a link to a folder, not followed")
        kept = []
        for name in sorted(names):
            path = folder / name
            if kind := _no_picture(path):
                others[kind] += 1
            elif person == ".":
                skipped.append(f"{name}: lies directly in the root, in no person's folder")
            elif _is_plain_file(path):
                kept.append((person, path))
            elif path.is_symlink() and not path.resolve().is_relative_to(real_root):
                skipped.append(f"{prefix}{name}: is a link that leaves the root")
            elif not path.is_file():
                skipped.append(f"{prefix}{name}: is not a file (a broken link?)")
            else:
                kept.append((person, path))
        files += kept[:most]
    counted = sorted((kind, count) for kind, count in others.items() if count)
    skipped += [f"files {kind}: {count} not read" for kind, count in counted]
    return sorted(files, key=lambda file: (file[0], file[1].name)), skipped


def _hidden_files(folder: Path, folders: Sequence[str]) -> int:
    """How many files lie in the hidden ones of these folders, and below them."""
    hidden = [folder / name for name in folders if name.startswith(".")]
    return sum(len(names) for path in hidden for _, _, names in os.walk(path))


def _no_picture(path: Path) -> str:
    """What kind of other file it is; empty for a picture, by its ending or its first bytes."""
    if path.name.startswith("."):
        return "with hidden names"
    ending = path.suffix.lower()
    if ending in _EXTENSIONS:
        return ""
    if not _is_plain_file(path):
        return "that are links or no plain files"
    try:
        with path.open("rb") as stream:
            head = stream.read(12)
    except OSError:
        return "that cannot be opened"
    if head.startswith(_HEADS) and (head[:4] != b"RIFF" or head[8:] == b"WEBP"):
        return ""
    return f"named *{ending}" if ending else "without an ending"


def _is_plain_file(path: Path) -> bool:
    """Whether a file, and no link, lies there: one look at the disk for nearly every picture."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _read_picture(path: Path, size: int, channels: int) -> NDArray[np.uint8]:
    """Read one picture as uint8 (channels, size, size): upright, central square, resized.

    Raises:
        Exception: of any type, with a text that says why the file cannot be used.
    """
    if path.stat().st_size == 0:
        raise ValueError("is empty (0 bytes)")
    try:
        opened = Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError as error:  # whose own text is only the full path
        raise ValueError(f"is none of {', '.join(_FORMATS)}, or its head is broken") from error
    with opened:
        width, height = opened.size
        if min(width, height) < _SMALLEST:
            raise ValueError(f"is {width}x{height} pixels; at least {_SMALLEST}x{_SMALLEST} needed")
        if width * height > _LARGEST:
            raise ValueError(f"is {width}x{height} pixels; more than {_LARGEST} in all are refused")
        upright = ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I"):  # PIL itself would cut 16-bit gray off at 255
        gray = np.asarray(upright).clip(0, 65535) // 257
        upright = Image.fromarray(gray.astype(np.uint8))
    picture = upright.convert("L" if channels == 1 else "RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    # Not by `resize(box=...)`: its filter reaches over the edge of the box.
    square = picture.crop((left, top, left + side, top + side))
    values = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    return values[None] if channels == 1 else values.transpose(2, 0, 1)


def _in_threads(work: Callable[..., _T], items: Sequence[object]) -> list[_T]:
    """`work` on every item, in order; decoders and digests release the interpreter lock."""
    # To hand over every file by itself costs more than its digest.
    parts = [items[start : start + _PART] for start in range(0, len(items), _PART)]
    with ThreadPoolExecutor(max_workers=min(16, 2 * (os.cpu_count() or 1))) as pool:
        done = pool.map(lambda part: [work(item) for item in part], parts)
        return [result for results in done for result in results]
