"""Random fake samples: pictures of the right people, drawn by the seed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inversionlab.core.contracts import ModelShape
from inversionlab.defenses.base import DefenseContext, VictimBlueprint
from inversionlab.defenses.parts.fine_tuning import PRIVATE, PUBLIC, public_labels
from inversionlab.defenses.random_fake_samples import RandomFakeSamples, RandomFakeSamplesSettings
from inversionlab.recognizers import Recognizer, RecognizerSettings
from inversionlab.recognizers.small_resnet import SmallResnet


def recognizer() -> Recognizer:
    network = SmallResnet.Settings(width=4, blocks=(1, 1))
    return Recognizer(
        RecognizerSettings(network=network), classes=5, channels=1, image_size=16, seed=1
    ).eval()


def numbered(class_N: Tensor) -> Tensor:
    """Pictures (N, 1, 16, 16) whose value is 10 x the class, and the place within it."""
    place_N = torch.tensor([int((class_N[:i] == c).sum()) for i, c in enumerate(class_N)])
    return (10 * class_N + place_N).byte()[:, None, None, None].expand(-1, 1, 16, 16).contiguous()


def context(public_class_N: Tensor | None = None) -> DefenseContext:
    private_class_N = torch.arange(20) % 5
    if public_class_N is None:
        public_class_N = torch.arange(24) // 3
    return DefenseContext(
        blueprint=VictimBlueprint(ModelShape(5, 1, 16), recognizer),
        private_NCHW=numbered(private_class_N),
        private_class_N=private_class_N,
        public_NCHW=numbered(public_class_N.clamp_min(0)),
        public_class_N=public_class_N,
        targets=(1, 3),
        seed=5,
        device=torch.device("cpu"),
        augment=lambda x, rng: x,
        new_recognizer=lambda training: pytest.fail("nothing is trained from scratch"),
        victim=recognizer(),
    )


def defense(**options: Any) -> RandomFakeSamples:
    return RandomFakeSamples(RandomFakeSamplesSettings(samples=3, omega=0.0, **options))


def test_private_pictures_show_the_targets_and_public_ones_the_strangers() -> None:
    training_job = defense().training_job(context())
    shown_N = training_job.images_NCHW[:, 0, 0, 0] // 10
    for label, stranger in zip((1, 3), public_labels((1, 3), 8, seed=5), strict=True):
        for kind, person in ((PRIVATE, label), (PUBLIC, stranger)):
            rows = (training_job.class_N[:, :2] == torch.tensor([label, kind])).all(1)
            assert shown_N[rows].tolist() == [person] * 3
            assert len(set(training_job.images_NCHW[rows, 0, 0, 0].tolist())) == 3


def test_a_person_with_too_few_pictures_has_some_more_than_once() -> None:
    training_job = RandomFakeSamples(
        RandomFakeSamplesSettings(samples=7, omega=0.0, protected=(2,))
    ).training_job(context())
    private = training_job.images_NCHW[training_job.class_N[:, 1] == PRIVATE, 0, 0, 0].tolist()
    assert len(private) == 7
    assert set(private) == {20, 21, 22, 23}


def test_strangers_with_one_picture_cannot_be_labels() -> None:
    with pytest.raises(ValueError, match="no stranger is in more than one"):
        defense().training_job(context(torch.full((24,), -1)))


@pytest.mark.parametrize("labels", [(0, 30), (3, 103, 57), (7, 17, 27, 37)])
def test_labels_beyond_the_number_of_strangers_share_none_while_some_are_free(
    labels: tuple[int, ...],
) -> None:
    chosen = public_labels(labels, 10, seed=1)
    assert len(set(chosen)) == len(labels)
    assert chosen[0] == public_labels(labels[:1], 10, seed=1)[0], (
        "the lowest label always keeps its place"
    )


def test_the_order_of_protected_labels_does_not_matter() -> None:
    assert defense(protected=(3, 1)).settings == defense(protected=(1, 3)).settings
