"""An audit of which everything is stored: Ray is neither started nor imported, and the report is the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inversionlab.distributed import stages
from inversionlab.distributed.audit import audit
from inversionlab.pipeline.measure import evaluator_key, model_key
from inversionlab.report.audit import page
from inversionlab.report.audit.page import write_report
from inversionlab.results.load import load_run
from inversionlab.store.storage import Storage
from tests.golden import collect

HEAVY = {
    *("ray", "torchvision", "torch._dynamo", "opacus", "optuna", "scipy", "sklearn", "onnx"),
    *("onnxruntime", "matplotlib", "timm", "httpx", "inversionlab.tuning", "inversionlab.api"),
}
"""What neither a plan nor a finished run needs."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The golden store, which holds a finished run."""
    return collect.unpacked(tmp_path)


class RayNeededError(Exception):
    """Raised in place of any work on Ray."""


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would need Ray raises."""

    def refuse(*_: object, **__: object) -> None:
        raise RayNeededError

    monkeypatch.setattr(stages, "train_and_attack", refuse)


def headline(store: Path, run: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is printed with a run's page, but for what older records do not know: whether an attack is aware."""
    capsys.readouterr()
    write_report(str(store), run, pictures=False)
    said = capsys.readouterr().out.splitlines()
    aware = [line for line in said if "about the defense" in line]
    assert len(aware) == 1
    return [line for line in said if line not in aware]


@pytest.mark.usefixtures("without_ray")
def test_a_finished_run_goes_straight_to_its_report(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = collect.load(collect.RECIPE)
    before = headline(store, collect.run_name(experiment), capsys)
    said: list[str] = []
    run = audit(experiment, str(store), said.append)
    assert headline(store, run, capsys) == before
    record = load_run(Storage(str(store)), run).record
    jobs = len({c.cell for c in record.cells}) * len(record.jobs.targets) * record.jobs.repeats
    assert [line for line in said if line.startswith("[2/4]")] == [
        f"[2/4] train: 0 of {len(record.artifacts)} networks to train"
    ]
    assert [line for line in said if line.startswith("[3/4]")] == [
        f"[3/4] attack: 0 reconstructions over {len({c.cell for c in record.cells})} cells; "
        f"{jobs} are stored already"
    ]
    assert not any(artifact.trained for artifact in record.artifacts)
    assert {seconds for part in record.cost.values() for seconds in part.values()} == {0.0}
    assert record.timings.keys() == {"data", "train", "attack"}
    assert record.provenance["machine"] == f"{os.cpu_count()} CPU"


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize("table", ["network", "evaluators", "features", "models", "references"])
def test_what_is_missing_needs_ray(store: Path, table: str) -> None:
    session = collect.opened(store)
    evaluator, model = list(session.plan.evaluators)[-1], session.plan.cells[-1].protected
    key = evaluator_key(session, evaluator) if table in ("evaluators", "features") else ""
    file = store / table / f"{key or model_key(session, model)}.parquet"
    if table == "network":
        file = store / "artifacts" / session.plan.specs[-1].key / "weights.safetensors"
    file.unlink()
    with pytest.raises(RayNeededError):
        audit(session.experiment, str(store), lambda line: None)


@pytest.mark.usefixtures("without_ray")
def test_a_missing_or_damaged_row_needs_ray(store: Path) -> None:
    session = collect.opened(store)
    last = list(session.plan.work)[-1]
    file = next(store.glob(f"reconstructions/{last}/*.parquet"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RayNeededError):
        audit(session.experiment, str(store), lambda line: None)


@pytest.mark.parametrize("more", [["--plan"], ["--no-pictures"]])
def test_a_plan_and_a_finished_run_import_only_what_they_need(store: Path, more: list[str]) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "-m", "inversionlab", "audit"),
            *(str(collect.RECIPE), "--storage", str(store), *more),
        ],
        cwd=store,
        env={**os.environ, "PYTHONPATH": str(collect.CHECKOUT / "platform")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"torch", "inversionlab.pipeline.plan", "inversionlab.defenses.dp_sgd"} <= imported
    assert not imported & HEAVY
    if "--plan" in more:
        assert not imported & {"pandas", "jinja2", "inversionlab.report.audit.page"}


ARROWS_THREADS = """
import os, sys
import pyarrow, torch, vl_convert
from inversionlab.report.audit.page import write_report

# The charts' library has threads of its own, which hold nothing of Python's.
vl_convert.vegalite_to_svg({"mark": "point", "data": {"values": []}})

def threads():
    names = (open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task"))
    return sum("jemalloc" not in name for name in names)

before = threads()
for run in os.listdir(f"{sys.argv[1]}/runs"):
    write_report(sys.argv[1], run, pictures=True)
print(threads() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts Linux's tasks")
def test_reading_a_run_leaves_no_thread_that_could_abort_the_end(store: Path) -> None:
    """A thread of Arrow's that lets go of Python's memory while the interpreter ends aborts the process."""
    done = subprocess.run(
        [sys.executable, "-c", ARROWS_THREADS, str(store)],
        env={
            **os.environ,
            "PYTHONPATH": str(collect.CHECKOUT / "platform"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0"


@pytest.mark.usefixtures("without_ray")
def test_a_second_call_leaves_record_and_page_as_they_are(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = collect.load(collect.RECIPE)
    run = audit(experiment, str(store), lambda line: None)
    write_report(str(store), run, pictures=False, keep=True)
    folder = store / "runs" / run
    files = (folder / "run.json", folder / "report-no-pictures.html")
    first = [file.read_bytes() for file in files]

    def refuse(*_: object, **__: object) -> str:
        raise AssertionError("the page is drawn again")

    monkeypatch.setattr(page, "render", refuse)
    assert audit(experiment, str(store), lambda line: None) == run
    capsys.readouterr()
    write_report(str(store), run, pictures=False, keep=True)
    assert [file.read_bytes() for file in files] == first
    # The headline and the page's place are told as ever.
    assert str(files[1]) in capsys.readouterr().out


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize("change", ["asked", "gone", "cut", "rows", "measured", "record"])
def test_a_page_is_drawn_again_where_anything_differs(store: Path, change: str) -> None:
    experiment = collect.load(collect.RECIPE)
    run = audit(experiment, str(store), lambda line: None)
    write_report(str(store), run, pictures=False, keep=True)
    file = store / "runs" / run / "report-no-pictures.html"
    before = file.stat().st_ino
    if change == "gone":
        file.unlink()
    elif change == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    elif change == "rows":
        next(store.glob("reconstructions/*/*.parquet")).unlink()
    elif change == "measured":
        for measured in store.glob("features/*.parquet"):
            measured.unlink()
    elif change == "record":
        record = store / "runs" / run / "run.json"
        record.write_text(record.read_text().replace('"seconds": ', '"seconds": 1', 1))
    write_report(str(store), run, pictures=False, keep=change != "asked")
    assert len(file.read_bytes()) > 1000
    # A page that is written anew is another file.
    assert file.stat().st_ino != before or change in ("gone", "cut")
