"""A store of before is a store of now: nothing in it is made again, and its pages can be written again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.golden import collect
from tests.golden.collect import Session

KEPT = ("artifacts", "reconstructions", "pictures", *collect.schemas())
"""Folders that a command which finds everything done leaves alone."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return collect.unpacked(tmp_path)


def searched(store: Path) -> dict[str, Any]:
    """The record of the golden search."""
    (file,) = store.glob("searches/*/search.json")
    record: dict[str, Any] = json.loads(file.read_text())
    return record


def trials(store: Path) -> list[Session]:
    """The experiment of every trial of the golden search."""
    base = collect.experiment_at(collect.load(collect.RECIPE), {})
    made = [collect.experiment_at(base, t["settings"]) for t in searched(store)["trials"]]
    return [collect.open_experiment(e, collect.Storage(str(store))) for e in made]


def assert_nothing_to_do(session: Session) -> None:
    assert [t.key for t in session.plan.specs if not session.artifacts.finished(t)] == []
    left = {
        c.label: n
        for c in session.plan.cells
        if (n := collect.missing_jobs(session, c, session.plan.targets)[1])
    }
    assert left == {}
    context = collect.WorkContext(session.spec, session.plan.data_id, None, {})
    assert list(collect.missing_measurements(session, session.plan.cells, context, set())) == []


def test_records_have_the_keys_that_they_had(store: Path) -> None:
    # The code that writes them is compared with these by the slow test below.
    found = collect.records(store)
    assert found == collect.golden("records.json", lambda: found)


def test_an_audit_has_nothing_to_do(store: Path) -> None:
    before = digests(store)
    session = collect.opened(store)
    assert_nothing_to_do(session)
    name = collect.run_name(session.experiment)
    record = json.loads((store / "runs" / name / "run.json").read_text())
    assert [c["cell"] for c in record["cells"]] == [c.id for c in session.plan.cells]
    assert [c["label"] for c in record["cells"]] == [c.label for c in session.plan.cells]
    assert any(c.stripped for c in session.plan.cells)
    assert digests(store) == before, "the pictures were found, too"


def test_a_search_has_nothing_to_do(store: Path) -> None:
    base = collect.experiment_at(collect.load(collect.RECIPE), {})
    name = collect.search_name(base, collect.golden_space(), collect.search_options())
    record = searched(store)
    assert record["search"] == name
    assert (store / "searches" / name / "begun.json").exists()
    for session, trial in zip(trials(store), record["trials"], strict=True):
        assert_nothing_to_do(session)
        assert session.plan.cells[-1].id in trial["cells"].values()


def test_what_was_judged_is_done(store: Path) -> None:
    (recipe,) = store.glob("searches/*/recommended.yaml")
    # Recipes of before the attacks were made faster mean the attacks as they were published.
    given = enumerate(collect.parse_yaml(recipe.read_text())["attacks"])
    slow = [i for i, attack in given if collect.ATTACKS[attack["name"]].Settings.later]
    assert slow
    experiment = collect.load(recipe, [f"attacks.{i}.as_published=true" for i in slow])
    assert searched(store)["rejudged"]["run"] == collect.run_name(experiment)
    assert_nothing_to_do(collect.open_experiment(experiment, collect.Storage(str(store))))


def test_the_search_proposes_what_it_proposed(store: Path) -> None:
    searcher = collect.DeterministicSearcher(
        collect.golden_space(), single=False, sampler="tpe", seed=0, max_concurrent=2
    )
    proposed = [searcher.suggest(f"id{n}") for n in range(2)]
    assert proposed == [t["settings"] for t in searched(store)["trials"]][:2]


