"""Prepared data sets: decoded once, cut into parts, and listed in an index, so that a picture is read by its row.

In the storage, `pictures/NAME/parts/` holds a set's pictures, and `pictures/NAME/index-SHA256.parquet`, which is
written last, says what is in every row.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from inversionlab.core.clock import clock
from inversionlab.core.rows import Images, Parts, PictureRows
from inversionlab.data.base import DataSettings, Pictures
from inversionlab.experiment import Experiment
from inversionlab.pipeline.old_pictures import old_set
from inversionlab.pipeline.picture_index import SetIndex, unpack_index
from inversionlab.pipeline.preparation import Preparation, checked, finished
from inversionlab.store.storage import Storage, StorageError

SMALL = 2**28
"""Bytes of pixels up to which a set is prepared by the process that asks for it, and checked whole when opened."""
EVERY = 10.0
"""Seconds between lines about a preparation."""
Prepare = Callable[[Storage, Preparation], SetIndex]
"""Makes the missing parts of a set, and its index."""


class DamagedPicturesError(StorageError):
    """A part of a prepared set is not what was written. It is deleted, and the next command makes it again."""


def prepare_here(storage: Storage, wanted: Preparation) -> SetIndex:
    """Make the missing parts of a set in this process, one after another."""
    report = _told()
    parts, made, began = wanted.parts(storage), [], time.monotonic()
    for part in parts:
        made.append(part.make(storage, wanted.drawn))
        spent = time.monotonic() - began
        report(len(made), len(parts), spent / len(made) * (len(parts) - len(made)))
    return finished(storage, wanted, made)


def pictures_of(
    storage: Storage,
    settings: DataSettings,
    name: str,
    *,
    listed: bool = False,
    prepare: Prepare | None = None,
) -> Pictures:
    """The set called `name`, by its rows. One that is not prepared yet, or is damaged, is prepared now.

    A large set of files is prepared by `prepare`, any other one in this process.
    With `listed`, a large set that is not prepared is only listed, and decoded as far as it is read.

    Raises:
        ConfigError: its source is missing or unusable.
        StorageError: it cannot be written.
    """
    prepared = PreparedPictures(storage)
    if (found := prepared.opened(name)) is not None:
        return found
    wanted = Preparation.of(settings, name)
    large = wanted.drawn is None and wanted.size > SMALL
    if listed and large:
        return wanted.listed()
    make = prepare if prepare is not None and large else prepare_here
    return prepared.pictures(make(storage, wanted))


def planned_pictures(
    experiment: Experiment, names: Sequence[str], storage: Storage
) -> Iterator[str]:
    """What a plan says of the experiment's data sets of these names: which large ones are to be prepared."""
    chosen = [s for s in (experiment.data, experiment.public_data) if s is not None]
    for settings, name in zip(chosen, names, strict=True):
        prepared = PreparedPictures(storage)
        if prepared.index(name) is None and old_set(storage, name) is None:
            wanted = Preparation.of(settings, name)
            yield (
                f"data ({settings.name}): {len(wanted.files):,} pictures are to be prepared, "
                f"{wanted.size / 1e9:,.1f} GB in {len(wanted.starts())} parts; until then, broken and equal ones "
                "are not counted"
            )


def _told() -> Callable[[int, int, float], None]:
    """Prints how far a long preparation is: the parts that are made, all parts, and the seconds left."""
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
        there = set(self.storage.files(f"pictures/{name}/parts", ".safetensors"))
        for file in self.storage.files(f"pictures/{name}", ".parquet"):
            packed = self.storage.read(file)
            whole = hashlib.sha256(packed).hexdigest() == Path(file).stem.removeprefix("index-")
            index = unpack_index(name, packed) if whole else None
            if index is None:
                print(f"{self.storage.uri(file)}: is damaged; it is made again", flush=True)
                self.storage.delete(file)
            elif all(part in there for part, _ in index.parts):
                return index
        return None

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
            if (found := checked(self.storage, file, index.shape)) is not None:
                return found[0]
            self.storage.delete(file)
            raise DamagedPicturesError(
                f"{self.storage.uri(file)}: is damaged; the next command makes this part again"
            )

        counts = [count for _, count in index.parts]
        return Parts(counts, index.shape, open_part, index.place_N)
