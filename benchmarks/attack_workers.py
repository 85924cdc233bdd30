"""Processes that attack: two against one, and their memory against the number of targets."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psutil  # type: ignore[import-untyped]
import torch

from benchmarks.arena import Arena, enter
from inversionlab.attacks import Attack
from inversionlab.core.images import to_bytes
from inversionlab.pipeline.attack import make_attack, run_attack
from inversionlab.pipeline.session import SessionSpec
from inversionlab.store.tables import Job

NAME = "latent_white_box"
MEGA = 2**20
SHARD = 512
"""Reconstructions at once: the default of `runtime.shard_size`."""
MEMORY_STEPS = 3
"""Updates where memory is measured; it peaks in the first, when all rows are in the batch."""
POLL_SECONDS = 0.005
SIDE, MULTIPLICATIONS = 192, 20_000
"""Multiplications of matrices of so many rows: three of them fit into a core's second cache."""


@dataclass(frozen=True)
class Took:
    """Resources that some shards took in one process; times in seconds."""

    wall: float
    cpu: float
    gpu_bytes: int
    """Peak GPU memory; 0 on a CPU."""


def _serve(spec: SessionSpec, device: str, steps: int | None, pipe: Connection) -> None:
    """A worker: attacks for the jobs that come through the pipe, until None comes."""
    torch.set_num_threads(1)
    arena = enter(spec, torch.device(device), steps)
    attack = make_attack(arena.settings(NAME), arena.context(NAME))
    # Load what only the first job loads, such as the evaluator, before anything is measured.
    _attack_in_shards(arena, attack, arena.jobs(1))
    pipe.send("ready")
    while (jobs := pipe.recv()) is not None:
        wall, cpu = time.perf_counter(), time.process_time()
        if isinstance(jobs, int):
            _multiply(jobs)
        else:
            _attack_in_shards(arena, attack, jobs)
        height = torch.cuda.max_memory_allocated() if device != "cpu" else 0
        pipe.send(Took(time.perf_counter() - wall, time.process_time() - cpu, height))


def _attack_in_shards(arena: Arena, attack: Attack, jobs: list[Job]) -> None:
    """Attack shard by shard; as in a real worker, pictures become bytes and are freed with their shard."""
    for first in range(0, len(jobs), SHARD):
        shard = jobs[first : first + SHARD]
        found = run_attack(attack, arena.model, shard).result
        arena.recognised(found.images_NCHW, shard)
        to_bytes(found.images_NCHW)


def _multiply(times: int) -> None:
    """Work that stays in a core's own cache, so that two cores have nothing but the machine in common."""
    a_NN = torch.ones(SIDE, SIDE)
    for _ in range(times):
        torch.mm(a_NN, a_NN)


class Worker:
    """A worker process, ready when this returns."""

    def __init__(self, spec: SessionSpec, device: str, steps: int | None) -> None:
        # Not a fork: torch's threads and a GPU's context do not survive one.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(spec, device, steps, theirs))
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def begin(self, jobs: list[Job] | int) -> None:
        """Start some jobs, or so many multiplications."""
        self._pipe.send(jobs)

    def wait(self) -> Took:
        """Wait until they are done."""
        took: Took = self._pipe.recv()
        return took

    def watch(self) -> int:
        """Wait until they are done; returns the process's peak memory in bytes."""
        height = self.memory()
        while not self._pipe.poll(POLL_SECONDS):
            height = max(height, self.memory())
        return height

    def memory(self) -> int:
        """Its present memory in bytes."""
        size: int = psutil.Process(self._process.pid).memory_info().rss
        return size

    def stop(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join()


def two_against_one(
    spec: SessionSpec, jobs: list[Job], rounds: int, steps: int | None = None
) -> None:
    """One worker does the jobs, then two do as many each; the rounds take turns."""
    workers = [Worker(spec, "cpu", steps) for _ in range(2)]
    ways: dict[str, list[Job] | int] = {"attacks": jobs, "bare multiplications": MULTIPLICATIONS}
    wall: dict[str, list[float]] = {way: [] for way in ways}
    own: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, work in ways.items():
            workers[0].begin(work)
            one = workers[0].wait()
            for worker in workers:
                worker.begin(work)
            two = [worker.wait() for worker in workers]
            wall[way].append(2 * one.wall / max(took.wall for took in two))
            own[way].append(one.cpu / statistics.mean(took.cpu for took in two))
    for worker in workers:
        worker.stop()
    for way in ways:
        print(
            f"two workers against one, {way}: {statistics.median(wall[way]):.2f} x as much in a second "
            f"({min(wall[way]):.2f} to {max(wall[way]):.2f}), {statistics.median(own[way]):.2f} x in a second of "
            "a worker's own CPU time (1 is ideal)"
        )
    print(
        "At least 1.9 is wanted for attacks on two idle cores; multiplications show what the machine gives."
    )


def memory(spec: SessionSpec, device: str, counts: list[int]) -> None:
    """How much a worker's memory grows over so many targets, with a fresh worker each time."""
    for count in counts:
        worker = Worker(spec, device, MEMORY_STEPS)
        before = worker.memory()
        worker.begin(enter(spec, torch.device("cpu")).jobs(count))
        height, took = worker.watch(), worker.wait()
        worker.stop()
        gpu = f", GPU memory {took.gpu_bytes / MEGA:.0f} MB at its height" if took.gpu_bytes else ""
        print(
            f"{count} targets in shards of {SHARD}: the worker grows by "
            f"{(height - before) / MEGA:.0f} MB from {before / MEGA:.0f} MB{gpu}"
        )
