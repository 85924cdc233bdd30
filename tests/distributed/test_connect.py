"""How Ray is started; `ray.init` is a stand-in."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from inversionlab.distributed.cluster import TRAIN_ENVIRONMENT, connect


@pytest.mark.parametrize(("pid", "started"), [(os.getpid(), True), (1, False)])
def test_what_ray_writes_is_private_and_nothing_is_reported(
    monkeypatch: pytest.MonkeyPatch, pid: int, started: bool
) -> None:
    seen: dict[str, Any] = {}

    def init(**options: Any) -> Any:
        seen["mask"] = os.umask(0)
        os.umask(seen["mask"])
        seen["usage"] = os.environ["RAY_USAGE_STATS_ENABLED"]
        seen["workers"] = options["runtime_env"]["env_vars"]["RAY_USAGE_STATS_ENABLED"]
        return SimpleNamespace(address_info={"session_dir": f"/tmp/ray/session_2026-01-01_{pid}"})

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    for name in TRAIN_ENVIRONMENT:
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")
    before = os.umask(0o022)
    try:
        assert connect() is started
        after = os.umask(before)
    finally:
        os.umask(before)
    assert after == 0o022
    assert seen == {"mask": 0o077, "usage": "0", "workers": "0"}
