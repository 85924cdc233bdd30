from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.given.raw_model import RawModel, check_answers
from tests.given.outside_model import OutsideNet

X = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Means of the colours, changed by `answer`."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(x.mean((2, 3)) * self.weight)


def raw(answer: Callable[[Tensor], Any], **changed: Any) -> RawModel:
    options: dict[str, Any] = {"name": "model = my.net:Net", "differentiable": True}
    return RawModel(Net(answer), **options | changed)


@pytest.mark.parametrize(
    "answer",
    [
        lambda s: s,
        lambda s: (s, s.argmax(1)),
        lambda s: [s, s + 1],
        lambda s: list(s),
        lambda s: {"loss": s.sum(), "logits": s},
        lambda s: {"embedding": s},
        lambda s: SimpleNamespace(logits=s),
        lambda s: (None, s),
    ],
    ids=["tensor", "tuple", "list", "rows", "logits", "one tensor", "object", "tuple with None"],
)
def test_every_form_of_an_answer_becomes_the_tensor_of_scores(answer: Any) -> None:
    model = raw(answer)
    assert torch.equal(model(X), X.mean((2, 3)))
    assert torch.equal(check_answers(model, X), X.mean((2, 3)))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda s: s.sum(), r"answered \(\) to 3 pictures"),
        (lambda s: s[:1], r"answered \(1, 3\) to 3 pictures"),
        (lambda s: s[:, 0], r"answered torch.float32 of shape \(3,\) to 3 pictures"),
        (
            lambda s: s[..., None, None],
            r"answered torch.float32 of shape \(3, 3, 1, 1\) to 3 pictures",
        ),
        (lambda s: {"a": s, "b": s}, "returned a mapping of `a`, `b` without a tensor `logits`"),
        (lambda s: "nobody", "returned str"),
        (lambda s: None, "returned NoneType"),
    ],
)
def test_answers_of_another_form_are_refused(answer: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^model = my.net:Net: {said}; expected a tensor"):
        check_answers(raw(answer), X)


def test_labels_are_answers_of_a_model_that_gives_no_gradient() -> None:
    model = raw(lambda s: s.argmax(1), differentiable=False)
    assert torch.equal(check_answers(model, X), X.mean((2, 3)).argmax(1))
    with pytest.raises(ConfigError, match=r"answered torch.int64 of shape \(3,\)"):
        check_answers(model, X, "logits")
    pairs = raw(lambda s: torch.stack(list(s.topk(2)), 2), differentiable=False)
    assert check_answers(pairs, X, "top_k").shape == (3, 2, 2)
    with pytest.raises(ConfigError, match=r"of shape \(3, 2, 2\)"):
        check_answers(pairs, X)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_answers_that_are_no_numbers_are_refused(value: float) -> None:
    spoiled = torch.tensor([[0.0], [value], [0.0]])
    with pytest.raises(ConfigError, match="NaN or infinite numbers to picture 1 of 3 example"):
        check_answers(raw(lambda s: s + spoiled), X)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda s: s.argmax(1), "answers labels, which have no gradient"),
        (lambda s: nn.functional.one_hot(s.argmax(1), 3).float(), "breaks the gradient"),
        (lambda s: s.detach(), "breaks the gradient"),
        (torch.no_grad()(lambda s: s * 2), "breaks the gradient"),
        (lambda s: torch.from_numpy(s.numpy()), "it works only without gradients"),
        (lambda s: (s - s.detach()).sqrt(), "has a gradient that is NaN or infinite"),
    ],
    ids=["argmax", "one hot", "detach", "no_grad", "numpy", "infinite"],
)
def test_a_broken_gradient_is_refused_with_the_way_out(answer: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_answers(raw(answer), X)
    assert str(caught.value).startswith("model = my.net:Net: ")
    assert said in str(caught.value)
    assert "set `access: scores`" in str(caught.value)
    check_answers(raw(answer, differentiable=False), X)


def test_what_the_users_code_raises_is_told_by_name() -> None:
    def fail(scores: Tensor) -> Tensor:
        raise KeyError("gallery")

    with pytest.raises(ConfigError) as caught:
        check_answers(raw(fail), X)
    assert str(caught.value).startswith(
        "model = my.net:Net: fails on pictures of shape (3, 3, 8, 8): KeyError: 'gallery'"
    )

    def leave(scores: Tensor) -> Tensor:
        raise SystemExit(3)

    with pytest.raises(ConfigError, match=r"it calls sys\.exit\(3\)"):
        raw(leave)(X)


def test_a_device_without_memory_is_no_fault_of_the_model() -> None:
    def full(scores: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        raw(full)(X)


def test_a_model_that_works_in_place_leaves_the_pictures_alone() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sub_(0.5).mean((2, 3))

    model = RawModel(InPlace(), name="model = x", differentiable=True)
    x = X.clone().requires_grad_(True)
    model(x).sum().backward()
    assert torch.equal(x.detach(), X)
    assert torch.allclose(x.grad, torch.full_like(X, 1 / 64))


@pytest.mark.parametrize(("batch", "sent"), [(1, [1] * 5), (2, [2] * 3), (5, [5]), (7, [7])])
def test_a_fixed_batch_is_filled_up(batch: int, sent: list[int]) -> None:
    seen = []

    def answer(scores: Tensor) -> Tensor:
        seen.append(len(scores))
        return scores

    x = torch.rand(5, 3, 8, 8).requires_grad_(True)
    found = raw(answer, batch=batch)(x)
    assert seen == sent
    assert torch.equal(found, x.mean((2, 3)))
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.allclose(gradient, torch.full_like(x, 1 / 64))


def test_a_trainable_copy_is_independent() -> None:
    net = OutsideNet()
    model = RawModel(net, name="model = x", differentiable=True, trainable=True)
    assert not net.training
    before = model(X)
    other = copy.deepcopy(model).requires_grad_(True).train()
    other(X).sum().backward()
    torch.optim.SGD(other.parameters(), lr=1.0).step()
    assert torch.equal(model(X), before)
    assert not torch.equal(other.eval()(X), before)
