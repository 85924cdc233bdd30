"""The console command as a user types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import inversionlab
from inversionlab.commands.main import app

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "command",
    [[], ["audit"], ["search"], ["report"], ["compare"], ["settings"], ["paper"], ["dashboards"]],
)
def test_help_answers_before_anything_heavy_is_imported(command: list[str], tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "inversionlab", *command, "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "platform"), "COLUMNS": "120"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0
    assert "Usage: inversionlab" in told.stdout
    imported = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert {"typer", "inversionlab.commands.audit"} <= imported
    assert not imported & {"torch", "ray", "numpy", "pyarrow", "PIL", "inversionlab.core"}


def test_the_version_and_the_recipes_are_told() -> None:
    version = CliRunner().invoke(app, ["--version"])
    assert version.stdout == f"inversionlab {inversionlab.__version__}\n"
    listed = CliRunner().invoke(app, ["audit", "--list"])
    assert listed.exit_code == 0
    assert "\nlfw_small " in listed.stdout
    assert listed.stdout.startswith("demo            Demo: 40 people that the platform draws")


def test_the_commands_name_themselves_and_the_scripts_name_the_scripts() -> None:
    told = CliRunner().invoke(app, ["search", "--help"], env={"COLUMNS": "150"}).stdout
    assert "inversionlab search dummy_recognizer --recipe lfw" in told
    assert "jobs/search.py" not in told


def test_settings_are_listed_by_a_command_of_their_own() -> None:
    both = [CliRunner().invoke(app, words) for words in (["settings"], ["audit", "--settings"])]
    assert [done.exit_code for done in both] == [0, 0]
    assert both[0].stdout == both[1].stdout
    assert "\ndefense.alpha  (float, >= 0, <= 1, default 0.25)\n" in both[0].stdout


def test_an_own_network_is_imported_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    done = CliRunner().invoke(app, ["audit", "nowhere.yaml"])
    assert done.exit_code == 2
    assert "nowhere.yaml: there is no such recipe" in done.stderr
    # Last, so that no file of the user hides a library.
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize("given", ["comet:x", "mlflow:http://me:hunter2@host"])
def test_a_service_that_cannot_be_logged_to_is_refused_at_load(given: str) -> None:
    done = CliRunner().invoke(app, ["audit", "demo", "--log-to", given])
    assert done.exit_code == 2
    assert "--log-to" in done.stderr
    assert "hunter2" not in done.stderr
