"""Pictures of people in folders.

A person is any folder below the root, at any depth, that directly holds pictures; the identifier is the
folder's path relative to the root, with `/`. A folder of pictures below a person's folder, and two people of one
name in different folders (`train/p00`, `val/p00`), are refused, because one person could become two. Links that
lead out of the root or to a folder are refused.

A file is a picture by its ending, or by its first bytes. Every other file, and every picture that cannot be used,
is named or counted in `Pictures.skipped`. `decoding.py` says how a picture is read.
"""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field

from inversionlab.core.addresses import Address
from inversionlab.core.settings import ConfigError
from inversionlab.data.base import DataSet, DataSettings
from inversionlab.data.decoding import ENDINGS
from inversionlab.data.files import FileFields, FileSet
from inversionlab.data.manifest import Listing
from inversionlab.data.names import alike, folded, refuse_no_text, refuse_twins

_EXPECTED = "a folder that holds one folder of pictures for each person"


class FolderSettings(DataSettings, FileFields):
    """Where the pictures are, and how many are taken."""

    name: Literal["folder"] = "folder"
    root: Address
    """The folder that holds one folder for each person; `~`, relative paths, and URIs such as s3://bucket/faces
    are allowed."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=1_000_000)
    """Take at most this many files of each person, the first by name; null: all."""


class Folder(FileSet, DataSet):
    """A folder with one folder of pictures for each person."""

    Settings = FolderSettings
    settings: FolderSettings

    def listing(self) -> Listing:
        """See `FileSet.listing`."""
        self.root.require(_EXPECTED)
        listing = self.root.pictures(most=self.settings.max_pictures_per_person)
        self.check_people((file.person for file in listing.files), listing.skipped)
        return listing

    def check_people(self, owners: Iterable[str], skipped: Sequence[str]) -> tuple[str, ...]:
        """The sorted identifiers.

        Raises:
            ConfigError: there are fewer than two people, a name is no text, or one person may be two.
        """
        people = tuple(sorted(set(owners)))
        refuse_no_text(people, str(self.settings.root))
        if len(people) >= 2:
            self._check_layout(people)
            return people
        left_out = f"; {len(skipped)} left out, the first: {skipped[0]}" if skipped else ""
        wrong = f"no usable picture ({', '.join(sorted(ENDINGS))}) in any folder below it; expected"
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
        refuse_twins(people, str(root))
        if same := alike(people, lambda person: folded(PurePosixPath(person).name)):
            first, second = same[0][:2]
            raise ConfigError(
                f"{root}: `{first}` and `{second}` have the same name in different folders ({len(same)} such "
                "names); join them if they are one person, as with folders for training and validation, else "
                "rename one"
            )
