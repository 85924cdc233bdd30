"""FaceScrub: about 106,000 pictures of 530 actors and actresses, of which the web still has a part.

Ng, Winkler, "A data-driven approach to cleaning large face datasets", ICIP 2014. A person is a folder such as
`Al_Pacino` in `actors/faces/`, `actresses/faces/` (cut faces) or `.../images/` (whole pictures), as the
downloader of the authors makes them, or directly in the root (MegaFace's copy); `_` is read as a blank. Boxes of
faces in whole pictures are those of the authors' lists, by name and `image_id`, which the picture's name ends
in.
"""

from typing import Literal

from pydantic import Field

from inversionlab.core.addresses import Address
from inversionlab.core.settings import ConfigError
from inversionlab.data.base import DataSet, DataSettings
from inversionlab.data.crops import ListedBox
from inversionlab.data.files import FileFields, FileSet
from inversionlab.data.lists import Box, by_person, numbers, rows
from inversionlab.data.manifest import Listing

_EXPECTED = "the folder with FaceScrub's `actors/faces` and `actresses/faces`, or with a folder for each person"
_GROUPS = ("actors/", "actresses/", "")
_LISTS = (
    "facescrub_actors.txt",
    "facescrub_actresses.txt",
    "actors_users_normal_bbox.txt",
    "actresses_users_normal_bbox.txt",
)
_COLUMNS = ("name", "image_id", "face_id", "url", "bbox")


class FacescrubSettings(DataSettings, FileFields):
    """Where FaceScrub is, and which of its pictures are taken."""

    name: Literal["facescrub"] = "facescrub"
    root: Address
    """The folder, or a bucket's URI, with `actors` and `actresses`, or with a folder for each person."""
    pictures: Literal["faces", "images"] = "faces"
    """The faces that were cut out when the set was downloaded, or the whole pictures."""
    max_pictures_per_person: int | None = Field(default=None, ge=1, le=1_000_000)
    """Take at most this many pictures of each person, the first by name; null: all."""


class Facescrub(FileSet, DataSet):
    """FaceScrub's people by their folders."""

    Settings = FacescrubSettings
    settings: FacescrubSettings

    def listing(self) -> Listing:
        """See `FileSet.listing`."""
        self.root.require(_EXPECTED)
        kind = self.settings.pictures
        there = [g for g in _GROUPS if self.root.has(f"{g}{kind}", folder=True)]
        folders = [f"{group}{kind}" for group in there] or [""]
        boxes = self._boxes()
        files, skipped = [], list[str]()
        for folder in folders:
            found = self.root.pictures(folder)
            prefix = f"{folder}/" if folder else ""
            for file in found.files:
                if "/" in file.person:
                    skipped.append(f"{prefix}{file.name}: lies deeper than a person's folder")
                    continue
                person = file.person.replace("_", " ")
                stem = file.name.rpartition("/")[2].rpartition(".")[0]
                placed = file._replace(
                    person=person,
                    name=prefix + file.name,
                    path=prefix + file.path,
                    box=boxes.get((person, stem.rpartition("_")[2])),
                )
                files.append(placed)
            skipped += [f"{folder}: {line}" if folder else line for line in found.skipped]
        self.check_people((file.person for file in files), skipped)
        return by_person(files, skipped, self.settings.max_pictures_per_person)

    def _boxes(self) -> dict[tuple[str, str], Box]:
        """The face in each whole picture, by person and `image_id`."""
        if not isinstance(self.settings.crop, ListedBox):
            return {}
        where = str(self.settings.root)
        if self.settings.pictures == "faces":
            raise ConfigError(
                "data.crop: the boxes of FaceScrub's lists belong to whole pictures; set data.pictures: images"
            )
        lists = [name for name in _LISTS if self.root.has(name)]
        if not lists:
            raise ConfigError(f"{where}: has none of {', '.join(_LISTS)}; data.crop needs them")
        boxes: dict[tuple[str, str], Box] = {}
        for name in lists:
            lines = rows(self.root, where, name, len(_COLUMNS), delimiter="\t")
            _, first = next(lines, (1, []))
            if tuple(first[: len(_COLUMNS)]) != _COLUMNS:
                raise ConfigError(f"{where}/{name}: its first line is not {', '.join(_COLUMNS)}")
            for _, (person, image, _, _, box, *_) in lines:
                corners = numbers(f"{where}/{name}", box.split(","))
                if len(corners) != 4:
                    raise ConfigError(f"{where}/{name}: {box} is not a box of four numbers")
                left, top, right, bottom = corners
                boxes.setdefault((person, image), (left, top, right, bottom))
        return boxes
