"""The networks of this room by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from inversionlab.recognizers.base import NetworkSettings
from inversionlab.recognizers.imported import Imported
from inversionlab.recognizers.ir50 import Ir50
from inversionlab.recognizers.khosravy_cnn import KhosravyCnn
from inversionlab.recognizers.small_resnet import SmallResnet
from inversionlab.recognizers.torchvision_model import TorchvisionModel
from inversionlab.recognizers.vgg16 import Vgg16
from inversionlab.recognizers.yang_cnn import YangCnn

# The value type is Any because each class takes its own settings.
RECOGNIZERS: dict[str, Any] = {
    "imported": Imported,
    "ir50": Ir50,
    "khosravy_cnn": KhosravyCnn,
    "small_resnet": SmallResnet,
    "torchvision": TorchvisionModel,
    "vgg16": Vgg16,
    "yang_cnn": YangCnn,
}

if TYPE_CHECKING:
    AnyNetwork = NetworkSettings
else:
    AnyNetwork = Annotated[
        Union[tuple(entry.Settings for entry in RECOGNIZERS.values())],  # noqa: UP007 (from the dict)
        Field(discriminator="name"),
    ]
