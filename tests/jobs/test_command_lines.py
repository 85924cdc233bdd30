"""The commands as a user types them, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inversionlab.core.yaml_io import dump_yaml
from tests import tiny

CHECKOUT = Path(__file__).resolve().parents[2]


def command(*words: str, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    # Without PYTHONPATH, as on a head node that has the dependencies but not the package.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True
    )


def recipe(folder: Path, **changed: Any) -> str:
    path = folder / "tiny.yaml"
    path.write_text(dump_yaml(tiny.recipe(**changed)))
    return str(path)


def test_help_tells_how_to_start_and_what_the_exit_codes_mean() -> None:
    told = command("jobs/audit.py", "--help")
    assert told.returncode == 0
    for part in ("jobs/recipes/demo.yaml", "--set", "--storage", "--plan", "Exit codes"):
        assert part in told.stdout


def test_every_setting_is_explained() -> None:
    told = command("jobs/audit.py", "--settings")
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    where = next(i for i, line in enumerate(lines) if line.startswith("defense.alpha "))
    assert lines[where] == "defense.alpha  (float, >= 0, <= 1, default 0.25)"
    assert "the victim's share of the output" in lines[where + 1]
    # No setting without a meaning.
    meanings = [
        lines[i + 1] for i, line in enumerate(lines) if line.endswith(")") and "  (" in line
    ]
    undescribed = [m for m in meanings if not m.strip()]
    assert not undescribed


def test_a_wrong_recipe_ends_with_2_and_one_clear_line(tmp_path: Path) -> None:
    told = command("jobs/audit.py", recipe(tmp_path), "--set", "defense.alhpa=0.2")
    assert told.returncode == 2
    assert "did you mean `alpha`?" in told.stderr
    assert "Traceback" not in told.stderr


def test_plan_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    told = command("jobs/audit.py", recipe(tmp_path), "--storage", str(storage), "--plan")
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("to be trained") == 6
    assert told.stdout.count("8 reconstructions to do") == 8
    assert not (storage / "artifacts").exists()


def test_a_report_of_no_such_run_names_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "runs" / "demo-1").mkdir(parents=True)
    told = command("jobs/report.py", "demo-2", "--storage", str(tmp_path))
    assert told.returncode == 2
    assert "holds no run `demo-2`; there are: demo-1" in told.stderr


def test_an_own_network_is_found_in_the_folder_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "mynets.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, width):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(256, width))\n"
    )
    network = {"name": "imported", "path": "mynets:Net", "arguments": {"width": 12}}
    job = str(CHECKOUT / "jobs" / "audit.py")
    path = recipe(tmp_path, **{"victim.network": network})
    told = command(job, path, "--storage", "runs", "--plan", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    network["path"] = "mynets:Nte"
    path = recipe(tmp_path, **{"victim.network": network})
    told = command(job, path, "--storage", "runs", "--plan", cwd=tmp_path)
    assert told.returncode == 2
    assert "path = mynets:Nte: cannot be imported" in told.stderr


SPACE = "search_spaces/dummy_recognizer.py"


def test_the_search_tells_how_to_start_and_what_the_exit_codes_mean() -> None:
    told = command("jobs/search.py", "--help")
    assert told.returncode == 0
    for part in ("--recipe", "--trials", "--resume", "--max-concurrent", "--time-budget", "Exit"):
        assert part in told.stdout


@pytest.mark.parametrize(
    ("words", "told_so"),
    [
        (
            ("search_spaces/dumy_recognizer.py",),
            "did you mean `search_spaces/dummy_recognizer.py`?",
        ),
        (
            (SPACE, "--set", "defense={name: none}", "--set", "sweep=null"),
            "the recipe `tiny` has defense.name = none",
        ),
        ((SPACE, "--time-budget", "soon"), "--time-budget soon: must be a time above 0"),
        ((SPACE, "--resume"), "holds no search `tiny-dummy_recognizer-"),
        ((SPACE, "--set", "targets.pool=3"), "targets.pool = 3: must hold the targets"),
    ],
)
def test_a_wrong_search_ends_with_2_before_anything_is_done(
    tmp_path: Path, words: tuple[str, ...], told_so: str
) -> None:
    storage = tmp_path / "runs"
    told = command(
        "jobs/search.py", *words, "--recipe", recipe(tmp_path), "--storage", str(storage)
    )
    assert told.returncode == 2, told.stderr
    assert told_so in told.stderr
    assert "Traceback" not in told.stderr
    assert not list(storage.glob("artifacts/*"))
