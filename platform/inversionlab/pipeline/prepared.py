"""Prepared data sets: decoded once, cut into parts, and listed in an index, so that a picture is read by its row.

In the storage, `pictures/NAME/parts/` holds a set's pictures, and `pictures/NAME/index.parquet`, which is written
last, says what is in every row.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from inversionlab import data
from inversionlab.core.clock import clock
from inversionlab.core.rows import Images, Parts, PictureRows
from inversionlab.data.base import DataSettings, Pictures
from inversionlab.data.files import FileSet
from inversionlab.pipeline.old_pictures import old_set
from inversionlab.pipeline.picture_index import INDEX, SetIndex, unpack_index
from inversionlab.pipeline.picture_parts import PartNote, contents, decoded, mapped, pack, part_size
from inversionlab.store.local_copies import local_copy
from inversionlab.store.storage import Storage, StorageError

SMALL = 2**28
"""Bytes of pixels up to which a set is prepared by the process that asks for it, and checked whole when opened."""
EVERY = 10.0
"""Seconds between lines about a preparation."""
Report = Callable[[int, int, float], None]
"""Is told the parts that are made, all parts, and the seconds left."""


class DamagedPicturesError(StorageError):
    """A part of a prepared set is not what was written. It is set aside, and the next command makes it again."""


@dataclass(frozen=True)
class Preparation:
    """How a data set is cut into parts."""

    settings: DataSettings
    name: str
    files: Sequence[Any]
    """The set's listing; for a set that is no files, its pictures' numbers."""
    skipped: tuple[str, ...] = ()
    drawn: Pictures | None = None
    """The pictures of a set that is no files."""

    @classmethod
    def of(cls, settings: DataSettings, name: str) -> "Preparation":
        """That of the set called `name`; ConfigError if its source is missing or empty."""
        source = data.build(settings)
        if isinstance(source, FileSet):
            listing = source.listing()
            return cls(settings, name, listing.files, listing.skipped)
        drawn = source.load()
        return cls(settings, name, range(len(drawn.person_N)), drawn.skipped, drawn)

    @property
    def size(self) -> int:
        """Bytes of pixels, if every picture can be used."""
        return len(self.files) * self.settings.channels * self.settings.image_size**2

    def listed(self) -> Pictures:
        """The set as it is listed: who is on which picture. No picture can be read, and none equals another."""
        people = sorted({file.person for file in self.files})
        number = {person: index for index, person in enumerate(people)}
        person_N = torch.tensor([number[file.person] for file in self.files], dtype=torch.int64)
        places = np.arange(2 * len(person_N), dtype=np.int64).view(np.uint8).reshape(-1, 16)

        def refuse(number: int) -> Images:
            raise StorageError(f"pictures/{self.name}: the set is not prepared yet")

        parts = Parts([len(person_N)], _shape(self.settings), refuse)
        rows = PictureRows(parts, name=self.name)
        return Pictures(rows, person_N, tuple(people), self.skipped, places)

    def parts(self) -> list["WantedPart"]:
        """The parts, of which none is made yet."""
        size = part_size(self.settings.channels, self.settings.image_size)
        starts = range(0, len(self.files), size)
        return [
            WantedPart(self.settings, self.name, number, first, self.files[first : first + size])
            for number, first in enumerate(starts)
        ]


@dataclass(frozen=True)
class WantedPart:
    """A part to be made: a slice of the listing."""

    settings: DataSettings
    name: str
    number: int
    first: int
    files: Sequence[Any]

    def make(self, storage: Storage, drawn: Pictures | None = None) -> tuple[str, PartNote]:
        """Decode and store it; returns its file and note. One that is stored is not made again."""
        if (stored := self.stored(storage)) is not None:
            return stored
        if drawn is None:
            source = data.build(self.settings)
            assert isinstance(source, FileSet), "only files are read where they are needed"
            images_NCHW, note = decoded(source, self.files, self.first)
        else:
            last = self.first + len(self.files)
            images_NCHW = drawn.images_NCHW[self.first : last]
            note = PartNote(np.arange(self.first, last), contents(images_NCHW))
        packed = pack(images_NCHW, note)
        digest = hashlib.sha256(packed).hexdigest()
        file = f"pictures/{self.name}/parts/{self.number:05}-{digest}.safetensors"
        storage.write(file, packed)
        return file, note

    def stored(self, storage: Storage) -> tuple[str, PartNote] | None:
        """The file and note of the part if an interrupted run has made it."""
        folder, shape = f"pictures/{self.name}/parts", _shape(self.settings)
        for file in storage.files(folder, ".safetensors"):
            if Path(file).name.startswith(f"{self.number:05}-"):
                if (found := _checked(storage, file, shape)) is not None:
                    return file, found[1]
                storage.delete(file)
        return None


def _shape(settings: DataSettings) -> tuple[int, int, int]:
    return settings.channels, settings.image_size, settings.image_size


def _checked(
    storage: Storage, file: str, shape: tuple[int, int, int]
) -> tuple[torch.Tensor, PartNote] | None:
    """The pictures and the note of a part's file; None if it is missing, or not what its name says."""
    digest = Path(file).stem.partition("-")[2]
    try:
        place = local_copy(storage, file, digest)
    except FileNotFoundError:
        return None
    return mapped(place, shape) if place is not None else None


