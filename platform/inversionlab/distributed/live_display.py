"""What a terminal shows while a run works: a bar for each network in training, and one for the attacks.

Lines are printed above the bars and stay. Where there is no terminal, as in a job's log, there are lines only
(`progress.py`).
"""

import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from inversionlab.core.clock import clock
from inversionlab.pipeline.train import Progress as TrainingNote

EVERY = 0.5
"""Seconds between two looks."""
LONGEST = 44
"""Characters of a network's name."""


class LiveDisplay:
    """Bars at the bottom of a terminal, and lines above them."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __reduce__(self) -> tuple[Callable[[], "LiveDisplay"], tuple[()]]:
        """Ray Tune stores its callbacks, which have a display's `say`; a console's locks cannot go along."""
        return _own_display, ()

    def say(self, line: str) -> None:
        """Print a line, broken between words; the bars, if there are any, stay below it."""
        indent = " " * (len(line) - len(line.lstrip()))
        parts = textwrap.wrap(
            line,
            self.console.width,
            subsequent_indent=f"{indent}  ",
            # Addresses and paths stay whole.
            break_long_words=False,
            break_on_hyphens=False,
        )
        text = "\n".join(parts or [""])
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def worker_says(self, line: str) -> None:
        """Print a line of a worker, unless it tells what a bar shows."""
        if not line.startswith("[train]"):
            self.say(line)

    @contextmanager
    def trainings(
        self, total: int | None, read: Callable[[], list[TrainingNote]]
    ) -> Iterator[None]:
        """Within the block, a bar for each network in training; `read` returns how far each is.

        A network that is done becomes a line, with how many of `total` are, if that is known.
        """
        bars: dict[str, TaskID] = {}
        done: set[str] = set()
        ended = 0

        def look(shown: Progress) -> None:
            nonlocal ended
            notes = read()
            if not notes and not shown.tasks:
                shown.add_task("the workers start", total=None, said="") if total else None
            elif notes and not bars and not done:
                for waiting in shown.task_ids:
                    shown.remove_task(waiting)
            for note in notes:
                if note.title in done:
                    if note.epoch >= note.epochs:
                        continue
                    # Another trial's network of the same name.
                    done.discard(note.title)
                if note.title not in bars:
                    bars[note.title] = shown.add_task(
                        _short(note.title), total=note.epochs, said=""
                    )
                losses = ", ".join(f"{name} {value:.3g}" for name, value in note.losses.items())
                shown.update(
                    bars[note.title],
                    completed=note.epoch,
                    said=f"epoch {note.epoch}/{note.epochs}, {note.pictures_per_second:,.0f} pictures/s, "
                    f"{clock(note.seconds_left)} left; {losses}",
                )
                if note.epoch >= note.epochs:
                    done.add(note.title)
                    ended += 1
                    shown.remove_task(bars.pop(note.title))
                    count = "" if total is None else f"{ended}/{total} "
                    self.say(f"      {count}{note.title}: trained; {losses}")

        with self._watching(look):
            yield

    @contextmanager
    def attacks(
        self,
        total: int,
        left: Callable[[], float | None],
        workers: Callable[[], str],
        note: Callable[[], str],
    ) -> Iterator[Callable[[int, float], None]]:
        """Within the block, a bar for `total` reconstructions; gives the function that counts them.

        `left` returns the seconds that the rest takes, if they are known; `workers` says who works, and `note`
        whatever else there is.
        """
        counted = 0

        def count(jobs: int, seconds: float) -> None:
            nonlocal counted
            counted += jobs

        def look(shown: Progress) -> None:
            if not shown.tasks:
                shown.add_task("reconstructions", total=total, said="")
            seconds = left()
            estimate = "" if seconds is None else f", {clock(seconds)} left"
            more = "; ".join(part for part in (workers(), note()) if part)
            said = f"{counted}/{total}{estimate}; {more}"
            shown.update(shown.tasks[0].id, completed=counted, said=said)

        with self._watching(look):
            yield count
        self.say(f"      {counted}/{total} reconstructions")

    @contextmanager
    def _watching(self, look: Callable[[Progress], None]) -> Iterator[None]:
        """Within the block, look every moment and show the bars; a last time at its end."""
        columns = (
            TextColumn("      {task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[said]}", markup=False),
        )
        over = threading.Event()
        shown = Progress(*columns, console=self.console, transient=True)

        def watch() -> None:
            while not over.wait(EVERY):
                look(shown)

        watcher = threading.Thread(target=watch, daemon=True, name="live display")
        with shown:
            watcher.start()
            try:
                yield
            finally:
                over.set()
                watcher.join(timeout=5)
            look(shown)


def _short(title: str) -> str:
    return title if len(title) <= LONGEST else f"{title[: LONGEST - 1]}…"


def _own_display() -> LiveDisplay:
    """A display on this process's own terminal."""
    return LiveDisplay(Console())


def display_of(console: Console) -> LiveDisplay | None:
    """A display, if the console is a terminal that can show one."""
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else None
