"""Pictures in tar files, as WebDataset cuts its shards: `KEY.jpg` beside `KEY.cls`, `KEY.txt` or `KEY.json`.

A member's key is its path up to the first dot of its name. A person is the folder of the member, or what stands
in a neighbour of the same key. Members are read where they lie, and never unpacked; links, devices, absolute
names and names with `..` are left out and named. Compressed shards cannot be read from the middle, so unpack
them first.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import Field

from inversionlab.core.addresses import Address
from inversionlab.core.settings import ConfigError
from inversionlab.core.strict_json import parse_json
from inversionlab.core.text import is_text
from inversionlab.data.base import DataSet, DataSettings
from inversionlab.data.decoding import ENDINGS, kind_of_other
from inversionlab.data.files import FileFields, FileSet
from inversionlab.data.lists import by_person, missing
from inversionlab.data.manifest import Listing, PictureFile
from inversionlab.data.names import folded, refuse_equal_numbers, refuse_no_text
from inversionlab.data.roots import Stored, is_inner

_EXPECTED = "a folder with *.tar files"
_END = 1 << 16  # bytes; writers fill the last 10 kB with zeros
_LARGEST_LABEL = 1 << 16  # bytes of a neighbour that says who is on a picture
_EXTENSIONS = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)
"""Kinds of headers whose content, which tarfile reads whole, says more of the members behind them."""
_LARGEST_EXTENSION = 1 << 20  # bytes


class TarSettings(DataSettings, FileFields):
    """Where the shards are, and what says who is on a picture."""

    name: Literal["tar"] = "tar"
    root: Address
    """The folder, or a bucket's URI, with the *.tar files, at any depth."""
    person: str = Field(default="folder", pattern=r"^(folder|cls|txt|json\.[^.]+(\.[^.]+)*)$")
    """folder: the member's folder in the tar. cls, txt: the text in the neighbour `KEY.cls` or `KEY.txt`.
    json.A.B: the value of A.B in the neighbour `KEY.json`."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=1_000_000)
    """Take at most this many pictures of each person, the first by shard and member; null: all."""


@dataclass
class _Shard:
    """What a shard holds, by the members' keys."""

    pictures: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Where each picture begins, and how long it is; of two members of one name the last counts, as for tar."""
    labels: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)


class Tar(FileSet, DataSet):
    """People in shards."""

    Settings = TarSettings
    settings: TarSettings

    def containers(self) -> list[Stored]:
        """See `FileSet.containers`."""
        self.root.require(_EXPECTED)
        shards = self.root.files(".tar")
        if not shards:
            raise ConfigError(f"{self.settings.root}: has no *.tar file; expected {_EXPECTED}")
        return shards

    def listing(self) -> Listing:
        """See `FileSet.listing`; reads the shards' headers, and the neighbours that name people."""
        shards = self.containers()
        files: list[PictureFile] = []
        skipped: list[str] = []
        unnamed: list[str] = []
        others: Counter[str] = Counter()
        for stored in shards:
            shard = self._shard(stored)
            others += shard.others
            skipped += shard.skipped
            owners = {member: self._person(member, shard) for member in shard.pictures}
            refuse_no_text(dict.fromkeys(owners.values()), f"{self.settings.root}/{stored.name}")
            for member, (offset, size) in shard.pictures.items():
                person = owners[member]
                name = f"{stored.name}!{member}"
                if not person:
                    unnamed.append(name)
                    continue
                files.append(
                    PictureFile(person, name, stored.name, size, stored.modified, offset=offset)
                )
        skipped += missing(unnamed, "pictures without a person")
        skipped += [f"members {kind}: {count} not read" for kind, count in sorted(others.items())]
        people = self.check_people((file.person for file in files), skipped)
        if self.settings.person == "cls":
            refuse_equal_numbers(people, str(self.settings.root))
        return by_person(files, skipped, self.settings.max_pictures_per_person)

    def _person(self, member: str, shard: _Shard) -> str:
        if self.settings.person == "folder":
            return member.rpartition("/")[0]
        return shard.labels.get(_key(member), "")

    def _shard(self, stored: Stored) -> _Shard:
        shard, where = _Shard(), f"{self.settings.root}/{stored.name}"
        try:
            with (
                self.root.open(stored.name) as stream,
                tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header) as tar,
            ):
                for member in _members(tar):
                    self._take(shard, stored.name, member, tar)
                stream.seek(tar.offset)
                if end := _end(stream.read(_END)):
                    shard.skipped.append(f"{stored.name}: {end}")
        except tarfile.TarError as error:
            if not shard.pictures:
                raise ConfigError(f"{where}: is not a plain tar file: {error}") from error
            shard.skipped.append(f"{stored.name}: ends early: {error}")
        except OSError as error:
            raise ConfigError(f"{where}: cannot be read: {error}") from error
        except Exception as error:  # tarfile may raise anything at a broken header.
            last = next(reversed(shard.pictures), "its beginning")
            said = str(error) or type(error).__name__
            raise ConfigError(
                f"{where}: is not a plain tar file; a header behind {last} is broken: {said}"
            ) from error
        return shard

    def _take(
        self, shard: _Shard, name: str, member: tarfile.TarInfo, tar: tarfile.TarFile
    ) -> None:
        """Take in one member."""
        inner = member.name
        while inner.startswith("./"):  # as `tar -cf x.tar .` writes them
            inner = inner[2:]
        last = inner.rpartition("/")[2]
        if member.isdir():
            return
        if not member.isreg() or member.issparse():
            shard.others["that are links or no plain files"] += 1
        elif not is_inner(inner):
            shard.skipped.append(f"{name}!{inner}: is no plain path")
        elif last.startswith("."):
            shard.others["with hidden names"] += 1
        elif _is_label(last, self.settings.person):
            if member.size <= _LARGEST_LABEL and (content := tar.extractfile(member)) is not None:
                shard.labels[_key(inner)] = _label(content.read(), self.settings.person)
        elif f".{last.rpartition('.')[2].lower()}" in ENDINGS:
            shard.pictures[inner] = member.offset_data, member.size
        else:
            content = tar.extractfile(member)
            kind = kind_of_other(last, content.read(12) if content is not None else b"")
            if kind:
                shard.others[kind] += 1
            else:
                shard.pictures[inner] = member.offset_data, member.size


