"""What the fault tests share: an experiment long enough to be disturbed, drivers to kill, results to compare."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from inversionlab import data
from inversionlab.core.images import png
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.pipeline.prepared import PreparedPictures
from inversionlab.results.load import load_run
from inversionlab.store.storage import Storage
from inversionlab.store.tables import Store
from tests import small_parts, tiny
from tests.processes import HANG, Process, family, kill, processes

CHECKOUT = Path(__file__).resolve().parents[1]
MOMENT = HANG
"""Seconds to wait for the moment to disturb something."""

LONG: dict[str, Any] = {
    "victim.training.epochs": 60,
    "defense.training.epochs": 30,
    "runtime.checkpoint_seconds": 0,
    "attacks.0.steps": 12,
    "attacks.1.steps": 40,
    "attacks.1.stop": 0.9999,
    "runtime.shard_size": 2,
    "targets.repeats": 3,
}
"""Settings that leave time to disturb a training or an attack."""
ROWS = 8 * 4 * 3
"""Reconstructions of an audit: 2 null cells, 2 attacks x 3 models; 4 targets x 3 repeats."""
NEIGHBOURS = (6, 8)
"""The search's choices for a setting; each needs a network of its own."""

SPACE = f"""
from ray import tune

SPACE = {{"defense.alpha": tune.uniform(0.05, 1.0), "defense.neighbours": tune.choice({list(NEIGHBOURS)})}}
START = [{{"defense.alpha": 0.25, "defense.neighbours": 8}}]
OBJECTIVES = {{"accuracy": "max", "attack_success": "min"}}
CONSTRAINTS = {{"accuracy_loss": 50.0}}
"""
Rows = dict[tuple[str, int, int], tuple[str, tuple[tuple[str, int], ...]]]
"""(cell, target, repeat) -> (SHA-256 of the picture, each evaluator's name and rank)."""
TRIALS, AT_ONCE = 6, 2


def write_recipe(folder: Path, **changed: Any) -> Path:
    """Write the recipe with LONG and `changed` settings into `folder`; the file is named after it."""
    recipe = tiny.recipe(**{**LONG, **changed})
    file = folder / f"{recipe['name']}.yaml"
    file.write_text(dump_yaml(recipe))
    return file


def audit_words(folder: Path, **changed: Any) -> list[str]:
    """The words of an audit of that recipe on the storage `folder`/runs."""
    recipe = write_recipe(folder, **changed)
    return ["jobs/audit.py", str(recipe), "--storage", str(folder / "runs")]


def search_words(folder: Path, trials: int = TRIALS, **changed: Any) -> list[str]:
    """The words of a search of SPACE on the storage `folder`/runs."""
    space = folder / "dummy_recognizer.py"
    space.write_text(SPACE)
    recipe = write_recipe(folder, **changed)
    options = f"--trials {trials} --max-concurrent {AT_ONCE} --step-targets 2".split()
    where = ["--recipe", str(recipe), "--storage", str(folder / "runs")]
    return ["jobs/search.py", str(space), *where, *options]


def write_people(root: Path) -> None:
    """Write the tiny recipe's people into `root`, a folder for each; one file more is broken."""
    settings = tiny.experiment().data
    assert settings is not None
    pictures = data.build(settings).load()
    for place, person in enumerate(pictures.person_N.tolist()):
        file = root / pictures.people[person] / f"{place:04}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(png(pictures.images_NCHW[place]))
    (root / pictures.people[0] / "broken.png").write_bytes(b"\x89PNG\r\n broken")


def prepare_words(folder: Path) -> list[str]:
    """The words that prepare those people, as a large set, in the storage `folder`/runs."""
    people = folder / "people"
    if not people.exists():
        people.mkdir()
        write_people(people)
    shown = {"name": "folder", "root": str(people), "image_size": small_parts.SIDE, "channels": 1}
    recipe = write_recipe(folder, data=shown)
    return ["-m", small_parts.__name__, str(recipe), "--storage", str(folder / "runs")]


def prepared_set(folder: Path) -> tuple[Any, ...]:
    """The storage's only prepared set: digests of its pictures, who is on them, and what was left out.

    Raises:
        AssertionError: it is not there, or not whole.
    """
    storage = Storage(str(folder / "runs"))
    (name,) = [place.parent.name for place in (folder / "runs").glob("pictures/*/parts")]
    found = PreparedPictures(storage).opened(name)
    assert found is not None
    shown = [hashlib.sha256(bytes(x.numpy())).hexdigest() for x in found.images_NCHW[:]]
    assert len(storage.files(f"pictures/{name}/parts", ".safetensors")) > 10
    return shown, found.person_N.tolist(), found.people, found.skipped, found.digests().tolist()


def train_base(root: Path) -> None:
    """Train the networks of audit and search in this process."""
    threads = torch.get_num_threads()
    # As many threads as a training worker has, so that its networks are equal to the last bit.
    torch.set_num_threads(1)
    try:
        for neighbours in NEIGHBOURS:
            tiny.train_all(tiny.session(root, **{**LONG, "defense.neighbours": neighbours}))
    finally:
        torch.set_num_threads(threads)


