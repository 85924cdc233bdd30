"""Whether a process that is known by name has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inversionlab.store.process import has_ended, this_process

CHECKOUT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="nobody can tell without /proc"
)


def test_this_process_has_not_ended() -> None:
    assert this_process()
    assert not has_ended(this_process())


def test_another_process_that_got_the_number_is_not_the_same_one() -> None:
    machine, number, begin = this_process().rsplit(maxsplit=2)
    assert has_ended(f"{machine} {number} {int(begin) - 1}")


def test_a_process_has_ended_on_its_own_machine_alone() -> None:
    code = "from inversionlab.store.process import this_process; print(this_process())"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "platform")},
    ).stdout.strip()
    assert has_ended(ended)
    assert not has_ended("x" + ended)


def test_what_names_no_process_has_not_ended() -> None:
    machine = this_process().rsplit(maxsplit=2)[0]
    for name in ("", "1", "1 2", f"{machine} one 2", "a b c"):
        assert not has_ended(name)
