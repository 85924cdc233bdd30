"""The names of data sets, with the manifests that spare a second command from reading every picture file.

    pictures/manifests/ID.parquet            name, size, time of change and SHA-256 of each picture file
    pictures/manifests/ID-listing.parquet    what lies in tar files and tables

Both are a help alone: if one is missing or damaged, or cannot be written, the files are read.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from inversionlab.core.settings import fingerprint
from inversionlab.data import DataSet
from inversionlab.data.files import FileSet
from inversionlab.data.manifest import RACY_NS, Listing, Manifest, pack, unpack
from inversionlab.data.stored_listing import pack_listing, unpack_listing
from inversionlab.store.storage import Storage, StorageError

_PIXELS = frozenset({"image_size", "channels", "crop", "background"})
"""Settings that change no file's content."""
_LISTED = 2
"""Raise it when containers are listed otherwise, so that what an earlier release listed is not used."""


def fingerprint_of(dataset: DataSet, storage: Storage | None, *, verify: bool = False) -> str:
    """The name of a data set's content.

    Files are not read that are in the set's manifest and have the same size and time of change; with `verify` all
    are. The manifest is then written anew if anything in it has changed.

    Raises:
        ConfigError: the source is missing or empty.
    """
    if storage is None or not isinstance(dataset, FileSet):
        return dataset.fingerprint()
    began = time.time_ns()
    with _uncollected():
        files = _listing(dataset, storage, began, verify=verify).files
        known = None if verify else _manifest(dataset, storage)
        found = [] if known is None else [known.content(file) for file in files]
        contents = [content for content in found if content is not None]
    if len(contents) < len(files):
        contents = dataset.contents(files, known)
    if found != contents or known is None or len(known) != len(files):
        # The pictures can be read again, so a full disk is no reason to stop here.
        with suppress(StorageError, OSError):
            storage.write(f"{_name(dataset)}.parquet", pack(files, contents, began))
    return dataset.fingerprint_of(files, contents)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection in the block, which would look through the lists of files again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _name(dataset: FileSet) -> str:
    settings = dataset.settings.model_dump(mode="json", exclude=_PIXELS)
    return f"pictures/manifests/{fingerprint(settings)}"


def _listing(dataset: FileSet, storage: Storage, began: int, *, verify: bool) -> Listing:
    """What there is; of containers that have not changed, as an earlier command found it."""
    containers = dataset.containers()
    if containers is None:
        return dataset.listing()
    name = f"{_name(dataset)}-listing.parquet"
    key = fingerprint([_LISTED, *([c.name, c.size, c.modified] for c in containers)])
    settled = all(c.modified <= began - RACY_NS for c in containers)
    if settled and not verify:
        with suppress(OSError):
            if (kept := unpack_listing(storage.read(name), key)) is not None:
                return kept
    listing = dataset.listing()
    if settled:
        with suppress(StorageError, OSError):
            storage.write(name, pack_listing(listing, key))
    return listing


def _manifest(dataset: FileSet, storage: Storage) -> Manifest | None:
    try:
        return unpack(storage.read(f"{_name(dataset)}.parquet"))
    except OSError:
        return None
