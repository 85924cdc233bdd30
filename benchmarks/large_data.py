"""A data set larger than a worker's memory: prepare, plan and train, with the memory and the pace of each.

    python -m benchmarks.made_faces /tmp/faces 200000 10000
    python -m benchmarks.large_data /tmp/faces --storage /tmp/faces-storage --private 9000

Each step is a command of its own. Memory is the proportional set size of a process without the operating system's
page cache (anonymous and shared memory): the peak of the largest process, and of all together. Pace is measured
beside torchvision's ImageFolder in a DataLoader, in turns, with one thread each.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from inversionlab.core.rows import ahead
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.experiment import load
from inversionlab.pipeline.session import open_experiment
from inversionlab.store.storage import Storage

BATCH = 64
BATCHES = 150
ROUNDS = 3


def recipe(root: Path, private: int) -> dict[str, object]:
    """A small victim, trained for one epoch, and next to no attack."""
    small = {"name": "small_resnet", "width": 8, "blocks": [1], "feature_size": 32}
    training = {"epochs": 1, "batch_size": BATCH}
    network = {"network": small, "training": training}
    other = {"network": {**small, "width": 4}, "training": training}
    return {
        "name": "large",
        "data": {"name": "folder", "root": str(root), "image_size": 112},
        "split": {"private_people": private, "evaluator_people": 0},
        "targets": {"count": 2, "repeats": 1},
        "victim": network,
        "evaluators": [{"name": "same", "protocol": "same_people", "recognizer": other}],
        "generator": {"name": "vae", "latent_size": 8, "width": 4, "training": training},
        "defense": {"name": "none"},
        "attacks": [{"name": "random_public"}],
    }


class Watch:
    """Samples the memory of a process and of all that it starts."""

    def __init__(self, pid: int) -> None:
        self.largest, self.together, self.name = 0, 0, ""
        self._root, self._over = psutil.Process(pid), threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._over.wait(1.0):
            try:
                every = [self._root, *self._root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            sizes = [(own_memory(p.pid), p) for p in every]
            size, process = max(sizes, key=lambda pair: pair[0])
            if size > self.largest:
                self.largest, self.name = size, name_of(process)
            self.together = max(self.together, sum(size for size, _ in sizes))

    def end(self) -> str:
        """What was seen."""
        self._over.set()
        self._thread.join()
        return f"largest {self.largest / 2**20:,.0f} MiB ({self.name}), together {self.together / 2**20:,.0f} MiB"


def name_of(process: psutil.Process) -> str:
    """A process's first word."""
    try:
        return " ".join(process.cmdline())[:40]
    except psutil.Error:
        return "?"


def own_memory(pid: int) -> int:
    """Bytes of a process's proportional set size without mapped files; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    kinds = ("Pss_Anon:", "Pss_Shmem:")
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(kinds))


def step(title: str, words: list[str]) -> None:
    """Run one command; print its seconds, CPU-seconds and memory."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "inversionlab", *words], stdout=subprocess.DEVNULL
    )
    watch = Watch(process.pid)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    print(
        f"{title}: exit {os.waitstatus_to_exitcode(status)}, {seconds:.1f} s, "
        f"{used.ru_utime + used.ru_stime:.1f} CPU-s of its own; {watch.end()}",
        flush=True,
    )


def pace(batches: Iterator[object]) -> float:
    """Pictures a second over some batches, after a first one."""
    next(batches)
    began = time.perf_counter()
    for _ in range(BATCHES):
        next(batches)
    return BATCHES * BATCH / (time.perf_counter() - began)


def paces(root: Path, experiment: Path, storage: Path) -> None:
    """Print the pace of reading training batches, ours beside torchvision's, in turns."""
    torch.set_num_threads(1)
    images = open_experiment(
        load(experiment), Storage(str(storage))
    ).builder.splits.train.images_NCHW
    folder = datasets.ImageFolder(str(root), transforms.PILToTensor())

    def ours() -> Iterator[object]:
        order_N = torch.randperm(len(images))
        return iter(ahead(images, order_N.split(BATCH)))

    def theirs() -> Iterator[object]:
        return iter(
            DataLoader(folder, BATCH, shuffle=True, num_workers=1, persistent_workers=False)
        )

    ways: dict[str, Callable[[], Iterator[object]]] = {"rows": ours, "ImageFolder": theirs}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            found[name].append(pace(way()))
    medians = {name: statistics.median(paces) for name, paces in found.items()}
    shown = ", ".join(f"{name} {value:,.0f}" for name, value in medians.items())
    print(f"pictures a second: {shown}; ratio {medians['rows'] / medians['ImageFolder']:.1f}")


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--storage", type=Path, required=True)
    parser.add_argument("--private", type=int, required=True)
    parser.add_argument("--only", choices=["steps", "pace"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.yaml"
        file.write_text(dump_yaml(recipe(options.root, options.private)))
        place = ["--storage", str(options.storage)]
        if options.only != "pace":
            step("first plan", ["audit", str(file), "--plan", *place])
            step("prepare", ["prepare", str(file), *place])
            step("second plan", ["audit", str(file), "--plan", *place])
            step("audit", ["audit", str(file), "--no-pictures", *place])
        if options.only != "steps":
            paces(options.root, file, options.storage)


if __name__ == "__main__":
    main()
