"""Data sets: pictures of people. A new one is a file here and a line in `DATASETS`."""

from typing import TYPE_CHECKING, Any

from inversionlab.core.settings import any_of
from inversionlab.data.base import DataSet, DataSettings, Pictures
from inversionlab.data.folder import Folder
from inversionlab.data.mnist import Mnist
from inversionlab.data.procedural import Procedural

DATASETS: dict[str, Any] = {"procedural": Procedural, "folder": Folder, "mnist": Mnist}

if TYPE_CHECKING:
    AnyData = DataSettings
else:
    AnyData = any_of(DATASETS)


def build(settings: DataSettings) -> DataSet:
    """The data set that the settings describe; nothing is read or rendered yet."""
    dataset: DataSet = DATASETS[settings.name](settings)
    return dataset


__all__ = ["DATASETS", "AnyData", "DataSet", "DataSettings", "Pictures", "build"]
