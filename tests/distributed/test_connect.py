"""How Ray is started, and what is said where it cannot be; `ray.init` is a stand-in."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray._private import utils as ray_utils
from ray.exceptions import AuthenticationError

from inversionlab.core.settings import ConfigError
from inversionlab.distributed import own_ray
from inversionlab.distributed.cluster import TRAIN_ENVIRONMENT, connect
from inversionlab.distributed.errors import ClusterError

NAMES = (
    *TRAIN_ENVIRONMENT,
    *("RAY_ADDRESS", "RAY_TMPDIR", "RAY_worker_niceness", "RAY_enable_metrics_collection"),
    *("AUTOSCALER_METRIC_PORT", "DASHBOARD_METRIC_PORT"),
    *("RAY_gcs_server_port_wait_time_s", "RAY_gcs_rpc_server_reconnect_timeout_s"),
    *("RAY_AUTH_TOKEN_PATH", "INVERSIONLAB_RAY_SECONDS"),
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    # What Ray would be asked for is there.
    monkeypatch.setattr("socket.create_connection", lambda place, timeout: io.BytesIO())
    for name in NAMES:
        # So that what `connect` sets is taken back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))


class Init:
    """A stand-in for `ray.init` that fails with each of these errors in turn, then starts."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.seen: list[dict[str, Any]] = []

    def __call__(self, **options: Any) -> Any:
        mask = os.umask(0)
        os.umask(mask)
        self.seen.append({**options, "mask": mask, "environment": dict(os.environ)})
        if self.errors:
            raise self.errors.pop(0)
        return SimpleNamespace()


