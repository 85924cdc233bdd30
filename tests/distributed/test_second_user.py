"""Another user of the machine can read, write and ask nothing of an audit, while it runs and afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import faults
from tests.processes import wait_until

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]
PROBE = Path(__file__).resolve().parents[1] / "second_user.py"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter, with a short path: pytest's own is closed."""
    folder = Path(tempfile.mkdtemp(prefix="il", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def listening(pid: int) -> dict[int, set[str]]:
    """Ports on which a process or its descendants listen, with the addresses."""
    found: dict[int, set[str]] = {}
    driver = psutil.Process(pid)
    for process in (driver, *driver.children(recursive=True)):
        try:
            sockets = process.net_connections("inet")
        except psutil.Error:
            continue
        for one in sockets:
            if one.status == psutil.CONN_LISTEN:
                found.setdefault(one.laddr.port, set()).add(one.laddr.ip.removeprefix("::ffff:"))
    return found


def reached(folders: list[Path], ports: list[int]) -> list[str]:
    asked = json.dumps({"folders": [str(f) for f in folders], "ports": ports})
    told = subprocess.run(
        [sys.executable, str(PROBE)], input=asked, capture_output=True, text=True, timeout=300
    )
    assert told.returncode == 0, told.stderr
    return list(json.loads(told.stdout))


def test_the_probe_finds_what_is_open(place: Path) -> None:
    (place / "open").mkdir(mode=0o755)
    (place / "open").chmod(0o777)
    (place / "open" / "read").write_text("x")
    (place / "closed").mkdir(mode=0o700)
    (place / "closed" / "file").write_text("x")
    assert reached([place], []) == [f"can write into {place}/open", f"can read {place}/open/read"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("job", ["audit", "search", "two training workers"])
def test_a_second_user_reaches_nothing(place: Path, job: str) -> None:
    """With the usual umask, and Ray's files where they lie by default: in the system's temporary folder."""
    home = place / "home"
    home.mkdir(mode=0o755)
    (home / ".ray").mkdir(mode=0o755)
    # As an older Ray leaves it.
    (home / ".ray" / "auth_token").write_text("0" * 64)
    (home / ".ray" / "auth_token").chmod(0o644)
    runs = place / "runs"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "TMP"))}
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(place),
        "INVERSIONLAB_PROGRESS_SECONDS": "0",
    }
    if job == "search":
        words = faults.search_words(place)
    else:
        workers = 2 if job == "two training workers" else 1
        words = faults.audit_words(place, **{"runtime.train_workers": workers})
    # The recipe is the user's own file.
    own = {str(path) for path in place.iterdir()}
    before = os.umask(0o022)
    try:
        driver = faults.start(words, environment)
    finally:
        os.umask(before)
    try:
        for pattern in ("artifacts/*/*/checkpoint.pt", "reconstructions/*/*.parquet"):
            wait_until(
                lambda pattern=pattern: driver.poll() is not None or any(runs.glob(pattern)),
                faults.MOMENT,
                pattern,
            )
            assert driver.poll() is None
            ports = listening(driver.pid)
            assert len(ports) > 5
            assert {ip for ips in ports.values() for ip in ips} == {"127.0.0.1"}, ports
            found = reached([place], sorted(ports))
            assert not [what for what in found if not what.endswith(tuple(own))], found
        faults.finish(driver)
    finally:
        if driver.poll() is None:
            driver.kill()
    assert (runs / ("searches" if job == "search" else "runs")).is_dir()
    for path in (place / f"inversionlab-{os.getuid()}", runs):
        assert path.stat().st_mode & 0o777 == 0o700
    for path in runs.rglob("*"):
        # The folders above them are closed; a copy of a part of them is closed as well.
        assert not path.lstat().st_mode & 0o077 or path.is_symlink(), path
    found = reached([place], [])
    assert not [what for what in found if not what.endswith(tuple(own))], found
