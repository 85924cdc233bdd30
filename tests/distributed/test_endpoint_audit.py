"""Audits of a model behind HTTP, from the command line to the rows; the server is a process of its own."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from inversionlab.commands.main import app
from tests import faults
from tests.given.serving import FaceServer, face_server
from tests.processes import HANG, kill, wait_until
from tests.served import AT_ONCE, BATCH, PEOPLE, ROWS, SMALL, Audit, World, make_world

pytestmark = [pytest.mark.ray, pytest.mark.slow]
FAULTS = "ok,429,ok,500,ok,ok,cut,ok,html,ok,sleep,503," + "ok," * 40
SECRET = "Bearer s3cr3t-t0ken"
NULLS = {"random_latent", "random_public"}
LABEL_ONLY = [{"name": "label_only", "start_queries": 32, "directions": 4, "steps": 4}]
AMI = {"name": "ami", "training": SMALL}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def from_file(local_ray: None, world: World, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """An audit of the same model as a file, which rounds pictures as an endpoint does."""
    victim = {"model": str(world.script), "access": "scores", "answers": "logits"}
    audit = world.audit(tmp_path_factory.mktemp("file"), victim=victim)
    assert run(audit).exit_code == 0
    assert len(audit.findings()) == ROWS
    return audit


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    with faults.private_ray() as environment:
        paths = os.pathsep.join((str(faults.CHECKOUT / "platform"), str(faults.CHECKOUT)))
        yield {**environment, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def run(audit: Audit, *more: str) -> Result:
    """The command in this process, on the shared local Ray."""
    return CliRunner().invoke(app, audit.words(*more))


def served(folder: Path, world: World, *flags: str, log: str = "pictures.log"):  # type: ignore[no-untyped-def]
    return face_server(folder, f"--network={world.script}", "--answers=logits", *flags, log=log)


def twice(server: FaceServer) -> int:
    """Pictures that the server worked on more than once, all repetitions counted."""
    return sum(n - 1 for n in server.count()["digests"].values())


def test_faults_change_neither_rows_nor_counts(
    world: World, from_file: Audit, tmp_path: Path
) -> None:
    flags = (f"--faults={FAULTS}", "--again", "--rate=80", "--retry-after=0.2", "--sleep=2.5")
    with served(tmp_path, world, *flags) as server:
        settings = {"timeout_seconds": 2.0, "requests_per_second": 60, "budget": 3000}
        audit = world.audit(
            tmp_path / "audit",
            server.url,
            **{f"victim.endpoint.{k}": v for k, v in settings.items()},
        )
        result = run(audit)
        assert result.exit_code == 0, result.output
        count = server.count()
        # The check and the accuracy are among them, and what was asked again.
        assert count["processed"] == audit.spent(server.url) > len(count["digests"]) > 600
        assert count["refused"] > 3
        assert count["most_in_a_second"] <= 75 + 60 * count["stall"]
        assert re.search(r"queries: [\d,]+ of 3,000, [\d.]+ a second", result.output)
        assert audit.findings() == from_file.findings()
        assert "recognizes 100.0%" in result.output


def test_labels_by_name_suffice_for_label_only(
    world: World, from_file: Audit, tmp_path: Path
) -> None:
    names = ",".join(f"f{person:04d}" for person in range(PEOPLE))
    flags = ("--answers=names", f"--names={names}")
    with served(tmp_path, world, *flags) as server:
        audit = world.audit(tmp_path / "audit", server.url, **{"victim.answers": "auto"})
        # What an endpoint answers is known once it is asked, which comes before anything is trained.
        result = run(audit)
        assert result.exit_code == 2
        assert (
            "attacks (latent_black_box): needs the model's scores view, but the given"
            in result.output
        )
        assert server.count()["processed"] == audit.spent(server.url) == 8
        audit = world.audit(
            tmp_path / "audit", server.url, **{"victim.answers": "auto", "attacks": LABEL_ONLY}
        )
        result = run(audit)
        assert result.exit_code == 0, result.output
        assert server.count()["processed"] == audit.spent(server.url)
        assert twice(server) == 0
    expected = {k: v for k, v in from_file.findings().items() if k[0] in NULLS | {"label_only"}}
    assert audit.findings() == expected


@pytest.mark.usefixtures("local_ray")
def test_an_endpoint_that_shows_its_largest_scores(world: World, tmp_path: Path) -> None:
    names = ",".join(f"f{person:04d}" for person in range(PEOPLE))
    with served(tmp_path, world, "--answers=top_k", f"--names={names}") as server:
        audit = world.audit(tmp_path / "audit", server.url, **{"victim.answers": "auto"})
        result = run(audit)
        assert result.exit_code == 2
        assert (
            "attacks (latent_black_box): needs whole score vectors, but the given victim answers with its largest "
            "scores only; set `truncate`" in result.output
        )
        assert server.count()["processed"] == 8
        black_box = {**world.recipe({})["attacks"][0], "truncate": 2}
        changed = {"victim.answers": "auto", "attacks": [black_box]}
        audit = world.audit(tmp_path / "audit", server.url, **changed)
        result = run(audit)
        assert result.exit_code == 0, result.output
        assert server.count()["processed"] == audit.spent(server.url)
        assert len(audit.rows()) == ROWS // 5 * 3


def test_a_spent_budget_ends_the_run_with_what_it_has(
    world: World, from_file: Audit, tmp_path: Path
) -> None:
    with served(tmp_path, world) as server:
        changed = {"runtime.shard_size": 1, "victim.endpoint.budget": 400}
        audit = world.audit(tmp_path / "audit", server.url, **changed)
        result = run(audit)
        assert result.exit_code == 3, result.output
        assert server.count()["processed"] == audit.spent(server.url) == 400
        found = audit.findings()
        assert len([key for key in found if key[0] in NULLS]) == ROWS // 5 * 2
        assert len(found) > ROWS // 5 * 2
        assert found.items() <= from_file.findings().items()
        line = (
            r"error: the endpoint's budget is spent \(queries: 400 of 400, [\d.]+ a second\): "
            rf"{ROWS - len(found)} of {ROWS} reconstructions are not done, all others are stored in run "
            r"served-\w+. "
            r"With a larger budget \(--set victim.endpoint.budget=N\) the audit continues from there"
        )
        assert re.search(line, result.output), result.output
        assert "Traceback" not in result.output
        assert len(result.output.splitlines()) < 40
        assert len(list(audit.storage.glob("runs/*/report.html"))) == 1
        result = run(audit, "--set", "victim.endpoint.budget=2000")
        assert result.exit_code == 0, result.output
        assert twice(server) == 0
        assert server.count()["processed"] == audit.spent(server.url) < 2000
    assert audit.findings() == from_file.findings()


@pytest.mark.usefixtures("local_ray")
def test_a_budget_too_small_for_what_comes_before_the_attacks(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path, world) as server:
        audit = world.audit(tmp_path / "check", server.url, **{"victim.endpoint.budget": 30})
        result = run(audit)
        assert result.exit_code == 3
        assert "the budget of 30 queries is spent (victim.endpoint.budget)" in result.output
        assert server.count()["processed"] == 30
        assert result.output.count("error:") == 1
        # Here the check asks about few pictures, and the budget ends where accuracy is measured.
        monkeypatch.setattr("inversionlab.pipeline.victim_check.QUERIES", 4)
        audit = world.audit(tmp_path / "accuracy", server.url, **{"victim.endpoint.budget": 34})
        monkeypatch.setattr("inversionlab.pipeline.victim_check.PICTURES", 4)
        result = run(audit, "--set", f"victim.endpoint.ledger={tmp_path / 'other'}", "--force")
        assert result.exit_code == 3, result.output
        assert "not done" in result.output
        assert server.count()["processed"] == 30 + 34
    assert {key[0] for key in audit.rows()} == NULLS
    assert len(list(audit.storage.glob("runs/*/report.html"))) == 1
    assert re.search(r"latent black box .* –", result.output) or "label only" not in result.output


@pytest.mark.timeout(600)
def test_kills_ask_nothing_twice_and_no_secret_is_written(
    world: World, from_file: Audit, tmp_path: Path, environment: dict[str, str]
) -> None:
    environment["FACES_TOKEN"] = SECRET
    flags = (f"--token={SECRET}", "--delay=0.05", "--echo", "--faults=ok,ok,500,ok")
    with served(tmp_path, world, *flags) as server:
        headers = {"victim.endpoint.headers": {"Authorization": "FACES_TOKEN"}}
        audit = world.audit(
            tmp_path / "audit", server.url, **headers, **{"victim.endpoint.budget": 3000}
        )
        words = ["-m", "inversionlab", *audit.words()]

        def after(queries: int) -> Callable[[], bool]:
            return lambda: server.count()["processed"] > queries

        said = [faults.signal_when(faults.start(words, environment), after(150))]
        driver = faults.start(words, environment)
        said.append(faults.signal_when(driver, after(300), signal.SIGINT))
        assert driver.returncode == 130
        driver = faults.start(words, environment)
        wait_until(after(400), HANG, "400 queries")
        folder = environment["RAY_TMPDIR"]
        busy = [
            p.pid
            for p in faults.ray_processes(folder)
            if p.command[0].startswith("ray::AttackWorker.run")
        ]
        kill(busy[:1])
        assert busy
        said += faults.finish(driver)
        count, spent = server.count(), audit.spent(server.url)
        # One request failed by a 500; a kill of the driver repeats at most what was in flight.
        assert twice(server) <= BATCH + 2 * AT_ONCE * BATCH
        assert count["processed"] <= spent <= count["processed"] + 2 * AT_ONCE * BATCH
        files = [f for f in (*audit.storage.rglob("*"), *Path(folder).rglob("*")) if f.is_file()]
        assert sum(f.suffix == ".log" for f in files) > 5
        assert not [f for f in files if b"s3cr3t" in f.read_bytes()]
        assert not [text for text in said if "s3cr3t" in text]
    assert audit.findings() == from_file.findings()


def test_what_is_wrong_is_said_before_anything_is_sent(world: World, tmp_path: Path) -> None:
    with served(tmp_path, world) as server:
        cases = [
            (
                {"victim.endpoint.headers": {"Authorization": "NO_SUCH_VARIABLE"}},
                "victim.endpoint.headers.Authorization: the environment variable NO_SUCH_VARIABLE is not set",
            ),
            (
                {"attacks": [{"name": "latent_white_box"}]},
                "attacks (latent_white_box): needs the model's white box view, but this victim shows scores at "
                "most",
            ),
            (
                {"victim.access": "white_box"},
                "access = white_box: the model gives no more than scores",
            ),
            (
                {"victim.endpoint.answer": "scores["},
                "victim.endpoint.answer = scores[: is not a JMESPath",
            ),
        ]
        for number, (changed, message) in enumerate(cases):
            result = run(world.audit(tmp_path / str(number), server.url, **changed))
            assert result.exit_code == 2, result.output
            assert message in result.output
        assert server.count()["requests"] == 0


def test_the_plan_counts_queries_and_sends_none(world: World, tmp_path: Path) -> None:
    with served(tmp_path, world) as server:
        changed = {
            "attacks": [*world.recipe({})["attacks"], AMI],
            "victim.endpoint.price": 0.01,
            "victim.endpoint.requests_per_second": 2,
            "victim.endpoint.budget": 1000,
        }
        result = run(world.audit(tmp_path / "audit", server.url, **changed), "--plan")
        assert result.exit_code == 0, result.output
        lines = re.findall(r"  queries: (.*)", result.output)
        # 8 examples and 40 private pictures; 10 for the accuracy. Black box: 4 updates of 1 + 8 queries, 1 at the
        # end. Mirror: 4 points and 4 x 3. Labels: 32 and 4 x 5. All 96 public pictures may be starts; Mirror's
        # generator has no encoder, and its starts are draws.
        starts = ", after 96 about starts for all of them"
        assert lines[:6] == [
            "the check before anything is attacked: at most 48",
            "the accuracy: at most 10",
            "the public pictures, for the training of attack ami: 96",
            f"latent_black_box on none: at most 37 queries a reconstruction, 222 in all{starts}",
            "mirror on none: at most 16 queries a reconstruction, 96 in all, after 1,024 about starts for all of "
            "them",
            f"label_only on none: at most 52 queries a reconstruction, 312 in all{starts}",
        ]
        pattern = r"ami on none: at most [\d,]+ queries a reconstruction, ([\d,]+) in all"
        found = re.fullmatch(pattern, lines[6])
        assert found is not None, lines[6]
        total = 48 + 10 + 96 + 222 + 96 + 96 + 1024 + 312 + 96 + int(found[1].replace(",", ""))
        assert lines[7].startswith(
            f"all together: {total:,} queries in at least {-(-total // 4):,} requests; "
        )
        assert lines[7].endswith(
            f" at 2 requests a second; {total / 100:.2f} at 0.01 a query; more than the budget of 1,000"
        )
        embedding = {"victim.answers": "embedding", "victim.gallery": "private"}
        result = run(world.audit(tmp_path / "embedding", server.url, **embedding), "--plan")
        assert result.exit_code == 0, result.output
        assert "the gallery: 30, to enrol " in result.output
        assert "the check before anything is attacked: at most 18" in result.output
        assert server.count()["requests"] == 0


@pytest.mark.usefixtures("local_ray")
def test_an_embedding_enrols_its_people_when_the_audit_begins(world: World, tmp_path: Path) -> None:
    # The logits serve as an embedding.
    with served(tmp_path, world) as server:
        changed = {
            "victim.answers": "embedding",
            "victim.gallery": "private",
            "attacks": LABEL_ONLY,
        }
        audit = world.audit(tmp_path / "audit", server.url, **changed)
        result = run(audit)
        assert result.exit_code == 0, result.output
        assert "of 10 pictures" in result.output
        assert server.count()["processed"] == audit.spent(server.url) > 48
        assert twice(server) == 0
        assert len(audit.rows()) == ROWS // 5 * 3


@pytest.mark.usefixtures("local_ray")
def test_networks_learn_from_an_endpoint(world: World, tmp_path: Path) -> None:
    with served(tmp_path, world) as server:
        changed = {
            "attacks": [AMI],
            "victim.endpoint.budget": 100,
            "defense": {"name": "purifier", "training": SMALL},
        }
        audit = world.audit(tmp_path / "audit", server.url, **changed)
        result = run(audit)
        assert result.exit_code == 3, result.output
        assert "the budget of 100 queries is spent" in result.output
        assert server.count()["processed"] == 100
        result = run(audit, "--set", "victim.endpoint.budget=3000")
        assert result.exit_code == 0, result.output
        # The public pictures are asked about once for both networks.
        assert server.count()["processed"] == audit.spent(server.url)
        assert twice(server) == 0
        assert {row["attack"] for row in audit.rows().values()} == NULLS | {"ami"}


@pytest.mark.usefixtures("local_ray")
def test_a_search_for_a_defense_of_the_answers(world: World, tmp_path: Path) -> None:
    with served(tmp_path, world) as server:
        changed = {
            "attacks": [world.recipe({})["attacks"][0]],
            "defense": {"name": "uniform_noise"},
            "victim.endpoint.budget": 3000,
        }
        audit = world.audit(tmp_path / "search", server.url, **changed)
        space = str(faults.CHECKOUT / "search_spaces" / "uniform_noise.py")
        options = ["--trials", "2", "--max-concurrent", "1", "--step-targets", "3"]
        where = ["--recipe", str(audit.recipe), "--storage", str(audit.storage)]
        result = CliRunner().invoke(app, ["search", space, *where, *options])
        assert result.exit_code == 0, result.output
        assert server.count()["processed"] == audit.spent(server.url)
        assert twice(server) == 0
        # Another seed gives other starts, for which too little of the budget is left.
        spent = audit.spent(server.url)
        more = ["--set", "seed=1", "--set", f"victim.endpoint.budget={spent + 20}"]
        result = CliRunner().invoke(app, ["search", space, *where, *options, *more])
        assert result.exit_code == 3, result.output
        assert "the undefended victim could not be attacked" in result.output
        assert "BudgetError: " in result.output
        assert server.count()["processed"] == audit.spent(server.url) == spent + 20
