"""Preparing a large set on Ray: the same as in one process, after an interruption and in an audit too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import torch
from typer.testing import CliRunner

from inversionlab.commands.main import app
from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.data.folder import Folder, FolderSettings
from inversionlab.distributed.audit import audit
from inversionlab.distributed.preparing import PreparesOnRay
from inversionlab.experiment import Experiment
from inversionlab.pipeline import picture_parts, prepared
from inversionlab.pipeline.data import picture_ids
from inversionlab.pipeline.preparation import Preparation
from inversionlab.pipeline.prepared import PreparedPictures
from inversionlab.pipeline.session import open_experiment
from inversionlab.results.load import load_run
from inversionlab.store.storage import Storage, StorageError
from tests import faults, tiny
from tests.disks import resize, room, small_disk

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SIDE = 16


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe's people, as a folder; one file more is broken."""
    root = tmp_path_factory.mktemp("people")
    faults.write_people(root)
    return root


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set is large, and has ten pictures a part."""
    monkeypatch.setattr(picture_parts, "PART_BYTES", 10 * SIDE * SIDE)
    monkeypatch.setattr(prepared, "SMALL", 0)


def recipe(people: Path) -> dict[str, object]:
    folder = {"name": "folder", "root": str(people), "image_size": SIDE, "channels": 1}
    return {"data": folder, "sweep": None, "attacks": [{"name": "latent_white_box", "steps": 6}]}


def experiment(people: Path) -> Experiment:
    return tiny.experiment(**recipe(people))


def prepare_large(experiment: Experiment, storage: Storage, say: Callable[[str], None]) -> bool:
    """Open an experiment as a command does; returns whether a Ray was started for it."""
    prepare = PreparesOnRay(say)
    open_experiment(experiment, storage, prepare=prepare)
    return prepare.started


def unprepared(experiment: Experiment, storage: Storage) -> Preparation:
    (name,) = picture_ids(experiment, storage)
    assert experiment.data is not None
    assert PreparedPictures(storage).index(name) is None
    return Preparation.of(experiment.data, name)


@pytest.mark.usefixtures("large")
def test_a_large_set_is_prepared_on_ray_from_where_it_was_interrupted(
    people: Path, tmp_path: Path
) -> None:
    storage, said = Storage(str(tmp_path)), list[str]()
    wanted = unprepared(experiment(people), storage)
    count = len(wanted.starts())
    assert count > 3
    made = [wanted.parts(storage)[place].make(storage)[0] for place in (0, 2)]
    assert prepare_large(experiment(people), storage, said.append) is False
    assert f"{count} parts" in said[0]
    files = storage.files(f"pictures/{wanted.name}/parts", ".safetensors")
    assert set(made) < set(files)
    assert len(files) == count
    opened = PreparedPictures(storage).opened(wanted.name)
    loaded = Folder(FolderSettings(root=people, image_size=SIDE, channels=1)).load()
    assert opened is not None
    assert torch.equal(opened.images_NCHW[:], loaded.images_NCHW[:])
    assert torch.equal(opened.person_N, loaded.person_N)
    assert (opened.people, opened.skipped) == (loaded.people, loaded.skipped)
    assert opened.digests().tolist() == loaded.digests().tolist()
    said.clear()
    prepare_large(experiment(people), storage, said.append)
    assert said == []


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_a_full_disk_ends_it_with_the_storages_own_line(people: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        room(disk, 8)
        with pytest.raises(StorageError, match="No space left on device"):
            prepare_large(experiment(people), Storage(str(disk)), lambda line: None)
        resize(disk, "8m")
        prepare_large(experiment(people), Storage(str(disk)), lambda line: None)
        (name,) = picture_ids(experiment(people), Storage(str(disk)))
        assert PreparedPictures(Storage(str(disk))).index(name) is not None


@pytest.mark.usefixtures("large")
def test_a_storage_in_the_data_is_refused_before_anything_is_written(people: Path) -> None:
    inside, said = people / "runs", list[str]()
    with pytest.raises(ConfigError, match="choose a folder outside"):
        audit(experiment(people), str(inside), said.append)
    assert not list(inside.rglob("*.*"))


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_a_worker_that_is_killed_costs_its_part_alone(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_parts, "PART_BYTES", SIDE * SIDE)
    storage, killed, over = Storage(str(tmp_path)), list[int](), threading.Event()

    def kill_one() -> None:
        while not (killed or over.wait(0.01)):
            for process in psutil.process_iter(["cmdline"]):
                if "_make" in " ".join(process.info["cmdline"] or ()):
                    process.kill()
                    killed.append(process.pid)
                    return

    killer = threading.Thread(target=kill_one)
    killer.start()
    prepare_large(experiment(people), storage, lambda line: None)
    over.set()
    killer.join()
    assert killed
    (name,) = picture_ids(experiment(people), storage)
    opened = PreparedPictures(storage).opened(name)
    loaded = Folder(FolderSettings(root=people, image_size=SIDE, channels=1)).load()
    assert opened is not None
    assert torch.equal(opened.images_NCHW[:], loaded.images_NCHW[:])


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_an_audit_of_a_large_set_finds_what_that_of_a_small_one_does(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tmp_path / "tiny.yaml"
    words.write_text(dump_yaml(tiny.recipe(**recipe(people))))
    plan = ["audit", str(words), "--storage", str(tmp_path / "large"), "--plan"]
    before = CliRunner().invoke(app, plan)
    assert before.exit_code == 0, before.output
    assert "pictures are to be prepared" in before.output
    run = audit(experiment(people), str(tmp_path / "large"), lambda line: None)
    after = CliRunner().invoke(app, plan)
    assert "to be prepared" not in after.output
    # Listed or prepared, the plan is the same.
    named = [line for line in before.output.splitlines() if line.startswith("  cell")]
    assert [line.rpartition(":")[0] for line in named] == [
        line.rpartition(":")[0] for line in after.output.splitlines() if line.startswith("  cell")
    ]
    monkeypatch.undo()
    small = audit(experiment(people), str(tmp_path / "small"), lambda line: None)
    tables = [
        load_run(Storage(str(tmp_path / root)), name).reconstructions
        for root, name in (("large", run), ("small", small))
    ]
    first, second = (
        [{k: v for k, v in row.items() if v == v and k not in ("seconds", "created")} for row in t]
        for t in (table.to_pylist() for table in tables)
    )
    assert first == second
