"""Other people's code and damaged files end a command with a line and an exit code, never with a traceback."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from inversionlab.commands.main import app
from inversionlab.core.yaml_io import dump_yaml
from tests import tiny
from tests.report.fake_run import fake_run

CODE = {
    "a syntax error": ("def (", "SyntaxError"),
    "an unknown name": ("nothing_of_that_name", "NameError"),
    "an exit that looks well": ("import sys\nsys.exit(0)", "it calls sys.exit(0)"),
    "an exit": ("raise SystemExit", "it calls sys.exit()"),
    "another exception": ("raise BaseException('no licence')", "BaseException: no licence"),
}


def ended(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.exit_code, result.stderr


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("fault", CODE)
def test_a_network_whose_code_is_broken(here: Path, fault: str) -> None:
    code, told = CODE[fault]
    module = f"il_broken_{abs(hash(fault))}"
    (here / f"{module}.py").write_text(code)
    recipe = tiny.recipe(**{"victim.network": {"name": "imported", "path": f"{module}:Net"}})
    (here / "own.yaml").write_text(dump_yaml(recipe))
    exit_code, said = ended("audit", "own.yaml", "--plan", "--storage", str(here / "runs"))
    assert exit_code == 2
    assert f"{module}:Net: cannot be imported" in said
    assert told in said


@pytest.mark.parametrize("path", ["..:..", ":", "os", "os:", ":Net", "a b:c", "os:path:join"])
def test_a_path_that_names_no_network(here: Path, path: str) -> None:
    recipe = tiny.recipe(**{"victim.network": {"name": "imported", "path": path}})
    (here / "own.yaml").write_text(dump_yaml(recipe))
    exit_code, said = ended("audit", "own.yaml", "--plan", "--storage", str(here / "runs"))
    assert exit_code == 2
    assert "package.module:Name" in said or r"should match pattern '^[\w.]+:[\w.]+$'" in said


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"answer": "scores["}, "victim.endpoint.answer = scores[: is not a JMESPath expression"),
        ({"answer": "scores[::0]"}, "victim.endpoint.answer = scores[::0]: goes in steps of 0"),
        (
            {"headers": {"Authorization": "NO_SUCH_VARIABLE"}},
            "victim.endpoint.headers.Authorization: the environment variable NO_SUCH_VARIABLE is not set",
        ),
    ],
)
def test_a_plan_refuses_an_endpoint_that_no_run_could_ask(
    here: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], told: str
) -> None:
    monkeypatch.delattr("inversionlab.pipeline.endpoint.open_experiment")  # which looks at pictures
    recipe = tiny.recipe(
        victim={"endpoint": {"url": "https://host/x", **keys}},
        defense={"name": "none"},
        attacks=[{"name": "label_only"}],
        sweep=None,
    )
    (here / "own.yaml").write_text(dump_yaml(recipe))
    exit_code, said = ended("audit", "own.yaml", "--plan", "--storage", str(here / "runs"))
    assert exit_code == 2
    assert said.startswith(f"error: {told}")


@pytest.mark.parametrize("fault", CODE)
def test_a_search_space_whose_code_is_broken(here: Path, fault: str) -> None:
    code, told = CODE[fault]
    (here / "dummy_recognizer.py").write_text(code)
    (here / "own.yaml").write_text(dump_yaml(tiny.recipe()))
    exit_code, said = ended("search", "dummy_recognizer.py", "--recipe", "own.yaml")
    assert exit_code == 2
    assert said.startswith("error: dummy_recognizer.py: fails when it is imported")
    assert told in said


DAMAGED = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"3",
    b'"x"',
    b"{}",
    b'{"name": 3}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("kind", ["runs/x/run.json", "searches/x/search.json"])
def test_the_report_of_a_record_that_is_damaged(here: Path, kind: str, content: bytes) -> None:
    file = here / "store" / kind
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    exit_code, said = ended("report", "x", "--storage", str(here / "store"))
    assert exit_code == 2
    assert f"{kind}: " in said
    assert len(said) < 1000


@pytest.mark.parametrize("name", ["../../x", "..", ".", "", "/etc", "a/b", "x" * 5000, "a\0b"])
def test_the_report_of_a_name_that_leads_out(here: Path, name: str) -> None:
    exit_code, said = ended("report", "--storage", str(here / "store"), "--", name)
    assert exit_code == 2
    assert "holds no run" in said


def test_the_report_in_a_storage_that_cannot_be_written(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inversionlab.report.audit.page.load_run", lambda *_, **__: fake_run())

    def refuse(*words: Any, **more: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("inversionlab.store.storage.open", refuse, raising=False)
    exit_code, said = ended("report", "x", "--storage", str(here / "store"))
    assert exit_code == 1
    assert "could not be written: Read-only file system. Stored work stays; once it can be" in said
    assert "room" not in said
