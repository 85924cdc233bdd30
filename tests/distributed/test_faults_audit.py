"""Deaths, damage or a full disk under an audit cost no row: the same command ends as an undisturbed one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs.audit import app
from typer.testing import CliRunner, Result

from tests import faults
from tests.disks import resize, room, small_disk

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


def audit(folder: Path, **changed: Any) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, faults.audit_words(folder, **changed)[1:])


def sha(folder: Path) -> dict[str, bytes]:
    """Every network's weights."""
    files = (folder / "runs").glob("artifacts/*/*/weights.safetensors")
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def test_a_training_worker_is_killed(undisturbed: Path, tmp_path: Path) -> None:
    def begun() -> bool:
        return bool(list(tmp_path.glob("runs/artifacts/victim/*/checkpoint.pt")))

    with faults.Killer("RayTrainWorker", begun) as killer:
        result = audit(tmp_path)
    assert killer.killed
    assert result.exit_code == 0, result.output[-3000:]
    assert faults.rows(tmp_path) == faults.rows(undisturbed)
    # Equal bit by bit to what a worker made that was never killed.
    networks = sha(tmp_path)
    assert len(networks) == 6
    assert networks.items() <= sha(undisturbed).items()


def test_one_of_two_training_workers_is_killed(tmp_path: Path) -> None:
    """The other one is started anew as well, and the two meet elsewhere than the first ones did."""

    def begun() -> bool:
        return bool(list(tmp_path.glob("runs/artifacts/victim/*/checkpoint.pt")))

    with faults.Killer("RayTrainWorker", begun) as killer:
        result = audit(tmp_path, **{"runtime.train_workers": 2})
    assert killer.killed
    assert result.exit_code == 0, result.output[-3000:]
    assert len(faults.rows(tmp_path)) == faults.ROWS
    (card,) = tmp_path.glob("runs/artifacts/victim/*/card.json")
    told = json.loads(card.read_text())
    assert told["workers"] == 2
    assert told["metrics"]["resumed_at"] > 0


def test_an_attack_worker_is_killed(undisturbed: Path, tmp_path: Path) -> None:
    faults.copy_networks(undisturbed / "runs", tmp_path)
    with faults.Killer("AttackWorker.run", lambda: len(faults.shards(tmp_path)) >= 5) as killer:
        result = audit(tmp_path)
    assert killer.killed
    assert result.exit_code == 0, result.output[-3000:]
    assert "0 of 6 networks to train" in result.output
    assert faults.rows(tmp_path) == faults.rows(undisturbed)


def test_damaged_files_are_made_again(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed / "runs", tmp_path / "runs")
    network = next(tmp_path.glob("runs/artifacts/generator/*/weights.safetensors"))
    kept = network.read_bytes()
    damaged = [network, faults.shards(tmp_path)[3]]
    for table in ("models", "features", "evaluators", "references"):
        damaged.append(next(tmp_path.glob(f"runs/{table}/*.parquet")))
    for file in damaged:
        whole = bytearray(file.read_bytes())
        # Among the data, which the SHA-256 covers: a small table's footer is most of its file.
        whole[40] ^= 1
        file.write_bytes(whole)
    result = audit(tmp_path)
    assert result.exit_code == 0, result.output[-3000:]
    assert "1 of 6 networks to train: generator vae" in result.output
    assert network.read_bytes() == kept
    assert "2 reconstructions over 8 cells; 94 are stored already" in result.output
    assert faults.rows(tmp_path) == faults.rows(undisturbed)
    assert all(file.exists() for file in damaged)


def test_nan_in_training(undisturbed: Path, tmp_path: Path) -> None:
    wild = {"generator.training.learning_rate": 10.0, "generator.training.optimizer": "sgd"}
    result = audit(tmp_path, **wild)
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert "error: generator vae: its reconstruction became nan in epoch 2" in line
    assert "learning_rate = 10 is probably too high" in line
    # Networks finished before it stay; of the others the last whole checkpoint and the curves are left.
    roles = {Path(name).parts[2] for name in sha(tmp_path)}
    assert roles == {"victim", "evaluator-same", "evaluator-disjoint"}
    left = sorted(f.name for f in tmp_path.glob("runs/artifacts/*generator/*/*"))
    assert left == ["checkpoint.pt", "tensorboard"]
    assert not list(tmp_path.glob("runs/artifacts/*/*/lease.json"))
    assert not list(tmp_path.glob("runs/reconstructions/*"))
    result = audit(tmp_path)
    assert result.exit_code == 0, result.output[-3000:]
    again = "generator vae, defense_generator gan_ada, defense dummy_recognizer"
    assert f"3 of 6 networks to train: {again}" in result.output
    assert faults.rows(tmp_path) == faults.rows(undisturbed)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "runs") as disk:
        yield disk


@pytest.mark.parametrize("trained", [True, False], ids=["attacks", "training"])
def test_disk_full(undisturbed: Path, tmp_path: Path, disk: Path, trained: bool) -> None:
    if trained:
        shutil.copytree(undisturbed / "runs" / "artifacts", disk / "artifacts")
        shutil.copytree(undisturbed / "runs" / "pictures", disk / "pictures")
    room(disk, 100)
    result = audit(tmp_path)
    assert result.exit_code == 1, result.output[-3000:]
    lines = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "No space left on device" in result.output
    if trained:
        assert faults.shards(tmp_path)
    assert not list(disk.rglob("*.part"))
    resize(disk, "64m")
    result = audit(tmp_path)
    assert result.exit_code == 0, result.output[-3000:]
    assert faults.rows(tmp_path) == faults.rows(undisturbed)
