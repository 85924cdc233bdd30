"""The bars of a terminal, on a console that writes into memory."""

from __future__ import annotations

import io
import re
import sys
from contextlib import suppress

import pytest
from ray import cloudpickle
from rich.console import Console

from inversionlab.distributed.live_display import LiveDisplay, display_of
from inversionlab.distributed.training_board import (
    NAME,
    BoardReader,
    BoardWriter,
    TrainingBoard,
)
from inversionlab.pipeline.train import Progress
from tests.processes import HANG, wait_until


def terminal() -> tuple[LiveDisplay, io.StringIO]:
    screen = io.StringIO()
    return LiveDisplay(Console(file=screen, force_terminal=True, width=160)), screen


def plain(screen: io.StringIO) -> str:
    """What was written, without the codes that move and colour."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def progress(title: str, epoch: int) -> Progress:
    return Progress(title, epoch, 10, {"loss": 0.5}, 65.0, 1234.0)


def test_each_network_has_a_bar_until_it_is_done() -> None:
    display, screen = terminal()
    notes = [progress("victim", 3), progress("vae [wide]", 1)]
    with display.trainings(2, lambda: notes):
        wait_until(lambda: "vae [wide]" in plain(screen), HANG, "a look")
        assert "epoch 3/10, 1,234 pictures/s, 1:05 left; loss 0.5" in plain(screen)
        notes[0] = progress("victim", 10)
        wait_until(lambda: "1/2 victim: trained; loss 0.5" in plain(screen), HANG, "the end")
    assert plain(screen).count("victim: trained") == 1


def test_the_last_network_is_told_although_the_training_ends_at_once() -> None:
    display, screen = terminal()
    notes: list[Progress] = []
    with display.trainings(1, lambda: notes):
        wait_until(lambda: "the workers start" in plain(screen), HANG, "a look")
        notes.append(progress("victim", 10))
    assert "1/1 victim: trained" in plain(screen)


def test_what_workers_say_is_a_line_unless_a_bar_shows_it() -> None:
    display, screen = terminal()
    display.worker_says("[train] victim: epoch 1/10, loss 0.5, 1:05 left")
    display.worker_says("victim.pt: is damaged; it is made again")
    assert plain(screen).splitlines() == ["victim.pt: is damaged; it is made again"]


def test_lines_are_broken_between_words_and_stay_indented() -> None:
    screen = io.StringIO()
    display = LiveDisplay(Console(file=screen, force_terminal=True, width=30))
    display.say("      seven words of a [long] line, /a/path/that/is/longer/than/the/terminal")
    assert plain(screen).splitlines() == [
        "      seven words of a [long]",
        "        line,",
        "        /a/path/that/is/longer/than/the/terminal",
    ]


def test_attacks_have_one_bar_with_the_time_left_and_who_works() -> None:
    display, screen = terminal()
    with display.attacks(
        40, lambda: 125.0, lambda: "2 workers on 1 node", lambda: "queries: 7"
    ) as count:
        count(8, 1.0)
        wait_until(
            lambda: "8/40, 2:05 left; 2 workers on 1 node; queries: 7" in plain(screen),
            HANG,
            "a look",
        )
        display.say("a [line] above")
        count(32, 1.0)
    assert "a [line] above" in plain(screen)
    assert "40/40 reconstructions" in plain(screen)


def test_what_a_callback_of_tune_holds_can_be_stored() -> None:
    display, _ = terminal()
    assert callable(cloudpickle.loads(cloudpickle.dumps(display.say)))


def test_there_are_no_bars_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert display_of(Console(file=io.StringIO())) is None
    assert display_of(Console(file=io.StringIO(), force_terminal=True)) is not None
    monkeypatch.setenv("TERM", "dumb")
    assert display_of(Console(file=io.StringIO(), force_terminal=True)) is None


def test_a_board_keeps_the_last_note_of_each_network() -> None:
    board = TrainingBoard()
    for title, epoch in (("a", 1), ("b", 1), ("a", 2)):
        board.note(progress(title, epoch))
    assert [(note.title, note.epoch) for note in board.notes()] == [("a", 2), ("b", 1)]


def test_without_ray_nothing_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    BoardWriter()(progress("a", 1))
    assert "ray" not in sys.modules


@pytest.mark.ray
def test_workers_find_the_board_of_their_ray(local_ray: None) -> None:
    import ray

    BoardWriter()(progress("nobody watches", 1))
    reader = BoardReader.start()

    @ray.remote(num_cpus=0)
    def work() -> None:
        writer = BoardWriter()
        for epoch in (1, 2, 10):
            writer(progress("a", epoch))

    ray.get(work.remote())
    wait_until(lambda: [note.epoch for note in reader.read()] == [10], HANG, "the notes")
    ray.kill(reader.actor)

    def is_gone() -> bool:
        with suppress(ValueError):
            ray.get_actor(NAME)
            return False
        return True

    # Ray kills in its own time: the board may answer once more.
    wait_until(is_gone, HANG, "the end of the board")
    assert reader.read() == []
    with pytest.raises(ValueError, match=NAME):
        ray.get_actor(NAME)
