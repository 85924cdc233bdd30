from __future__ import annotations

import time

from inversionlab.distributed.progress import with_status
from inversionlab.distributed.stages import NAMED, named
from tests.processes import HANG, wait_until


def test_a_status_is_said_when_nothing_else_was() -> None:
    said: list[str] = []
    asked = 0

    def status() -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RuntimeError("its actor starts anew")
        return "" if asked == 3 else f"queries: {min(asked, 4)}"

    with with_status(said.append, status, every=0.05):
        wait_until(lambda: asked >= 6, HANG, "six looks")
    assert said == ["      queries: 1", "      queries: 4"]
    before = len(said)
    time.sleep(0.2)
    assert len(said) == before


def test_no_status_is_said_between_lines_that_follow_each_other() -> None:
    said: list[str] = []
    with with_status(said.append, lambda: "queries: 1", every=HANG) as tell:
        for number in range(20):
            tell(str(number))
            time.sleep(0.01)
    assert said == [str(number) for number in range(20)]


def test_of_many_networks_the_first_are_named() -> None:
    assert named([]) == ""
    assert named(["victim", "generator vae"]) == ": victim, generator vae"
    many = named([f"defense {n}" for n in range(NAMED + 3)])
    assert many.endswith(f"defense {NAMED - 1} and 3 more (--plan names them)")
