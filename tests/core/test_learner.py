from __future__ import annotations

import pytest
import torch
from torch import nn

from inversionlab.core.learner import TrainingSettings, make_optimizer
from inversionlab.core.settings import ConfigError, validate
from inversionlab.experiment import Experiment
from tests import tiny


@pytest.mark.parametrize(
    "key", ["victim.training.epochs", "generator.training.epochs", "defense.training.epochs"]
)
def test_zero_epochs_are_refused_with_the_way_to_give_a_trained_model(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Experiment, tiny.recipe(**{key: 0}), origin="tiny")
    assert str(caught.value) == (
        f"tiny: {key} = 0: nothing is trained with 0 epochs; a trained model is given as "
        "`victim: {model: ..., weights: ...}`"
    )


@pytest.mark.parametrize("epochs", [-1, True, 1.5])
def test_other_wrong_numbers_of_epochs_are_refused_as_any_number_is(epochs: object) -> None:
    with pytest.raises(ConfigError, match=r"victim\.training\.epochs = ") as caught:
        validate(Experiment, tiny.recipe(**{"victim.training.epochs": epochs}), origin="tiny")
    assert "nothing is trained" not in str(caught.value)


def test_amsgrad_is_adam_with_the_largest_moment() -> None:
    """A large gradient, then small ones: AMSGrad's steps stay small where Adam's grow again."""

    def moved(amsgrad: bool) -> float:
        weight = nn.Parameter(torch.zeros(1))
        settings = TrainingSettings(optimizer="amsgrad", learning_rate=0.1, weight_decay=0.0)
        plain = torch.optim.Adam([weight], lr=0.1, betas=(0.9, 0.999))
        optimizer = make_optimizer([weight], settings) if amsgrad else plain
        for step in range(5000):
            weight.grad = torch.full((1,), 100.0 if step == 0 else 0.01)
            optimizer.step()
        return abs(float(weight.detach()))

    assert moved(amsgrad=True) < 0.5 * moved(amsgrad=False)
    assert "optimizer" in TrainingSettings().model_dump()
