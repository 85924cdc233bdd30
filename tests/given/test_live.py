from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inversionlab.core.settings import ConfigError
from inversionlab.given.endpoint_answers import EndpointError
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.given.ledger import BudgetError
from inversionlab.given.live import load_live
from inversionlab.given.settings import GivenModelSettings


class Fails:
    """An endpoint that fails with an error of some kind."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def ask(self, images_NCHW: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        BudgetError("spent"),
        EndpointError("it answered 500"),
        ConfigError("victim.endpoint.answer: x"),
    ],
)
def test_the_errors_of_an_endpoint_come_as_they_are(error: Exception) -> None:
    settings = GivenModelSettings(endpoint=EndpointSettings(url="http://host/x"))
    raw = load_live(settings, lambda: Fails(error))
    with pytest.raises(type(error)) as caught:
        raw(torch.zeros(1, 1, 8, 8))
    assert caught.value is error


def test_an_endpoint_is_asked_about_pictures_of_8_bits() -> None:
    asked = []

    class Answers:
        def ask(self, images_NCHW: Tensor) -> Tensor:
            asked.append(images_NCHW)
            return torch.zeros(len(images_NCHW), 3)

    settings = GivenModelSettings(endpoint=EndpointSettings(url="http://host/x"))
    raw = load_live(settings, Answers)
    assert raw(torch.tensor([0.0, 0.499 / 255, 0.501 / 255, 1.0]).view(1, 1, 2, 2)).shape == (1, 3)
    assert asked[0].dtype == torch.uint8
    assert asked[0].flatten().tolist() == [0, 0, 1, 255]
    assert not raw.differentiable
