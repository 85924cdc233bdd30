"""The networks of this room by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from inversionlab.recognizers.base import NetworkSettings
from inversionlab.recognizers.imported import Imported
from inversionlab.recognizers.khosravy_cnn import KhosravyCnn
from inversionlab.recognizers.small_resnet import SmallResnet

# The value type is Any because each class takes its own settings.
RECOGNIZERS: dict[str, Any] = {
    "imported": Imported,
    "khosravy_cnn": KhosravyCnn,
    "small_resnet": SmallResnet,
}

if TYPE_CHECKING:
    AnyNetwork = NetworkSettings
else:
    AnyNetwork = Annotated[
        Union[tuple(entry.Settings for entry in RECOGNIZERS.values())],  # noqa: UP007 (from the dict)
        Field(discriminator="name"),
    ]
