from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.views import WhiteBox
from inversionlab.core.winner import released
from inversionlab.defenses.base import ProtectedModel, Undefended
from inversionlab.defenses.dummy_recognizer import Mixture
from inversionlab.defenses.label_modifier import LabelModifier, LabelModifierSettings
from inversionlab.defenses.uniform_noise import UniformlyNoisy, UniformNoiseSettings


class Table(nn.Module):
    """Returns the row of log-scores whose number is a picture's first pixel."""

    def __init__(self, log_y_NK: Tensor) -> None:
        super().__init__()
        self.log_y_NK, self.classes = log_y_NK, log_y_NK.shape[1]

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        return self.log_y_NK[x_NCHW[:, 0, 0, 0].long()]


def pictures(count: int) -> Tensor:
    return torch.arange(count).float().view(-1, 1, 1, 1)


def random_scores(count: int, classes: int, scale: float, seed: int) -> Tensor:
    """Log-scores; a third of the rows have ties at the top."""
    rng = torch.Generator().manual_seed(seed)
    c_NK = scale * torch.randn(count, classes, generator=rng)
    rows = torch.arange(0, count, 3)
    c_NK[rows, torch.randint(classes, (len(rows),), generator=rng)] = c_NK[rows].amax(1)
    return c_NK.log_softmax(1)


def modifier(**changed: object) -> LabelModifier:
    inner = UniformNoiseSettings(amplitude=0.5)
    return LabelModifier(LabelModifierSettings(inner=inner, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 30.0, 1e4, 1e30])
@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_label_is_the_references_in_log_scores_and_scores(classes: int, scale: float) -> None:
    reference = Table(random_scores(300, classes, scale, 1))
    other = Table(random_scores(300, classes, scale, 2))
    x_NCHW = pictures(300)
    model = modifier(label_of="victim").protect(Undefended(other), reference)
    wanted_N = reference.log_scores(x_NCHW).argmax(1)
    log_y_NK = model.log_scores(x_NCHW)
    assert torch.equal(log_y_NK.argmax(1), wanted_N)
    assert torch.equal(log_y_NK.exp().argmax(1), wanted_N)
    top_N2 = log_y_NK.topk(2, 1).values
    assert bool((top_N2[:, 0] > top_N2[:, 1]).all())
    torch.testing.assert_close(log_y_NK.exp().sum(1), torch.ones(300), atol=1e-4, rtol=0)


def test_raised_by_equation_two_and_renormalised() -> None:
    y = released(torch.tensor([[0.5, 0.2, 0.3]]).double().log(), torch.tensor([2])).exp()
    # 0.3 is raised to 0.5, and all are divided by 0.5 + 0.2 + 0.5
    torch.testing.assert_close(y, torch.tensor([[0.5, 0.2, 0.5]]) / 1.2, atol=1e-5, rtol=0)


def test_a_clear_winner_is_unchanged() -> None:
    log_y_NK = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]).log()
    kept = released(log_y_NK.double(), torch.tensor([0, 2]))
    torch.testing.assert_close(kept, log_y_NK)


def test_scores_of_zero() -> None:
    log_y_NK = torch.tensor([[0.0, -torch.inf, -torch.inf]])
    raised = released(log_y_NK.double(), torch.tensor([1]))
    torch.testing.assert_close(raised.exp(), torch.tensor([[0.5, 0.5, 0.0]]), atol=1e-5, rtol=0)
    assert int(raised.argmax(1)) == 1
    assert torch.equal(released(log_y_NK.double(), torch.tensor([0])), log_y_NK)


def test_the_label_is_that_of_the_recognizer_at_the_bottom() -> None:
    bottom, dummy = (
        Table(torch.tensor([[0.6, 0.4]]).log()),
        Table(torch.tensor([[0.01, 0.99]]).log()),
    )
    under = UniformlyNoisy(Mixture(bottom, dummy, 0.25), 0.01)
    assert under.recognizer() is bottom
    assert int(under.log_scores(pictures(1)).argmax()) == 1
    assert int(modifier().protect(under, None).log_scores(pictures(1)).argmax()) == 0


def test_a_wrapper_without_a_victim_is_refused() -> None:
    class Wrapper(ProtectedModel):
        def log_scores(self, x_NCHW: Tensor) -> Tensor:
            return torch.zeros(len(x_NCHW), 2)

    wrapper = Wrapper()
    wrapper.classes = 2
    with pytest.raises(AttributeError, match="victim"):
        modifier().protect(wrapper, None)


def test_gradients_are_those_of_the_scores_below() -> None:
    c_NK = torch.tensor([[0.2, 1.0, -1.0]])

    class Slope(Table):
        def log_scores(self, x_NCHW: Tensor) -> Tensor:
            return (x_NCHW.mean() * c_NK).log_softmax(1)

    x_NCHW = torch.ones(1, 1, 1, 1, requires_grad=True)
    model = modifier().protect(Undefended(Slope(c_NK)), None)
    view = WhiteBox(model, 1)
    (g,) = torch.autograd.grad(view.log_scores(x_NCHW, torch.zeros(1).long())[0, 1], x_NCHW)
    y = c_NK.softmax(1)
    # d log softmax(s c)_1 / ds at s = 1
    assert math.isclose(float(g), float(c_NK[0, 1] - (y * c_NK).sum()), rel_tol=1e-5)


def test_what_an_attacker_leaves_of_it() -> None:
    assert modifier().left() == UniformNoiseSettings(amplitude=0.5)
    assert modifier(label_of="victim").left() is None


def test_it_needs_a_defense_below() -> None:
    with pytest.raises(ValueError, match="inner"):
        LabelModifier.check(LabelModifierSettings())
    LabelModifier.check(LabelModifierSettings(inner=UniformNoiseSettings()))


def test_the_facts_count_another_pass() -> None:
    facts = modifier().protect(Undefended(Table(torch.zeros(1, 2))), None).facts()
    assert facts == {"recognizer_passes": 1.0}