class _Header(tarfile.TarInfo):
    """A header, before tarfile reads what it promises."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """See `tarfile.TarInfo.frombuf`.

        Raises:
            ValueError: its content would be read whole and is too long, or has no length.
        """
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENSIONS and not 0 <= header.size <= _LARGEST_EXTENSION:
            raise ValueError(f"it has {header.size} bytes")
        return header


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members.

    Raises:
        ValueError: one has no size. tarfile would take what is no number for 0, and behind a negative size find
            earlier members again, for ever.
    """
    while (member := tar.next()) is not None:
        said = member.pax_headers.get("size", str(member.size))
        if not said.isdecimal() or member.size < 0 or tar.offset <= member.offset:
            raise ValueError(f"{member.name!a} has {said} bytes")
        yield member
        tar.members.clear()  # type: ignore[attr-defined]  # which would hold every header


def _end(rest: bytes) -> str:
    """What is wrong with what follows the last member; tarfile itself takes anything for the end."""
    if len(rest) < tarfile.BLOCKSIZE or any(rest[: tarfile.BLOCKSIZE]):
        return "has no mark at its end, so a part of it may be missing"
    if any(rest) or len(rest) == _END:
        return "holds more behind its end, which is not read"
    return ""


def _key(member: str) -> str:
    folder, slash, last = member.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _is_label(last: str, person: str) -> bool:
    return person != "folder" and last.partition(".")[2].lower() == person.partition(".")[0]


def _label(content: bytes, person: str) -> str:
    """Who is on a picture, by its neighbour; empty if that does not say."""
    try:
        value: Any = content.decode("utf-8-sig")
        if person.startswith("json."):
            value = parse_json(content)
        for key in person.split(".")[1:]:
            value = value[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    name = str(value).strip() if isinstance(value, str | int) else ""
    # JSON may hold half a character.
    return name if is_text(name) and folded(name) else ""
