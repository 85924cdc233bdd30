"""Whether a cluster has room for the workers that the settings ask for, and what it lacks. Ray is not imported."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from inversionlab.core.clock import clock
from inversionlab.distributed.progress import Say
from inversionlab.experiment import RuntimeSettings

Resources = Mapping[str, float]
"""Amounts by the kind of resource: CPU, GPU and those of the settings."""

OFTEN, SELDOM = 60.0, 600.0
"""Seconds between the first two lines about what is waited for, and at most between two later ones."""


@dataclass(frozen=True)
class Workers:
    """Workers that must all be there at once, each of them whole on one node."""

    kind: str
    """`train` or `attack`, as in the names of the settings."""
    count: int
    needs: Resources
    """What each of them needs."""

    @property
    def all_needs(self) -> dict[str, float]:
        """What all of them need together."""
        return {kind: self.count * amount for kind, amount in self.needs.items()}


def training_workers(runtime: RuntimeSettings, nodes: Sequence[Resources], *, gpu: bool) -> Workers:
    """The workers of a training; no more CPUs than a cluster of fixed size has on a node."""
    biggest = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    cpus = runtime.train_cpus
    if biggest and not runtime.grows:
        cpus = max(1, min(cpus, biggest // runtime.train_workers or 1))
    needs = {"CPU": float(cpus), **({"GPU": 1.0} if gpu else {}), **runtime.train_resources}
    return Workers("train", runtime.train_workers, needs)


def attack_workers(runtime: RuntimeSettings, *, gpu: bool) -> Workers:
    """One attack worker: without one there is no attack, and more of them only make it faster."""
    share = {"GPU": runtime.attack_gpu_share} if gpu else {}
    return Workers("attack", 1, {"CPU": runtime.attack_cpus, **share, **runtime.attack_resources})


def lacking(workers: Workers, nodes: Sequence[Resources]) -> str:
    """The setting whose workers do not fit on these nodes, were they idle, and why; empty if they fit."""
    name = {"train": "training worker", "attack": "attack worker"}[workers.kind]
    settings = {"CPU": f"runtime.{workers.kind}_cpus", "GPU": f"runtime.{workers.kind}_gpu"}
    for kind, amount in workers.needs.items():
        most = max((node.get(kind, 0.0) for node in nodes), default=0.0)
        if amount > most + 1e-9:
            key = settings.get(kind, f"runtime.{workers.kind}_resources.{kind}")
            there = f"no node has more than {most:g}" if most else "no node has any"
            return f"{key}: each {name} needs {amount:g} {kind}, and {there}"
    room = sum(_times(workers.needs, node) for node in nodes)
    if room >= workers.count:
        return ""
    each = ", ".join(f"{amount:g} {kind}" for kind, amount in workers.needs.items())
    if workers.count == 1:
        return f"runtime.{workers.kind}_resources: no node has all that each {name} needs ({each})"
    return (
        f"runtime.train_workers = {workers.count}: each {name} needs {each}, but the nodes have room for {room} "
        "of them"
    )


def _times(needs: Resources, node: Resources) -> int:
    """How many workers with these needs fit on a node."""
    return min(int(node.get(kind, 0.0) / amount + 1e-9) for kind, amount in needs.items())


def this_machine() -> Resources:
    """What a Ray that is started on this machine has at most."""
    gpus = torch.cuda.device_count()
    return {"CPU": float(os.cpu_count() or 1), **({"GPU": float(gpus)} if gpus else {})}


def unplaced(
    runtime: RuntimeSettings, nodes: Sequence[Resources], *, training: bool
) -> Sequence[str]:
    """What the nodes lack for attack workers, and for those of a training if there is one."""
    there = any(node.get("GPU", 0.0) for node in nodes)
    uses = {"always": True, "never": False, "auto": there}
    asked = [attack_workers(runtime, gpu=uses[runtime.attack_gpu])]
    if training:
        asked.append(training_workers(runtime, nodes, gpu=uses[runtime.train_gpu]))
    return [reason for workers in asked if (reason := lacking(workers, nodes))]


class WaitNotice:
    """Says what work waits for: at once or after some patience, then ever more seldom, with the time waited."""

    def __init__(self, say: Say, now: Callable[[], float] = time.monotonic) -> None:
        self._say, self._now = say, now
        self._since: float | None = None
        self._next = 0.0

    def look(self, reason: str, patience: float = 0.0) -> None:
        """Say `reason` if it is time; the work waits no more if it is empty."""
        if not reason:
            self._since = None
            return
        now = self._now()
        if self._since is None:
            self._since, self._next = now, 0.0
        waited = now - self._since
        if waited < max(self._next, patience):
            return
        self._say(f"      waiting{f' for {clock(waited)}' if waited >= 1 else ''}: {reason}")
        self._next = waited + min(max(waited, OFTEN), SELDOM)
