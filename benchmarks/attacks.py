"""How much cheaper are the attacks than plain code, how near to their bound, and do workers scale?

    python -m benchmarks.attacks [--device cuda]
    python -m benchmarks.attacks --recipe jobs/recipes/lfw.yaml --storage runs --set data.root=/data/lfw64

An attack has the recipe's settings, or the defaults if the recipe lacks it. Give an attack that the recipe lacks
the stop of the others: `--set "attacks=[{name: latent_black_box, stop: 0.9999, steps: 100}]"`.

1. The CPU time per reconstruction (wall time on a GPU) of plain rewritings (`benchmarks.naive`) against ours, on
   the same targets, from the same starts and with as many updates allowed; and how many pictures of each the
   recipe's first evaluator recognises. The command fails if these shares differ by more than `--tolerance`,
   because the ratio then compares two different things. "an update": the same ratio if the plain code stopped
   when ours does.
2. As many passes as an attack made, at the best batch size and nothing else, against the attack
   (`benchmarks.bound`; at least 90 % is wanted). Without a recipe this runs on untrained networks of the LFW
   recipe's size: with tiny ones, Python's share looks too large.
3. Two single-threaded workers against one, on a CPU.
4. The memory of a worker against the number of its targets.

Compared runs take turns, since other work on the machine slows all of them alike; the median of the ratios counts.
Wall-clock time is read only for the two workers, which need two idle cores.
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
from torch import Tensor

from benchmarks.arena import Arena, enter, prepare, runnable, seconds, untrained
from benchmarks.attack_workers import NAME, memory, two_against_one
from benchmarks.bound import measure
from benchmarks.naive import NAIVE, Plain
from inversionlab.attacks import ATTACKS
from inversionlab.pipeline.attack import Attacked, make_attack, run_attack
from inversionlab.store.tables import Job

PARTS = ("naive", "bound", "workers", "memory")
WORKERS_ROWS = 64
"""At least so many reconstructions in a round of the third part: of fewer, starting and stopping is a part."""
BARE_STEPS = {"latent_black_box": 4}
"""Updates in the second part without a recipe; one of this attack takes as long as hundreds of the others."""
HEAD = (
    f"{'attack':16}  {'plain/ours':>10}  {'an update':>10}  {'seconds':>15}  {'updates':>12}  "
    "recognised, plain and ours"
)


@dataclass
class Tally:
    """The results of the rounds of plain code against ours; seconds are per reconstruction."""

    name: str
    allowed: int
    """Updates at most."""
    rows: int = 0
    plain: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    """Mean number of updates of ours."""
    found_plain: int = 0
    found_ours: int = 0

    @property
    def apart(self) -> float:
        """By how much the shares of recognised pictures differ."""
        return abs(self.found_plain - self.found_ours) / self.rows

    def line(self) -> str:
        """The attack's row of the table."""
        rounds = list(zip(self.plain, self.ours, self.steps, strict=True))
        whole = statistics.median(p / o for p, o, _ in rounds)
        update = statistics.median((p / (self.allowed + 1)) / (o / (s + 1)) for p, o, s in rounds)
        spent = f"{statistics.median(self.plain):.3f} to {statistics.median(self.ours):.3f}"
        made = f"{self.allowed} to {statistics.mean(self.steps):.0f}"
        return (
            f"{self.name:16}  {whole:8.1f} x  {update:8.1f} x  {spent:>15}  {made:>12}  "
            f"{self.found_plain} and {self.found_ours} of {self.rows}"
        )


def against_plain(arena: Arena, name: str, rows: int, rounds: int) -> Tally:
    """All rounds of one attack."""
    tally = Tally(name, arena.settings(name).steps)
    _ours(arena, name, arena.jobs(1))
    for number in range(rounds):
        jobs = arena.jobs(rows, skip=number * rows)
        spent, attacked = _ours(arena, name, jobs)
        tally.rows += rows
        tally.ours.append(spent / rows)
        tally.steps.append(float(attacked.result.steps_N.double().mean()))
        tally.found_ours += arena.recognised(attacked.result.images_NCHW, jobs)
        spent, images_NCHW = _plain(arena, name, jobs)
        tally.plain.append(spent / rows)
        tally.found_plain += arena.recognised(images_NCHW, jobs)
    return tally


