"""Splits for a model that exists: classes are positions in its own list, and nobody becomes public silently."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inversionlab.core.settings import ConfigError
from inversionlab.data.base import Pictures
from inversionlab.data.known_people import known_names, split_known, split_unseen
from inversionlab.data.splits import SplitSettings

FEW = SplitSettings(private_min_pictures=2)


def pictures(counts: dict[str, int], first: int = 0) -> Pictures:
    """So many pictures of each person; every picture has a number of its own."""
    people = tuple(sorted(counts))
    person_N = torch.tensor([i for i, p in enumerate(people) for _ in range(counts[p])])
    number_N = torch.arange(first, first + len(person_N))
    images_NCHW = torch.zeros(len(person_N), 1, 4, 4, dtype=torch.uint8)
    images_NCHW[:, 0, 0, 0], images_NCHW[:, 0, 0, 1] = number_N % 256, number_N // 256
    return Pictures(images_NCHW, person_N, people)


STRANGERS = pictures({"x": 3, "y": 1}, first=1000)


def test_class_numbers_are_positions_in_the_models_list() -> None:
    data = pictures({"ann": 4, "bob": 5, "eve": 1})
    names = ("zoe", "bob", "eve", "ann")
    splits = split_known(data, names, FEW, 0, STRANGERS)
    assert splits.people == names
    # Zoe has no picture, and Eve has too few: both stay classes.
    assert sorted(splits.train.class_N.unique().tolist()) == [1, 3]
    assert sorted(splits.test.class_N.unique().tolist()) == [1, 3]
    count = {
        k: int((splits.train.class_N == k).sum() + (splits.test.class_N == k).sum()) for k in (1, 3)
    }
    assert count == {1: 5, 3: 4}
    # Picture 0 is Ann's first one, of class 3.
    own = splits.train if 0 in splits.train.images_NCHW[:, 0, 0, 0].tolist() else splits.test
    row = own.images_NCHW[:, 0, 0, 0].tolist().index(0)
    assert int(own.class_N[row]) == 3
    assert splits.public_people == 2


def refused(text: str, **keys: Any) -> None:
    data = keys.pop("data", pictures({"ann": 4, "bob": 5}))
    names = keys.pop("names", ("ann", "bob"))
    public = keys.pop("public", STRANGERS)
    settings = SplitSettings(private_min_pictures=2, **keys)
    with pytest.raises(ConfigError, match=text):
        split_known(data, names, settings, 0, public)


def test_whoever_is_no_class_is_an_error_and_not_public() -> None:
    refused(
        r"1 people are not among the model's classes \(bob\); correct the names",
        names=("ann", "rob"),
    )


def test_a_folder_that_is_spelled_otherwise_is_not_another_person() -> None:
    refused("'Bob' and 'bob' differ only in case", names=("ann", "Bob"))


def test_a_public_person_whom_the_model_knows_in_another_spelling() -> None:
    refused(r"public_data: shows 1 .* \(ANN\)", public=pictures({"ANN": 2, "y": 2}))


def test_a_public_person_whom_the_model_knows_in_another_folder() -> None:
    refused(r"public_data: shows 1 .* \(web/ann\)", public=pictures({"web/ann": 2, "y": 2}))
    data = pictures({"ann": 4, "bob": 5, "web/ann": 2})
    settings = SplitSettings(private_min_pictures=2, public=("web/*",))
    with pytest.raises(ConfigError, match=r"split\.public: matches web/ann, whom the model knows"):
        split_known(data, ("ann", "bob"), settings, 0, STRANGERS)


def test_people_beside_public_data_who_are_strangers_are_in_no_set_and_noted() -> None:
    data = pictures({"ann": 4, "bob": 5, "x": 2})
    settings = SplitSettings(private_min_pictures=2, public=("x",))
    splits = split_known(data, ("ann", "bob"), settings, 0, pictures({"y": 3, "z": 1}, first=99))
    assert splits.public_people == 2
    assert "1 people of data whom split.public names are in no set" in splits.notes[-1]


def test_names_that_match_nobody() -> None:
    refused(
        r"none of its 2 people \(ann, bob\) is one of the model's 2 classes \(0, 1\)",
        names=("0", "1"),
    )


def test_too_few_pictures_of_everybody() -> None:
    refused(
        "private_min_pictures = 2: none of the model's 2 people",
        data=pictures({"ann": 1, "bob": 1}),
    )


def test_public_people_whom_the_model_knows() -> None:
    refused(
        r"public_data: shows 1 people whom the model knows \(ann\)",
        public=pictures({"ann": 2, "y": 2}),
    )


def test_a_public_pattern_must_not_match_the_models_people() -> None:
    data = pictures({"ann": 4, "bob": 5, "x": 2})
    settings = SplitSettings(private_min_pictures=2, public=("a*", "x"))
    with pytest.raises(ConfigError, match=r"split\.public: matches ann, whom the model knows"):
        split_known(data, ("ann", "bob"), settings, 0, None)


def test_public_people_of_the_same_data_are_named() -> None:
    data = pictures({"ann": 4, "bob": 5, "x": 2})
    settings = SplitSettings(private_min_pictures=2, public=("x",))
    splits = split_known(data, ("ann", "bob"), settings, 0, None)
    assert len(splits.public_NCHW) == 2
    refused("nobody is left for the attacker's public set", public=None)


def test_who_is_known_if_nothing_else_says_so() -> None:
    data = pictures({"ann": 4, "bob": 5, "x": 2})
    assert known_names(data, FEW, has_public=True) == ("ann", "bob", "x")
    chosen = SplitSettings(private=("a*", "b*"))
    assert known_names(data, chosen, has_public=False) == ("ann", "bob")
    others = SplitSettings(public=("x",))
    assert known_names(data, others, has_public=False) == ("ann", "bob")
    with pytest.raises(ConfigError, match="it is not known which people of `data` the model knows"):
        known_names(data, FEW, has_public=False)


def test_without_private_pictures_everybody_is_public() -> None:
    splits = split_unseen(("ann", "bob"), STRANGERS)
    assert splits.people == ("ann", "bob")
    assert (len(splits.train), len(splits.test), len(splits.public_NCHW)) == (0, 0, 4)
    with pytest.raises(ConfigError, match="shows 1 people whom the model knows"):
        split_unseen(("x", "bob"), STRANGERS)
