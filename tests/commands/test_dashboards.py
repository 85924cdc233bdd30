"""`inversionlab dashboards`, with stand-ins for TensorBoard and optuna-dashboard."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import psutil
import pytest

from inversionlab.commands.logdir import make_logdir
from inversionlab.core.settings import ConfigError
from inversionlab.store.storage import Storage
from inversionlab.tracking.tensorboard import EventFile
from tests.commands.test_ending import started
from tests.processes import HANG
from tests.tracking.test_tensorboard import only, scalars

CHECKOUT = Path(__file__).resolve().parents[2]
SERVER = """
import argparse, http.server, os, subprocess, sys
asked = argparse.ArgumentParser()
asked.add_argument("--logdir"); asked.add_argument("--bind_all"); asked.add_argument("--host")
asked.add_argument("--port", type=int)
given = asked.parse_args()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
os.chdir(given.logdir)
http.server.ThreadingHTTPServer((given.host, given.port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def card(root: Path, key: str, **more: object) -> None:
    folder = root / "artifacts" / key
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"inputs": {"a": {"b": 1}}, **more}))


def run_record(root: Path, name: str) -> None:
    """A run of before there were event files: its networks are named by its record alone."""
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    artifacts = [{"role": "evaluator:same", "id": "aa"}, {"role": "generator vae", "id": "bb"}]
    (folder / "run.json").write_text(json.dumps({"artifacts": artifacts}))


def test_networks_of_old_runs_get_files_from_their_cards(tmp_path: Path) -> None:
    root, logs = tmp_path / "store", tmp_path / "logs"
    logs.mkdir()
    run_record(root, "demo-1")
    curve = {"epoch": [1.0, 2.0], "loss": [2.0, 1.0], "late": [None, 3.0]}
    card(root, "evaluator-same/aa", curve=curve, metrics={"test_accuracy": 0.5})
    card(root, "generator/bb")
    assert make_logdir(Storage(str(root)), "demo-1", logs) == 1
    assert scalars(only(logs / "evaluator:same")) == [
        (1, "losses/loss", 2.0),
        (2, "losses/loss", 1.0),
        (2, "losses/late", 3.0),
        (2, "test/accuracy", 0.5),
    ]


@pytest.mark.parametrize("local", [True, False])
def test_a_search_shows_its_networks_and_its_trials(tmp_path: Path, local: bool) -> None:
    root, logs = tmp_path / "store", tmp_path / "logs"
    logs.mkdir()
    storage = Storage(str(root))
    networks = {"victim/aa": "victim", "victim/bb": "victim"}
    storage.write_json("tensorboard/tiny-1.json", {"networks": networks})
    storage.write_json("searches/tiny-1/begun.json", {})
    for folder in ("searches/tiny-1/tensorboard/trial_0000", "artifacts/victim/aa/tensorboard"):
        EventFile(storage, folder, {}).log(1, {"loss": 1.0})
    storage.local = local
    assert make_logdir(storage, "tiny-1", logs) == 2
    for name in ("victim", "trial_0000"):
        assert scalars(only(logs / name)) == [(1, "loss", 1.0)]
    if local:
        # What begins to train now is seen too.
        later = EventFile(Storage(str(root)), "artifacts/victim/bb/tensorboard", {})
        later.log(1, {"loss": 4.0})
        assert scalars(only(logs / "victim bb")) == [(1, "loss", 4.0)]


def test_what_is_not_there_is_refused_with_what_is(tmp_path: Path) -> None:
    run_record(tmp_path, "demo-1")
    with pytest.raises(ConfigError, match="no run or search `demo-2`; there are: demo-1"):
        make_logdir(Storage(str(tmp_path)), "demo-2", tmp_path / "logs")


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    folder = tmp_path / "libraries"
    for name in ("tensorboard", "optuna_dashboard"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    (folder / "tensorboard" / "main.py").write_text(SERVER)
    return folder


def command(root: Path, libraries: Path, name: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(libraries), str(CHECKOUT / "platform")])
    words = ["dashboards", name, "--storage", str(root)]
    script = (
        f"import sys; sys.argv[1:] = {words!r}\nfrom inversionlab.commands.main import main\nmain()"
    )
    return started(script, PYTHONPATH=path, PYTHONUNBUFFERED="1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_comes_and_leaves_no_process(
    tmp_path: Path, stand_ins: Path, number: signal.Signals
) -> None:
    root = tmp_path / "store"
    run_record(root, "demo-1")
    card(root, "evaluator-same/aa", curve={"epoch": [1.0], "loss": [2.0]})
    process = command(root, stand_ins, "demo-1")
    assert process.stdout is not None
    assert process.stdout.readline() == "demo-1: curves of 1 networks and trials\n"
    address = process.stdout.readline()
    found = re.fullmatch(r"TensorBoard: (http://127\.0\.0\.1:\d+/)\n", address)
    assert found, address
    with urllib.request.urlopen(found[1]) as answer:
        assert "evaluator" in answer.read().decode()
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 2
    folder = Path(family[0].cwd()).parent
    assert folder.stat().st_mode & 0o077 == 0
    process.send_signal(number)
    assert process.wait(HANG) == 128 + number
    _, alive = psutil.wait_procs(family, timeout=HANG)
    assert not alive
    assert not folder.exists()


def test_a_server_that_does_not_start_is_an_error(tmp_path: Path, stand_ins: Path) -> None:
    run_record(tmp_path / "store", "demo-1")
    (stand_ins / "tensorboard" / "main.py").write_text("raise SystemExit('no such option')")
    process = command(tmp_path / "store", stand_ins, "demo-1")
    _, complained = process.communicate(timeout=HANG)
    assert process.returncode == 1
    assert "TensorBoard does not start: no such option" in complained


def test_libraries_that_are_missing_are_named_with_their_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from inversionlab.commands import dashboards
    from inversionlab.commands.main import app

    monkeypatch.setattr(dashboards.importlib.util, "find_spec", lambda name: None)
    done = CliRunner().invoke(app, ["dashboards", "demo-1", "--storage", str(tmp_path)])
    assert done.exit_code == 2
    assert "pip install 'inversionlab[dashboards]'" in done.stderr
