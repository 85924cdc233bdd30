from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from inversionlab.commands.plan import show_plan
from inversionlab.core.settings import ConfigError
from inversionlab.distributed.attack_worker import AttackWorker
from inversionlab.distributed.audit import audit
from inversionlab.distributed.work_items import MeasureEvaluator, Shard, WorkContext
from inversionlab.pipeline.judged_before import files_of_pictures
from inversionlab.pipeline.session import stored_cells
from inversionlab.pipeline.train import TrainingError
from inversionlab.results.load import load_run
from inversionlab.results.run_results import RunResults
from inversionlab.store.storage import Storage
from tests import tiny

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage root with a finished run of the tiny experiment, trained by two Ray Train workers."""
    root = tmp_path_factory.mktemp("storage")
    audit(tiny.experiment(**{"runtime.train_workers": 2}), str(root), lambda line: None)
    return root


def rows(root: Path, run: str) -> pa.Table:
    return load_run(Storage(str(root)), run).reconstructions


def run(root: Path, **changed: Any) -> tuple[str, list[str]]:
    said: list[str] = []
    name = audit(tiny.experiment(**changed), str(root), said.append)
    return name, said


def test_the_whole_job_leaves_every_row(trained: Path) -> None:
    name, said = run(trained)
    table = rows(trained, name)
    # 2 null cells and 2 attacks x (undefended, recipe's alpha, alpha 0.25), 4 targets x 2 repeats.
    assert table.num_rows == (2 + 2 * 3) * 8
    assert all(len(v) == 2 for v in table["verdicts"].to_pylist())
    assert any("0 of 6 networks to train" in line for line in said)
    assert any("0 reconstructions over 8 cells" in line for line in said)


def test_changing_only_alpha_trains_nothing_and_attacks_only_the_new_model(trained: Path) -> None:
    _, said = run(trained, **{"defense.alpha": 0.7})
    assert any("0 of 6 networks to train" in line for line in said)
    assert any("16 reconstructions over 8 cells; 48 are stored" in line for line in said)


def test_a_smaller_run_on_the_same_storage_counts_its_own_rows(trained: Path) -> None:
    name, said = run(trained, **{"targets.repeats": 1})
    assert any("0 reconstructions over 8 cells" in line for line in said)
    assert rows(trained, name).num_rows == (2 + 2 * 3) * 4


def test_the_ceiling_of_the_generator_is_measured_once(trained: Path) -> None:
    name, said = run(trained, prior_ceiling=True)
    assert name == run(trained)[0], "it is the same run"
    assert any("0 reconstructions" in s and "ceilings to measure: 1" in s for s in said)
    name, said = run(trained, prior_ceiling=True)
    assert not any("ceilings" in line for line in said)
    (prior,) = RunResults.of(load_run(Storage(str(trained)), name)).priors
    # One held-out picture of each target.
    assert (prior.record.label, prior.record.kind, prior.top5.count) == ("generator", "vae", 4)
    assert prior.evaluator == "same"


def test_one_more_evaluator_judges_the_stored_pictures_and_nothing_is_attacked_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "artifacts").symlink_to(trained / "artifacts")
    fewer = {"evaluators": [tiny.RECIPE["evaluators"][1]]}
    before, _ = run(tmp_path, **fewer)
    shown: list[str] = []
    monkeypatch.setattr("typer.echo", shown.append)
    show_plan(tiny.experiment(), str(tmp_path), force=False)
    assert sum("8 of them only to be judged by more evaluators" in line for line in shown) == 8
    after, said = run(tmp_path)
    assert any("64 pictures are stored and only need to be judged" in line for line in said)
    # Made again, a row would at least have taken other seconds.
    kept = ("picture", "queries", "steps", "seconds", "created")
    assert by_job(rows(tmp_path, after), kept) == by_job(rows(tmp_path, before), kept)
    mine = by_job(rows(tmp_path, after), ("verdicts",))
    theirs = by_job(rows(trained, run(trained)[0]), ("verdicts",))
    assert mine.keys() == theirs.keys()
    for job, (verdicts,) in mine.items():
        assert [v["evaluator"] for v in verdicts] == ["same", "disjoint"]
        for found, expected in zip(verdicts, *theirs[job], strict=True):
            assert found["rank"] == expected["rank"]
            assert found["score"] == pytest.approx(expected["score"], rel=1e-4)
    assert any("0 reconstructions over 8 cells" in line for line in run(tmp_path)[1])


def test_evaluators_in_another_order_or_with_more_repeats_judge_what_is_stored(
    trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "artifacts").symlink_to(trained / "artifacts")
    same, disjoint = tiny.RECIPE["evaluators"]
    run(tmp_path, **{"evaluators": [same, disjoint], "targets.repeats": 1})
    name, said = run(tmp_path, evaluators=[disjoint, same])
    assert any("64 reconstructions over 8 cells; 0 are stored already; 32 pict" in s for s in said)
    table = rows(tmp_path, name)
    assert table.num_rows == 64
    expected = by_job(rows(trained, run(trained)[0]), ("confidence", "verdicts"))
    for job, (confidence, verdicts) in by_job(table, ("confidence", "verdicts")).items():
        assert confidence == pytest.approx(expected[job][0], rel=1e-4, nan_ok=True)
        assert [v["evaluator"] for v in verdicts] == ["disjoint", "same"]
        assert [v["rank"] for v in verdicts] == [v["rank"] for v in expected[job][1]][::-1]


def test_a_picture_whose_file_is_damaged_meanwhile_is_made_again(
    trained: Path, tmp_path: Path
) -> None:
    fewer = tiny.experiment(evaluators=[tiny.RECIPE["evaluators"][1]])
    (tmp_path / "artifacts").symlink_to(trained / "artifacts")
    audit(fewer, str(tmp_path), lambda line: None)
    session = tiny.session(tmp_path)
    cell = next(cell for cell in session.plan.cells if cell.attack.name == "random_public")
    files = files_of_pictures(session, cell, stored_cells(session))
    assert len(files) == 8
    (name, *_) = files.values()
    (tmp_path / name).write_bytes(b"nothing")
    worker = AttackWorker(gpu=False)
    context = WorkContext(session.spec, session.plan.data_id, None, {})
    measure = [MeasureEvaluator(context, judge) for judge in session.plan.evaluators]
    shard = Shard(context, cell.id, tuple(files), files=tuple(dict.fromkeys(files.values())))
    for item in (*measure, shard):
        worker.run(item)
    assert session.store.done(cell.id) == files.keys()


def by_job(table: pa.Table, columns: tuple[str, ...]) -> dict[tuple[Any, ...], list[Any]]:
    """What rows have in these columns, by attack, model and job."""
    keys = ("attack", "protected", "target", "repeat")
    return {
        tuple(row[key] for key in keys): [row[column] for column in columns]
        for row in table.to_pylist()
    }


@pytest.mark.parametrize(("workers", "size"), [(1, 1), (2, 20)])
def test_rows_depend_on_neither_workers_nor_shards(
    trained: Path, tmp_path: Path, workers: int, size: int
) -> None:
    (tmp_path / "artifacts").symlink_to(trained / "artifacts")
    changed = {"runtime.attack_workers": workers, "runtime.shard_size": size}
    name, _ = run(tmp_path, **changed)
    mine, theirs = rows(tmp_path, name), rows(trained, run(trained)[0])
    for column in ("cell", "target", "repeat", "queries", "steps"):
        assert mine[column] == theirs[column]
    for column in ("picture", "confidence"):
        assert_close(column, mine[column].to_pylist(), theirs[column].to_pylist())


def assert_close(column: str, mine: list[Any], theirs: list[Any]) -> None:
    if column == "picture":
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(decoded(a), decoded(b), atol=1.0, rtol=0)
    else:
        torch.testing.assert_close(
            torch.tensor(mine), torch.tensor(theirs), atol=1e-4, rtol=1e-3, equal_nan=True
        )


def decoded(png: bytes) -> torch.Tensor:
    import io

    import numpy as np
    from PIL import Image

    return torch.from_numpy(np.array(Image.open(io.BytesIO(png)), dtype=np.float32))


def test_an_unusable_split_is_refused_before_ray_does_anything(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"targets.count = 7: there are only 6 private people"):
        run(tmp_path, **{"targets.count": 7})


@pytest.mark.slow
def test_a_training_that_diverges_ends_with_its_reason(tmp_path: Path) -> None:
    wild = {"optimizer": "sgd", "learning_rate": 10.0, "epochs": 40, "batch_size": 16}
    with pytest.raises(TrainingError, match=r"victim: its loss became (nan|inf) in epoch"):
        run(tmp_path, **{"victim.training": wild, "victim.loss": {"name": "cross_entropy"}})


def test_a_damaged_network_is_trained_again(trained: Path, tmp_path: Path) -> None:
    from inversionlab.distributed.train_worker import train_network
    from inversionlab.pipeline.train import alone

    session = tiny.session(tmp_path)
    spec = session.plan.spec("victim")
    train_network(session, spec, alone(tiny.CPU))
    assert session.artifacts.finished(spec)
    weights = tmp_path / "artifacts" / spec.key / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not session.artifacts.finished(spec)
    train_network(session, spec, alone(tiny.CPU))
    assert session.artifacts.finished(spec)
