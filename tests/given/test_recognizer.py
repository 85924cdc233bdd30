"""A given model as a recognizer: what its answers mean, what it shows, and what a class is for an embedding."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.core.views import Labels, Scores, WhiteBox
from inversionlab.given.raw_model import RawModel, picture_size
from inversionlab.given.recognizer import GivenRecognizer, answer_kind
from inversionlab.given.settings import GivenModelSettings


def settings(**keys: Any) -> GivenModelSettings:
    return GivenModelSettings.model_validate({"model": "m:M", **keys})


def recognizer(
    answer: Any, answers: str, gallery_KD: Tensor | None = None, **keys: Any
) -> GivenRecognizer:
    raw = RawModel(answer, name="model = m:M", differentiable=keys.pop("differentiable", True))
    extra = {"answers": "embedding", "gallery": "private"} if gallery_KD is not None else {}
    return GivenRecognizer(
        raw,
        settings(**extra, **keys),
        channels=1,
        answers=answers,
        classes=3,
        gallery_KD=gallery_KD,
    )


def first_pixels(count: int) -> nn.Module:
    """Answers with the first pixels of a picture as they are."""

    class First(nn.Module):
        def forward(self, x_NCHW: Tensor) -> Tensor:
            return x_NCHW.flatten(1)[:, :count]

    return First()


def picture(*pixels: float) -> Tensor:
    x_NCHW = torch.zeros(1, 1, 16, 16)
    x_NCHW[0, 0, 0, : len(pixels)] = torch.tensor(pixels)
    return x_NCHW


def test_logits_become_log_probabilities() -> None:
    found = recognizer(first_pixels(3), "logits").log_scores(picture(1.0, 0.0, 0.0))
    total = math.e + 2
    torch.testing.assert_close(found, torch.tensor([[math.e / total, 1 / total, 1 / total]]).log())


def test_probabilities_keep_their_ratios_and_a_zero_its_gradient() -> None:
    x_NCHW = picture(0.75, 0.25, 0.0).requires_grad_(True)
    found = recognizer(first_pixels(3), "probabilities").log_scores(x_NCHW)
    torch.testing.assert_close(found[0, :2], torch.tensor([0.75, 0.25]).log())
    (gradient,) = torch.autograd.grad(found.sum(), x_NCHW)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("answers", ["labels", "top_k"])
def test_what_is_not_shown_has_probability_zero(answers: str) -> None:
    found = recognizer(first_pixels(3), answers, differentiable=False).log_scores(picture(0, 1, 0))
    assert found.exp().tolist() == [[0, 1, 0]]


def test_labels_as_whole_numbers() -> None:
    model = recognizer(lambda x: x.flatten(1).argmax(1), "labels", differentiable=False)
    assert model.log_scores(picture(0, 0, 1)).exp().tolist() == [[0, 0, 1]]
    assert model.view is Labels


def test_an_embedding_is_compared_with_the_enrolled_people() -> None:
    # The picture's embedding is (0.6, 0.8): its cosines with the three people are 0.6, 0.8 and -0.6.
    people_KD = torch.tensor([[1.0, 0], [0, 1], [-1, 0]])
    model = recognizer(first_pixels(2), "embedding", people_KD, scale=10)
    expected = torch.tensor([[6.0, 8, -6]]).log_softmax(1)
    torch.testing.assert_close(model.log_scores(picture(0.6, 0.8)), expected)
    torch.testing.assert_close(model.log_scores(picture(0.3, 0.4)), expected)
    assert model.features(picture(0.6, 0.8)).shape == (1, 2)


def test_the_view_is_what_the_model_can_show_or_less() -> None:
    assert recognizer(first_pixels(3), "logits").view is WhiteBox
    assert recognizer(first_pixels(3), "logits", differentiable=False).view is Scores
    assert recognizer(first_pixels(3), "logits", access="labels").view is Labels
    with pytest.raises(ConfigError, match="the model gives no more than scores"):
        recognizer(first_pixels(3), "logits", differentiable=False, access="white_box")


def test_gradients_of_a_model_without_them_are_refused() -> None:
    model = recognizer(first_pixels(3), "logits", differentiable=False)
    with pytest.raises(RuntimeError, match="the given model has no gradients"):
        model.log_scores(picture(1).requires_grad_(True))


def test_a_size_that_the_file_fixes_is_used() -> None:
    seen: list[tuple[int, ...]] = []

    def answer(x_NCHW: Tensor) -> Tensor:
        seen.append(tuple(x_NCHW.shape))
        return torch.zeros(len(x_NCHW), 3)

    raw = RawModel(answer, name="model = x.onnx", differentiable=False, size=(24, 20))
    for keys in ({}, {"preprocessing": {"size": 32}}):
        model = GivenRecognizer(raw, settings(**keys), channels=1, answers="logits", classes=3)
        model.log_scores(picture(1))
    assert seen == [(1, 1, 24, 20), (1, 1, 32, 32)]


@pytest.mark.parametrize(
    ("dims", "size"),
    [
        ([None, 3, 112, 96], (112, 96)),
        ([1, 64, 48, 3], (64, 48)),
        ([1, 3, 3, 3], (3, 3)),
        ([None, 3, None, None], None),
        ([None, None], None),
        ([], None),
    ],
)
def test_the_size_that_an_input_fixes(dims: list[int | None], size: tuple[int, int] | None) -> None:
    assert picture_size(dims) == size


ROWS = {
    "logits": [[3.0, -2.0, 0.5], [0.1, 0.2, 9.0]],
    "probabilities": [[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]],
    "log_probabilities": [[math.log(p) for p in (0.7, 0.2, 0.1)]],
}


@pytest.mark.parametrize("kind", ROWS)
def test_answers_show_what_they_are(kind: str) -> None:
    assert answer_kind(settings(), torch.tensor(ROWS[kind])) == kind
    assert answer_kind(settings(answers=kind), torch.tensor(ROWS[kind])) == kind


def test_whole_numbers_are_labels() -> None:
    assert answer_kind(settings(), torch.tensor([2, 0])) == "labels"


@pytest.mark.parametrize(
    ("keys", "rows", "text"),
    [
        ({}, [[0.9, 0.8, 0.1]], "lie between 0 and 1 but do not add up to 1"),
        ({"answers": "probabilities"}, ROWS["logits"], "answers = probabilities: the rows are not"),
        ({"answers": "log_probabilities"}, ROWS["logits"], "not logarithms of probabilities"),
        ({}, [0.5, 0.5], r"must be \(N, K\)"),
    ],
)
def test_answers_that_could_mean_two_things_or_are_something_else(
    keys: dict[str, str], rows: list[Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        answer_kind(settings(**keys), torch.tensor(rows))
