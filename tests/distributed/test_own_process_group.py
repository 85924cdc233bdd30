"""Training workers of one machine meet where no port is open to others; no Ray is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from inversionlab.distributed.own_process_group import is_one_machine
from tests.processes import HANG

WORKER = """
import json, os, sys
import torch
from torch import distributed
from inversionlab.distributed.own_process_group import Meeting, join, leave

os.umask(0o077)
file, rank = sys.argv[1], int(sys.argv[2])
join(Meeting(file, "gloo", 2), rank)
tensor = torch.tensor(float(rank + 1))
distributed.all_reduce(tensor)
distributed.barrier()
print(json.dumps(tensor.item()), flush=True)
sys.stdin.readline()
leave()
"""


@pytest.mark.parametrize(
    ("nodes", "one"),
    [
        ([("127.0.0.1", True)], True),
        ([("127.0.0.1", True), ("10.0.0.7", False)], True),
        ([("10.0.0.7", True)], False),
        ([("127.0.0.1", True), ("10.0.0.7", True)], False),
        ([], False),
    ],
)
def test_one_machine_is_a_ray_that_nothing_outside_reaches(
    monkeypatch: pytest.MonkeyPatch, nodes: list[tuple[str, bool]], one: bool
) -> None:
    found = [{"NodeManagerAddress": address, "Alive": alive} for address, alive in nodes]
    monkeypatch.setattr("ray.nodes", lambda: found)
    assert is_one_machine() is one


@pytest.mark.timeout(2 * HANG)
def test_workers_meet_and_only_this_machine_reaches_them(tmp_path: Path) -> None:
    file = tmp_path / "group"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(file), str(rank)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            # 1 + 2, at each.
            assert json.loads(worker.stdout.readline()) == 3
        addresses = {
            one.laddr.ip
            for worker in workers
            for one in psutil.Process(worker.pid).net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        }
        assert addresses
        assert addresses <= {"127.0.0.1", "::1"}
        assert file.stat().st_mode & 0o777 == 0o600
        for worker in workers:
            assert worker.communicate("go on\n", timeout=HANG)[0] == ""
            assert worker.returncode == 0
    finally:
        for worker in workers:
            worker.kill()
    # The last one took it away.
    assert not file.exists()
