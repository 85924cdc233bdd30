"""Where training workers note how far they are, for whoever watches a run.

Ray hands on what workers print line by line (`worker_lines.py`), and a bar for each network needs numbers. So
a command that has a terminal starts a small actor, workers find it by its name, and the command asks it now and
then. Without such an actor nothing is noted. Ray is imported late, for those who train without it.
"""

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from inversionlab.pipeline.train import Progress

NAME = "inversionlab trainings"
OFTEN = 0.3
"""Seconds between two notes of a worker."""
PATIENCE = 2.0
"""Seconds that a look at the board may take; it is a look only."""


class TrainingBoard:
    """The actor: the last note of each network that is in training."""

    def __init__(self) -> None:
        self._notes: dict[str, Progress] = {}

    def note(self, progress: Progress) -> None:
        """Keep what a worker says of a network."""
        self._notes[progress.title] = progress

    def notes(self) -> list[Progress]:
        """The last note of every network so far."""
        return [*self._notes.values()]


@dataclass
class BoardReader:
    """The watching side of a board, which lives as long as this."""

    actor: Any

    @classmethod
    def start(cls) -> "BoardReader":
        """Start a board on this Ray."""
        import ray

        from inversionlab.distributed.cluster import HEAD

        board = ray.remote(TrainingBoard).options(name=NAME, num_cpus=0, resources={HEAD: 0.001})
        return cls(board.remote())

    def read(self) -> list[Progress]:
        """The last note of every network so far; none if the board does not answer."""
        import ray
        from ray.exceptions import RayError

        with suppress(RayError):
            notes: list[Progress] = ray.get(self.actor.notes.remote(), timeout=PATIENCE)
            return notes
        return []


class BoardWriter:
    """The worker's side: notes what it is told, if there is a board."""

    def __init__(self) -> None:
        self._board: Any = None
        self._last = 0.0
        if (ray := sys.modules.get("ray")) is not None and ray.is_initialized():
            # There is none where nobody watches.
            with suppress(ValueError):
                self._board = ray.get_actor(NAME)

    def __call__(self, progress: Progress) -> None:
        """Note how far a network is."""
        now = time.monotonic()
        ends = progress.epoch in (1, progress.epochs)
        if self._board is None or (now - self._last < OFTEN and not ends):
            return
        self._last = now
        self._board.note.remote(progress)
