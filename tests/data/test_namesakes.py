"""Who has the name of somebody in another data set."""

from __future__ import annotations

import pytest

from inversionlab.data.namesakes import namesakes


@pytest.mark.parametrize(
    ("known", "shown", "both"),
    [
        (["ann", "bob"], ["bob", "eve"], ["bob"]),
        (["Al_Pacino"], ["al  pacino "], ["al  pacino "]),
        (["staff/ann"], ["ann", "web/ann"], ["ann"]),
        (["staff/ann"], ["web/ann"], ["web/ann"]),
        (["ann"], ["web/ann", "old/ann"], ["old/ann", "web/ann"]),
        (["a/photos"], ["b/photos", "c/photos"], []),
        (["ann"], ["anna", "ann/x"], []),
    ],
)
def test_namesakes(known: list[str], shown: list[str], both: list[str]) -> None:
    assert namesakes(known, shown) == both


def test_a_last_part_that_many_of_the_set_have_is_no_name() -> None:
    assert namesakes(["a/photos"], ["b/photos"], among=["a/photos", "x/photos"]) == []
    assert namesakes(["a/photos"], ["a/photos"], among=["a/photos", "x/photos"]) == ["a/photos"]
