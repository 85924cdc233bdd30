"""Signals that end a command, each sent to a process of its own; no Ray is needed for it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from inversionlab.commands.ending import WORDS, ends_by_signals
from tests.processes import HANG, processes, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
HEAD = """
import os, signal, sys, threading, time
import typer
from inversionlab.commands import ending

def begun():
    print("begun", flush=True)
    time.sleep(600)

"""
PATIENT = "ending.GRACE = 600\n"
"""What ends within the limits of these tests has then ended by itself."""


def start(body: str, **more: object) -> subprocess.Popen[str]:
    """A process with this command, which prints "begun" once it may be disturbed."""
    script = f"{HEAD}\n@ending.ends_by_signals\ndef command() -> None:\n"
    script += "".join(f"    {line}\n" for line in body.strip().splitlines())
    script += "\napp = typer.Typer()\napp.command()(command)\napp()\n"
    return started(script, **more)


def started(script: str, **more: Any) -> subprocess.Popen[str]:
    """A process that runs this script; names in capitals go into its environment."""
    # A shell starts what runs in its background with SIGINT ignored, and so with all that it starts.
    environment = {k: v for k, v in more.items() if k.isupper()}
    options = {
        "preexec_fn": partial(signal.signal, signal.SIGINT, signal.default_int_handler),
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        **{k: v for k, v in more.items() if not k.isupper()},
    }
    whole = {**os.environ, "PYTHONPATH": str(CHECKOUT / "platform"), **environment}
    return subprocess.Popen([sys.executable, "-c", script], env=whole, **options)  # type: ignore[call-overload,no-any-return]


def send(process: subprocess.Popen[str], *signals: int) -> tuple[int, str, str]:
    """Send signals to a process that has begun; returns its exit code, and what it printed."""
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    for number in signals:
        process.send_signal(number)
        time.sleep(0.3)
    said, complained = process.communicate(timeout=HANG)
    return process.returncode, said, complained


def line(number: signal.Signals) -> str:
    return f"{WORDS[number]}; finished work is stored, and the same command continues from there\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_ends_what_has_begun_with_one_line(number: signal.Signals) -> None:
    process = start("try:\n    begun()\nfinally:\n    print('closed')")
    assert send(process, number) == (128 + number, "closed\n", line(number))


def test_threads_that_never_end_do_not_hold_the_end_up() -> None:
    # Not a daemon: Python itself would wait for it.
    process = start(f"{PATIENT}threading.Thread(target=time.sleep, args=(600,)).start()\nbegun()")
    assert send(process, signal.SIGTERM)[0] == 143


def test_a_second_signal_ends_at_once() -> None:
    slow = "print('begun', flush=True)\n    time.sleep(600)"
    process = start(f"{PATIENT}try:\n    begun()\nfinally:\n    {slow}")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    assert send(process, signal.SIGINT)[0] == 130


def test_what_does_not_end_is_ended() -> None:
    process = start("ending.GRACE = 1.0\ntry:\n    begun()\nfinally:\n    time.sleep(60)")
    assert send(process, signal.SIGHUP) == (129, "", line(signal.SIGHUP))


def test_a_signal_that_is_swallowed_ends_the_command_all_the_same() -> None:
    process = start("try:\n    begun()\nexcept BaseException:\n    pass")
    assert send(process, signal.SIGTERM) == (143, "", line(signal.SIGTERM))


def test_a_signal_in_a_destructor_is_not_lost() -> None:
    process = start(
        f"{PATIENT}class Late:\n    def __del__(self):\n        begun()\n"
        "Late()\ntry:\n    time.sleep(600)\nfinally:\n    print('closed')"
    )
    assert send(process, signal.SIGTERM) == (143, "closed\n", line(signal.SIGTERM))


def test_an_error_that_follows_the_signal_is_not_told() -> None:
    process = start("try:\n    begun()\nfinally:\n    raise RuntimeError('a worker died too')")
    assert send(process, signal.SIGTERM) == (143, "", line(signal.SIGTERM))


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM]])
def test_what_the_command_has_started_ends_with_it(signals: list[signal.Signals]) -> None:
    # In a session of its own, as Ray's workers are; it has a child, and both ignore what may be ignored.
    nested = "trap '' TERM HUP INT; sleep 77 & echo $! $$; wait; sleep 78"
    process = start(
        "import subprocess\n"
        f"child = subprocess.Popen(['sh', '-c', {nested!r}], stdout=-1, text=True, start_new_session=True)\n"
        "print(child.stdout.readline(), end='', flush=True)\n"
        "try:\n    begun()\nfinally:\n    time.sleep(len(sys.argv))"
    )
    assert process.stdout is not None
    started = [int(word) for word in process.stdout.readline().split()]
    assert len(started) == 2
    assert send(process, *signals)[0] == 143
    wait_until(lambda: not any(p.pid in started for p in processes()), HANG, "both are gone")


def test_what_is_ignored_from_the_start_stays_ignored() -> None:
    process = start(
        "print('begun', flush=True)\ntime.sleep(2)\nprint('done')",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert send(process, signal.SIGHUP) == (0, "done\n", "")


def test_a_terminal_that_closes_ends_the_command() -> None:
    parent, terminal = pty.openpty()
    # The process leads a session with this terminal, as a shell's does.
    process = start(
        "os.open(os.ttyname(2), os.O_RDWR)\nbegun()", stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.close(parent)
    assert process.wait(timeout=HANG) == 129
    process.stdout.close()


LATE = """
import atexit, os, sys, time
import typer
from inversionlab.commands.ending import as_process

