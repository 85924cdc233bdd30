"""CelebA: 202,599 pictures of 10,177 celebrities.

Liu, Luo, Wang, Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015. A person is a number of
`identity_CelebA.txt`. The pictures lie in `img_align_celeba/` (aligned, 178x218) or `img_celeba/` (in the wild).
Both lie in the root, or in the folders that the archives or torchvision make (`Anno/`, `Img/`, `celeba/`).
Points are those of `list_landmarks_align_celeba.txt` or `list_landmarks_celeba.txt`, boxes those of
`list_bbox_celeba.txt`, which belong to the pictures in the wild. The authors' own parts
(`list_eval_partition.txt`) share no person.
"""

from typing import Literal

from pydantic import Field

from inversionlab.core.addresses import Address
from inversionlab.core.settings import ConfigError
from inversionlab.data.base import DataSet, DataSettings
from inversionlab.data.crops import ListedBox
from inversionlab.data.files import FileFields, FileSet
from inversionlab.data.lists import Box, by_person, by_picture, corners, missing, numbers, rows
from inversionlab.data.manifest import Listing, PictureFile
from inversionlab.data.names import refuse_equal_numbers

_EXPECTED = "the folder with CelebA's `identity_CelebA.txt` and `img_align_celeba`"
_LISTS = ("", "Anno/", "celeba/", "Eval/")
_FOLDERS = ("", "Img/", "celeba/")
_PARTS = {"train": "0", "valid": "1", "test": "2"}


class CelebaSettings(DataSettings, FileFields):
    """Where CelebA is, and which of its pictures are taken."""

    name: Literal["celeba"] = "celeba"
    root: Address
    """The folder, or a bucket's URI, with the lists and the folder of pictures."""
    pictures: Literal["aligned", "in_the_wild"] = "aligned"
    """The aligned pictures of 178x218 pixels, or those that they were cut from."""
    part: Literal["all", "train", "valid", "test"] = "all"
    """All people, or those of one of the authors' parts. No person is in two of these parts."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=1_000_000)
    """Take at most this many pictures of each person, the first by name; null: all."""


class Celeba(FileSet, DataSet):
    """CelebA's people by its own lists."""

    Settings = CelebaSettings
    naming = "CelebA's numbers"
    settings: CelebaSettings

    def listing(self) -> Listing:
        """See `FileSet.listing`."""
        s = self.settings
        self.root.require(_EXPECTED)
        folder = self._folder()
        found = self.root.pictures(folder, loose=True)
        identity = {name: v[0] for name, v in self._rows("identity_CelebA.txt", 2).items()}
        if s.part != "all":
            part = _PARTS[s.part]
            parts = self._rows("list_eval_partition.txt", 2)
            taken = {name for name, v in parts.items() if v[0] == part}
            identity = {name: who for name, who in identity.items() if name in taken}
        boxes, points = self._boxes(), self._points()
        files = [
            PictureFile(
                person=identity[file.name],
                name=f"{identity[file.name]}/{file.name}",
                path=f"{folder}/{file.path}",
                size=file.size,
                modified=file.modified,
                box=boxes.get(file.name),
                points=points.get(file.name),
            )
            for file in found.files
            if file.name in identity
        ]
        there = {file.name for file in found.files}
        skipped = [*found.skipped, *missing(identity.keys() - there, "listed pictures not there")]
        if s.part == "all":
            skipped += missing(there - identity.keys(), "pictures without an identity")
        people = self.check_people((file.person for file in files), skipped)
        refuse_equal_numbers(people, f"{s.root}/identity_CelebA.txt")
        return by_person(files, skipped, s.max_pictures_per_person)

    def _folder(self) -> str:
        name = "img_align_celeba" if self.settings.pictures == "aligned" else "img_celeba"
        # Some archives hold the folder once more.
        places = [f"{above}{inner}" for above in _FOLDERS for inner in (f"{name}/{name}", name)]
        if (folder := self.root.first(places, folder=True)) is None:
            raise ConfigError(f"{self.settings.root}: has no `{name}`; expected {_EXPECTED}")
        return folder

    def _rows(self, name: str, columns: int) -> dict[str, list[str]]:
        """What a list says of each picture, by its name: `columns` values, less the name."""
        place = self.root.first([f"{above}{name}" for above in _LISTS])
        if place is None:
            raise ConfigError(f"{self.settings.root}: has no `{name}`; expected {_EXPECTED}")
        where = str(self.settings.root)
        found = rows(self.root, where, place, 1, delimiter=" ")
        # The first lines of some lists say how many lines follow, and what is in them.
        pictures = ((line, v) for line, v in found if len(v) >= columns and "." in v[0])
        return by_picture(f"{where}/{place}", pictures, columns)

    def _boxes(self) -> dict[str, Box]:
        if not isinstance(self.settings.crop, ListedBox):
            return {}
        name = "list_bbox_celeba.txt"
        if self.settings.pictures == "aligned":
            raise ConfigError(
                f"data.crop: the boxes of {name} belong to the pictures in the wild; set "
                "data.pictures: in_the_wild, or crop: {box: [...]} for the aligned ones"
            )
        return {picture: corners(*numbers(name, v)) for picture, v in self._rows(name, 5).items()}

    def _points(self) -> dict[str, tuple[float, ...]]:
        if self.settings.crop != "five_point":
            return {}
        aligned = "_align" if self.settings.pictures == "aligned" else ""
        name = f"list_landmarks{aligned}_celeba.txt"
        return {picture: numbers(name, v) for picture, v in self._rows(name, 11).items()}
