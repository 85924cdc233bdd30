"""What no file holds of a given model: a module handed over from Python, or the connection to an endpoint."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from inversionlab.core.images import to_bytes
from inversionlab.given.raw_model import RawModel
from inversionlab.given.settings import LIVE, GivenModelSettings

Live = Callable[[], Any]
"""Returns an `nn.Module` or an `Endpoint`, in any process of the experiment."""


class Endpoint(Protocol):
    """A connection to a model behind HTTP."""

    def ask(self, images_NCHW: Tensor) -> Tensor:
        """Scores (N, K) of uint8 pictures (N, C, H, W)."""


def load_live(settings: GivenModelSettings, live: Live) -> RawModel:
    """A live module, or an endpoint, as it is asked; the endpoint is connected when it is first asked.

    An endpoint gets pictures of 8 bits a channel, so its answers to near pictures may be equal.
    """
    if settings.endpoint is None:
        hidden = settings.access in ("scores", "labels")
        note = f"`access` is {settings.access}" if hidden else ""
        return RawModel(
            live(), name=f"model = {LIVE}", differentiable=not hidden, trainable=True, note=note
        )

    def ask(x_NCHW: Tensor) -> Tensor:
        answer_NK: Tensor = live().ask(to_bytes(x_NCHW))
        return answer_NK

    return RawModel(
        ask,
        name=f"victim.endpoint.url = {settings.endpoint.address}",
        differentiable=False,
        explains=True,
        note="an endpoint gives no gradients",
    )
