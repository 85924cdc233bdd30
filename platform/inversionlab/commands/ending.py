"""Signals that end a command: Ctrl-C, SIGTERM and SIGHUP do the same. Nothing heavy is imported.

`ray job stop`, Slurm, Kubernetes and a spot node that is taken back send SIGTERM; a terminal that closes sends
SIGHUP.
"""

import _thread
import atexit
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import ParamSpec

import typer

GRACE = 10.0
"""Seconds that the command has to end by itself; Kubernetes and Slurm kill it after 30."""
WORDS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "ended by SIGTERM",
    signal.SIGHUP: "ended by SIGHUP",
}
Options = ParamSpec("Options")


class Ended(KeyboardInterrupt):
    """A signal has come that ends the command. Ray passes it through where it passes Ctrl-C through."""


def ends_by_signals(command: Callable[Options, None]) -> Callable[Options, None]:
    """The command, which these signals end: it says so in one line and exits with 128 + the signal's number.

    What it has begun ends as after an error: its `with` and `finally` blocks run. A second signal, or `GRACE`
    seconds, ends it at once. A signal that was ignored from the start, as SIGHUP is below `nohup`, stays ignored.

    What it writes, by whatever library, is readable by its owner alone.
    """

    @functools.wraps(command)
    def run(*args: Options.args, **options: Options.kwargs) -> None:
        before = os.umask(0o077)
        try:
            with _Ending().listening():
                command(*args, **options)
        finally:
            os.umask(before)

    return run


def as_process(app: Callable[[], object]) -> None:
    """Run a console app as what this process is for: a signal meets a handler until the process has ended.

    Before the app's command listens, a signal ends the process as it would end the command. Once the app has
    ended, the exit code is its own, whatever comes: a signal only hurries the end. The last that the process does
    is `os._exit`, since Python takes its handlers away before it has ended, and the threads of libraries may make
    its usual end an abort.
    """
    _Process().run(app)


class _Process:
    """The exit code of this process, once it is known."""

    def __init__(self) -> None:
        self._code: int | None = None

    def run(self, app: Callable[[], object]) -> None:
        """Run the app; exits as it does."""
        for number in WORDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._receive)
        # What is registered first is called last: after Ray, for instance, has ended its processes.
        atexit.register(self._finish)
        code = 1
        try:
            app()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            raise
        finally:
            self._code = code

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """End at once, with what this process has started."""
        code = self._code
        if code is None:
            code = 128 + number
            _say(signal.Signals(number))
        _exit(_flushed(code))

    def _finish(self) -> None:
        os._exit(_flushed(1 if self._code is None else self._code))


def _flushed(code: int) -> int:
    """The exit code, once what was printed is out; Python's own, 120, where that fails and all was well."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    return code


class _Ending:
    """The first signal of a command, if one has come."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._said = False
        self._lost = False
        """Whether the exception could not be raised where the signal came."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the signals in the block. Once one has come, the process ends, and nothing follows it."""
        # Python delivers signals to its main thread, and a command may be called from another one.
        main = threading.current_thread() is threading.main_thread()
        before = {number: signal.getsignal(number) for number in WORDS if main}
        # None: a handler that is not Python's, which could not be put back.
        before = {k: v for k, v in before.items() if v not in (signal.SIG_IGN, None)}
        for number in before:
            signal.signal(number, self._receive)
        unraisable = sys.unraisablehook
        if main:
            sys.unraisablehook = functools.partial(self._repeat, unraisable)
        try:
            yield
        except BaseException as error:
            if self._signal is not None:
                # Whatever was raised, such as an error from a worker that got the signal too, the signal is why.
                self._end()
            if isinstance(error, KeyboardInterrupt):
                _say(signal.SIGINT)
                raise typer.Exit(128 + signal.SIGINT) from error
            raise
        finally:
            sys.unraisablehook = unraisable
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._signal is not None:
            # It came in code that swallows exceptions.
            self._end()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Raise at the first signal; end at once at the second."""
        if self._lost:
            self._lost = False
            raise Ended
        if self._signal is not None:
            _exit(128 + number)
        self._signal = signal.Signals(number)
        # Not by `threading`, whose lock the interrupted code may hold.
        _thread.start_new_thread(self._limit, (128 + number,))
        _hold_raylet()
        raise Ended

    def _repeat(
        self,
        otherwise: Callable[["sys.UnraisableHookArgs"], object],
        args: "sys.UnraisableHookArgs",
    ) -> None:
        """Raise once more, a moment later, where Python only notes the exception: in a destructor or a fork."""
        if not isinstance(args.exc_value, Ended) or self._signal is None:
            otherwise(args)
            return

        def send(number: int) -> None:
            time.sleep(0.05)
            self._lost = True
            os.kill(os.getpid(), number)

        _thread.start_new_thread(send, (self._signal,))

    def _limit(self, code: int) -> None:
        """End the process in the midst of what it does, if it has not ended in time."""
        time.sleep(GRACE)
        self._say()
        _exit(code)

    def _end(self) -> None:
        """Say why, and end the process at once: threads that wait for Ray could make its usual end an abort."""
        self._say()
        _exit(_flushed(128 + (self._signal or 0)))

    def _say(self) -> None:
        """Say once why the command ends."""
        if self._signal is not None and not self._said:
            self._said = True
            _say(self._signal)


def _say(number: signal.Signals) -> None:
    """One line on stderr, unless the terminal is gone."""
    with suppress(OSError, ValueError):
        typer.echo(
            f"{WORDS[number]}; finished work is stored, and the same command continues from there",
            err=True,
        )


def _exit(code: int) -> None:
    """End this process and those that it has started, such as a Ray of its own with all workers.

    Ray's processes notice the end of their driver, but those that are just starting do so only after a minute.
    Where there is no /proc they are left to that.
    """
    found: set[int] = set()
    # What is stopped starts no others.
    while new := _descendants(os.getpid()) - found:
        _send(signal.SIGSTOP, new)
        found |= new
    _send(signal.SIGKILL, found)
    os._exit(code)


def _hold_raylet() -> None:
    """Stop the raylet of a Ray that this process has started, until `_exit` ends it.

    Slurm sends the signal to all processes at once. When its raylet dies, Ray ends the driver with exit code 1 and
    without a word, whatever it does.
    """
    for process in _descendants(os.getpid()):
        with suppress(OSError):
            command = Path(f"/proc/{process}/cmdline").read_bytes().partition(b"\0")[0]
            if command.endswith(b"/raylet/raylet"):
                _send(signal.SIGSTOP, {process})


def _send(number: signal.Signals, processes: set[int]) -> None:
    for process in processes:
        with suppress(OSError):
            os.kill(process, number)


def _descendants(root: int) -> set[int]:
    """Processes that a process has started, and those that these have; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in brackets, may hold blanks; state and parent come after it.
            state, parent, *_ = stat.read_text().rpartition(")")[2].split(maxsplit=2)
            if state != "Z":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, waiting = set(), [root]
    while waiting:
        new = children.get(waiting.pop(), [])
        found |= set(new)
        waiting += new
    return found
