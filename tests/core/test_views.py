from __future__ import annotations

import pytest
import torch

from inversionlab.core.views import Labels, Scores, WhiteBox
from tests import toys


def picture(count: int) -> torch.Tensor:
    return torch.rand(count, 1, toys.SIZE, toys.SIZE)


def test_queries_are_charged_to_the_row_they_are_made_for() -> None:
    view = Scores(toys.victim(), 3)
    view.scores(picture(4), torch.tensor([0, 2, 2, 2]))
    view.scores(picture(1), torch.tensor([0]))
    assert view.queries.tolist() == [2, 0, 3]


def test_every_picture_needs_an_account() -> None:
    with pytest.raises(ValueError, match="4 pictures were sent on the account of 3 rows"):
        Scores(toys.victim(), 3).scores(picture(4), torch.arange(3))


@pytest.mark.parametrize("ask", ["scores", "labels"])
def test_a_black_box_gives_no_gradient(ask: str) -> None:
    x = picture(2).requires_grad_(True)
    view = Scores(toys.victim(), 2) if ask == "scores" else Labels(toys.victim(), 2)
    answer = getattr(view, ask)(x, torch.arange(2))
    assert not answer.requires_grad


@pytest.mark.parametrize("view", [Scores, Labels, WhiteBox])
def test_no_view_holds_the_model_as_an_attribute(view: type[WhiteBox]) -> None:
    held = vars(view(toys.victim(), 1)).values()
    assert not any(isinstance(value, torch.nn.Module) for value in held)


def test_a_white_box_gives_the_gradient() -> None:
    x = picture(2).requires_grad_(True)
    WhiteBox(toys.victim(), 2).log_scores(x, torch.arange(2)).sum().backward()
    assert x.grad is not None


def test_only_the_largest_scores_are_shown() -> None:
    whole = Scores(toys.victim(), 1).scores(picture(1), torch.zeros(1, dtype=torch.int64))
    assert int((whole > 0).sum()) == toys.CLASSES
    cut = Scores(toys.victim(), 1, top=2).scores(picture(1), torch.zeros(1, dtype=torch.int64))
    assert int((cut > 0).sum()) == 2


def test_labels_are_the_winners() -> None:
    model = toys.victim()
    assert Labels(model, toys.CLASSES).labels(
        model.faces, torch.arange(toys.CLASSES)
    ).tolist() == list(range(toys.CLASSES))


def test_a_score_that_is_nan_gives_the_label_minus_one() -> None:
    model = toys.victim()
    model.sharpness = float("nan")
    assert Labels(model, 2).labels(picture(2), torch.arange(2)).tolist() == [-1, -1]


def test_observed_scores_are_the_models_and_are_counted() -> None:
    model = toys.victim()
    view = Scores(model, 2, top=3)
    x = picture(2)
    view.observe_outputs(x)
    assert view.observed_NK is not None
    largest = model.log_scores(x).exp().topk(3, dim=1).values.sum(1)
    torch.testing.assert_close(view.observed_NK.sum(1), largest)
    assert view.queries.tolist() == [1, 1]
