"""VGGFace2: 3.3 million pictures of 9,131 people.

Cao, Shen, Xie, Parkhi, Zisserman, "VGGFace2: A dataset for recognising faces across pose and age", FG 2018. A
person is a folder such as `n000002` in `train/` (8,631 people) or `test/` (500 others). Boxes and points are
those of `loose_bb_PART.csv` and `loose_landmark_PART.csv` in the root, in `bb_landmark/` or in
`meta/bb_landmark/`.
"""

from typing import Literal

from pydantic import Field

from inversionlab.core.addresses import Address
from inversionlab.core.settings import ConfigError
from inversionlab.data.base import DataSet, DataSettings
from inversionlab.data.crops import ListedBox
from inversionlab.data.files import FileFields, FileSet
from inversionlab.data.lists import by_person, by_picture, corners, numbers, rows
from inversionlab.data.manifest import Listing

_EXPECTED = "the folder with VGGFace2's `train` and `test`"
_LISTS = ("", "bb_landmark/", "meta/bb_landmark/")
_PARTS = {"train": ("train",), "test": ("test",), "both": ("train", "test")}


class Vggface2Settings(DataSettings, FileFields):
    """Where VGGFace2 is, and which of its pictures are taken."""

    name: Literal["vggface2"] = "vggface2"
    root: Address
    """The folder, or a bucket's URI, with `train` and `test`, or with `data/train` and `data/test`."""
    part: Literal["train", "test", "both"] = "train"
    """The 8,631 people for training, the 500 others, or both."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=1_000_000)
    """Take at most this many pictures of each person, the first by name; null: all."""


class Vggface2(FileSet, DataSet):
    """VGGFace2's people by its own folders."""

    Settings = Vggface2Settings
    settings: Vggface2Settings

    def listing(self) -> Listing:
        """See `FileSet.listing`."""
        self.root.require(_EXPECTED)
        files, skipped = [], list[str]()
        for part in _PARTS[self.settings.part]:
            folder = self.root.first([part, f"data/{part}"], folder=True)
            if folder is None:
                raise ConfigError(f"{self.settings.root}: has no `{part}`; expected {_EXPECTED}")
            found = self.root.pictures(folder)
            boxes, points = self._boxes(part), self._points(part)
            for file in found.files:
                if "/" in file.person:
                    skipped.append(f"{part}/{file.name}: lies deeper than a person's folder")
                    continue
                stem = file.name.rpartition(".")[0]
                placed = file._replace(
                    name=f"{part}/{file.name}",
                    path=f"{folder}/{file.path}",
                    box=boxes.get(stem),
                    points=points.get(stem),
                )
                files.append(placed)
            skipped += [f"{part}: {line}" for line in found.skipped]
        self.check_people((file.person for file in files), skipped)
        return by_person(files, skipped, self.settings.max_pictures_per_person)

    def _boxes(self, part: str) -> dict[str, tuple[float, float, float, float]]:
        if not isinstance(self.settings.crop, ListedBox):
            return {}
        lines = self._rows(f"loose_bb_{part}.csv", 5)
        return {key: corners(*values[:4]) for key, values in lines.items()}

    def _points(self, part: str) -> dict[str, tuple[float, ...]]:
        if self.settings.crop != "five_point":
            return {}
        return self._rows(f"loose_landmark_{part}.csv", 11)

    def _rows(self, name: str, columns: int) -> dict[str, tuple[float, ...]]:
        """The numbers of each picture, by its person and name without the ending."""
        place = self.root.first([f"{above}{name}" for above in _LISTS])
        if place is None:
            raise ConfigError(
                f"{self.settings.root}: neither it nor its `bb_landmark` has `{name}`; data.crop needs it"
            )
        where = str(self.settings.root)
        lines = rows(self.root, where, place, columns)
        next(lines, None)  # NAME_ID, X, ...
        listed = by_picture(f"{where}/{place}", lines, columns)
        return {picture: numbers(name, values) for picture, values in listed.items()}
