"""What workers print becomes the command's own lines; what Ray itself has to say stays in Ray's files.

By itself Ray prints both in the command's output, each line behind the number of a process. What it says of
itself, such as the states of a training, means something to its developers alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ray._private.ray_logging import global_worker_stdstream_dispatcher as streams
from ray.experimental.tqdm_ray import RAY_TQDM_MAGIC

HANDLER = "ray_print_logs"
"""Ray's name for its own printing. Ray removes whatever has it when it shuts down."""


class WorkerLines:
    """Hands on the lines that workers print."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` gets each line."""
        self.say = say

    def __call__(self, batch: Mapping[str, Any]) -> None:
        """Hand on the lines of a batch as Ray makes them, unless they are Ray's own.

        Ray and its libraries log to the error stream, and its own processes have names in place of numbers.
        """
        if batch["is_err"] or not str(batch["pid"]).isdigit():
            return
        for line in batch["lines"]:
            if RAY_TQDM_MAGIC not in line:
                self.say(line)


def carry(say: Callable[[str], None]) -> None:
    """From now on, `say` gets the lines that the workers of this Ray print; Ray prints none."""
    streams.remove_handler(HANDLER)
    streams.add_handler(HANDLER, WorkerLines(say))


def carried() -> bool:
    """Whether lines are handed on so."""
    return any(isinstance(handler, WorkerLines) for _, handler in streams.handlers)
