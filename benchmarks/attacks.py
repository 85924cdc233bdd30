"""How much cheaper are the attacks than plain code, how near to the bare passes, and do workers scale?

    python -m benchmarks.attacks [--device cuda]
    python -m benchmarks.attacks --recipe jobs/recipes/lfw.yaml --storage runs --set data.root=/data/lfw64

1. CPU time a reconstruction (time, on a GPU) of plain re-writings (`benchmarks.naive`) against ours, on the same
   targets and from the same starts, with as many updates allowed; and how many pictures of each the recipe's
   first evaluator recognises. The command fails where the shares differ by more than `--tolerance`, because then
   the ratio compares two different things. "an update": the same ratio if the plain code stopped when ours does.
2. The attack's passes alone, at the batch sizes that they had, against the attack (90 % is wanted).
3. Two single-threaded workers against one, on a CPU.
4. The memory of a worker against the number of its targets.

Plain code, attack and bare passes take turns, since other work on the machine slows all alike; what counts is
the median of the ratios. Wall-clock time is read only for the two workers: that wants two idle cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from benchmarks.arena import Arena, enter, prepare, runnable, seconds
from benchmarks.attack_workers import NAME, memory, two_against_one
from benchmarks.bare import NotingModel, Pass, bare_loop, noting
from benchmarks.naive import NAIVE, Plain
from torch import Tensor

from inversionlab.attacks import ATTACKS
from inversionlab.stages.attack import Attacked, arm, run_attack
from inversionlab.store import Job

PARTS = ("naive", "bare", "workers", "memory")


@dataclass
class Tally:
    """What the rounds of one attack showed."""

    name: str
    allowed: int
    """Updates at most."""
    rows: int = 0
    ours: list[float] = field(default_factory=list)
    """Seconds a reconstruction."""
    naive: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    """Updates that ours made, on average."""
    found_ours: int = 0
    found_naive: int = 0

    @property
    def apart(self) -> float:
        """By how much the shares of recognised pictures differ."""
        return abs(self.found_ours - self.found_naive) / self.rows if self.naive else 0.0

    def line(self) -> str:
        """Its row of the table."""
        cells = [f"{self.name:18}", f"{statistics.median(self.ours):9.3f}"]
        cells.append(f"{statistics.mean(self.steps):5.0f} of {self.allowed:<5}")
        if self.naive:
            pairs = list(zip(self.naive, self.ours, self.steps, strict=True))
            whole = statistics.median(n / o for n, o, _ in pairs)
            step = statistics.median((n / (self.allowed + 1)) / (o / (s + 1)) for n, o, s in pairs)
            found = f"{self.found_naive} and {self.found_ours} of {self.rows}"
            cells += [f"{whole:8.1f} x", f"{step:8.1f} x", f"{found:>16}"]
        else:
            cells += [f"{'-':>10}", f"{'-':>10}", f"{'-':>16}"]
        share = (
            statistics.median(b / o for b, o in zip(self.bare, self.ours, strict=True))
            if self.bare
            else None
        )
        cells.append(f"{share:8.1%}" if share is not None else f"{'-':>8}")
        return "  ".join(cells)


HEAD = (
    f"{'attack':18}  {'seconds':>9}  {'updates':>14}  {'plain/ours':>10}  {'an update':>10}  "
    f"{'recognised':>16}  {'bare/ours':>9}"
)


def measure(arena: Arena, name: str, given: argparse.Namespace) -> Tally:
    """All rounds of one attack."""
    tally = Tally(name, arena.settings(name).steps)
    for number in range(given.rounds):
        jobs = arena.jobs(
            given.rows, repeat=number * -(-given.rows // len(arena.site.plan.targets))
        )
        tally.rows += len(jobs)
        log: list[Pass] = []
        spent, attacked = _ours(arena, name, jobs, log)
        found = attacked.found
        tally.ours.append(spent / len(jobs))
        tally.steps.append(float(found.steps_N.double().mean()))
        tally.found_ours += arena.recognised(found.images_NCHW, jobs)
        if "bare" in given.parts:
            tally.bare.append(_bare(arena, name, log) / len(jobs))
        if "naive" in given.parts and name in NAIVE:
            spent, images_NCHW = _naive(arena, name, jobs)
            tally.naive.append(spent / len(jobs))
            tally.found_naive += arena.recognised(images_NCHW, jobs)
    return tally


def _ours(arena: Arena, name: str, jobs: list[Job], log: list[Pass]) -> tuple[float, Attacked]:
    """The attack, its passes noted: which takes a microsecond a pass."""
    attack = arm(arena.settings(name), noting(arena.knowledge(name), log))
    model = NotingModel(arena.model, log)
    done: list[Attacked] = []
    spent = seconds(lambda: done.append(run_attack(attack, model, jobs)), arena.device)
    return spent, done[0]


def _bare(arena: Arena, name: str, log: list[Pass]) -> float:
    model, generator = arena.bare_model, arena.bare_generator(name)
    shape = arena.knowledge(name).public_NCHW.shape[1:]
    pictures_NCHW = torch.rand(max(each.size for each in log), *shape).to(arena.device)
    return seconds(lambda: bare_loop(log, model, generator, pictures_NCHW), arena.device)


def _naive(arena: Arena, name: str, jobs: list[Job]) -> tuple[float, Tensor]:
    know, generator = arena.knowledge(name), arena.bare_generator(name)
    plain = Plain.of(arena.bare_model, generator, replace(know, generator=generator))
    made: list[Tensor] = []

    def one_by_one() -> None:
        for target, repeat in jobs:
            made.append(NAIVE[name](plain, arena.settings(name), target, repeat))

    return seconds(one_by_one, arena.device), torch.cat(made)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--recipe", type=Path, help="an experiment whose networks an audit has trained")
    add("--set", action="append", default=[], metavar="A.B=C", help="override a setting of it")
    add(
        "--storage", type=Path, help="where its networks are (without a recipe: where to keep them)"
    )
    add(
        "--attacks",
        nargs="+",
        choices=filter(runnable, ATTACKS),
        default=list(NAIVE),
        metavar="NAME",
        help="which; plain code is there of the default ones",
    )
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    add("--rows", type=int, default=20, help="reconstructions in a round")
    add("--rounds", type=int, default=3, help="turns of plain code, attack and bare passes")
    add(
        "--tolerance",
        type=float,
        default=0.15,
        help="how far the shares of recognised pictures may differ",
    )
    add("--memory", type=int, nargs="+", default=[8, 64, 512], help="numbers of targets")
    add("--device", default="cpu", help="cpu or cuda")
    given = parser.parse_args()
    if given.recipe is not None and given.storage is None:
        parser.error("--recipe needs --storage, where its networks are")
    return given


def main() -> int:
    """All four; the exit code says whether plain code and ours found as much."""
    given = _options()
    torch.set_num_threads(1)
    device = torch.device(given.device)
    with ExitStack() as stack:
        folder = given.storage or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        needed = [*given.attacks, *([] if NAME in given.attacks else [NAME])]
        address = prepare(given.recipe, given.set, folder, needed)
        arena = enter(address, device)
        tallies = []
        if "naive" in given.parts or "bare" in given.parts:
            print(HEAD, flush=True)
            for name in given.attacks:
                tallies.append(measure(arena, name, given))
                print(tallies[-1].line(), flush=True)
        if "workers" in given.parts and device.type == "cpu":
            two_against_one(address, arena.jobs(given.rows), given.rounds)
        if "memory" in given.parts:
            memory(address, given.device, given.memory)
    wrong = [tally for tally in tallies if tally.apart > given.tolerance]
    for tally in wrong:
        print(
            f"{tally.name}: the recognised shares are {tally.apart:.0%} apart; its ratios mean nothing"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
