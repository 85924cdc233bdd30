"""What is wrong with the order of a model's classes, by answers that are made up here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from inversionlab.pipeline.class_order import OtherOrder, other_order

NAMES = ("p1", "p10", "p2", "p20", "p3", "p4")


def answers(right: Sequence[int], each: int, *, wrong: int = 0) -> tuple[Tensor, Tensor]:
    """Answers of a model that knows person k as class `right[k]`, and the classes by the names.

    Of `each` pictures of a person, `wrong` go to the next class and the one after that, in turns.
    """
    winner, own = [], []
    for k, known in enumerate(right):
        own += [k] * each
        misses = [(known + 1 + i % 2) % len(right) for i in range(wrong)]
        winner += [known] * (each - wrong) + misses
    return torch.tensor(winner), torch.tensor(own)


def advice(
    right: Sequence[int],
    each: int,
    people: Sequence[str] = NAMES,
    *,
    wrong: int = 0,
    file: str = "",
) -> str:
    winner_N, class_N = answers(right, each, wrong=wrong)
    order = other_order(winner_N, class_N, people)
    assert order is not None
    return order.advice(people, int((winner_N == class_N).sum()), len(class_N), file)


def test_a_model_that_counts_numbers_in_their_order_is_told_from_one_that_sorts_names() -> None:
    # In natural order p1 p2 p3 p4 p10 p20: p10 has place 4, p2 place 1, and so on.
    text = advice((0, 4, 1, 5, 2, 3), 4)
    assert "With the names sorted with numbers in their order (2 before 10) the model" in text
    assert "recognizes 100.0% of 24 pictures, and 16.7% as given" in text
    assert "`p10` into line 5, `p2` into line 2" in text
    assert "of a file that you name as victim.classes" in text


def test_many_names_in_another_usual_order_are_listed() -> None:
    people = sorted(f"p{i}" for i in range(1, 31))
    place = {name: i for i, name in enumerate(sorted(people, key=lambda p: int(p[1:])))}
    text = advice([place[p] for p in people], 3, people, file="/x/names.txt")
    assert text.startswith("victim.classes = /x/names.txt: with the names sorted with numbers in")
    assert (
        "write them in this order into /x/names.txt, one class per line: `p1`, `p2`, `p3`, " in text
    )


def test_a_file_that_is_not_sorted_though_the_model_is() -> None:
    people = ("bob", "ann", "dan", "cid", "eve", "Fay")
    # As `str` sorts: Fay ann bob cid dan eve.
    text = advice((2, 1, 4, 3, 5, 0), 4, people, file="/x/names.txt")
    assert "With the names sorted by name the model recognizes 100.0%" in text
    # Without regard to capitals, Fay is the last: ann bob cid dan eve Fay.
    text = advice((1, 0, 3, 2, 4, 5), 4, people, file="/x/names.txt")
    assert "sorted without regard to capitals" in text


@pytest.mark.parametrize(
    ("right", "told"),
    [
        ((1, 2, 3, 4, 5, 0), "shifted one line down the model recognizes 100.0% of 24 pictures"),
        ((5, 0, 1, 2, 3, 4), "shifted one line up the model recognizes 100.0% of 24 pictures"),
    ],
)
def test_a_shift_by_one(right: Sequence[int], told: str) -> None:
    text = advice(right, 4, file="/x/names.txt")
    assert told in text
    assert ("write a line for the model's first class" in text) == ("down" in told)
    assert ("take out the first line" in text) == ("up" in told)


def test_two_people_with_each_others_names() -> None:
    text = advice((0, 4, 2, 3, 1, 5), 4, file="/x/names.txt")
    assert text == (
        "victim.classes = /x/names.txt: 2 people are mixed up: the model recognizes pictures of `p10` as `p3`; "
        "`p3` as `p10`. With the names the other way round the model recognizes 100.0% of 24 pictures, and 66.7% "
        "as given. If the pictures lie in each other's folders, exchange the folders' names; otherwise write "
        "`p10` into line 5, `p3` into line 2 of /x/names.txt"
    )


def test_a_mix_up_of_a_model_that_is_not_perfect() -> None:
    # 7 of 10 pictures of everybody are recognized.
    text = advice((0, 1, 5, 3, 4, 2), 10, wrong=3)
    assert "`p2` as `p4`; `p4` as `p2`" in text


def test_names_in_no_order_at_all_need_a_usable_model_only() -> None:
    people = [f"p{i:02d}" for i in range(40)]
    right = torch.randperm(40, generator=torch.Generator().manual_seed(3)).tolist()
    winner_N, class_N = answers(right, 10, wrong=4)
    order = other_order(winner_N, class_N, people)
    assert order is not None
    assert order.known == ""
    assert order.mapping_K.tolist() == right
    assert "in another order the model recognizes 60.0% of 400 pictures" in order.advice(
        people, 0, 400, ""
    )


def test_a_random_last_layer_is_no_order() -> None:
    rng = torch.Generator().manual_seed(0)
    people = [f"p{i:02d}" for i in range(30)]
    class_N = torch.arange(30).repeat_interleave(30)
    # Three of ten pictures of a person go to one arbitrary class, and the others anywhere.
    usual_N = torch.randperm(30, generator=rng)[class_N]
    usual_N = torch.where(torch.rand(900, generator=rng) < 0.3, usual_N, -1)
    anywhere_N = torch.randint(30, (900,), generator=rng)
    assert other_order(torch.where(usual_N < 0, anywhere_N, usual_N), class_N, people) is None


def none(winner_N: Tensor, class_N: Tensor, people: int) -> OtherOrder | None:
    return other_order(winner_N, class_N, [f"p{i:03d}" for i in range(people)])


@pytest.mark.parametrize("wrong", [0, 1, 4, 6])
@pytest.mark.parametrize("people", [3, 6, 30])
def test_the_right_order_raises_no_alarm_however_weak_the_model(people: int, wrong: int) -> None:
    assert none(*answers(range(people), 10, wrong=wrong), people) is None


@pytest.mark.parametrize("people", [2, 3, 30, 300])
@pytest.mark.parametrize("each", [1, 2, 5])
def test_guesses_raise_no_alarm(people: int, each: int) -> None:
    for seed in range(10):
        rng = torch.Generator().manual_seed(seed)
        class_N = torch.arange(people).repeat_interleave(each)
        winner_N = torch.randint(people, (len(class_N),), generator=rng)
        assert none(winner_N, class_N, people) is None


def test_a_weak_model_raises_no_alarm_whatever_its_mistakes() -> None:
    for seed in range(20):
        rng = torch.Generator().manual_seed(seed)
        class_N = torch.arange(20).repeat_interleave(8)
        # Mistakes go to three favourites of each person.
        favourites_K3 = torch.randint(20, (20, 3), generator=rng)
        picked_N = torch.randint(3, (len(class_N),), generator=rng)
        mistaken_N = favourites_K3[class_N, picked_N]
        right_N = torch.rand(len(class_N), generator=rng) < 0.4
        assert none(torch.where(right_N, class_N, mistaken_N), class_N, 20) is None


def test_twins_who_are_confused_one_way_raise_no_alarm() -> None:
    winner_N, class_N = answers(range(10), 8)
    winner_N[class_N == 3] = 7
    assert none(winner_N, class_N, 10) is None


def test_one_picture_a_person_never_shows_a_mix_up_of_two() -> None:
    winner_N, class_N = answers(range(50), 1)
    winner_N[[3, 7]] = torch.tensor([7, 3])
    assert none(winner_N, class_N, 50) is None


def test_people_without_pictures_stay_where_they_are() -> None:
    winner_N, class_N = answers(range(10), 6)
    assert none(winner_N, class_N, 1000) is None
    winner_N[class_N == 3], winner_N[class_N == 7] = 7, 3
    order = none(winner_N, class_N, 1000)
    assert order is not None
    moved = (order.mapping_K != torch.arange(1000)).nonzero().flatten().tolist()
    assert moved == [3, 7]


def test_a_person_who_is_taken_for_one_without_pictures_raises_no_alarm() -> None:
    winner_N, class_N = answers(range(10), 6)
    winner_N[class_N == 3] = 500
    assert none(winner_N, class_N, 1000) is None


def test_answers_that_are_no_class_count_for_nobody() -> None:
    _, class_N = answers(range(6), 5)
    assert none(torch.full_like(class_N, -1), class_N, 6) is None
