from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from inversionlab.core.settings import ConfigError
from inversionlab.distributed.endpoint_actor import EndpointHandle, connect_endpoint
from inversionlab.given.endpoint import BudgetError, EndpointError
from inversionlab.given.endpoint_settings import EndpointSettings
from tests.given.serving import face_server
from tests.processes import HANG, kill, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


SECRET = "Bearer s3cr3t-t0ken"


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=rng)


@ray.remote(num_cpus=0)
def ask(handle: EndpointHandle, count: int, seed: int = 0) -> Any:
    """What a worker gets: scores, or the type and text of the error."""
    try:
        return handle.ask(pictures(count, seed))
    except Exception as error:
        return type(error), str(error)


def test_workers_share_one_client_whose_errors_arrive_as_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACES_TOKEN", SECRET)
    good = ["ok"] * 10
    with face_server(tmp_path, f"--token={SECRET}", f"--faults={','.join(good)},400") as server:
        settings = EndpointSettings(
            url=server.url, batch_size=4, budget=50, headers={"Authorization": "FACES_TOKEN"}
        )
        handle = connect_endpoint(settings, None, tmp_path / "ledger")
        answers = ray.get([ask.remote(handle, 40) for _ in range(2)])
        assert torch.equal(answers[0], answers[1])
        assert answers[0].shape == (40, 5)
        assert server.count()["processed"] == handle.spent == 40
        assert handle.kind == "scores"
        assert handle.budget_left == 10
        assert handle.status().startswith("queries: 40 of 50, ")
        kind, text = ray.get(ask.remote(handle, 3, 1))
        assert kind is EndpointError
        assert "answered 400 (see victim.endpoint.request): no, 400" in text
        kind, text = ray.get(ask.remote(handle, 30, 1))
        assert kind is BudgetError
        assert "the budget of 50 queries is spent" in text
        assert server.count()["processed"] == handle.spent == 50
    logs = [f for f in Path(os.environ["RAY_TMPDIR"]).rglob("*") if f.is_file()]
    assert len(logs) > 5
    shown = [
        f for f in (*logs, *tmp_path.rglob("*")) if f.is_file() and b"s3cr3t" in f.read_bytes()
    ]
    assert not shown


def test_a_killed_actor_goes_on_from_the_ledger(tmp_path: Path) -> None:
    with face_server(tmp_path, "--delay=0.02") as server:
        settings = EndpointSettings(url=server.url, budget=200, concurrency=2)
        handle = connect_endpoint(settings, None, tmp_path / "ledger")
        asked = ask.remote(handle, 100)
        wait_until(lambda: server.count()["processed"] > 20, HANG, "20 pictures were processed")
        kill([ray.get(handle.actor.__ray_call__.remote(lambda actor: os.getpid()))])
        scores = ray.get(asked, timeout=HANG)
        assert scores.shape == (100, 5)
        count = server.count()
        twice = sum(n > 1 for n in count["digests"].values())
        assert len(count["digests"]) == 100
        assert twice <= 2
        assert count["processed"] <= handle.spent <= 102


def test_a_worker_that_dies_in_the_middle_takes_nothing_along(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0, max_retries=0)
    def pid_and_ask(handle: EndpointHandle, file: Path) -> None:
        file.write_text(str(os.getpid()))
        handle.ask(pictures(60))
        # It may have its answers before it is killed.
        time.sleep(HANG)

    with face_server(tmp_path, "--delay=0.02") as server:
        handle = connect_endpoint(EndpointSettings(url=server.url), None, tmp_path / "ledger")
        asked = pid_and_ask.remote(handle, tmp_path / "pid")
        wait_until(lambda: server.count()["processed"] > 10, HANG, "10 pictures were processed")
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        with pytest.raises(ray.exceptions.RayError):
            ray.get(asked)
        assert handle.ask(pictures(60)).shape == (60, 5)
        assert server.count()["processed"] == handle.spent == 60


def test_what_is_wrong_is_said_before_an_actor_starts(tmp_path: Path) -> None:
    settings = EndpointSettings(url="https://host/x", headers={"Authorization": "NO_SUCH_VARIABLE"})
    with pytest.raises(ConfigError, match="environment variable NO_SUCH_VARIABLE is not set"):
        connect_endpoint(settings, None, tmp_path)