class AtTheVeryEnd:
    def __del__(self, sleep=time.sleep):
        print("torn down", flush=True)

def late():
    print("begun", flush=True)
    time.sleep(len(sys.argv) * 600)

app = typer.Typer()
@app.command()
def command() -> None:
    atexit.register(late)
    kept.append(AtTheVeryEnd())
    print("done")
    raise typer.Exit(int(os.environ["CODE"]))

kept = []
as_process(app)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("code", [0, 3])
def test_a_signal_while_the_process_ends_changes_nothing_but_the_time(
    number: signal.Signals, code: int
) -> None:
    process = started(LATE, CODE=str(code))
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    assert send(process, number) == (code, "", "")


def test_the_end_of_the_process_comes_before_python_takes_its_handlers_away() -> None:
    script = LATE.replace("time.sleep(len(sys.argv) * 600)", "pass")
    process = started(script, CODE="0")
    # Not "torn down": from there on a signal would end it by its own number.
    assert process.communicate(timeout=HANG) == ("done\nbegun\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_command_has_begun_is_told(number: signal.Signals) -> None:
    script = LATE.replace("as_process(app)", "as_process(late)")
    assert send(started(script), number) == (128 + number, "", line(number))


def test_an_error_and_a_full_disk_have_their_usual_codes() -> None:
    process = started(LATE.replace("as_process(app)", "as_process(lambda: 1 / 0)"))
    said, complained = process.communicate(timeout=HANG)
    assert (process.returncode, said) == (1, "")
    assert "ZeroDivisionError" in complained
    script = LATE.replace("time.sleep(len(sys.argv) * 600)", "pass").replace(", flush=True", "")
    with open("/dev/full", "w") as full:
        process = started(script, stdout=full, CODE="0", PYTHONUNBUFFERED="")
        process.communicate(timeout=HANG)
    assert process.returncode == 120


def test_handlers_are_put_back_and_a_plain_interrupt_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import typer

    before = [signal.getsignal(number) for number in WORDS]

    @ends_by_signals
    def command(fault: type[BaseException] | None) -> None:
        assert [signal.getsignal(number) for number in WORDS] != before
        if fault is not None:
            raise fault

    command(None)
    with pytest.raises(ZeroDivisionError):
        command(ZeroDivisionError)
    assert capsys.readouterr().err == ""
    with pytest.raises(typer.Exit) as end:
        command(KeyboardInterrupt)
    assert end.value.exit_code == 130
    assert capsys.readouterr().err == line(signal.SIGINT)
    assert [signal.getsignal(number) for number in WORDS] == before


def test_what_a_command_writes_is_its_owners_alone(tmp_path: Path) -> None:
    @ends_by_signals
    def command() -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").write_text("a face")

    before = os.umask(0o022)
    try:
        command()
        after = os.umask(before)
    finally:
        os.umask(before)
    assert after == 0o022
    modes = [p.stat().st_mode & 0o777 for p in (tmp_path / "folder", tmp_path / "folder" / "file")]
    assert modes == [0o700, 0o600]
