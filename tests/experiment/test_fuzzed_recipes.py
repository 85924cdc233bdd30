"""Thousands of spoiled recipes and search spaces: each is planned, or refused with a text, within seconds.

What the commands call is called, up to the point at which something would be trained. `fuzz.py` and
`fuzz_spaces.py` make the cases; what they have found is kept below as cases of their own. Another range of seeds:

    python -m tests.experiment.test_fuzzed_recipes 10000 20000
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from inversionlab.commands import audit, plan
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.data import procedural
from inversionlab.data.memory import require_memory
from tests import tiny
from tests.contracts.test_search_spaces import CHANGES
from tests.experiment.fuzz import Fuzzed, fuzzed
from tests.experiment.fuzz_spaces import FuzzedSpace, fuzzed_space

pytestmark = pytest.mark.usefixtures("one_thread")

SECONDS = 5.0
"""Most seconds of a processor for one case; other processes on the machine do not count. Of several threads each
would count, and those that wait for others, too."""
LONGEST = 40_000
"""Most characters of a message."""
MOST_PIXELS = 2e6
"""People with more pixels would be drawn for longer than a case may take; there it ends."""


@dataclass(frozen=True)
class End:
    """How a command ended."""

    code: int
    seconds: float
    """Of the processor."""
    message: str
    """What it said on stderr; where it fell, the traceback."""

    @property
    def fault(self) -> str:
        """What is wrong with how it ended; "" where nothing is."""
        if self.code not in (0, 2) or "Traceback" in self.message:
            return f"exit code {self.code}: {self.message[-3000:]}"
        if self.code == 2 and not any(x.startswith("error: ") for x in self.message.splitlines()):
            return f"no text: {self.message[:200]!r}"
        if len(self.message) > LONGEST:
            return f"{len(self.message)} characters: {self.message[:200]}"
        return f"{self.seconds:.1f} s: {self.message[:200]}" if self.seconds > SECONDS else ""


class StopHereError(Exception):
    """Raised where a command would begin to work."""


def end_of(command: Callable[[], None]) -> End:
    """Run a command in this process."""
    began, said, code = time.process_time(), _Said(), 0
    with contextlib.redirect_stdout(_Said()), contextlib.redirect_stderr(said):
        try:
            command()
        except StopHereError:
            pass
        except typer.Exit as end:
            code = end.exit_code
        except BaseException:
            code = 1
            traceback.print_exc()
    return End(code, time.process_time() - began, said.text)


def steady_end_of(command: Callable[[], None]) -> End:
    """The same; a command that is slow is run once more, since the first run imports what it needs."""
    end = end_of(command)
    return end_of(command) if end.seconds > SECONDS else end


class _Said:
    """A file that is read while it is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        # A terminal could not show a lone surrogate either.
        self.text += text.encode("utf-8", "backslashreplace").decode()
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def audit_ends(folder: Path, case: Fuzzed) -> End:
    """How `audit --plan` ends."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(case.recipe, encoding="utf-8")
    words, root = list(case.assignments), str(folder / "runs")
    return steady_end_of(lambda: audit.main(recipe, words, storage=root, plan=True))


def search_ends(folder: Path, case: FuzzedSpace) -> End:
    """How `search` ends before Ray is started."""
    from inversionlab.commands import search

    space, recipe = folder / f"{case.stem}.py", folder / "recipe.yaml"
    space.write_text(case.text, encoding="utf-8")
    recipe.write_text(dump_yaml(tiny.recipe(**CHANGES[case.stem])))
    return steady_end_of(lambda: search.main(space, recipe, storage=str(folder / "runs")))


@contextlib.contextmanager
def workshop(folder: Path) -> Iterator[None]:
    """The current folder is an empty one, and commands stop before Ray starts."""
    from inversionlab.tuning import search as searching

    def stop(*_: Any, **__: Any) -> None:
        raise StopHereError

    def require_few(settings: Any, count: int, what: str) -> None:
        require_memory(settings, count, what)
        if count * settings.channels * settings.image_size**2 > MOST_PIXELS:
            raise StopHereError

    before, path = os.getcwd(), list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        # The real one hides from the garbage collector what was made until then: here thousands of experiments.
        for module in (audit, plan):
            patch.setattr(module, "importing", contextlib.nullcontext)
        patch.setattr(searching, "connect", stop)
        patch.setattr(procedural, "require_memory", require_few)
        patch.setenv("RAY_ADDRESS", "local")
        os.chdir(folder)
        yield
        os.chdir(before)
    sys.path[:] = path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with workshop(tmp_path):
        yield tmp_path


def wrong(ends: Iterable[tuple[int, End]]) -> tuple[list[str], Counter[int]]:
    """The faults of numbered ends, and how often each exit code came."""
    faults, codes = [], Counter[int]()
    for seed, end in ends:
        codes[end.code] += 1
        faults += [f"seed {seed}: {end.fault}"] if end.fault else []
    return faults, codes


def test_spoiled_recipes_are_planned_or_refused(folder: Path) -> None:
    faults, codes = wrong((seed, audit_ends(folder, fuzzed(seed))) for seed in range(40))
    assert not faults
    assert codes.keys() == {0, 2}


def test_spoiled_search_spaces_are_taken_or_refused(folder: Path) -> None:
    faults, codes = wrong((seed, search_ends(folder, fuzzed_space(seed))) for seed in range(40))
    assert not faults
    assert codes.keys() == {0, 2}


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 10_000, 250))
def test_ten_thousand_spoiled_recipes(folder: Path, start: int) -> None:
    seeds = range(start, start + 250)
    faults, _ = wrong((seed, audit_ends(folder, fuzzed(seed))) for seed in seeds)
    assert not faults


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 3_000, 500))
def test_thousands_of_spoiled_search_spaces(folder: Path, start: int) -> None:
    seeds = range(start, start + 500)
    faults, _ = wrong((seed, search_ends(folder, fuzzed_space(seed))) for seed in seeds)
    assert not faults


def recipe(**changed: Any) -> Fuzzed:
    return Fuzzed(json.dumps(tiny.recipe(**changed)), ())


HUGE = {"name": "vgg16", "dense": 65_536}
RETRAINED = (
    "mutual_information",
    "dp_sgd",
    "negative_label_smoothing",
    "transfer_learning",
    "bido",
)
FOUND: dict[str, tuple[Callable[[], Fuzzed], str]] = {
    # RuntimeError of torch's allocator, or the out-of-memory killer.
    "weights that fit into no memory": (
        lambda: recipe(**{"victim.network": HUGE, "data.image_size": 32}),
        "victim: its weights alone take 17.4 GB, but only 16.0 GB of memory are free here",
    ),
    # ValueError: embedded null byte.
    "a NUL in a path": (
        lambda: recipe(data={"name": "folder", "root": "a\0b"}),
        'data.root = "a\\u0000b": holds a NUL character; it is not a path',
    ),
    "a path without end": (
        lambda: recipe(data={"name": "folder", "root": "x/" * 3000}),
        "is longer than 4,000 bytes; it is not a path",
    ),
    # 446 MB of text: every fault repeated all of --set.
    "faults without end after --set": (
        lambda: Fuzzed(recipe().recipe, (f"attacks=[{'{name: x, z: 1},' * 300}]",)),
        "known: ",
    ),
    # 1.4 MB of text.
    "faults without end": (
        lambda: recipe(attacks=[{"name": "x"}] * 190),
        "and 170 more faults",
    ),
    # 9 s, of which YAML took most.
    "numbers without end": (
        lambda: recipe(**{"sweep.values": [1] * 130_000}),
        "has 391 kB, but a recipe has at most 100 kB",
    ),
    "a value without end after --set": (
        lambda: Fuzzed(recipe().recipe, (f"sweep.values=[{'1,' * 60_000}]",)),
        "has 120,002 characters, but a value has at most 100,000",
    ),
    "too many attacks": (
        lambda: recipe(attacks=[{"name": "mi_face", "label": f"l{i}"} for i in range(201)]),
        "should have at most 200 items, not 201",
    ),
    "too many defenses": (
        lambda: recipe(defenses=[{"name": "uniform_noise", "label": f"l{i}"} for i in range(201)]),
        "should have at most 200 items, not 201",
    ),
    "too many generators": (
        lambda: recipe(generators={f"g{i}": {"name": "vae"} for i in range(101)}),
        "generators = {",
    ),
    # 27 s: every network of every victim was built, with all of its numbers drawn.
    "a wide network behind many defenses of three victims": (
        lambda: recipe(
            seeds=[0, 1, 2],
            sweep=None,
            defenses=[
                *({"name": name} for name in RETRAINED),
                {"name": "anonymity_set", "decoys": 3, "strangers": True},
            ],
            **{"data.image_size": 32, "victim.network": {"name": "small_resnet", "width": 512}},
        ),
        "split.decoy_people = 0: `anonymity_set` needs 18 strangers for 6 private people",
    ),
    # Hours, and gigabytes for the plan.
    "more cells than a plan can hold": (
        lambda: recipe(
            seeds=list(range(100)),
            attacks=[{"name": "mi_face", "label": f"l{i}"} for i in range(200)],
            **{"sweep.values": [i / 1002 for i in range(1, 1002)]},
        ),
        "200 attacks on 1003 models of 100 victims are 20,060,000 cells, but a plan holds at most 20,000",
    ),
}
"""What the fuzzed recipes have found: a case, and what it must say."""


@pytest.mark.parametrize("name", FOUND)
def test_what_spoiled_recipes_have_found(name: str, folder: Path, monkeypatch: Any) -> None:
    make, text = FOUND[name]
    # The same on a machine of any size.
    monkeypatch.setattr("inversionlab.pipeline.untrained.memory_at_hand", lambda: 16 * 10**9)
    end = audit_ends(folder, make())
    assert not end.fault
    assert end.code == 2
    assert text in end.message


SPACES: dict[str, tuple[str, str]] = {
    # TypeError: unsupported operand type(s) for -: 'function' and 'int'.
    "a bound that is no number": (
        'SPACE["defense.neighbours"] = tune.randint(1, lambda: 1)',
        "SPACE['defense.neighbours'] = Integer",
    ),
    "a bound that is a text": (
        'SPACE["defense.neighbours"] = tune.randint(1, b"x")',
        "the bounds must be whole numbers",
    ),
    # 400 kB of text.
    "settings without end": (
        'SPACE.update({f"defense.k{i}": tune.uniform(0, 1) for i in range(2000)})',
        "SPACE: has 2,005 keys; a search takes at most 100",
    ),
    # 13 s.
    "start points without end": (
        "START = START * 3000",
        "START: has 6,000 points; a search begins with at most 500",
    ),
}
"""What the fuzzed spaces have found: lines at the end of a space, and what must be said of them."""


@pytest.mark.parametrize("name", SPACES)
def test_what_spoiled_search_spaces_have_found(name: str, folder: Path) -> None:
    lines, text = SPACES[name]
    path = Path(__file__).resolve().parents[2] / "search_spaces" / "dummy_recognizer.py"
    case = FuzzedSpace(path.stem, f"{path.read_text(encoding='utf-8')}\n{lines}\n")
    end = search_ends(folder, case)
    assert not end.fault
    assert end.code == 2
    assert text in end.message


def main(first: int, last: int) -> None:
    """Try a range of seeds, and print what is wrong."""
    with tempfile.TemporaryDirectory() as made, workshop(Path(made)):
        longest, codes = 0.0, Counter[str]()
        for seed in range(first, last):
            for what, end in (
                ("recipe", audit_ends(Path(made), fuzzed(seed))),
                ("space", search_ends(Path(made), fuzzed_space(seed))),
            ):
                longest = max(longest, end.seconds)
                codes[f"{what}: exit code {end.code}"] += 1
                if end.fault:
                    print(f"{what}, seed {seed}: {end.fault}", flush=True)
        print(f"{dict(sorted(codes.items()))}; the longest took {longest:.1f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
