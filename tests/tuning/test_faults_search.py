"""What dies or raises under a search costs nothing: the same command ends with the study of an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobs.search import app
from typer.testing import CliRunner, Result

from tests import faults

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


@pytest.fixture
def folder(searched: Path, tmp_path: Path) -> Path:
    """A folder whose storage holds the networks alone."""
    faults.copy_networks(searched / "runs", tmp_path)
    return tmp_path


def search(folder: Path, trials: int = faults.TRIALS) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, faults.search_words(folder, trials)[1:])


@pytest.mark.parametrize("actor", ["AttackWorker.run", "TrialRunner"])
def test_a_worker_or_the_trial_runner_is_killed(searched: Path, folder: Path, actor: str) -> None:
    def begun() -> bool:
        # The undefended victim and some trials are attacked by then.
        return len(list(folder.glob("runs/reconstructions/*"))) >= 8

    with faults.Killer(actor, begun) as killer:
        result = search(folder)
    assert killer.killed
    assert result.exit_code == 0, result.output[-3000:]
    assert faults.study(folder) == faults.study(searched)


def test_a_trial_that_raises(searched: Path, folder: Path) -> None:
    failing = 2
    cell = faults.record(searched)["trials"][failing]["cells"]["latent_white_box"]
    # A file where the rows of this trial's attack belong, so that they cannot be stored.
    in_the_way = folder / "runs" / "reconstructions" / cell
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("")
    result = search(folder)
    assert result.exit_code == 1
    assert f"error: trial {failing}: " in result.output
    assert "1 of 6 trials failed; the same command tries them again" in result.output
    trials = faults.record(folder)["trials"]
    assert [t["number"] for t in trials if t["state"] == "error"] == [failing]
    assert cell in trials[failing]["fault"]
    assert all(t["state"] == "complete" for t in trials if t["number"] != failing)
    in_the_way.unlink()
    result = search(folder)
    assert result.exit_code == 0, result.output[-3000:]
    assert faults.study(folder) == faults.study(searched)
