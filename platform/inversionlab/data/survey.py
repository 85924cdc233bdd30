"""What a folder of pictures holds, by the pictures' heads alone: people, pictures of each, sizes, colours."""

import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from inversionlab.core.settings import ConfigError, validate
from inversionlab.data.folder import Folder, FolderSettings

MOST = 500
"""Pictures that are opened, spread evenly over all files; more would not move a median."""
GRAY = frozenset({"1", "L", "LA", "I", "I;16", "F"})
"""PIL's modes without colour."""


@dataclass(frozen=True)
class FolderSurvey:
    """Counts and sizes of a folder that holds one folder of pictures for each person."""

    root: Path | str
    """The folder, as an absolute path, or a bucket's URI."""
    counts: tuple[int, ...]
    """Picture files of each person."""
    shorter_side: int
    """Median of the pictures' shorter sides, in pixels."""
    gray: bool
    """Whether no picture has colours."""

    @property
    def pictures(self) -> int:
        """Picture files of all people."""
        return sum(self.counts)

    def people(self, pictures: int = 1) -> int:
        """How many people have at least so many pictures."""
        return sum(count >= pictures for count in self.counts)


def survey(root: Path | str, option: str = "pictures") -> FolderSurvey:
    """Count the people and pictures below `root`, and read the sizes of some of the pictures.

    Raises:
        ConfigError: there is no such folder, fewer than two people have pictures, or none can be opened; a wrong
            address is named by `option`.
    """
    folder = Folder(validate(FolderSettings, {"name": "folder", "root": root}, origin=option))
    files = folder.listing().files
    sides, gray = [], True
    for file in files[:: max(1, len(files) // MOST)]:
        try:
            with folder.root.open(file.path) as stream, Image.open(stream) as picture:
                sides.append(min(picture.size))
                gray = gray and picture.mode in GRAY
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # The data set leaves it out too, and names it.
    if not sides:
        raise ConfigError(f"{root}: none of its {len(files)} picture files can be opened")
    return FolderSurvey(
        root=folder.settings.root,
        counts=tuple(Counter(file.person for file in files).values()),
        shorter_side=round(statistics.median(sides)),
        gray=gray,
    )
