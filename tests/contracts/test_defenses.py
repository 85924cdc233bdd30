"""Every registered defense keeps the same promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inversionlab.access import WhiteBox
from inversionlab.defenses import DEFENSES, Defense, Workbench
from inversionlab.learning import TrainingSettings
from inversionlab.recognizers import RecognizerLearner, RecognizerSettings
from inversionlab.stages.training import alone, train
from tests import toys

VICTIM = RecognizerSettings()


class NoCheckpoints:
    def load(self) -> None:
        return None

    def save(self, state: object) -> None:
        raise AssertionError("so short a training keeps no checkpoint")


def make(name: str) -> Defense:
    extra = {"dummy_recognizer": {"neighbours": 4, "alpha": 0.4}}.get(name, {})
    return DEFENSES[name](DEFENSES[name].Settings(name=name, **extra))


def learner(training: TrainingSettings) -> RecognizerLearner:
    settings = VICTIM.model_copy(update={"training": training})
    return RecognizerLearner(settings, classes=toys.CLASSES, channels=3, image_size=16, seed=1)


class Decoder(nn.Module):
    def forward(self, z_ND: torch.Tensor) -> torch.Tensor:
        return z_ND.repeat(1, 128)[:, : 3 * 256].view(-1, 3, 16, 16).sigmoid()


def bench() -> Workbench:
    return Workbench(
        classes=toys.CLASSES,
        generator=Decoder(),
        latent_size=toys.LATENT,
        new_recognizer=learner,
        seed=5,
        device=toys.CPU,
    )


def protected(name: str) -> nn.Module:
    defense = make(name)
    victim = learner(TrainingSettings(epochs=1)).product().eval()
    trained = None
    if defense.trains:
        lesson = defense.lesson(bench())
        short = lesson.training.model_copy(update={"epochs": 1})
        lesson = type(lesson)(lesson.learner, lesson.images_NCHW, lesson.class_N, short)
        train(
            lesson,
            role="defense",
            seed=1,
            world=alone(toys.CPU),
            checkpoints=NoCheckpoints(),
            report=lambda progress: None,
        )
        trained = lesson.learner.product().eval()
    return defense.protect(victim, trained).eval().requires_grad_(False)


def pictures() -> torch.Tensor:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("name", DEFENSES)
def test_outputs_are_probability_vectors(name: str) -> None:
    y_NK = protected(name).log_scores(pictures()).exp()
    assert y_NK.shape == (6, toys.CLASSES)
    torch.testing.assert_close(y_NK.sum(1), torch.ones(6))
    assert float(y_NK.min()) >= 0


@pytest.mark.parametrize("name", DEFENSES)
def test_gradients_flow_through_the_white_box(name: str) -> None:
    x_NCHW = pictures().requires_grad_(True)
    view = WhiteBox(protected(name), 6)
    (g,) = torch.autograd.grad(view.log_scores(x_NCHW, torch.arange(6))[:, 2].sum(), x_NCHW)
    assert bool(g.isfinite().all())
    assert bool((g.flatten(1).norm(dim=1) > 0).all())


@pytest.mark.parametrize("name", DEFENSES)
def test_saved_and_loaded_gives_the_same_bits(name: str) -> None:
    first, second = protected(name), protected(name)
    with torch.no_grad():
        for p in second.parameters():
            p.zero_()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.log_scores(pictures()), second.log_scores(pictures()))


@pytest.mark.parametrize("name", DEFENSES)
def test_trains_exactly_if_it_says_so(name: str) -> None:
    defense = make(name)
    if not defense.trains:
        with pytest.raises(NotImplementedError):
            defense.lesson(bench())
    else:
        lesson = defense.lesson(bench())
        assert len(lesson.images_NCHW) == len(lesson.class_N)
        assert lesson.images_NCHW.dtype == torch.uint8


@pytest.mark.parametrize("name", DEFENSES)
def test_inference_only_settings_exist(name: str) -> None:
    kind = DEFENSES[name].Settings
    assert kind.inference_only <= set(kind.model_fields)
    assert not kind.inference_only & set(make(name).settings.trained_part())  # type: ignore[attr-defined]
