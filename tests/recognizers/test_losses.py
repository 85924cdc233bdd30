"""The heads against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from inversionlab.recognizers.losses import LOSSES, Cosface, CrossEntropy


def _cosface(scale: float, margin: float) -> Cosface:
    head = Cosface(Cosface.Settings(scale=scale, margin=margin), feature_size=2, classes=2)
    # The two class directions are the axes; their lengths must not matter.
    head.weight_KD.data = torch.tensor([[5.0, 0.0], [0.0, 0.1]])
    return head


def test_cosface_logits_are_scaled_cosines_without_margin():
    logit_NK = _cosface(10.0, 0.3)(torch.tensor([[3.0, 4.0], [-7.0, 0.0]]))
    torch.testing.assert_close(logit_NK, torch.tensor([[6.0, 8.0], [-10.0, 0.0]]))


def test_cosface_loss_takes_the_margin_off_the_right_class_only():
    # cosines 0.6, 0.8; y = 0: logits 10 (0.6 - 0.3) = 3 and 8, loss = log(1 + e^(8 - 3)).
    loss = _cosface(10.0, 0.3).loss(torch.tensor([[3.0, 4.0]]), torch.tensor([0]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(5.0)), rel=1e-5)


def test_training_logits_have_the_margin_where_the_loss_has_one():
    feature_ND, y_N = torch.tensor([[3.0, 4.0]]), torch.tensor([0])
    logit_NK = _cosface(10.0, 0.3).training_logits(feature_ND, y_N)
    torch.testing.assert_close(logit_NK, torch.tensor([[3.0, 8.0]]))
    plain = CrossEntropy(CrossEntropy.Settings(), feature_size=2, classes=2)
    assert torch.equal(plain.training_logits(feature_ND, y_N), plain(feature_ND))


def test_cosface_without_margin_is_cross_entropy_of_its_logits():
    head = _cosface(7.0, 0.0)
    feature_ND, y_N = torch.randn(6, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    plain = functional.cross_entropy(head(feature_ND), y_N)
    torch.testing.assert_close(head.loss(feature_ND, y_N), plain)


def test_cross_entropy_loss_and_smoothing():
    head = CrossEntropy(CrossEntropy.Settings(), feature_size=2, classes=2)
    head.dense.weight.data = torch.eye(2)
    head.dense.bias.data.zero_()
    feature_ND, y_N = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    right, wrong = math.log1p(math.exp(-2.0)), math.log1p(math.exp(2.0))
    assert float(head.loss(feature_ND, y_N)) == pytest.approx(right, rel=1e-5)
    # Smoothing 0.2 over two classes: weight 0.9 on the right one, 0.1 on the other.
    smooth = float(head.loss(feature_ND, y_N, 0.2))
    assert smooth == pytest.approx(0.9 * right + 0.1 * wrong, rel=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_each_head_gives_one_logit_a_class_and_a_gradient(name):
    head = LOSSES[name](LOSSES[name].Settings(), feature_size=8, classes=5)
    feature_ND = torch.randn(4, 8, requires_grad=True)
    assert head(feature_ND).shape == (4, 5)
    head.loss(feature_ND, torch.tensor([0, 1, 2, 4])).backward()
    assert feature_ND.grad is not None
    assert float(feature_ND.grad.abs().sum()) > 0
