"""What workers print reaches the command; what Ray itself writes does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ray._private.ray_logging import global_worker_stdstream_dispatcher as streams
from ray.experimental.tqdm_ray import RAY_TQDM_MAGIC

from inversionlab.distributed import cluster, worker_lines
from tests.processes import HANG, wait_until

BATCH: dict[str, Any] = {"is_err": False, "pid": 17, "lines": ["[train] victim: epoch 1/2"]}


@pytest.fixture(autouse=True)
def _kept() -> Iterator[None]:
    """The handlers of the session's Ray, put back afterwards."""
    before = [*streams.handlers]
    yield
    streams.handlers = before


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ["[train] victim: epoch 1/2"]),
        ({"pid": "17"}, ["[train] victim: epoch 1/2"]),
        ({"lines": ["one", "", "two"]}, ["one", "", "two"]),
        # Ray and its libraries log there.
        ({"is_err": True}, []),
        # Ray's own processes.
        ({"pid": "raylet"}, []),
        ({"pid": "autoscaler"}, []),
        ({"lines": [f'{{"{RAY_TQDM_MAGIC}": true}}']}, []),
    ],
)
def test_only_lines_of_workers_are_handed_on(changed: dict[str, Any], told: list[str]) -> None:
    said: list[str] = []
    worker_lines.carry(said.append)
    streams.emit({**BATCH, **changed})
    assert said == told


def test_the_last_command_alone_gets_the_lines_and_ray_prints_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first: list[str] = []
    second: list[str] = []
    streams.handlers = [(worker_lines.HANDLER, print)]
    assert not worker_lines.carried()
    worker_lines.carry(first.append)
    worker_lines.carry(second.append)
    assert worker_lines.carried()
    streams.emit(BATCH)
    assert (first, second) == ([], BATCH["lines"])
    assert capsys.readouterr().out == ""


@pytest.mark.ray
def test_a_workers_lines_come_without_its_warnings(local_ray: None) -> None:
    import ray

    said: list[str] = []
    assert cluster.connect(said.append) is False

    @ray.remote(num_cpus=0)
    def work() -> None:
        import logging
        import sys

        logging.getLogger("ray").error("a state that nobody asked about")
        print("a warning", file=sys.stderr, flush=True)
        print("a line of ours", flush=True)

    ray.get(work.remote())
    # Ray may end other work's lines in between.
    wait_until(lambda: "a line of ours" in said, HANG, "the line")
    assert "a warning" not in said
    assert not [line for line in said if "nobody asked" in line]