def said(store: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """What is printed with each page, without the store's place."""
    heard = {}
    for folder, write in (
        ("runs", collect.write_report),
        ("searches", collect.write_search_page),
    ):
        for path in sorted((store / folder).iterdir()):
            capsys.readouterr()
            page = Path(write(str(store), path.name, pictures=True))
            assert page.stat().st_size > 20_000
            assert "<svg" in page.read_text()
            heard[path.name] = capsys.readouterr().out.replace(str(store), "STORE").splitlines()
    return heard


def test_its_pages_can_be_written_again(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(said(store, capsys)) == 3


def test_its_pages_say_what_they_said(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A test of its own: what a headline says may be changed on purpose.
    found = said(store, capsys)
    assert found == collect.golden("headlines.json", lambda: found)


def test_what_is_made_anew_is_the_same(store: Path) -> None:
    """Networks and pictures, made again in this process, are the old ones but for another machine's last bits."""
    for folder in ("artifacts", "reconstructions"):
        (store / folder).rename(store / f"old-{folder}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with collect.listening() as heard:
            # Without rows in the store, `auto` follows the chip.
            session = collect.opened(store, "runtime.precision=fp32")
            for spec in session.plan.specs:
                collect.train_network(session, spec, collect.alone(torch.device("cpu")))
            _attack(session)
    finally:
        torch.set_num_threads(threads)
    assert heard == collect.golden("streams.json", lambda: dict(sorted(heard.items())))
    for spec in session.plan.specs:
        new, old = (store / f"{kind}artifacts" / spec.key for kind in ("", "old-"))
        mine, theirs = (load_file(d / "weights.safetensors") for d in (new, old))
        assert list(mine) == list(theirs)
        for name, weights in mine.items():
            torch.testing.assert_close(weights, theirs[name], rtol=1e-2, atol=1e-2, msg=spec.key)
        cards = [collect.keys(json.loads((d / "card.json").read_text())) for d in (new, old)]
        # Losses of every epoch came later, under names of their own.
        plain = {key for key in cards[0] if not key.startswith("curve.")}
        assert plain == cards[1] | {"precision"}
    (store / "new").mkdir()
    (store / "old").mkdir()
    (store / "reconstructions").rename(store / "new" / "reconstructions")
    (store / "old-reconstructions").rename(store / "old" / "reconstructions")
    for cell in session.plan.work.values():
        made, stored = (_rows(store / which, cell.id) for which in ("new", "old"))
        # The judged run has null attacks of other targets in the same cells.
        assert made == {job: stored[job] for job in made}, cell.label


def _attack(session: Session) -> None:
    worker = collect.AttackWorker(gpu=False)
    context = collect.WorkContext(session.spec, session.plan.data_id, None, {})
    for cell in session.plan.work.values():
        jobs, _ = collect.missing_jobs(session, cell, session.plan.targets)
        worker.run(collect.Shard(context, cell.id, tuple(jobs)))


SAME = (
    *("cell", "attack", "defense", "protected", "attack_settings", "defense_settings"),
    *("target", "person", "repeat", "steps", "seed", "victim", "generator"),
)
"""Columns that no machine's last bits can change (`steps`: no attack here stops early)."""


def _rows(store: Path, cell: str) -> dict[tuple[int, int], dict[str, Any]]:
    """(target, repeat) -> what must be equal of the row."""
    table = collect.Store(collect.Storage(str(store))).reconstructions([cell])
    rows = table.select(list(SAME)).to_pylist()
    for row in rows:
        settings = json.loads(row["attack_settings"])
        later = collect.ATTACKS[settings["name"]].Settings.later
        # Rows of before lack the settings that came later.
        row["attack_settings"] = later | settings
    return {(row["target"], row["repeat"]): row for row in rows}


def digests(store: Path) -> dict[str, str]:
    """Every file that must stay as it is, with its content's SHA-256."""
    return {
        str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in KEPT
        for file in sorted((store / folder).rglob("*"))
        if file.is_file()
    }


@pytest.mark.ray
@pytest.mark.slow
def test_the_commands_find_everything_done(store: Path, tmp_path: Path) -> None:
    before = digests(store)
    audit = _command("jobs/audit.py", str(collect.RECIPE), "--storage", str(store))
    networks = len(collect.opened(store).plan.specs)
    assert f"[2/4] train: 0 of {networks} networks to train" in audit
    assert "[3/4] attack: 0 reconstructions over" in audit
    search = _command(
        *("jobs/search.py", str(collect.SPACE), "--recipe", str(collect.RECIPE)),
        *("--trials", "3", "--max-concurrent", "2", "--step-targets", "2"),
        *("--resume", "--judge", "--storage", str(store)),
    )
    # The version that wrote the store recommended, and audited, what is not clearly better than undefended.
    assert "Nothing is recommended, so there is nothing to audit again." in search
    assert not list(store.glob("searches/*/recommended.yaml"))
    assert digests(store) == before
    old = collect.unpacked(tmp_path / "old")
    kinds = ("runs", "searches")
    names = [sorted(p.name for k in kinds for p in root.glob(f"{k}/*")) for root in (store, old)]
    assert names[0] == names[1], "no other run and no other search began"
    _compare_records(old, store)


ADDED = {
    *("experiment.headline", "given", "artifacts[].given"),
    *("experiment.runtime.precision", "experiment.runtime.attack_width", "provenance.precision"),
    "experiment.runtime.verify_data",
    *(f"experiment.attacks[].{key}" for a in collect.ATTACKS.values() for key in a.Settings.later),
    *(f"cells[].{key}" for key in ("null", "knows_defense", "inverts_outputs", "victim_share")),
    *(f"cells[].{key}" for key in ("floor", "aware_attack", "seed", "prior", "target")),
    *("suite", "experiment.prior_ceiling", "priors[]", "guesses", "aware", "aware_attack"),
    *("people", "people.same", "trials[].by_chance"),
    *(f"priors[].{key}" for key in ("id", "label", "kind", "trained_on", "seconds", "ceiling")),
}
"""Keys that records have got since."""
RULED = ("attack_success", "strongest", "score", "curve")
"""What the ranking rule decides. When the store was written, the evaluator that finds most decided."""


def _compare_records(before: Path, store: Path) -> None:
    """Records that were written anew have the old ones' keys, and what is not of the day is equal."""
    old, new = collect.records(before), collect.records(store)
    # A command that has nothing to do may be over before the first sample of its timeline.
    for kind in ("run.json", "search.json", "begun.json"):
        more = [k for k in new[kind] if k not in old[kind] and "timeline" not in k]
        assert set(more) <= ADDED
        assert [k for k in old[kind] if k not in new[kind] and "timeline" not in k] == []
    was, now = searched(before), searched(store)
    for key in ("null", "front", "recommended", "rejudged", "tables"):
        assert _without_ends(now[key]) == _without_ends(was[key]), key
    for trial, before in zip(
        [now["undefended"], *now["trials"]], [was["undefended"], *was["trials"]], strict=True
    ):
        assert trial.keys() - {"by_chance"} == before.keys()
        changed = [k for k in before if _without_ends(trial[k]) != _without_ends(before[k])]
        assert [key for key in changed if key not in RULED] == []
        # Now the recipe's first evaluator decides which attack is the strongest.
        by_first = {attack: shares["same"] for attack, shares in before["success"].items()}
        share = by_first[trial["strongest"]["attack"]]
        assert trial["attack_success"]["value"] == share["value"]
        assert trial["attack_success"]["value"] == max(s["value"] for s in by_first.values())
        assert trial["strongest"]["judge"] == "same"


def _without_ends(value: Any) -> Any:
    """A JSON value without the ends of intervals, whose unit is the person since then, and not the try."""
    if isinstance(value, list):
        return [_without_ends(each) for each in value]
    if not isinstance(value, dict):
        return value
    ends = ("low", "high", "attack_success_low", "attack_success_high")
    return {k: _without_ends(v) for k, v in value.items() if k not in ends}


def _command(*words: str) -> str:
    """What a command prints, with a Ray of its own."""
    with tempfile.TemporaryDirectory(prefix="il", dir="/tmp", ignore_cleanup_errors=True) as folder:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=collect.CHECKOUT,
            env={**os.environ, "RAY_ADDRESS": "local", "RAY_TMPDIR": folder},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout
