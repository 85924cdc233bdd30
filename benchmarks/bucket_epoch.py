"""An epoch of a set that lies prepared in a bucket: on a node without copies of it, and on one with all.

    python -m benchmarks.made_faces /tmp/faces 20000 1000
    python -m benchmarks.bucket_epoch /tmp/faces --private 900

The bucket is that of a local S3 server (moto). Two processes of a node, of one thread each, train a small victim
on half of the pictures each, as two training workers do. At first the node has no copies; then it has all of them;
then copies may take half of the set, again without any at first. Each line says how many parts were fetched, what
the copies take at the end, and what was removed but is still mapped.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.large_data import BATCH, recipe
from benchmarks.training_workers import NoCheckpoints
from inversionlab.core.contracts import TrainingJob
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.rows import select
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.experiment import load
from inversionlab.pipeline.session import SessionSpec, open_experiment, open_session
from inversionlab.pipeline.train import alone, train
from inversionlab.recognizers import RecognizerLearner, RecognizerSettings
from inversionlab.store.storage import Storage

CPU = torch.device("cpu")
WORKERS = 2


@dataclass(frozen=True)
class Epoch:
    """What one process did."""

    pictures: int
    seconds: float
    fetched: dict[str, int]
    """Bytes of each part that was read from the bucket."""
    removed: int
    """Bytes of copies that were removed, and that the process still maps at its end."""


@contextmanager
def s3_server() -> Iterator[str]:
    """A server's process; the URI of a bucket's folder, whose credentials are in the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "moto's server did not start"
            time.sleep(0.2)
        options = f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
        yield f"s3://runs/large?{options}&allow_bucket_creation=true"
    finally:
        process.terminate()
        process.wait()


def one_epoch(spec: SessionSpec, rank: int, together: Any, answers: Any) -> None:
    """Train the victim on this worker's half, beginning together with the other one."""
    torch.set_num_threads(1)
    fetched: dict[str, int] = {}
    read: Callable[[Storage, str], bytes] = Storage.read

    def counted(self: Storage, name: str) -> bytes:
        content = read(self, name)
        if name.endswith(".safetensors"):
            fetched[name] = fetched.get(name, 0) + len(content)
        return content

    Storage.read = counted  # type: ignore[method-assign]
    session = open_session(spec, CPU)
    half, side = session.builder.splits.train, session.builder.splits.train.images_NCHW.shape[-1]
    row_N = torch.arange(rank, len(half), WORKERS)
    sizes = {"classes": int(half.class_N.max()) + 1, "channels": 3, "image_size": side}
    victim = session.experiment.victim
    assert isinstance(victim, RecognizerSettings)
    learner = RecognizerLearner(victim, **sizes, seed=1)
    job = TrainingJob(
        learner,
        select(half.images_NCHW, row_N),
        half.class_N[row_N],
        TrainingSettings(epochs=1, batch_size=BATCH),
    )
    together.wait()
    began = time.perf_counter()
    train(
        job,
        role="victim",
        seed=rank,
        world=alone(CPU),
        checkpoints=NoCheckpoints(),
        report=lambda progress: None,
    )
    seconds = time.perf_counter() - began
    maps = Path("/proc/self/maps").read_text().splitlines()
    gone = {line.split()[5]: line.split()[0] for line in maps if line.endswith("(deleted)")}
    spans = [span.split("-") for path, span in gone.items() if "inversionlab-copies" in path]
    removed = sum(int(end, 16) - int(begin, 16) for begin, end in spans)
    answers.put(Epoch(len(row_N), seconds, fetched, removed))


def step(title: str, spec: SessionSpec, node: Path) -> int:
    """An epoch of two processes whose node keeps its copies in this folder; returns what they take."""
    spawn = get_context("spawn")
    together, answers = spawn.Barrier(WORKERS), spawn.Queue()
    os.environ["TMPDIR"] = str(node)
    workers = [
        spawn.Process(target=one_epoch, args=(spec, rank, together, answers))
        for rank in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    done: list[Epoch] = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    copies = sum(file.stat().st_size for file in node.rglob("*.safetensors"))
    names = [name for one in done for name in one.fetched]
    size = sum(sum(one.fetched.values()) for one in done)
    pace = sum(one.pictures for one in done) / max(one.seconds for one in done)
    print(
        f"{title}: {pace:,.0f} pictures a second; {len(names)} parts fetched, {len(set(names))} different ones, "
        f"{size / 1e6:,.0f} MB; copies take {copies / 1e6:,.0f} MB at the end, and removed ones that are mapped "
        f"{max(one.removed for one in done) / 1e6:,.0f} MB; load {os.getloadavg()[0]:.0f}",
        flush=True,
    )
    return copies


def main() -> None:
    """Prepare the set into the bucket, then train."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--private", type=int, required=True)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bucket-epoch-"))
    try:
        with s3_server() as address:
            # This process's own copies stay out of the way, too.
            tempfile.tempdir = str(folder)
            file = folder / "bucket.yaml"
            file.write_text(dump_yaml(recipe(given.root, given.private)))
            began = time.perf_counter()
            session = open_experiment(load(file), Storage(address))
            print(f"prepared into the bucket in {time.perf_counter() - began:.0f} s", flush=True)
            cold, small = folder / "cold", folder / "small"
            cold.mkdir()
            small.mkdir()
            size = step("without copies", session.spec, cold)
            step("with all copies", session.spec, cold)
            os.environ["INVERSIONLAB_COPIES_GB"] = str(size / 2 / 2**30)
            step("copies bounded to half of the set", session.spec, small)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
