"""Trackings whose services are stand-ins: slow, down, or willing."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from inversionlab.store.storage import Storage, StorageError
from inversionlab.tracking import background, tracking
from inversionlab.tracking.log_to import LogTo
from inversionlab.tracking.tracker import Subject, plain
from inversionlab.tracking.tracking import Tracking
from tests.processes import HANG, wait_until
from tests.tracking.test_tensorboard import only, picture, scalars

SUBJECT = Subject("demo", "victim", "victim/1", {"alpha": 0.5})


class Willing:
    """Keeps what it is told."""

    library = "mlflow"
    told: ClassVar[list[Any]] = []

    def __init__(self, address: str, subject: Subject) -> None:
        self.told.append(("open", address, subject.name))

    @staticmethod
    def fault(address: str) -> str:
        return ""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.told.append((step, dict(values)))

    def picture(self, step: int, name: str, png: bytes) -> None:
        self.told.append((step, name))

    def close(self, *, failed: bool = False) -> None:
        self.told.append("failed" if failed else "closed")


class Down(Willing):
    def __init__(self, address: str, subject: Subject) -> None:
        raise SystemExit("nobody listens; the token is hunter2\nand a traceback")


class Hanging(Willing):
    over = threading.Event()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.over.wait(HANG)


def tracked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Willing],
    said: list[str],
    *,
    pictures: bool = True,
) -> Tracking:
    Willing.told.clear()
    monkeypatch.setitem(tracking.SERVICES, "mlflow", kind)
    log_to = LogTo(("mlflow:http://host",), pictures)
    return Tracking(Storage(str(tmp_path)), log_to, said.append)


@pytest.mark.parametrize("pictures", [True, False])
def test_services_get_values_and_only_public_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: bool
) -> None:
    said: list[str] = []
    made = tracked(tmp_path, monkeypatch, Willing, said, pictures=pictures)
    subject = made.begin(SUBJECT, "a")
    subject.log(1, {"loss": 2.0})
    subject.picture(1, "public", picture(), public=True)
    subject.picture(1, "private", picture(), public=False)
    subject.close()
    shown = [(1, "public")] if pictures else []
    opened = ("open", "http://host", "victim")
    assert Willing.told == [opened, (1, {"loss": 2.0}), *shown, "closed"]
    assert scalars(only(tmp_path / "a")) == [(1, "loss", 2.0)]
    assert not said


def test_a_service_that_is_down_is_told_of_once_and_the_files_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "hunter2")
    said: list[str] = []
    made = tracked(tmp_path, monkeypatch, Down, said)
    for folder in ("a", "b"):
        subject = made.begin(SUBJECT, folder)
        subject.log(1, {"loss": 2.0})
        subject.close()
        assert scalars(only(tmp_path / folder)) == [(1, "loss", 2.0)]
    (line,) = said
    assert (
        "no more curves are sent to mlflow: SystemExit: nobody listens; the token is ***." in line
    )


def test_a_service_that_hangs_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PATIENCE", 0.2)
    said: list[str] = []
    Hanging.over.clear()
    subject = tracked(tmp_path, monkeypatch, Hanging, said).begin(SUBJECT, "a")
    subject.log(1, {"loss": 1.0})
    subject.close()
    assert said == [
        "warning: no more curves are sent to mlflow: does not answer. The run continues, and the storage keeps "
        "the curves"
    ]
    Hanging.over.set()
    wait_until(
        lambda: all(t.name != "tracker" for t in threading.enumerate()), HANG, "the thread's end"
    )
    assert len(said) == 1


def test_a_disk_that_is_full_ends_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    subject = tracked(tmp_path, monkeypatch, Willing, said).begin(SUBJECT, "a")

    def full(self: Storage, name: str) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(Storage, "make_folder", full)
    subject.log(1, {"loss": 2.0})
    subject.log(2, {"loss": 1.0})
    subject.close(failed=True)
    assert said == ["warning: no more curves for TensorBoard in a: no room"]
    assert Willing.told[-2:] == [(2, {"loss": 1.0}), "failed"]


def test_settings_become_dotted_paths_and_plain_values() -> None:
    nested = {"a": {"b": 1, "c": None}, "d": [{"e": True}], "f": (1, 2), "g": "x"}
    assert plain(nested) == {
        "a.b": 1,
        "a.c": "null",
        "d.0.e": True,
        "f": "(1, 2)",
        "g": "x",
    }
