"""An audit beside other Rays on the machine, started with less priority."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from inversionlab.distributed import own_address
from tests import faults
from tests.processes import wait_until


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    with faults.private_ray() as environment:
        yield environment


@pytest.mark.ray
@pytest.mark.slow
def test_workers_know_their_own_ray_and_are_as_nice_as_their_driver(
    local_ray: None, tmp_path: Path, environment: dict[str, str]
) -> None:
    words = faults.audit_words(tmp_path)
    # As below `nice -n 3`, on top of what this process has.
    nicer = [
        "-c",
        f"import os, sys; os.nice(3); os.execv(sys.executable, [sys.executable, *{words}])",
    ]
    driver = faults.start(nicer, environment)
    runs = tmp_path / "runs"
    wait_until(
        lambda: driver.poll() is not None or any(runs.glob("reconstructions/*/*.parquet")),
        faults.MOMENT,
        "an attack is done",
    )
    assert driver.poll() is None
    workers = psutil.Process(driver.pid).children(recursive=True)
    named = {p.pid: p.name() for p in workers if p.is_running()}
    assert any("AttackWorker" in name for name in named.values()), named
    found = {p.nice() for p in workers if p.is_running()}
    assert found == {min(19, os.nice(0) + 3)}
    (said,) = faults.finish(driver)
    assert "active Ray instances" not in said
    logs = [
        p for p in Path(environment["RAY_TMPDIR"]).rglob("*") if p.is_file() and not p.is_symlink()
    ]
    assert len(logs) > 10
    assert not [p for p in logs if b"active Ray instances" in p.read_bytes()]


def test_a_worker_takes_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(gcs_address="127.0.0.1:6001")
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    before = os.umask(0o022)
    try:
        own_address.take()
        after = os.umask(before)
    finally:
        os.umask(before)
    assert os.environ["RAY_ADDRESS"] == "127.0.0.1:6001"
    assert after == 0o077
