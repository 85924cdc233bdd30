"""Equal pictures between sets and people; `test_near_duplicates.py` has those that are nearly equal."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from inversionlab.core.settings import NAMING, ConfigError
from inversionlab.data.base import Pictures
from inversionlab.data.duplicates import CROWD
from inversionlab.data.known_people import split_known
from inversionlab.data.split_settings import SplitSettings
from inversionlab.data.splits import Splits, split


def crowd(*numbers: list[int], prefix: str = "p") -> Pictures:
    """Person i has the pictures with these numbers; pictures of one number are equal."""
    person = torch.tensor([i for i, mine in enumerate(numbers) for _ in mine])
    number = torch.tensor([n for mine in numbers for n in mine])
    images = torch.stack([number % 256, number // 256], 1).byte()[:, None, None].expand(-1, 1, 2, 2)
    names = tuple(f"{prefix}{i:02d}" for i in range(len(numbers)))
    return Pictures(images.contiguous(), person, names)


def own(person: int, count: int) -> list[int]:
    """Pictures of this person alone."""
    return list(range(1000 * person, 1000 * person + count))


PRIVATE = SplitSettings(private=("p00", "p01"), private_min_pictures=2, evaluator_people=0)
EVALUATED = SplitSettings(
    private=("p00", "p01"),
    private_min_pictures=2,
    evaluator_only=("p02",),
    evaluator_min_pictures=2,
)
ALLOWED = {"allow_overlap": True}


def refused(pictures: Pictures, settings: SplitSettings, public: Pictures | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        split(pictures, settings, 0, public)
    return str(caught.value)


def allowed(pictures: Pictures, settings: SplitSettings, public: Pictures | None = None) -> Splits:
    return split(pictures, settings.model_copy(update=ALLOWED), 0, public)


def test_a_private_picture_that_is_public_is_refused_with_both_names() -> None:
    pictures = crowd(own(0, 4), own(1, 4), [*own(2, 3), 1001, 1002])
    text = refused(pictures, PRIVATE)
    assert "split: 2 private pictures are public ones too (of `p01` and `p02`)" in text
    assert "split.allow_overlap: true" in text
    cut = allowed(pictures, PRIVATE)
    assert len(cut.public_NCHW) == 3  # the copies are left out all the same
    assert any("2 private pictures are public ones too" in note for note in cut.notes)
    assert any("2 public pictures equal one of another set" in note for note in cut.notes)


def test_a_public_data_set_of_its_own_is_looked_at_too() -> None:
    public = crowd([*own(7, 3), 0], prefix="q")
    text = refused(crowd(own(0, 4), own(1, 4)), PRIVATE, public)
    assert "1 private pictures are public ones too (of `p00` and `q00`)" in text


def test_a_private_picture_that_trains_the_evaluator_is_refused() -> None:
    pictures = crowd(own(0, 4), own(1, 4), [*own(2, 3), 1001], own(3, 3))
    text = refused(pictures, EVALUATED)
    assert "1 private pictures are evaluator-only ones too (of `p01` and `p02`)" in text
    cut = allowed(pictures, EVALUATED)
    assert len(cut.evaluator_train) + len(cut.evaluator_test) == 4


def test_a_person_copied_under_eleven_names_is_refused() -> None:
    """One copy is private, others are evaluator-only and public: today's splits would mix them."""
    pictures = crowd(*[own(0, 10)] * 11, own(1, 10), own(2, 10))
    settings = SplitSettings(private_people=4, evaluator_people=4)
    for seed in range(4):
        with pytest.raises(ConfigError, match=r"split: .*p\d\d.*(one person|ones too)"):
            split(pictures, settings, seed)


def test_two_private_people_who_are_one_are_refused() -> None:
    pictures = crowd(own(0, 6), [*own(0, 3), 5000, 5001, 5002], own(2, 2))
    assert "private `p00` and `p01` share 3 of their 6 and 6 pictures" in refused(pictures, PRIVATE)
    assert any("share 3 of their" in note for note in allowed(pictures, PRIVATE).notes)


def test_one_shared_picture_of_two_private_people_is_a_note() -> None:
    cut = split(crowd(own(0, 6), [0, *own(1, 5)], own(2, 2)), PRIVATE, 0)
    assert "1 pairs of people of one set share a picture" in cut.notes


def test_a_picture_of_everybody_is_a_placeholder() -> None:
    people = [[*own(i, 3), 9_999] for i in range(2, CROWD + 10)]
    pictures = crowd(own(0, 4), own(1, 4), *people)
    cut = split(pictures, SplitSettings(private=("p0[01]",), private_min_pictures=2), 0)
    assert any("1 pictures are of more than 50 people each" in note for note in cut.notes)
    pictures = crowd([*own(0, 4), 9_999], own(1, 4), *people)
    text = refused(pictures, SplitSettings(private=("p0[01]",), private_min_pictures=2))
    assert "1 private pictures are evaluator-only ones too" in text or "public ones too" in text


def test_training_and_test_are_compared() -> None:
    pictures = crowd([0] * 6, own(1, 6), own(2, 2))
    cut = split(pictures, PRIVATE, 0)
    assert "1 test pictures equal a training picture of their person" in cut.notes
    assert not split(crowd(own(0, 6), own(1, 6), own(2, 2)), PRIVATE, 0).notes


def test_public_people_may_share_pictures_without_a_word() -> None:
    assert not split(crowd(own(0, 4), own(1, 4), own(2, 3), own(2, 3)), PRIVATE, 0).notes


def test_a_given_models_people_are_looked_at_too() -> None:
    pictures, public = crowd(own(0, 4), own(1, 4)), crowd([*own(7, 3), 0], prefix="q")
    settings = SplitSettings(private_min_pictures=2)
    with pytest.raises(ConfigError, match="1 private pictures are public ones too"):
        split_known(pictures, ("p00", "p01"), settings, 0, public)
    assert split_known(
        pictures, ("p00", "p01"), settings.model_copy(update=ALLOWED), 0, public
    ).notes


def test_what_only_allows_something_is_in_no_name() -> None:
    """Whoever has stored results on such data allows it, and finds them again."""
    plain = SplitSettings().model_dump(mode="json", context=NAMING)
    assert SplitSettings(allow_overlap=True).model_dump(mode="json", context=NAMING) == plain
    assert SplitSettings(near_duplicates=None).model_dump(mode="json", context=NAMING) == plain
    assert SplitSettings(allow_overlap=True).model_dump()["allow_overlap"] is True
    assert "near_duplicates" in SplitSettings(near_duplicates=None).model_dump()
    added = {"allow_overlap", "near_duplicates", "keep_copies"}
    assert not added & SplitSettings().model_dump().keys()


def test_copies_stay_with_the_attacker_only_where_that_is_said_twice() -> None:
    pictures, public = crowd(own(0, 4), own(1, 4)), crowd([*own(7, 3), *own(0, 4)], prefix="q")
    apart = split(pictures, SplitSettings(private_min_pictures=2, allow_overlap=True), 0, public)
    assert len(apart.public_NCHW) == 3
    kept = SplitSettings(private_min_pictures=2, allow_overlap=True, keep_copies=True)
    together = split(pictures, kept, 0, public)
    assert len(together.public_NCHW) == 7
    assert any("stay: the attacker holds them (split.keep_copies)" in n for n in together.notes)
    assert "keep_copies" in kept.model_dump(mode="json", context=NAMING)
    with pytest.raises(ValidationError, match="set allow_overlap: true too"):
        SplitSettings(keep_copies=True)
