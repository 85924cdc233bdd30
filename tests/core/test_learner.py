from __future__ import annotations

import pytest

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
