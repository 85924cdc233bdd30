"""The base of data sets that are files: which pictures there are, what names their content, and how they are read.

A set lists its pictures without opening one, and reads the bytes of one. All else is the same for every set: the
name of the content, known digests, decoding, and what is said of pictures that cannot be used.
"""

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import (
    Discriminator,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
)
from torch import Tensor

from inversionlab.core.settings import ConfigError, Settings, fingerprint
from inversionlab.core.text import printable
from inversionlab.data.base import Pictures
from inversionlab.data.crops import ListedBox, PixelBox
from inversionlab.data.decoding import ROOM, Decoder, Room, is_transparent, large
from inversionlab.data.manifest import Content, Listing, Manifest, PictureFile
from inversionlab.data.memory import require_memory
from inversionlab.data.names import refuse_no_text
from inversionlab.data.roots import Root, Stored, open_root
from inversionlab.data.threads import in_threads


def _kind_of_crop(crop: Any) -> str:
    """Which kind of crop a recipe's value, or a setting, means."""
    if isinstance(crop, Mapping):
        return (ListedBox if "margin" in crop else PixelBox).__name__
    return type(crop).__name__ if isinstance(crop, PixelBox | ListedBox) else "name"


if TYPE_CHECKING:
    AnyCrop = Literal["square", "five_point"] | PixelBox | ListedBox
else:
    AnyCrop = Annotated[
        Annotated[Literal["square", "five_point"], Tag("name")]
        | Annotated[PixelBox, Tag(PixelBox.__name__)]
        | Annotated[ListedBox, Tag(ListedBox.__name__)],
        Discriminator(_kind_of_crop),
    ]


