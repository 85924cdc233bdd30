"""Data sets: pictures of people. A new one is a file here and a line in `DATASETS`."""

from typing import TYPE_CHECKING, Any

from inversionlab.core.settings import any_of
from inversionlab.data.base import DataSet, DataSettings, Pictures
from inversionlab.data.celeba import Celeba
from inversionlab.data.facescrub import Facescrub
from inversionlab.data.folder import Folder
from inversionlab.data.mnist import Mnist
from inversionlab.data.parquet import Parquet
from inversionlab.data.procedural import Procedural
from inversionlab.data.qmnist import Qmnist
from inversionlab.data.tar import Tar
from inversionlab.data.vggface2 import Vggface2

DATASETS: dict[str, Any] = {
    "procedural": Procedural,
    "folder": Folder,
    "mnist": Mnist,
    "qmnist": Qmnist,
    "celeba": Celeba,
    "vggface2": Vggface2,
    "facescrub": Facescrub,
    "parquet": Parquet,
    "tar": Tar,
}

if TYPE_CHECKING:
    AnyData = DataSettings
else:
    AnyData = any_of(DATASETS)


def build(settings: DataSettings) -> DataSet:
    """The data set that the settings describe; nothing is read or rendered yet."""
    dataset: DataSet = DATASETS[settings.name](settings)
    return dataset


def name_people_alike(one: DataSettings, other: DataSettings) -> bool:
    """Whether a name means the same person in both data sets."""
    naming = DATASETS[one.name].naming
    return naming is not None and naming == DATASETS[other.name].naming


__all__ = [
    "DATASETS",
    "AnyData",
    "DataSet",
    "DataSettings",
    "Pictures",
    "build",
    "name_people_alike",
]
