"""An audit with a network for each attacked person, on Ray: counts, what is found again, what its report says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inversionlab.api.report import load_report
from inversionlab.distributed.audit import audit
from inversionlab.results.load import load_run
from inversionlab.results.models import models_of
from inversionlab.results.run_results import RunResults
from inversionlab.store.storage import Storage
from tests import tiny

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

CHANGED: dict[str, Any] = {
    "sweep": None,
    "defense": {
        "name": "random_fake_samples",
        "samples": 2,
        "training": {"epochs": 1, "batch_size": 4},
    },
    "attacks": [{"name": "latent_white_box", "steps": 4}],
}


def run(root: Path, **more: Any) -> tuple[str, list[str]]:
    said: list[str] = []
    name = audit(tiny.experiment(**CHANGED, **more), str(root), said.append)
    return name, [line.strip() for line in said if line.startswith(("[2/4]", "[3/4]"))]


def test_every_person_is_attacked_behind_a_network_of_their_own(tmp_path: Path) -> None:
    # One person alone first: what that stores is found again.
    alone = {"targets.count": 1, "targets.pool": 4}
    tiny.train_all(tiny.session(tmp_path, **CHANGED, **alone))
    run(tmp_path, **alone)
    name, said = run(tmp_path, protect="each")
    assert said[0].startswith("[2/4] train: 3 of ")
    # Two null attacks and the bare victim at 4 people twice; four models at one person each, twice.
    assert said[1] == "[3/4] attack: 24 reconstructions over 7 cells; 8 are stored already"
    assert run(tmp_path, protect="each")[1][1].startswith("[3/4] attack: 0 reconstructions")

    results = RunResults.of(load_run(Storage(str(tmp_path)), name))
    targets = results.run.record.jobs.targets
    bare, behind = (
        next(row for row in results.rows if row.kind == kind) for kind in ("undefended", "defended")
    )
    assert (len(bare.cells), len(behind.cells)) == (1, 4)
    assert [cell.target for cell in behind.cells] == [*targets]
    assert (behind.done, behind.wanted, behind.complete) == (8, 8, True)
    for result in behind.by_evaluator:
        assert result.success_of.keys() == set(targets)
        assert not result.by_victim, "there is one victim"
    model = models_of(results.run)[behind.protected]
    assert len(model.others_taken_of) == len(model.accuracies) == 4
    assert model.total_targets == models_of(results.run)[bare.protected].total_targets
    assert model.total_all == 4 * models_of(results.run)[bare.protected].total_all

    report = load_report(name, tmp_path)
    assert "Behind random_fake_samples, each of 4 attacked people has a network of their own" in (
        report.html(tmp_path / "page.html").read_text()
    )
    assert len(report.pictures("latent_white_box", behind.model)) == 8