def started(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> Init:
    init = Init(*errors)
    monkeypatch.setattr(ray, "init", init)
    return init


def test_what_ray_writes_is_private_and_nothing_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    init = started(monkeypatch)
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    before = os.umask(0o022)
    try:
        assert connect() is True
        after = os.umask(before)
    finally:
        os.umask(before)
    assert after == 0o022
    (seen,) = init.seen
    assert seen["mask"] == 0o077
    assert seen["address"] == "local"
    assert token.stat().st_mode & 0o777 == 0o600
    workers = seen["runtime_env"]["env_vars"]
    assert seen["environment"]["RAY_USAGE_STATS_ENABLED"] == "0"
    assert workers["RAY_USAGE_STATS_ENABLED"] == "0"
    assert seen["environment"]["RAY_enable_metrics_collection"] == "0"
    for server in ("AUTOSCALER", "DASHBOARD"):
        assert int(seen["environment"][f"{server}_METRIC_PORT"]) > 65535, "a port would be opened"
    folder = Path(seen["environment"]["RAY_TMPDIR"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_uid == os.getuid()


def test_a_named_cluster_is_connected_to_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    init = started(monkeypatch)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    assert connect() is False
    (seen,) = init.seen
    assert seen["address"] == "10.0.0.7:6379"
    assert "RAY_TMPDIR" not in seen["environment"]


@pytest.mark.parametrize("address", [None, "", "local"])
def test_without_an_address_no_cluster_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str | None
) -> None:
    """A file that anybody may have planted names an address; a Ray of one's own is started all the same."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    tmp_path.chmod(0o700)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.6.6.6:6379")
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    init = started(monkeypatch)
    assert connect() is True
    assert init.seen[0]["address"] == "local"


def test_an_address_that_would_be_looked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    init = started(monkeypatch)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(ConfigError, match=r"RAY_ADDRESS = auto: .* name it as HOST:PORT"):
        connect()
    assert init.seen == []


def test_an_address_with_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch)
    monkeypatch.setenv("RAY_ADDRESS", "http://me:hunter2@host:8265")
    with pytest.raises(ConfigError, match=r"^RAY_ADDRESS: does not answer: is no") as caught:
        connect()
    assert "hunter2" not in str(caught.value)


ADDRESSES = ["nowhere", "nowhere:", ":6379", "nowhere:six", "a:123456", "http://127.0.0.1:8265"]
LATE = Exception("The current node timed out during startup. This could happen\nbecause")


def test_a_ray_that_starts_late_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INVERSIONLAB_RAY_SECONDS", "0")
    init = started(monkeypatch, LATE)
    assert connect() is True
    assert len(init.seen) == 2
    assert capsys.readouterr().out == (
        "Ray does not start (The current node timed out during startup. This could happen); trying again\n"
    )


def test_a_ray_that_never_starts_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVERSIONLAB_RAY_SECONDS", "0")
    init = started(monkeypatch, LATE, LATE, LATE)
    with pytest.raises(ClusterError) as caught:
        connect()
    assert len(init.seen) == 2
    assert str(caught.value) == (
        "Ray does not start: The current node timed out during startup. This could happen (2 tries; on a slow "
        "machine raise INVERSIONLAB_RAY_SECONDS, now 0)"
    )


@pytest.mark.parametrize(("text", "silence"), [("60", "180"), ("240", "240")])
def test_a_ray_of_this_machine_may_be_silent_for_minutes(
    monkeypatch: pytest.MonkeyPatch, text: str, silence: str
) -> None:
    monkeypatch.setenv("INVERSIONLAB_RAY_SECONDS", text)
    init = started(monkeypatch)
    assert connect() is True
    (seen,) = init.seen
    assert seen["environment"]["RAY_gcs_rpc_server_reconnect_timeout_s"] == silence


def test_more_time_means_more_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVERSIONLAB_RAY_SECONDS", "60")
    init = started(monkeypatch, LATE, LATE, LATE)
    assert connect() is True
    assert len(init.seen) == 4


@pytest.mark.parametrize("text", ["", "soon", "-1", "1e9", "nan"])
def test_a_time_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("INVERSIONLAB_RAY_SECONDS", text)
    init = started(monkeypatch)
    with pytest.raises(
        ConfigError, match=r"INVERSIONLAB_RAY_SECONDS = .*: must be a number of sec"
    ):
        connect()
    assert init.seen == []


@pytest.mark.parametrize("error", [ValueError("Invalid address"), AuthenticationError("no token")])
def test_what_another_try_cannot_mend_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    init = started(monkeypatch, error)
    with pytest.raises(ConfigError, match=r"RAY_ADDRESS = 10.0.0.7:6379: does not answer: "):
        connect()
    assert len(init.seen) == 1


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    init = started(monkeypatch)
    with pytest.raises(ConfigError, match=r"does not answer: .*must be HOST:PORT"):
        connect()
    assert init.seen == []


def test_a_port_where_nobody_listens_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(place: tuple[str, int], timeout: float) -> None:
        assert place == ("127.0.0.1", 1)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("INVERSIONLAB_RAY_SECONDS", "0.1")
    init = started(monkeypatch)
    with pytest.raises(
        ClusterError, match=r"RAY_ADDRESS = 127.0.0.1:1: does not answer: .*refused"
    ):
        connect()
    assert init.seen == []
    # Once, however often it is tried.
    assert capsys.readouterr().out.count("trying again") == 1


def test_a_cluster_that_is_gone_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    monkeypatch.setenv("INVERSIONLAB_RAY_SECONDS", "0")
    started(monkeypatch, *[ConnectionError("Failed to connect to Ray cluster")] * 2)
    with pytest.raises(ClusterError, match=r"RAY_ADDRESS = 10.0.0.7:6379: does not answer: Failed"):
        connect()


def test_sigterm_keeps_its_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: Any) -> None:
        ray_utils.set_sigterm_handler(lambda *_: None)

    monkeypatch.setattr(ray, "init", init)
    before, theirs = signal.getsignal(signal.SIGTERM), ray_utils.set_sigterm_handler
    connect()
    assert signal.getsignal(signal.SIGTERM) is before
    assert ray_utils.set_sigterm_handler is theirs


@pytest.mark.parametrize("nice", [0, 5])
def test_workers_are_as_nice_as_their_driver(monkeypatch: pytest.MonkeyPatch, nice: int) -> None:
    monkeypatch.setattr(os, "nice", lambda by: nice)
    found = own_ray.settings()
    # What the raylet adds to its own niceness; Ray's default is 15.
    assert found.get("RAY_worker_niceness") == ("0" if nice else None)
    monkeypatch.setenv("RAY_worker_niceness", "3")
    assert own_ray.settings().get("RAY_worker_niceness") == ("3" if nice else None)


def test_an_open_folder_for_rays_files_gets_a_closed_one_within(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    folder = own_ray.private_folder()
    assert folder == tmp_path / f"inversionlab-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert own_ray.private_folder() == folder
    tmp_path.chmod(0o700)
    assert own_ray.private_folder() == tmp_path


@pytest.mark.parametrize("planted", ["link", "open", "file"])
def test_a_planted_folder_for_rays_files_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, planted: str
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    place = tmp_path / f"inversionlab-{os.getuid()}"
    if planted == "link":
        (tmp_path / "elsewhere").mkdir(0o700)
        place.symlink_to(tmp_path / "elsewhere")
    elif planted == "open":
        place.mkdir()
        place.chmod(0o777)
    else:
        place.touch(0o600)
    with pytest.raises(ConfigError, match="is not this user's alone"):
        own_ray.private_folder()
