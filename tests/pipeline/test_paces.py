"""What is expected of paces; every figure is derived by hand."""

from __future__ import annotations

import pytest

from inversionlab.pipeline.paces import TOLD, Kind, Paces


def kind(attack: str, model: str, expected: float = 1.0) -> Kind:
    return Kind(f"{attack} {model}", attack, model, expected)


def test_nothing_is_expected_while_nothing_is_measured() -> None:
    assert Paces().expect(kind("a", "none")) is None
    assert Paces().slower() is None


def test_an_attack_takes_longer_on_a_model_where_others_do() -> None:
    paces = Paces()
    paces.note(kind("a", "none"), 2.0)
    paces.note(kind("b", "none"), 5.0)
    # Of the model nothing is known.
    assert paces.expect(kind("b", "dummy")) == pytest.approx(5.0)
    paces.note(kind("a", "dummy"), 6.0)
    # The other one takes three times as long there.
    assert paces.expect(kind("b", "dummy")) == pytest.approx(5.0 * 3.0**TOLD)
    paces.note(kind("c", "none"), 1.0)
    paces.note(kind("c", "dummy"), 12.0)
    # Three times and twelve times: in the geometric mean six times.
    assert paces.expect(kind("b", "dummy")) == pytest.approx(5.0 * 6.0**TOLD)
    assert paces.expect(kind("b", "none")) == pytest.approx(5.0)


def test_an_attack_that_is_new_takes_longer_than_planned_as_the_dear_ones_do() -> None:
    paces = Paces()
    paces.note(kind("cheap", "", 0.02), 0.001)
    # A cheap one alone hardly tells: (0.1 + 0.001) / (0.1 + 0.02).
    assert paces.expect(kind("new", "none", 4.0)) == pytest.approx(4 * 0.101 / 0.12)
    paces.note(kind("dear", "none", 2.0), 6.0)
    paces.note(kind("dear", "dummy", 2.0), 8.0)
    # On its two models the dear one took 7 s in the mean.
    assert paces.expect(kind("new", "none", 4.0)) == pytest.approx(4 * 7.101 / 2.12)


def test_a_pace_follows_what_is_measured_by_half() -> None:
    paces = Paces()
    paces.note(kind("a", "none"), 1.0)
    paces.note(kind("a", "none"), 5.0)
    assert paces.expect(kind("a", "none")) == 3.0


def test_a_model_with_other_settings_takes_as_long_as_those_measured_in_the_mean() -> None:
    paces = Paces()
    paces.note(kind("a", "none"), 1.0)
    for alpha, pace in ((0.1, 8.0), (0.2, 4.0)):
        paces.note(Kind(f"a dummy {alpha}", "a", "dummy"), pace)
    assert paces.expect(Kind("a dummy 0.3", "a", "dummy")) == pytest.approx(6.0)
    # What was measured itself is its own.
    assert paces.expect(Kind("a dummy 0.1", "a", "dummy")) == pytest.approx(8.0)
    # In the mean over both models the attack takes 3.5 s, so three and a half times as long as planned.
    assert paces.slower() == pytest.approx((0.1 + 3.5) / (0.1 + 1.0))
