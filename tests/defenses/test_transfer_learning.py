"""Transfer learning: where it starts, what stays frozen, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from inversionlab.core.learner import TrainingSettings
from inversionlab.core.settings import ConfigError
from inversionlab.defenses.base import VictimBlueprint
from inversionlab.defenses.parts.public_start import start_from_public
from inversionlab.defenses.transfer_learning import (
    TransferLearner,
    TransferLearning,
    TransferLearningSettings,
)
from inversionlab.pipeline.plan import make_plan
from inversionlab.pipeline.session import open_experiment
from inversionlab.store.storage import Storage
from tests import defended, tiny

TRAINING = TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-2, weight_decay=0.1)
# The toy victim: conv, norm, ReLU | one block | flatten, dropout, dense, norm.
LAYERS = [3, 1, 4]


def settings(frozen: int) -> TransferLearningSettings:
    return TransferLearningSettings(frozen=frozen, training=TRAINING)


def strangers() -> Any:
    """F_C."""
    return defended.context().classifier


def test_it_starts_from_the_backbone_of_strangers_with_a_new_head() -> None:
    learner = TransferLearner(settings(1), defended.context())
    fresh: Any = defended.context().blueprint.new_network()
    for name, value in learner.recognizer.backbone.state_dict().items():
        assert torch.equal(value, strangers().backbone.state_dict()[name]), name
    for name, value in learner.recognizer.head.state_dict().items():
        assert torch.equal(value, fresh.head.state_dict()[name]), name
    assert len(learner.recognizer.head.weight_KD) == defended.CLASSES != defended.STRANGERS


@pytest.mark.parametrize("frozen", [0, 1, 2, 3])
def test_frozen_layers_stay_and_the_others_move(frozen: int) -> None:
    """Weights and the statistics of batch normalisation, in spite of weight decay."""
    before = strangers().backbone.layers
    after = defended.trained(settings(frozen)).backbone.layers  # type: ignore[union-attr]
    count = sum(LAYERS[:frozen])
    moved = {
        index
        for index, (old, new) in enumerate(zip(before, after, strict=True))
        if any(
            not torch.equal(value, new.state_dict()[name])
            for name, value in old.state_dict().items()
        )
    }
    weighted = {index for index, layer in enumerate(before) if layer.state_dict()}
    assert moved == {index for index in weighted if index >= count}


def test_the_head_alone_is_tuned_if_everything_is_frozen() -> None:
    learner = TransferLearner(settings(3), defended.context())
    trained = {name for name, p in learner.recognizer.named_parameters() if p.requires_grad}
    assert trained == {"head.weight_KD"}
    fresh: Any = defended.context().blueprint.new_network()
    tuned: Any = defended.trained(settings(3))
    assert not torch.equal(tuned.head.weight_KD, fresh.head.weight_KD)


def test_frozen_layers_work_as_released_while_the_others_train() -> None:
    """Their statistics are constants, and their dropout is off."""
    context = defended.context()
    learner = TransferLearner(settings(2), context)
    learner.recognizer.train()
    x_NCHW = context.private_NCHW.float() / 255
    learner.step(x_NCHW, context.private_class_N, torch.Generator(), lambda parameters: None)
    layers = learner.recognizer.backbone.layers
    assert [layer.training for layer in layers] == [False] * 4 + [True] * 4
    assert not any(module.training for module in layers[3].modules())


def test_more_stages_than_the_backbone_has_are_refused() -> None:
    defense = TransferLearning(settings(3))
    defense.fits(defended.blueprint(), 40)
    with pytest.raises(ValueError, match="frozen = 4: the victim's backbone has 3 stages"):
        TransferLearning(settings(4)).fits(defended.blueprint(), 40)


def test_a_backbone_without_stages_is_refused() -> None:
    def new_network() -> nn.Module:
        model: Any = defended.blueprint().new_network()
        model.backbone.layers = nn.Identity()
        return model

    blueprint = VictimBlueprint(defended.blueprint().shape, new_network)
    with pytest.raises(ValueError, match="transfer_learning: needs the stages"):
        TransferLearning(settings(1)).fits(blueprint, 40)


def test_it_needs_a_recognizer_of_strangers() -> None:
    context = dataclasses.replace(defended.context(), classifier=None)
    with pytest.raises(ValueError, match="transfer_learning: needs a recognizer of public people"):
        TransferLearning(settings(1)).training_job(context)
    with pytest.raises(ValueError, match="it needs a recognizer of public people"):
        start_from_public(defended.blueprint().new_network(), None, "it")


def test_a_plan_trains_the_recognizer_of_strangers_first() -> None:
    whole = tiny.experiment(sweep=None, defense={"name": "transfer_learning"})
    roles = [spec.role for spec in make_plan(whole, "data", (0, 1)).specs]
    assert roles.index("defense_classifier") < roles.index("defense")


def test_a_wrong_number_is_refused_before_anything_is_trained(tmp_path: Any) -> None:
    whole = tiny.experiment(sweep=None, defense={"name": "transfer_learning", "frozen": 9})
    session = open_experiment(whole, Storage(str(tmp_path)))
    with pytest.raises(ConfigError, match=r"frozen = 9.*has 3 stages"):
        session.builder.check()
