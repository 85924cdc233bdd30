from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from inversionlab.core.settings import ConfigError
from inversionlab.data.base import Pictures
from inversionlab.data.splits import SplitSettings, split


def crowd(*counts: int, offset: int = 0, prefix: str = "p") -> Pictures:
    """Person i has `counts[i]` pictures; no two pictures are equal."""
    person = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    number = torch.arange(len(person)) + offset
    images = torch.stack([number % 256, number // 256], 1).byte()[:, None, None].expand(-1, 1, 2, 2)
    return Pictures(
        images.contiguous(), person, tuple(f"{prefix}{i:02d}" for i in range(len(counts)))
    )


MANY = crowd(*[10] * 6, *[6] * 4, *[2] * 8)
SETTINGS = SplitSettings()


def test_people_go_where_their_pictures_allow_and_nobody_is_in_two_sets() -> None:
    cut = split(MANY, SETTINGS, 0)
    assert cut.people == tuple(f"p{i:02d}" for i in range(6))
    assert cut.evaluator_people == tuple(f"p{i:02d}" for i in range(6, 10))
    assert cut.public_people == 8
    assert len(cut.public_NCHW) == 16
    sets = [cut.train, cut.test, cut.evaluator_train, cut.evaluator_test]
    images = [tuple(x.flatten().tolist()) for s in sets for x in s.images_NCHW]
    images += [tuple(x.flatten().tolist()) for x in cut.public_NCHW]
    assert len(set(images)) == len(images) == len(MANY.images_NCHW)


def test_decoys_are_in_no_other_set() -> None:
    cut = split(MANY, SplitSettings(evaluator_people=0, decoy_people=5, decoy_min_pictures=2), 0)
    assert len(cut.decoys.class_N.unique()) == 5
    assert cut.public_people == 7
    sets = [cut.train.images_NCHW, cut.test.images_NCHW, cut.decoys.images_NCHW, cut.public_NCHW]
    images = [tuple(x.flatten().tolist()) for s in sets for x in s]
    assert len(set(images)) == len(images) == len(MANY.images_NCHW)


def test_a_public_picture_of_a_decoy_is_left_out() -> None:
    # Somebody else's folder holds the picture of a decoy again.
    again = Pictures(MANY.images_NCHW, torch.zeros(len(MANY.person_N), dtype=torch.int64), ("x",))
    cut = split(
        MANY, SplitSettings(evaluator_people=0, decoy_people=11, allow_overlap=True), 0, again
    )
    assert len(cut.public_NCHW) in (2, 6)
    known = len(cut.train) + len(cut.test) + len(cut.decoys)
    assert known == len(MANY.images_NCHW) - len(cut.public_NCHW)


def test_decoys_leave_the_names_of_older_recipes_alone() -> None:
    assert not [key for key in SplitSettings().model_dump() if key.startswith("decoy")]
    assert SplitSettings(decoy_people=3).model_dump()["decoy_min_pictures"] == 2


def test_every_person_has_test_pictures() -> None:
    cut = split(MANY, SETTINGS, 0)
    assert Counter(cut.test.class_N.tolist()) == dict.fromkeys(range(6), 2)
    assert Counter(cut.train.class_N.tolist()) == dict.fromkeys(range(6), 8)


def test_a_person_of_two_pictures_keeps_one_for_each() -> None:
    few = split(crowd(2, 2, 1), SplitSettings(private_min_pictures=2), 0)
    assert Counter(few.train.class_N.tolist()) == {0: 1, 1: 1}
    assert Counter(few.test.class_N.tolist()) == {0: 1, 1: 1}


def test_the_seed_draws_people_and_pictures() -> None:
    capped = SplitSettings(private_people=3)
    assert split(MANY, capped, 0).people == split(MANY, capped, 0).people
    assert len({split(MANY, capped, s).people for s in range(8)}) > 1
    tests = [split(MANY, SETTINGS, s).test.images_NCHW for s in (0, 1)]
    assert not torch.equal(*tests)


def test_patterns_choose_people() -> None:
    cut = split(MANY, SplitSettings(private=("p00", "p01"), public=("p1[4-7]",)), 0)
    assert cut.people == ("p00", "p01")
    assert cut.public_people == 4


def test_public_data_of_its_own() -> None:
    cut = split(MANY, SETTINGS, 0, crowd(3, 3, offset=500, prefix="x"))
    assert cut.public_people == 2
    assert len(cut.public_NCHW) == 6


def test_a_public_picture_that_equals_a_private_one_is_left_out_and_named() -> None:
    cut = split(MANY, SplitSettings(allow_overlap=True), 0, crowd(70, 20, offset=50))
    assert any("equal one of another set" in note for note in cut.notes)
    sets = (cut.train, cut.test, cut.evaluator_train, cut.evaluator_test)
    known = {x.numpy().tobytes() for s in sets for x in s.images_NCHW}
    assert not known & {x.numpy().tobytes() for x in cut.public_NCHW}
    # 90 pictures, numbered from 50: ten are of private people, 24 of the evaluator's.
    assert len(cut.public_NCHW) == 56


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            SplitSettings(private_min_pictures=11),
            "private_min_pictures = 11.*fullest person has 10",
        ),
        (
            SplitSettings(private=("p0*",), public=("p03", "p17")),
            "private and split.public overlap",
        ),
        (SplitSettings(private=("nobody*",)), r"split.private: `nobody\*` matches nobody"),
        (SplitSettings(private=("p00", "p0i")), r"`p0i` matches nobody; did you mean `p\d\d`\?"),
        (SplitSettings(public=("x",)), "split.public: `x` matches nobody"),
        (SplitSettings(evaluator_only=("x",)), "split.evaluator_only: `x` matches nobody"),
        (SplitSettings(private=("p00", "p07")), "`p07` has 6 pictures at most, but .* = 10"),
        (SplitSettings(private=("p00", "P0[6-9]")), "has 6 pictures at most"),
        (SplitSettings(private=("p*",), private_min_pictures=2), "nobody is left for the attacker"),
        (SplitSettings(decoy_people=9), "decoy_people = 9: only 8 people"),
    ],
)
def test_empty_or_overlapping_sets_are_refused(settings: SplitSettings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split(MANY, settings, 0)


def renamed(*names: str) -> Pictures:
    """The people of `MANY` with other names for the first of them."""
    return replace(MANY, people=(*names, *MANY.people[len(names) :]))


def test_a_name_that_somebody_bears_is_no_pattern() -> None:
    # As a pattern it would mean those who begin with o, l or d.
    data = renamed("[old] Smith", "o Smith", "l Smith")
    cut = split(data, SplitSettings(private=("[old] Smith", "p03")), 0)
    assert cut.people == ("[old] Smith", "p03")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller", "Mu\u0308ller"),
        ("Müller", "Mu\u200d\u0308ller"),
        ("ann", "Ann"),
        ("Strasse", "STRASSE"),
        ("ß", "SS"),
        ("ann", "ann "),
        ("ann b", " ann\u00a0  b"),
        ("ann", "\ufeffann"),
        ("ann", "ann\u200b"),
        ("ann", "ann\ufe0f"),
        ("ann", "\uff41\uff4e\uff4e"),
        ("x/ann", "x /ann"),
    ],
)
def test_names_that_look_alike_are_refused_with_both_spellings(one: str, other: str) -> None:
    with pytest.raises(ConfigError) as refused:
        split(renamed(one, other), SETTINGS, 0)
    assert ascii(one) in str(refused.value)
    assert ascii(other) in str(refused.value)


def test_a_pattern_means_a_name_in_any_case_and_form() -> None:
    data = renamed("Mu\u0308ller", "Zoe")
    cut = split(data, SplitSettings(private=("müller", "ZOE")), 0)
    assert cut.people == ("Mu\u0308ller", "Zoe")


def test_public_data_is_looked_at_too() -> None:
    public = Pictures(MANY.images_NCHW + 1, MANY.person_N, renamed("x", "X").people)
    with pytest.raises(ConfigError, match="public_data: 'x' and 'X'"):
        split(MANY, SETTINGS, 0, public)
