"""The max-margin search, and the generator of classes that it searches."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

from inversionlab import generators
from inversionlab.attacks.jobs import AttackResult
from inversionlab.attacks.plg_mi import PlgMi, PlgMiSettings
from inversionlab.core.views import WhiteBox
from inversionlab.generators.gan_training import GanLearner
from inversionlab.generators.plg_gan import PlgGan, margin
from tests import toys


class OneWay(toys.ToyVictim):
    """Counts the pictures that it answers."""

    classes = 3
    seen = 0

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """A class is the brighter the larger its number."""
        self.seen += len(x_NCHW)
        bright_N1 = x_NCHW.flatten(1).mean(1, keepdim=True)
        return (torch.tensor([0.0, 10.0, 20.0]) * bright_N1).log_softmax(1)


def settings(**more: object) -> PlgGan.Settings:
    plain = {"name": "plg_gan", "latent_size": 4, "width": 4, "discriminator_width": 4, "top": 2}
    return PlgGan.Settings.model_validate({**plain, **more})


def learner(chosen: PlgGan.Settings, teacher: WhiteBox | None) -> GanLearner:
    made = generators.learner(chosen, channels=1, image_size=16, seed=0, classes=3, teacher=teacher)
    return cast(GanLearner, made)


def test_the_margin_is_to_the_best_other_class() -> None:
    logit_NK = torch.tensor([[3.0, 1.0, 2.5], [0.0, 4.0, 1.0]])
    wanted_N = torch.tensor([0.5, -3.0])
    class_N = torch.tensor([0, 2])
    torch.testing.assert_close(margin(logit_NK, class_N), wanted_N)
    torch.testing.assert_close(margin(logit_NK.log_softmax(1), class_N), wanted_N)


def test_lessons_are_every_classs_best_pictures() -> None:
    score_NK = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.6, 0.1, 0.3], [0.1, 0.5, 0.4]])
    x_NCHW = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1)
    images, class_N = PlgGan.lessons(settings(), x_NCHW, score_NK)
    assert images.flatten().tolist() == [0, 2, 1, 3, 3, 2]
    assert class_N.tolist() == [0, 0, 1, 1, 2, 2]
    images, class_N = PlgGan.lessons(settings(top=30), x_NCHW, score_NK)
    assert len(images) == len(class_N) == 12


def test_a_latent_of_a_class_keeps_its_noise_and_shows_that_class() -> None:
    net = generators.build(settings(), channels=1, image_size=16, classes=3)
    assert isinstance(net, PlgGan)
    z = net.draw(6, torch.Generator().manual_seed(0))
    assert z.shape == (6, 7)
    classes = torch.tensor([0, 0, 1, 1, 2, 2])
    named = net.of_class(z, classes)
    assert torch.equal(named[:, :4], z[:, :4])
    assert torch.equal(named[:, 4:].argmax(1), classes)
    same = net.eval()(net.of_class(z[:1].expand(3, -1), torch.arange(3)))
    assert not torch.allclose(same[0], same[1])


def test_the_generator_descends_the_margin_and_its_queries_are_as_many_as_is_said() -> None:
    victim = OneWay(toys.ToyGenerator())
    view = WhiteBox(victim, 1)
    fast = {"epochs": 1, "learning_rate": 0.02, "schedule": "constant", "weight_decay": 0.0}
    chosen = settings(inversion_weight=50.0, ada_limit=0.0, training=fast)
    made = learner(chosen, view)
    x = torch.full((8, 1, 16, 16), 0.5)
    y = torch.full((8,), 2)
    rng = torch.Generator().manual_seed(0)

    def brightness() -> float:
        with torch.no_grad():
            return float(made.generate(made.latents(x, rng)).mean())

    before = brightness()
    for _ in range(12):
        made.step(x, y, rng, lambda parameters: None)
    assert brightness() > before + 0.05
    # One for each picture of the generator's steps, none for the discriminator's.
    assert victim.seen == view.shared_queries == 12 * 8
    training = chosen.training.model_copy(update={"epochs": 4, "batch_size": 8})
    asked = PlgGan.further_queries(chosen.model_copy(update={"training": training}), 30)
    assert asked == 4 * 3 * 8
    assert PlgGan.further_queries(settings(inversion_weight=0.0), 30) == 0


def run(chosen: PlgMiSettings) -> AttackResult:
    return PlgMi(chosen, toys.context()).run(
        WhiteBox(toys.victim(), 2), toys.jobs([(0, 0), (3, 1)])
    )


def test_updates_raise_the_margin() -> None:
    plain = {"crop": 1.0, "flip": False, "views": 1, "choice": 2, "starts": 2}
    few, many = (
        run(PlgMiSettings.model_validate({**plain, "name": "plg_mi", "steps": steps}))
        for steps in (1, 25)
    )
    target = torch.tensor([0, 3])
    first, last = (
        margin(toys.victim().log_scores(found.images_NCHW), target) for found in (few, many)
    )
    assert bool((last > first).all())


@pytest.mark.parametrize("update", ["adaptive", "adam"])
def test_a_start_without_progress_is_given_up_where_patience_says_so(update: str) -> None:
    stubborn = {"update": update, "rate": 1e-9, "step_length": 1e-9, "steps": 40, "starts": 1}
    plain = {"name": "plg_mi", "crop": 1.0, "flip": False, "views": 1, **stubborn}
    assert run(PlgMiSettings.model_validate({**plain, "patience": 3})).steps_N.tolist() == [3, 3]
    kept = run(PlgMiSettings.model_validate({**plain, "patience": None}))
    assert kept.steps_N.tolist() == [40, 40]
