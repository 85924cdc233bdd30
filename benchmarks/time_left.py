"""How good a run's estimates of the time left were: at 25, 50 and 75 % of its attacks, and of each training.

    inversionlab audit demo 2>&1 | python -m benchmarks.time_left --stamp run.log    # prints it too
    python -m benchmarks.time_left run.log

A line of the log begins with the seconds since 1970. Captures of a terminal's bars serve as well.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

SHARES = (0.25, 0.5, 0.75)
ATTACKS = re.compile(r"\b(\d+)/(\d+)(?: reconstructions)?, (\d+):(\d\d) left")
TRAINING = re.compile(r"^\s*(\S.*?):?\s+[━╸╺]*\s*epoch (\d+)/(\d+),.*?(\d+):(\d\d) left")
STAGE = re.compile(r"\[(\d)/4\]")

Said = tuple[float, float]
"""When an estimate was said, and the seconds that it said were left."""


def read(lines: Iterable[str]) -> tuple[dict[str, list[Said]], dict[str, float]]:
    """What was said of each stage and network, and when each ended."""
    said: dict[str, list[Said]] = {}
    ends: dict[str, float] = {}
    stage = ""
    for line in lines:
        stamp, _, text = line.partition(" ")
        try:
            now = float(stamp)
        except ValueError:
            continue
        if found := STAGE.search(text):
            # The first time that a stage is named, the one before has ended.
            if stage and found[1] > stage:
                ends.setdefault("attacks" if stage == "3" else f"stage {stage}", now)
            stage = max(stage, found[1])
        if found := TRAINING.search(text):
            name = re.sub(r"^.*\[train\] ", "", found[1])
            said.setdefault(name, []).append((now, int(found[4]) * 60 + int(found[5])))
            if found[2] == found[3]:
                ends.setdefault(name, now)
        elif found := ATTACKS.search(text):
            said.setdefault("attacks", []).append((now, int(found[3]) * 60 + int(found[4])))
    return said, ends


def compared(said: list[Said], end: float) -> Iterator[tuple[float, float, float]]:
    """For each share of the time: the share, what was said then, and what was true; without the first moments."""
    begin = said[0][0]
    for share in SHARES:
        moment = begin + share * (end - begin)
        known = [each for each in said if each[0] <= moment]
        if known:
            then, left = known[-1]
            # Of what was said a little earlier, the time since has passed.
            yield share, max(0.0, left - (moment - then)), end - moment


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    asked.add_argument("log", type=Path)
    asked.add_argument("--stamp", action="store_true", help="write the log from what is piped in")
    given = asked.parse_args()
    if given.stamp:
        with given.log.open("w") as log:
            for line in sys.stdin:
                print(line, end="", flush=True)
                log.write(f"{time.time():.2f} {line}")
                log.flush()
        return
    said, ends = read(given.log.read_text(errors="replace").splitlines())
    print(f"{'what':40} {'at':>5} {'said':>8} {'true':>8} {'said/true':>10}")
    for name, each in said.items():
        if name in ends:
            for share, left, true in compared(each, ends[name]):
                ratio = f"{left / true:10.2f}" if true > 1 else ""
                print(f"{name[:40]:40} {share:5.0%} {left:7.0f}s {true:7.0f}s {ratio}")


if __name__ == "__main__":
    main()
