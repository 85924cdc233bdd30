"""The clients of MLflow and W&B themselves, where they are installed: against a stand-in server, and offline."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inversionlab.tracking.mlflow import MlflowTracker
from inversionlab.tracking.tracker import Subject
from inversionlab.tracking.wandb import WandbTracker
from tests.processes import HANG, wait_until
from tests.tracking.test_tensorboard import picture

SUBJECT = Subject("demo", "victim", "victim/1", {"alpha": 0.5, "layers.0": "null"})


class Answers(BaseHTTPRequestHandler):
    """As much of MLflow's REST interface as a tracker needs."""

    calls: list[tuple[str, Any]]
    begun: bool

    def do_GET(self) -> None:
        if "get-by-name" in self.path:
            self._answer({"experiment": {"experiment_id": "7", "name": "demo"}})
        else:
            self._answer({"run": self._run()})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        call = self.path.rpartition("/mlflow/")[2]
        self.calls.append((call, body))
        if call == "runs/search":
            self._answer({"runs": [self._run()] if self.begun else []})
        elif call == "runs/create":
            self._answer({"run": self._run()})
        elif call == "runs/update":
            self._answer({"run_info": self._run()["info"]})
        else:
            self._answer({})

    def log_message(self, *given: object) -> None:
        """Say nothing."""

    def _run(self) -> dict[str, Any]:
        info = {"run_id": "r1", "run_uuid": "r1", "experiment_id": "7", "status": "RUNNING"}
        return {"info": {**info, "artifact_uri": "mlflow-artifacts:/7/r1"}, "data": {}}

    def _answer(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server() -> Iterator[tuple[str, type[Answers]]]:
    kind = type("Server", (Answers,), {"calls": [], "begun": False})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", kind
        running.shutdown()


@pytest.mark.parametrize("begun", [False, True])
def test_mlflow_gets_settings_and_values_in_one_run_a_subject(
    server: tuple[str, type[Answers]], begun: bool
) -> None:
    pytest.importorskip("mlflow")
    address, answers = server
    answers.begun = begun
    tracker = MlflowTracker(address, SUBJECT)
    tracker.log(3, {"losses/loss": 0.5})
    tracker.close(failed=True)
    calls = answers.calls
    assert [name for name, _ in calls if name == "runs/create"] == ["runs/create"] * (not begun)
    assert SUBJECT.id in next(body["filter"] for name, body in calls if name == "runs/search")
    batches = [body for name, body in calls if name == "runs/log-batch"]
    assert batches[0]["params"] == [
        {"key": "alpha", "value": "0.5"},
        {"key": "layers.0", "value": "null"},
    ]
    (metric,) = batches[1]["metrics"]
    assert (metric["key"], metric["value"], metric["step"]) == ("losses/loss", 0.5, 3)
    assert calls[-1][1]["status"] == "FAILED"


def test_wandb_writes_offline_and_nothing_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tracker = WandbTracker("faces", SUBJECT)
    tracker.log(3, {"losses/loss": 0.5})
    tracker.picture(3, "samples", picture())
    tracker.close()
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    wait_until(lambda: b"losses" in file.read_bytes(), HANG, "its process has written all")
    content = file.read_bytes()
    assert b"alpha" in content
    assert str(Path(__file__).resolve().parents[2]).encode() not in content
