"""`ray job submit` to a real head with token authentication: status, logs, stop, exit codes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inversionlab.core.yaml_io import dump_yaml
from inversionlab.results.load import load_run
from inversionlab.store.storage import Storage
from tests import tiny
from tests.clusters import CHECKOUT, RAY, Cluster, job_head
from tests.processes import HANG, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow]
NOT_SENT = ("runs", ".venv", ".git")


@pytest.fixture(scope="module")
def head() -> Iterator[Cluster]:
    with job_head() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout that a user has worked in, with results and an environment of its own."""
    copy = tmp_path_factory.mktemp("user") / "checkout"
    leave = shutil.ignore_patterns(*NOT_SENT, "__pycache__", ".*_cache")
    shutil.copytree(CHECKOUT, copy, ignore=leave)
    for folder in NOT_SENT:
        (copy / folder).mkdir()
        (copy / folder / "big").write_bytes(bytes(1_000_000))
    return copy


def job(head: Cluster, checkout: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    """Start `ray job ...` as a user types it in the checkout; the address is in the environment."""
    options = {"env": head.env, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **more}
    return head.start(RAY, "job", *words, cwd=checkout, **options)


def said(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and output, without colours."""
    output, _ = process.communicate(timeout=540)
    return process.returncode, re.sub(r"\x1b\[[0-9;]*m", "", output)


def audit(recipe: Path, folder: Path, name: str) -> list[str]:
    command = ["python", "jobs/audit.py", str(recipe), "--storage", str(folder / "runs")]
    return ["submit", "--submission-id", name, "--working-dir", ".", "--", *command]


def write(folder: Path, **changed: Any) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(dump_yaml(tiny.recipe(**changed)))
    return file


def test_an_audit_as_a_job(head: Cluster, checkout: Path, tmp_path: Path) -> None:
    code, output = said(job(head, checkout, *audit(write(tmp_path), tmp_path, "whole")))
    assert code == 0, output
    assert "Job 'whole' succeeded" in output
    # The log has the command's lines, the workers' among them, and none of Ray's own.
    log = output.partition("Running entrypoint")[2]
    assert "\n[train] victim: done in" in log
    assert not [line for line in log.splitlines() if "pid=" in line or "Transition" in line]
    (page,) = tmp_path.glob("runs/runs/*/report.html")
    assert str(page) in output
    run = page.parent.name
    # 2 null cells and 2 attacks x (undefended, recipe's alpha, alpha 1.0), 4 targets x 2 repeats.
    assert (
        load_run(Storage(str(tmp_path / "runs")), run).reconstructions.num_rows == (2 + 2 * 3) * 8
    )
    assert "succeeded" in said(job(head, checkout, "status", "whole"))[1]
    assert "Done in" in said(job(head, checkout, "logs", "whole"))[1]


def test_only_the_code_is_sent(head: Cluster, checkout: Path) -> None:
    look = "import os; print('sent', sorted(os.listdir('.')))"
    words = ["submit", "--submission-id", "look", "--working-dir", ".", "--", "python", "-c", look]
    code, output = said(job(head, checkout, *words))
    assert code == 0, output
    (sent,) = re.findall(r"^sent \[(.*)\]", output, re.MULTILINE)
    names = [name.strip("' ") for name in sent.split(",")]
    assert {"platform", "jobs", "search_spaces"} <= set(names)
    assert not set(NOT_SENT) & set(names)


def test_a_wrong_recipe_fails_the_job(head: Cluster, checkout: Path, tmp_path: Path) -> None:
    recipe = write(tmp_path, **{"targets.count": 7})
    code, output = said(job(head, checkout, *audit(recipe, tmp_path, "wrong")))
    assert code == 1
    assert "error: targets.count = 7: there are only 6 private people" in output
    assert "Job entrypoint command failed with exit code 2" in output
    # `ray job status` itself succeeds for a job that failed.
    code, output = said(job(head, checkout, "status", "wrong"))
    assert code == 0
    assert "Job 'wrong' failed" in output


def test_a_running_audit_is_stopped(head: Cluster, checkout: Path, tmp_path: Path) -> None:
    recipe = write(tmp_path, **{"victim.training.epochs": 5000})
    submission = job(head, checkout, *audit(recipe, tmp_path, "long"))
    wait_until(lambda: (tmp_path / "runs").exists(), HANG, "the audit writes to its storage")

    def drivers() -> list[int]:
        return [p.pid for p in head.processes() if str(recipe) in " ".join(p.command)]

    wait_until(drivers, HANG, "its driver runs")
    code, output = said(job(head, checkout, "stop", "long"))
    assert code == 0
    assert "Job 'long' was stopped" in output
    # Ray does not count a job that was stopped on purpose as a failure.
    assert said(submission)[0] == 0
    wait_until(lambda: not drivers(), HANG, "its driver has ended")


@pytest.mark.parametrize(("token", "reason"), [(None, "Missing"), ("0" * 64, "Invalid")])
def test_without_the_right_token_nothing_is_shown_or_begun(
    head: Cluster, checkout: Path, tmp_path: Path, token: str | None, reason: str
) -> None:
    stranger = {k: v for k, v in head.env.items() if not k.startswith("RAY_AUTH")}
    # Another home, because a token is looked for there by default.
    stranger["HOME"] = str(tmp_path)
    if token:
        stranger |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    for words in (["submit", "--no-wait", "--", "touch", str(tmp_path / "begun")], ["list"]):
        code, output = said(job(head, checkout, *words, env=stranger))
        assert code == 1
        assert f"{reason} authentication token" in output
        assert "JobDetails" not in output
    assert not (tmp_path / "begun").exists()
