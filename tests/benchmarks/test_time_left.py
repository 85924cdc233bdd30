"""The reader of logs; the log is made up, and what it must find is counted by hand."""

from __future__ import annotations

import pytest
from benchmarks.time_left import compared, read

LOG = """
100.00 [2/4] train: 1 of 1 networks to train: victim
101.00 (RayTrainWorker pid=1) [train] victim: epoch 1/3, loss 5.86, 0:04 left
103.00 [train] victim: epoch 2/3, loss 5.5, 0:02 left
105.00 [train] victim: epoch 3/3, loss 5.4, 0:00 left
no time
106.00 [3/4] attack: 40 reconstructions over 5 cells; 0 are stored already
110.00       10/40 reconstructions, 1:20 left
120.00       reconstructions ━━━━ 20/40, 0:10 left; 2 workers on 1 node
150.00 [4/4] report: writing the run's record
151.00 [4/4] report: writing the run's record
"""


def test_it_finds_what_was_said_and_when_each_thing_ended() -> None:
    said, ends = read(LOG.splitlines())
    assert said["victim"] == [(101.0, 4), (103.0, 2), (105.0, 0)]
    assert said["attacks"] == [(110.0, 80), (120.0, 10)]
    assert ends["victim"] == 105.0
    assert ends["attacks"] == 150.0
    # From 110 to 150: at 120 it said 10, at 130 that was long ago.
    found = [*compared(said["attacks"], ends["attacks"])]
    assert found == [(0.25, pytest.approx(10.0), 30.0), (0.5, 0.0, 20.0), (0.75, 0.0, 10.0)]
