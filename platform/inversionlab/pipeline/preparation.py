"""How a data set is prepared: its listing is cut into parts, which are decoded and stored, then indexed."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from inversionlab import data
from inversionlab.core.rows import Images, Parts, PictureRows
from inversionlab.data.base import DataSettings, Pictures
from inversionlab.data.files import FileSet, numbers, said_of
from inversionlab.data.manifest import PictureFile
from inversionlab.pipeline.picture_index import INDEX, PLACE, SetIndex
from inversionlab.pipeline.picture_parts import PartNote, contents, decoded, mapped, pack, part_size
from inversionlab.store.local_copies import local_copy
from inversionlab.store.storage import Storage


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
    order_N: NDArray[np.int64] | None = None
    """The order, as places in `files`, in which they are cut into parts; None: as they are listed."""

    @classmethod
    def of(cls, settings: DataSettings, name: str) -> "Preparation":
        """That of the set called `name`; ConfigError if its source is missing or empty."""
        source = data.build(settings)
        if isinstance(source, FileSet):
            files, skipped = (listing := source.listing()).files, listing.skipped
            several = len(files) > part_size(settings.channels, settings.image_size)
            order_N = source.reading_order(files) if several else None
            return cls(settings, name, files, skipped, order_N=order_N)
        drawn = source.load()
        return cls(settings, name, range(len(drawn.person_N)), drawn.skipped, drawn)

    @property
    def size(self) -> int:
        """Bytes of pixels, if every picture can be used."""
        return len(self.files) * self.settings.channels * self.settings.image_size**2

    def listed(self) -> Pictures:
        """The set as it is listed: who is on which picture.

        Pictures are decoded whenever they are read, and none is taken for another's equal.
        """
        people = sorted({file.person for file in self.files})
        person_N = numbers((file.person for file in self.files), people)
        places = np.arange(2 * len(person_N), dtype=np.int64).view(np.uint8).reshape(-1, 16)
        rows = PictureRows(UndecodedPictures(self.settings, self.files), name=self.name)
        return Pictures(rows, person_N, tuple(people), self.skipped, places)

    def starts(self) -> range:
        """The first entry of each part."""
        return range(
            0, len(self.files), part_size(self.settings.channels, self.settings.image_size)
        )

    def parts(self, storage: Storage) -> list["WantedPart"]:
        """The parts, each with the files that an interrupted run may have stored for it."""
        stored: defaultdict[str, list[str]] = defaultdict(list)
        for file in storage.files(f"pictures/{self.name}/parts", ".safetensors"):
            stored[Path(file).name.partition("-")[0]].append(file)
        starts = self.starts()
        order_N = np.arange(len(self.files)) if self.order_N is None else self.order_N
        return [
            WantedPart(
                self.settings,
                self.name,
                number,
                (entry_N := order_N[first : first + starts.step]),
                [self.files[entry] for entry in entry_N.tolist()],
                tuple(stored[f"{number:05}"]),
            )
            for number, first in enumerate(starts)
        ]


class UndecodedPictures(Parts):
    """The pictures of files, each decoded when it is read; one that cannot be used is black."""

    def __init__(self, settings: DataSettings, files: Sequence[PictureFile]) -> None:
        self._source, self._files = data.build(settings), files
        super().__init__([len(files)], shape_of(settings), self._whole)

    def _whole(self, part: int) -> Images:
        return self.read(torch.arange(len(self._files)))

    def read(self, row_N: Tensor) -> Tensor:
        """See `Parts.read`."""
        assert isinstance(self._source, FileSet)
        images_NCHW = np.zeros((len(row_N), *self.shape), dtype=np.uint8)
        self._source.decode_into(images_NCHW, [self._files[row] for row in row_N.tolist()])
        return torch.from_numpy(images_NCHW)


@dataclass(frozen=True)
class WantedPart:
    """A part to be made: some entries of the listing."""

    settings: DataSettings
    name: str
    number: int
    entry_N: NDArray[np.int64]
    """Their places in the listing."""
    files: Sequence[Any]
    found: tuple[str, ...] = ()
    """What lies in the storage in its place."""

    def make(
        self, storage: Storage, drawn: Pictures | None = None, *, threads: int | None = None
    ) -> tuple[str, PartNote]:
        """Decode and store it; returns its file and note. One that is stored is not made again.

        `drawn` are the pictures of a set that is no files. `threads` decode files; None: as suits the machine.
        """
        if (stored := self.stored(storage)) is not None:
            return stored
        if drawn is None:
            source = data.build(self.settings)
            assert isinstance(source, FileSet), "only files are read where they are needed"
            images_NCHW, note = decoded(source, self.files, self.entry_N, threads)
        else:
            images_NCHW = drawn.images_NCHW[torch.from_numpy(self.entry_N)]
            note = PartNote(self.entry_N, contents(images_NCHW))
        packed = pack(images_NCHW, note)
        digest = hashlib.sha256(packed).hexdigest()
        file = f"pictures/{self.name}/parts/{self.number:05}-{digest}.safetensors"
        storage.write(file, packed)
        return file, note

    def stored(self, storage: Storage) -> tuple[str, PartNote] | None:
        """The file and note of the part if an interrupted run has made it."""
        for file in self.found:
            found = checked(storage, file, shape_of(self.settings))
            # An earlier release may have cut the listing in another way.
            if found is not None and found[1].covers(self.entry_N):
                return file, found[1]
            storage.delete(file)
        return None


def shape_of(settings: DataSettings) -> tuple[int, int, int]:
    """Channels, height and width of every picture."""
    return settings.channels, settings.image_size, settings.image_size


def checked(
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
    made_N = np.concatenate([note.entry_N for note in notes])
    place_N = np.argsort(made_N, kind="stable")
    entry_N = made_N[place_N]
    unusable = sorted(fault for note in notes for fault in note.faults)
    faults = ((wanted.files[entry].name, why) for entry, why in unusable)
    remarks: Counter[str] = Counter()
    for note in notes:
        remarks.update(dict(note.remarks))
    skipped = [*wanted.skipped, *said_of(faults, remarks)]
    if wanted.drawn is None:
        source = data.build(wanted.settings)
        assert isinstance(source, FileSet)
        owners = [wanted.files[entry].person for entry in entry_N.tolist()]
        people = source.check_people(owners, skipped)
        person = numbers(owners, people).tolist()
        names = [os.fsencode(wanted.files[entry].name) for entry in entry_N.tolist()]
    else:
        people, person = wanted.drawn.people, wanted.drawn.person_N.tolist()
        names = [b""] * len(person)
    content_ND = np.concatenate([note.content_ND for note in notes])[place_N]
    columns: list[Any] = [person, names, [digest.tobytes() for digest in content_ND]]
    schema = INDEX
    if wanted.order_N is not None:
        columns.append(place_N)
        schema = INDEX.append(PLACE)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    rows = pa.table(arrays, schema=schema)
    parts = tuple((file, len(note.entry_N)) for file, note in made)
    index = SetIndex(wanted.name, shape_of(wanted.settings), parts, people, tuple(skipped), rows)
    packed = index.pack()
    digest = hashlib.sha256(packed).hexdigest()
    storage.write(f"pictures/{wanted.name}/index-{digest}.parquet", packed)
    return index
