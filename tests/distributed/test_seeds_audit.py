"""An audit over two victims, on Ray: what is trained and attacked, what is found again, what its report says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from inversionlab.api.report import Report, load_report
from inversionlab.commands.main import app
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.distributed.audit import audit
from inversionlab.metrics import by_person
from tests import tiny

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

CHANGED: dict[str, Any] = {
    "sweep": None,
    "prior_ceiling": True,
    "attacks": [
        {"name": "latent_white_box", "steps": 6},
        {"name": "ami", "network": {"width": 4}, "training": {"epochs": 1, "batch_size": 16}},
    ],
    "runtime.train_groups": 2,
}


def run(root: Path, **more: Any) -> tuple[str, list[str]]:
    said: list[str] = []
    name = audit(tiny.experiment(**CHANGED, **more), str(root), said.append)
    return name, [line.strip() for line in said if line.startswith(("[2/4]", "[3/4]"))]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[list[str]]]:
    """A storage root with an audit of one victim, then one of two; the run of two, and what was said."""
    root = tmp_path_factory.mktemp("storage")
    tiny.train_all(tiny.session(root, **CHANGED))
    _, first = run(root)
    name, second = run(root, seeds=[0, 1])
    return root, name, [first, second]


@pytest.fixture(scope="module")
def report(both: tuple[Path, str, list[list[str]]]) -> Report:
    root, name, _ = both
    return load_report(name, root, pictures=False)


def test_only_what_belongs_to_the_second_victim_is_done(
    both: tuple[Path, str, list[list[str]]],
) -> None:
    first, second = both[2]
    assert first[0] == "[2/4] train: 0 of 7 networks to train"
    # ami's network learns from the victim.
    assert re.fullmatch(
        r"\[2/4\] train: 4 of 11 networks to train: victim, seed 1, defense_generator gan_ada, seed 1, "
        r"defense dummy_recognizer, seed 1, attack ami \w{6}, learns from none, seed 1",
        second[0],
    )
    # Two null attacks, and two attacks on two models for each victim, each at 4 people twice. One prior, once.
    assert first[1] == (
        "[3/4] attack: 48 reconstructions over 6 cells; 0 are stored already; ceilings to measure: 1"
    )
    assert second[1] == "[3/4] attack: 32 reconstructions over 10 cells; 48 are stored already"


def test_the_same_call_again_does_nothing(both: tuple[Path, str, list[list[str]]]) -> None:
    root, name, _ = both
    again, said = run(root, seeds=[0, 1])
    assert again == name
    assert said == [
        "[2/4] train: 0 of 11 networks to train",
        "[3/4] attack: 0 reconstructions over 10 cells; 80 are stored already",
    ]


def test_the_command_plans_the_same_counts(
    both: tuple[Path, str, list[list[str]]], tmp_path: Path
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(dump_yaml(tiny.recipe(**CHANGED)))
    words = ["audit", str(recipe), "--storage", str(both[0]), "--plan", "--set", "seeds=[0,1,2]"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    networks = [line for line in lines if line.startswith("  network ")]
    cells = [line for line in lines if line.startswith("  cell ")]
    assert (len(networks), sum("to be trained" in line for line in networks)) == (15, 4)
    assert (len(cells), sum(": 8 reconstructions to do" in line for line in cells)) == (14, 4)
    assert all("seed 2" in line for line in cells if ": 8 reconstructions" in line)


def test_victims_have_other_weights_on_the_same_people(
    both: tuple[Path, str, list[list[str]]], report: Report
) -> None:
    session = tiny.session(both[0], **CHANGED, seeds=[0, 1])
    first, second = (
        load_file(both[0] / "artifacts" / specs.victim.key / "weights.safetensors")
        for specs in session.plan.victims.values()
    )
    assert first.keys() == second.keys()
    assert not any(torch.equal(first[k], second[k]) for k in first if k.endswith("weight"))
    rows = report.rows.select(["victim_seed", "victim", "target", "seed"]).to_pylist()
    people = {s: {r["target"] for r in rows if r["victim_seed"] == s} for s in (None, 0, 1)}
    assert people[None] == people[0] == people[1] == set(session.plan.targets)
    of_seed = {seed: specs.victim.id for seed, specs in session.plan.victims.items()}
    assert all(r["victim"] == of_seed[r["victim_seed"] or 0] for r in rows)
    assert {r["seed"] for r in rows} == {0}


def test_its_tables_are_pooled(report: Report) -> None:
    table = report.table.set_index(["attack", "kind"])
    # Two attacks on two models, two null attacks; then the ceiling and chance.
    assert table["reconstructions"].tolist() == [16, 16, 16, 16, 8, 8, 0, 0]
    assert table["complete"].all()
    # The rate and its interval, from the rows themselves.
    cells = {c.cell for c in report.record.cells if c.attack == "ami" and c.baseline}
    rows = [r for r in report.rows.to_pylist() if r["cell"] in cells]
    hits = {
        s: [r["verdicts"][0]["rank"] <= 5 for r in rows if r["victim_seed"] == s] for s in (0, 1)
    }
    expected = by_person(
        np.array([*hits[0], *hits[1]]),
        np.array([r["target"] for s in (0, 1) for r in rows if r["victim_seed"] == s]),
    )
    found = table.loc[("ami", "undefended")]
    assert found[["top5", "top5_low", "top5_high"]].tolist() == pytest.approx(
        [expected.value, expected.low, expected.high]
    )
    shares = sorted(sum(h) / len(h) for h in hits.values())
    assert found[["top5_least", "top5_most"]].tolist() == pytest.approx(shares)
    # ami asks each victim about the public pictures once.
    queries = report.rows.to_pylist()
    assert found["training_queries"] == max(r["training_queries"] for r in queries)


def test_its_accuracies_are_those_of_both_victims(report: Report) -> None:
    bare = [c.protected for c in report.record.cells if c.attack == "ami" and c.baseline]
    models = {m["protected"]: m for m in report.data.models.to_pylist()}
    each = [models[name]["correct_all"] / models[name]["total_all"] for name in bare]
    first = report.models.iloc[0]
    assert first["accuracy"] == pytest.approx(sum(each) / 2)
    assert first[["accuracy_least", "accuracy_most"]].tolist() == [min(each), max(each)]


def test_its_record_says_which_cell_is_of_which_victim(
    both: tuple[Path, str, list[list[str]]],
) -> None:
    root, name, _ = both
    record = json.loads((root / "runs" / name / "run.json").read_text())
    assert [cell["seed"] for cell in record["cells"]] == [None] * 2 + [0] * 4 + [1] * 4
    assert record["experiment"]["seeds"] == [0, 1]
    (plain,) = [p for p in root.glob("runs/*/run.json") if p.parent.name != name]
    assert {cell["seed"] for cell in json.loads(plain.read_text())["cells"]} == {None}