def finished(
    storage: Storage, wanted: Preparation, made: Sequence[tuple[str, PartNote]]
) -> SetIndex:
    """Write the index of a set whose parts are all made.

    Raises:
        ConfigError: too few people have usable pictures.
    """
    notes = [note for _, note in made]
    entry_N = np.concatenate([note.entry_N for note in notes])
    skipped = [*wanted.skipped, *_said(wanted, notes)]
    if wanted.drawn is None:
        source = data.build(wanted.settings)
        assert isinstance(source, FileSet)
        owners = [wanted.files[entry].person for entry in entry_N.tolist()]
        people = source.check_people(owners, skipped)
        number = {person: index for index, person in enumerate(people)}
        person = [number[owner] for owner in owners]
        names = [os.fsencode(wanted.files[entry].name) for entry in entry_N.tolist()]
    else:
        people, person = wanted.drawn.people, wanted.drawn.person_N.tolist()
        names = [b""] * len(person)
    digests = [digest.tobytes() for note in notes for digest in note.content_ND]
    columns = zip((person, names, digests), INDEX, strict=True)
    rows = pa.table([pa.array(c, f.type) for c, f in columns], schema=INDEX)
    parts = tuple((file, len(note.entry_N)) for file, note in made)
    index = SetIndex(wanted.name, _shape(wanted.settings), parts, people, tuple(skipped), rows)
    storage.write(f"pictures/{wanted.name}/index.parquet", index.pack())
    return index


def _said(wanted: Preparation, notes: Sequence[PartNote]) -> Iterator[str]:
    """One line for each picture that was left out, and one for each thing that was done to some."""
    remarks: dict[str, int] = {}
    for note in notes:
        for entry, why in note.faults:
            yield f"{wanted.files[entry].name}: {why}"
        for what, count in note.remarks:
            remarks[what] = remarks.get(what, 0) + count
    yield from (f"pictures {what}: {count}" for what, count in sorted(remarks.items()))


def prepare_here(storage: Storage, wanted: Preparation, report: Report) -> SetIndex:
    """Make the missing parts of a set in this process, one after another."""
    parts, made, began = wanted.parts(), [], time.monotonic()
    for part in parts:
        made.append(part.make(storage, wanted.drawn))
        spent = time.monotonic() - began
        report(len(made), len(parts), spent / len(made) * (len(parts) - len(made)))
    return finished(storage, wanted, made)


def pictures_of(
    storage: Storage, settings: DataSettings, name: str, *, listed: bool = False
) -> Pictures:
    """The set called `name`, by its rows. One that is not prepared yet, or is damaged, is prepared now.

    With `listed`, a large set that is not prepared is only listed: its pictures cannot be read.

    Raises:
        ConfigError: its source is missing or unusable.
        StorageError: it cannot be written.
    """
    prepared = PreparedPictures(storage)
    if (found := prepared.opened(name)) is not None:
        return found
    wanted = Preparation.of(settings, name)
    if listed and wanted.drawn is None and wanted.size > SMALL:
        return wanted.listed()
    return prepared.pictures(prepare_here(storage, wanted, _told()))


def _told() -> Report:
    """Prints how far a long preparation is."""
    last = time.monotonic()

    def report(made: int, parts: int, left: float) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY and made < parts:
            last = time.monotonic()
            print(f"[data] {made} of {parts} parts are prepared, {clock(left)} left", flush=True)

    return report


class PreparedPictures:
    """The prepared sets of a storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def index(self, name: str) -> SetIndex | None:
        """The index of a set; None: it is not prepared, or its index is damaged."""
        file = f"pictures/{name}/index.parquet"
        try:
            index = unpack_index(name, self.storage.read(file))
        except FileNotFoundError:
            return None
        if index is None:
            print(f"{self.storage.uri(file)}: is damaged; it is made again", flush=True)
            return None
        there = set(self.storage.files(f"pictures/{name}/parts", ".safetensors"))
        return index if all(part in there for part, _ in index.parts) else None

    def opened(self, name: str) -> Pictures | None:
        """A prepared set; None if it is not prepared, or a part of it is found damaged.

        All of a small set is checked now. A part of a large one is checked when it is first needed, and may then
        raise DamagedPicturesError.
        """
        index = self.index(name)
        if index is None:
            return old_set(self.storage, name)
        parts = self._parts(index)
        if index.size <= SMALL:
            try:
                parts.open_all()
            except DamagedPicturesError as error:
                print(error, flush=True)
                return None
        return index.pictures(parts)

    def parts(self, name: str) -> Parts:
        """The pictures of a prepared set by their rows.

        Raises:
            StorageError: it is not prepared.
        """
        if (index := self.index(name)) is not None:
            return self._parts(index)
        if (old := old_set(self.storage, name)) is not None:
            assert isinstance(old.images_NCHW, PictureRows)
            return old.images_NCHW.parts
        raise StorageError(
            f"{self.storage.uri(f'pictures/{name}')}: holds no prepared pictures; run the command again"
        )

    def pictures(self, index: SetIndex) -> Pictures:
        """The set of this index; none of its pictures is read."""
        return index.pictures(self._parts(index))

    def _parts(self, index: SetIndex) -> Parts:
        def open_part(number: int) -> Images:
            file = index.parts[number][0]
            if (found := _checked(self.storage, file, index.shape)) is not None:
                return found[0]
            self.storage.delete(file)
            raise DamagedPicturesError(
                f"{self.storage.uri(file)}: is damaged; the next command makes this part again"
            )

        return Parts([count for _, count in index.parts], index.shape, open_part)
