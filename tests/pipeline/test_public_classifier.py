"""Whom the defender's classifier of public people learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from inversionlab.core.settings import ConfigError
from inversionlab.defenses.gan_fake_samples import GanFakeSamplesSettings
from inversionlab.pipeline.defense_specs import least_pictures
from inversionlab.pipeline.recognizer_specs import (
    HELD_OUT,
    classifier_spec,
    outsider_classes,
    outsiders,
)
from tests import tiny


def test_people_with_fewer_pictures_are_left_out(tmp_path: Path) -> None:
    splits = tiny.session(tmp_path).builder.splits
    # Person 7 is on one picture, person 8 on two, person 9 on all others.
    person_N = torch.full((len(splits.public_NCHW),), 9)
    person_N[0], person_N[1:3] = 7, 8
    splits = dataclasses.replace(splits, public_person_N=person_N)
    assert outsider_classes(splits)[:4].tolist() == [-1, 0, 0, 1]
    assert outsider_classes(splits, 3)[:4].tolist() == [-1, -1, -1, 0]
    assert outsider_classes(splits, 1)[:4].tolist() == [0, 1, 1, 2]
    assert len(outsiders(splits, "F_C")) == len(person_N) - 1
    with pytest.raises(ConfigError, match="needs public people with 3 pictures or more each"):
        outsiders(splits, "F_C", 3)


def test_every_fifth_picture_tests_it_where_all_are_on_enough(tmp_path: Path) -> None:
    splits = tiny.session(tmp_path).builder.splits
    person_N = torch.arange(len(splits.public_NCHW)) % 3
    splits = dataclasses.replace(splits, public_person_N=person_N)
    structure = tiny.experiment().victim
    whole = classifier_spec("d", 0, structure).data(splits)
    assert len(whole.train) == len(person_N)
    spec = classifier_spec("d", 0, structure, least=HELD_OUT)
    data = spec.data(splits)
    each = torch.bincount(person_N)
    assert torch.bincount(data.test.class_N).tolist() == (each // 5).tolist()
    assert len(data.train) + len(data.test) == len(person_N)
    held = {x.numpy().tobytes() for x in data.test.images_NCHW[:]}
    assert not any(x.numpy().tobytes() in held for x in data.train.images_NCHW[:])


def test_the_setting_names_another_network_only_where_it_is_another() -> None:
    plain, many = GanFakeSamplesSettings(), GanFakeSamplesSettings(public_min_pictures=10)
    assert "public_min_pictures" not in plain.trained_part()
    assert many.trained_part()["public_min_pictures"] == 10
    assert "public_min_pictures" not in plain.released_part()
    assert (least_pictures(plain), least_pictures(many)) == (2, 10)
    structure = tiny.experiment().victim
    one, same, other = (
        classifier_spec("d", 0, structure, **least)  # type: ignore[arg-type]
        for least in ({}, {"least": 2}, {"least": 10})
    )
    assert one.id == same.id != other.id