def copy_networks(base: Path, folder: Path) -> None:
    """Give `folder`/runs the trained networks of the storage `base`."""
    shutil.copytree(base / "artifacts", folder / "runs" / "artifacts")


@contextmanager
def private_ray() -> Iterator[dict[str, str]]:
    """The environment of drivers that start a Ray of their own; at the end, its remaining processes are killed."""
    with tempfile.TemporaryDirectory(prefix="il", dir="/tmp", ignore_cleanup_errors=True) as folder:
        more = {"RAY_ADDRESS": "local", "RAY_TMPDIR": folder, "INVERSIONLAB_PROGRESS_SECONDS": "0"}
        yield {**os.environ, **more}
        kill(p.pid for p in ray_processes(folder))


def ray_processes(folder: str) -> list[Process]:
    """Living processes of the Ray that has this temporary folder."""
    return [p for p in processes() if f"RAY_TMPDIR={folder}" in p.environment]


def start(words: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the command that a user would type, in the background."""
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=CHECKOUT,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def signal_when(
    process: subprocess.Popen[str], reached: Callable[[], object], what: int = signal.SIGKILL
) -> str:
    """Send a signal to a driver once `reached`, and wait for its end; returns what it printed."""
    # Read all the time: a driver blocks when nobody reads its output.
    printed: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: printed.extend(process.stdout or ()), daemon=True)
    reader.start()
    deadline = time.monotonic() + MOMENT
    while not reached():
        assert process.poll() is None, f"ended early: {''.join(printed)[-3000:]}"
        assert time.monotonic() < deadline, f"the moment never came: {''.join(printed)[-3000:]}"
        time.sleep(0.02)
    os.kill(process.pid, what)
    process.wait(timeout=HANG)
    # Workers that outlive their driver briefly hold its output open.
    reader.join(timeout=5)
    return "".join(printed)


def finish(*drivers: subprocess.Popen[str]) -> list[str]:
    """Wait for drivers that must end well; returns what each printed."""
    with ThreadPoolExecutor(len(drivers)) as pool:
        outputs = list(pool.map(lambda driver: driver.communicate(timeout=500)[0], drivers))
    for driver, output in zip(drivers, outputs, strict=True):
        assert driver.returncode == 0, output[-4000:]
    return outputs


class Killer(threading.Thread):
    """Kills one Ray actor of some class among this process's children, as soon as a condition holds."""

    def __init__(self, actor: str, reached: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._actor, self._reached = actor, reached
        self.killed: list[int] = []
        self._over = threading.Event()

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Wait for the condition, then kill."""
        while not self._over.wait(0.02):
            if not self._reached():
                continue
            living = processes()
            mine = family([os.getpid()], living)
            if found := [p.pid for p in living if p.pid in mine and self._is(p)][:1]:
                kill(found)
                self.killed = found
                return

    def _is(self, process: Process) -> bool:
        return process.command[0].startswith(f"ray::{self._actor}")


def shards(folder: Path) -> list[Path]:
    """The stored shard files of all cells."""
    return list((folder / "runs").glob("reconstructions/*/*.parquet"))


def rows(folder: Path, name: str = "tiny") -> Rows:
    """The rows of the audit of this name.

    Raises:
        AssertionError: a row is there twice.
    """
    (record,) = (folder / "runs").glob(f"runs/{name}-*/run.json")
    run = load_run(Storage(str(folder / "runs")), record.parent.name)
    return _by_job(run.reconstructions.to_pylist())


def search_rows(folder: Path) -> Rows:
    """The rows of the storage's only search.

    Raises:
        AssertionError: a row is there twice.
    """
    trials = record(folder)["trials"]
    cells = sorted({cell for trial in trials for cell in trial["cells"].values()})
    return _by_job(Store(Storage(str(folder / "runs"))).reconstructions(cells).to_pylist())


def _by_job(table: list[dict[str, Any]]) -> Rows:
    found = {
        (r["cell"], r["target"], r["repeat"]): (
            hashlib.sha256(r["picture"]).hexdigest(),
            tuple((v["evaluator"], v["rank"]) for v in r["verdicts"]),
        )
        for r in table
    }
    assert len(found) == len(table)
    return found


def record(folder: Path) -> dict[str, Any]:
    """The record of the storage's only search."""
    (file,) = (folder / "runs").glob("searches/*/search.json")
    return dict(Storage(str(file.parent)).read_json(file.name))


VOLATILE = ("created", "seconds", "cost", "timings", "timeline", "provenance")


def study(folder: Path) -> dict[str, Any]:
    """The record of the storage's only search, without what differs between equal searches."""
    found = {k: v for k, v in record(folder).items() if k not in VOLATILE}
    for model in (found["undefended"], *found["trials"]):
        del model["seconds"]
    return found