def _ours(arena: Arena, name: str, jobs: list[Job]) -> tuple[float, Attacked]:
    attack, model = make_attack(arena.settings(name), arena.context(name)), arena.model
    done: list[Attacked] = []
    spent = seconds(lambda: done.append(run_attack(attack, model, jobs)), arena.device)
    return spent, done[0]


def _plain(arena: Arena, name: str, jobs: list[Job]) -> tuple[float, Tensor]:
    generator = arena.bare_generator(name)
    context = replace(arena.context(name), generator=generator)
    plain, options = Plain.of(arena.bare_model, generator, context), arena.settings(name)
    made: list[Tensor] = []

    def one_by_one() -> None:
        made.extend(NAIVE[name](plain, options, target, repeat) for target, repeat in jobs)

    return seconds(one_by_one, arena.device), torch.cat(made)


def faults(arena: Arena, given: argparse.Namespace) -> list[str]:
    """Print the table of the first part; returns the faults that make a line of it void."""
    found = []
    print(HEAD, flush=True)
    for name in filter(NAIVE.__contains__, given.attacks):
        tally = against_plain(arena, name, given.rows, given.rounds)
        print(tally.line(), flush=True)
        if tally.apart > given.tolerance:
            found.append(
                f"{name}: the recognised shares are {tally.apart:.0%} apart (at most "
                f"{given.tolerance:.0%}): the ratio compares two different things"
            )
    return found


def bound(arena: Arena, given: argparse.Namespace, steps: dict[str, int]) -> None:
    """Print the second part."""
    for name in given.attacks:
        most = [n for n in (arena.steps, steps.get(name)) if n is not None]
        limited = replace(arena, steps=min(most, default=None))
        found = measure(limited, name, given.rows, given.rounds)
        print(
            f"{name}: an update costs {1000 * found.update:.2f} ms at batch {found.batch}; the bound is "
            f"{found.share:.1%} of the attack's time (at least 90 % is wanted)",
            flush=True,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--recipe", type=Path, help="an experiment whose networks an audit has trained")
    add("--set", action="append", default=[], metavar="A.B=C", help="override a setting of it")
    add("--storage", type=Path, help="where its networks are; without a recipe, where to keep them")
    names = [*filter(runnable, ATTACKS)]
    add("--attacks", nargs="+", choices=names, default=[*NAIVE], help="which; default: %(default)s")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    add("--rows", type=int, default=16, help="reconstructions in a round")
    add("--rounds", type=int, default=3, help="turns of the compared runs")
    add("--steps", type=int, help="no attack makes more updates than this")
    add("--tolerance", type=float, default=0.1, help="how far the recognised shares may differ")
    add("--memory", type=int, nargs="+", default=[64, 1024, 16_384], help="numbers of targets")
    add("--device", default="cpu", help="cpu or cuda")
    given = parser.parse_args()
    if given.recipe is not None and given.storage is None:
        parser.error("--recipe needs --storage, where its networks are")
    return given


def main() -> int:
    """All four parts; returns 1 if plain code and ours did not find as much."""
    given, found = _options(), list[str]()
    torch.set_num_threads(1)
    device = torch.device(given.device)
    attacks = list(dict.fromkeys([*given.attacks, NAME]))
    with ExitStack() as stack:
        folder = given.storage or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        spec = prepare(given.recipe, given.set, folder, attacks)
        arena = enter(spec, device, given.steps)
        if "naive" in given.parts:
            found = faults(arena, given)
        if "bound" in given.parts and given.recipe is not None:
            bound(arena, given, {})
        elif "bound" in given.parts:
            bound(untrained(folder, attacks, device, given.steps or 50), given, BARE_STEPS)
        if "workers" in given.parts and device.type == "cpu":
            rows = max(WORKERS_ROWS, given.rows)
            two_against_one(spec, arena.jobs(rows), given.rounds, given.steps)
        if "memory" in given.parts:
            memory(spec, given.device, given.memory)
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