class FileFields(Settings):
    """What is done to each picture of a set of files. What came later is left out of hashes at its default."""

    listed: ClassVar[frozenset[Literal["boxes", "points"]]] = frozenset()
    """What the set's own lists say of faces."""

    crop: AnyCrop = "square"
    """Which part of a picture is taken. square: the central square. {box: [left, top, right, bottom]}: that
    square, in pixels. {margin: 0.15}: the box of the face in the set's own list, made square, with that share of
    its side added on each side. five_point: eyes, nose and mouth are brought to ArcFace's template, by the points
    in the set's own list."""
    background: Literal["white", "gray", "black"] = "white"
    """What lies behind the transparent parts of a picture."""

    @field_validator("crop")
    @classmethod
    def _is_in_a_list(cls, crop: AnyCrop) -> AnyCrop:
        needed = "boxes" if isinstance(crop, ListedBox) else "points"
        if (needed == "boxes" or crop == "five_point") and needed not in cls.listed:
            raise ValueError(
                f"this set has no list of the faces' {needed}; should be square, or {{box: [left, top, right, "
                "bottom]}"
            )
        return crop

    @model_serializer(mode="wrap")
    def _as_stored(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is at its default, so that the hashes of older recipes stay."""
        given: dict[str, Any] = plain(self)
        for name in ("crop", "background"):
            if getattr(self, name) == FileFields.model_fields[name].default:
                given.pop(name, None)
        return given


class Read(NamedTuple):
    """What became of one picture."""

    fault: str = ""
    """Why it cannot be used; empty if it can."""
    remark: str = ""
    """What was done to it that is not done to every picture."""


class FileSet(ABC):
    """A set of picture files; a data set inherits it before `DataSet`."""

    settings: Any
    naming: ClassVar[str | None] = "people's own names"

    @cached_property
    def root(self) -> Root:
        """Where the files lie."""
        return open_root(self.settings.root)

    @abstractmethod
    def listing(self) -> Listing:
        """The pictures, by names and sizes alone.

        Raises:
            ConfigError: the root is missing, or fewer than two people have pictures, or one person may be two.
        """

    def read(self, file: PictureFile) -> bytes:
        """The bytes of one picture.

        Raises:
            OSError: it cannot be read.
            ValueError: it is not where the listing found it.
        """
        if file.offset is None:
            return self.root.read(file.path)
        return self.root.read(file.path, file.offset, file.size)

    def containers(self) -> list[Stored] | None:
        """The files that hold the pictures, if each holds many; None: every picture is a file.

        Raises:
            ConfigError: the root is missing, or there are none.
        """
        return None

    def reading_order(self, files: Sequence[PictureFile]) -> NDArray[np.int64] | None:
        """The order, as positions in `files`, in which many are read soonest; None: as they are listed."""
        return None

    def check_people(self, owners: Iterable[str], skipped: Sequence[str]) -> tuple[str, ...]:
        """The sorted people who have these pictures.

        Raises:
            ConfigError: there are fewer than two, or a name is no text.
        """
        people = tuple(sorted(set(owners)))
        refuse_no_text(people, str(self.settings.root))
        if len(people) < 2:
            left_out = f"; {len(skipped)} left out, the first: {skipped[0]}" if skipped else ""
            wrong = f"only one person (`{people[0]}`) has" if people else "nobody has"
            raise ConfigError(
                f"{self.settings.root}: {wrong} usable pictures; at least two people are needed{left_out}"
            )
        return people

    def digest(self, file: PictureFile) -> Content:
        """What names the content of one picture, which is read."""
        try:
            content = self.read(file)
        except Exception as error:  # `load` leaves the file out and names it, whatever was raised.
            return Content(f"unreadable: {getattr(error, 'strerror', None) or error}")
        return Content(hashlib.sha256(content).hexdigest(), is_transparent(content))

    def contents(
        self, files: Sequence[PictureFile], known: Manifest | None = None
    ) -> list[Content]:
        """What names the content of each picture. Only those are read that `known` does not know."""
        found = [None if known is None else known.content(file) for file in files]
        unknown = [index for index, content in enumerate(found) if content is None]
        unknown.sort(key=lambda index: in_storage(files[index]))
        room = Room(ROOM)

        def digest(index: int) -> Content:
            with room.taken(large(files[index])):
                return self.digest(files[index])

        read = in_threads(digest, unknown)
        for index, content in zip(unknown, read, strict=True):
            found[index] = content
        return [content for content in found if content is not None]

    def fingerprint_of(self, files: Sequence[PictureFile], contents: Sequence[Content]) -> str:
        """The name of these contents. It depends on names, contents and settings, and on no place or time.

        Boxes and points count where the crop needs them, and the background where something is transparent.
        """
        without = {"root", *self.unnamed()}
        settings = self.settings.model_dump(mode="json", exclude=without)
        if any(content.transparent for content in contents):
            settings["background"] = self.settings.background
        pairs = zip(files, contents, strict=True)
        content: list[list[Any]] = [[_named(file), content.sha256] for file, content in pairs]
        if self.settings.crop == "five_point":
            content = [[*c, file.points] for c, file in zip(content, files, strict=True)]
        elif isinstance(self.settings.crop, ListedBox):
            content = [[*c, file.box] for c, file in zip(content, files, strict=True)]
        return fingerprint({"settings": settings, "content": content})

    def unnamed(self) -> frozenset[str]:
        """The settings, besides the root, that say where something is and not what it is."""
        return frozenset()

    def fingerprint(self) -> str:
        """See `DataSet.fingerprint`; reads every picture."""
        files = self.listing().files
        return self.fingerprint_of(files, self.contents(files))

    def load(self) -> Pictures:
        """See `DataSet.load`."""
        listing = self.listing()
        files, skipped = listing.files, list(listing.skipped)
        require_memory(self.settings, len(files), f"the files of {self.settings.root}")
        size, channels = self.settings.image_size, self.settings.channels
        images_NCHW = np.empty((len(files), channels, size, size), dtype=np.uint8)
        done = self.decode_into(images_NCHW, files)
        kept = [index for index, one in enumerate(done) if not one.fault]
        read = zip(files, done, strict=True)
        faults = [(file.name, one.fault) for file, one in read if one.fault]
        skipped += said_of(faults, Counter(one.remark for one in done if one.remark))
        if len(kept) < len(files):
            images_NCHW = images_NCHW[kept]
        owners = [files[index].person for index in kept]
        people = self.check_people(owners, skipped)
        images = torch.from_numpy(images_NCHW)
        return Pictures(images, numbers(owners, people), people, tuple(skipped))

    def decode_into(
        self,
        images_NCHW: NDArray[np.uint8],
        files: Sequence[PictureFile],
        threads: int | None = None,
    ) -> list[Read]:
        """Decode each file into its place; what became of each is returned. `threads`: see `in_threads`."""
        decoder = self.decoder()

        def read(index: int) -> Read:
            return self.read_into(images_NCHW[index], files[index], decoder)

        order = sorted(range(len(files)), key=lambda index: in_storage(files[index]))
        done = [Read()] * len(files)
        for index, one in zip(order, in_threads(read, order, threads), strict=True):
            done[index] = one
        return done

    def decoder(self) -> Decoder:
        """What turns bytes into pictures, as the settings say; one for each process."""
        s = self.settings
        return Decoder(s.image_size, s.channels, crop=s.crop, background=s.background)

    def read_into(self, image_CHW: NDArray[np.uint8], file: PictureFile, decoder: Decoder) -> Read:
        """Decode one picture into `image_CHW`; what is wrong with it is returned."""
        try:
            with decoder.reading(file):
                picture = decoder.decode(self.read(file), file)
        except Exception as error:  # A decoder may raise anything on a broken file.
            return Read(fault=str(error) or type(error).__name__)
        image_CHW[...] = picture.values_CHW
        return Read(remark=picture.remark)


def said_of(faults: Iterable[tuple[str, str]], remarks: Mapping[str, int]) -> list[str]:
    """One line for each picture that was left out, and one for each thing that was done to some of them.

    `faults` are the pictures' names and what is wrong with them, `remarks` what was done, and to how many.
    """
    lines = printable(f"{name}: {fault}" for name, fault in faults)
    return [*lines, *(f"pictures {remark}: {count}" for remark, count in sorted(remarks.items()))]


def numbers(owners: Iterable[str], people: Sequence[str]) -> Tensor:
    """The position in `people` of each picture's owner: int64 (N,)."""
    number = {person: index for index, person in enumerate(people)}
    return torch.tensor([number[owner] for owner in owners], dtype=torch.int64)


def _named(file: PictureFile) -> str:
    """The picture's name, with the person in it, who may stand in a list or a table."""
    inside = file.name.startswith(f"{file.person}/")
    return file.name if inside else f"{file.person}/{file.name}"


def in_storage(file: PictureFile) -> tuple[str, int]:
    """The order in which pictures are read: one after the other in each container."""
    return file.path, file.offset or file.row or 0
