"""Other readings of the pictures: which is advised, and what trying them costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from inversionlab.data.labelled import Labelled
from inversionlab.given.raw_model import RawModel
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import GivenModelSettings, PreprocessingSettings
from inversionlab.pipeline.readings import FIRST, MOST, READINGS, better_reading, recognize
from tests.tiny import CPU

K, EACH = 6, 100


def pictures(channels: int = 3) -> Labelled:
    """Gray pictures of 8 x 8; person k has the brightness (k + 1/2) / 6."""
    class_N = torch.arange(K).repeat_interleave(EACH)
    level_N = (255 * (class_N + 0.5) / K).round().byte()
    return Labelled(level_N.view(-1, 1, 1, 1).expand(-1, channels, 8, 8).contiguous(), class_N)


def brightness(low: float, high: float, seen: list[int]) -> Callable[[Tensor], Tensor]:
    """A model that knows people by their brightness on pixels from `low` to `high`."""

    def answer(x: Tensor) -> Tensor:
        seen.append(len(x))
        # Of the first channel, so that the order of gray channels does not matter.
        share_N = (x[:, 0].mean((1, 2)) - low) / (high - low)
        person_N = (K * share_N).floor().clamp(0, K - 1).long()
        return torch.nn.functional.one_hot(person_N, K).float()

    return answer


def given(
    low: float, high: float, preprocessing: PreprocessingSettings, channels: int = 3
) -> tuple[GivenRecognizer, list[int]]:
    seen: list[int] = []
    raw = RawModel(brightness(low, high, seen), name="model = m", differentiable=False)
    settings = GivenModelSettings(model="a:b", preprocessing=preprocessing)
    model = GivenRecognizer(raw, settings, channels=channels, answers="logits", classes=K)
    return model, seen


@pytest.mark.parametrize("channels", [1, 3])
def test_the_simplest_of_equal_readings_is_advised(channels: int) -> None:
    settings = PreprocessingSettings()
    model, _ = given(-1, 1, settings, channels)
    shown = pictures(channels)
    own = recognize(model, shown, CPU)
    # (m + 1) / 2 * 6 of brightness m: persons 0 and 1 are taken for 3, all others for 4 or 5.
    assert own.correct < len(shown) / 2
    before = model.preprocessing
    better = better_reading(model, settings, shown, own, CPU)
    assert better is not None
    # Mean 127.5 and std 128 explain them as well.
    assert better.found.correct == len(shown)
    assert (
        "100.0% with range: -1..1; write that, or add --set 'victim.preprocessing.range=-1..1'"
        in (better.advice)
    )
    assert model.preprocessing is before


def test_trying_costs_a_few_pictures_for_each_reading() -> None:
    settings = PreprocessingSettings()
    model, seen = given(-1, 1, settings)
    shown = pictures()
    own = recognize(model, shown, CPU)
    seen.clear()
    better_reading(model, settings, shown, own, CPU)
    assert sum(seen) <= 2 * (len(READINGS) + 1) * FIRST + MOST * len(shown)


def test_nothing_is_tried_where_nothing_could_be_far_better() -> None:
    settings = PreprocessingSettings()
    model, seen = given(0, 1, settings)
    own = recognize(model, pictures(), CPU)
    assert own.accuracy.value == 1
    seen.clear()
    assert better_reading(model, settings, pictures(), own, CPU) is None
    assert not seen


def test_a_reading_that_is_a_little_better_stops_nothing() -> None:
    settings = PreprocessingSettings()
    # Person 4, of brightness 0.75, is taken for 5.
    model, seen = given(0, 0.88, settings)
    shown = pictures()
    own = recognize(model, shown, CPU)
    assert 0.5 < own.accuracy.value < 0.95
    seen.clear()
    assert better_reading(model, settings, shown, own, CPU) is None
    assert seen


def test_a_reading_on_which_the_model_fails_is_left_out() -> None:
    settings = PreprocessingSettings(range="0..255")
    model, _ = given(-1, 1, settings)
    asked = model.raw.network

    def picky(x: Tensor) -> Tensor:
        if x.max() > 300 or x.min() < -100:
            raise ValueError("what is this?")
        answer: Tensor = asked(x)
        return answer

    model.raw.network = picky
    own = recognize(model, pictures(), CPU)
    better = better_reading(model, settings, pictures(), own, CPU)
    assert better is not None
    assert "with range: -1..1;" in better.advice
