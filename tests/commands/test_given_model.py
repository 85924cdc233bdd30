"""`inversionlab audit --model`: what is refused, what is chosen, and where it is written."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image
from typer.testing import CliRunner

from inversionlab.commands import audit, given_model
from inversionlab.commands.given_model import GivenModel
from inversionlab.commands.main import app
from inversionlab.core.settings import validate
from inversionlab.core.yaml_io import parse_yaml
from inversionlab.experiment import Experiment
from inversionlab.given import settings as given_settings


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: people with two pictures each, strangers with one, a model file, and weights."""
    for folder, count in (("people", 2), ("strangers", 1)):
        for person in ("ann", "bob", "cid"):
            for index in range(count):
                path = tmp_path / folder / person / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (48, 40)).save(path)
    for name in ("faces.onnx", "faces.pth"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The recipes that passed the check of an experiment."""
    seen = []

    def kept(model: Any, data: dict[str, Any], *, origin: str) -> Experiment:
        experiment: Experiment = validate(model, data, origin=origin)
        seen.append(data)
        return experiment

    monkeypatch.setattr(given_model, "validate", kept)
    return seen


def words(*more: str) -> list[str]:
    return ["audit", "--data", "people", "--public", "strangers", *more]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["audit"], "nothing to audit: give a recipe"),
        (["audit", "demo", "--model", "a:B"], "demo and --model: give a recipe or a model, not"),
        (["audit", "demo", "--endpoint", "http://x"], "demo and --endpoint: give a recipe or a"),
        (
            ["audit", "demo", "--data", "people"],
            "--data: is only for --model or --endpoint; change",
        ),
        (
            ["audit", "demo", "--image-size", "32"],
            "--image-size: is only for --model or --endpoint",
        ),
        (words("--model", "a:B", "--endpoint", "http://x"), "--model and --endpoint: give one of"),
        (
            words("--endpoint", "http://x", "--weights", "faces.pth"),
            "--weights: is only for --model",
        ),
        (words("--model", "a:B", "--budget", "9"), "--budget: is only for --endpoint"),
        (["audit", "--model", "a:B", "--data", "people"], "--public: is missing; name a folder"),
        (words("--model", "face.onnx"), "there is no such file; did you mean `faces.onnx`?"),
        (words("--model", "faces.pth"), "holds weights alone; name the class too"),
        (words("--model", "resnet50"), "--model resnet50: is none of `package.module:Class`"),
        (words("--model", "a:B", "--weights", "f.pth"), "--weights f.pth: there is no such file"),
        (words("--model", "a:B", "--gallery", "gone"), "--gallery gone: there is no such folder"),
        (["audit", "--model", "a:B", "--public", "stranger"], "did you mean `"),
    ],
)
def test_what_does_not_fit_ends_with_2_and_says_so(typed: list[str], told: str, here: Path) -> None:
    done = CliRunner().invoke(app, typed)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not list(here.glob("*.yaml"))


LONG = "x" * 300


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["audit", LONG], "is not a usable path: File name too long"),
        (["audit", f"{LONG}.yaml"], "is not a usable path: File name too long"),
        (["prepare", LONG], "is not a usable path: File name too long"),
        (["search", LONG, "--recipe", "demo"], "is not a usable path: File name too long"),
        (["search", f"{LONG}.py", "--recipe", "demo"], "is not a usable path: File name too long"),
        (["search", "none", "--recipe", LONG], "is not a usable path: File name too long"),
        (words("--model", f"{LONG}.onnx"), "...: holds a name of more than 255 bytes"),
        (words("--model", "a:B", "--weights", LONG), "...: holds a name of more than 255 bytes"),
        (words("--model", "a:B", "--classes", LONG), "...: holds a name of more than 255 bytes"),
        (words("--model", "a:B", "--gallery", LONG), "...: holds a name of more than 255 bytes"),
        (words("--model", "~no-such-user/x.onnx"), "--model ~no-such-user/x.onnx: the home folder"),
        (words("--model", "a:B", "--weights", "~no-such-user/w"), "the home folder is not known"),
        (words("--model", "a:B", "--classes", "~no-such-user/w"), "the home folder is not known"),
        (words("--model", "a:B", "--gallery", "~no-such-user/w"), "the home folder is not known"),
        (words("--model", "a:B", "--gallery", ""), "--gallery : is empty"),
        (words("--model", "a:B", "--data", ""), '--data: root = "": is empty; name a path'),
        (words("--model", "a:B", "--public", ""), '--public: root = "": is empty; name a path'),
        (words("--model", "a:B", "--public", "s3://K:hunter2@b/x"), "--public: root: s3://***@b/x"),
        (
            words("--model", "a:B", "--weights", "s3:/K:hunter2@b/w"),
            "--weights: s3://***@b/w: is a",
        ),
        (words("--model", "s3://K:hunter2@b/x.onnx"), "--model: s3://***@b/x.onnx: is a URI"),
        (words("--endpoint", "https://u:hunter2@h/x"), "--endpoint: holds a user or password"),
        (words("--endpoint", "https://h/x?q=hunter2"), "--endpoint: the parameter `q` may hold a"),
        (words("--endpoint", "https://u:hunter2@[::1"), "--endpoint: should be a URL such as"),
        (
            words("--endpoint", "https://h/x?size=1", "--set", "targets.count=hunter2"),
            "the recipe for https://h/x: targets.count",
        ),
    ],
)
def test_an_address_that_is_none_ends_with_2_and_shows_no_secret(
    typed: list[str], told: str, here: Path
) -> None:
    done = CliRunner().invoke(app, typed)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "hunter2@" not in done.output
    assert "=hunter2" not in done.output
    assert not list(here.glob("*.yaml"))


@pytest.mark.parametrize("name", ["PROGRESS_SECONDS", "COPIES_GB", "RAY_SECONDS"])
@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", ""])
def test_a_number_of_the_environment_that_is_none_is_refused_at_once(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"INVERSIONLAB_{name}", value)
    done = CliRunner().invoke(app, ["audit"])
    assert done.exit_code == 2
    assert f"error: INVERSIONLAB_{name} = {value}: must be a number of " in done.stderr


def test_an_endpoint_is_called_by_its_address_without_the_query(
    validated: list[dict[str, Any]], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "https://h/x?model=resnet50"
    given = GivenModel(endpoint=url, data=Path("people"), public=Path("strangers"))
    given_model.experiment_of(None, given, [], plan=False)
    assert capsys.readouterr().out.startswith("Chosen for https://h/x:\n")
    first = (here / "h.yaml").read_text().partition("\n")[0]
    assert first == "# What `inversionlab audit` chose for https://h/x. Edit it, then:"
    assert validated[0]["victim"]["endpoint"]["url"] == url


def test_choices_are_printed_and_written_to_be_audited_again(
    validated: list[dict[str, Any]], here: Path
) -> None:
    given = GivenModel(model="faces.onnx", data=Path("people"), public=Path("strangers"))
    given_model.experiment_of(None, given, ["targets.count=2", "headline=worst"], plan=False)
    text = (here / "faces.yaml").read_text()
    recipe = parse_yaml(text)
    assert recipe == validated[0]
    assert recipe["victim"] == {"model": str(here / "faces.onnx")}
    assert recipe["data"]["root"] == str(here / "people")
    assert recipe["data"]["image_size"] == 32
    assert recipe["targets"] == {"count": 2, "repeats": 3}
    assert recipe["headline"] == "worst"
    assert "random starts; more make the intervals narrower. Changed by --set.\ntargets:" in text
    assert text.startswith("# What `inversionlab audit` chose for faces.onnx. Edit it, then:\n")
    # The same again changes nothing; another content is never written over.
    given_model.experiment_of(None, given, ["targets.count=2", "headline=worst"], plan=False)
    with pytest.raises(given_model.ConfigError, match="exists already and holds something else"):
        given_model.experiment_of(None, given, [], plan=False)
    assert (here / "faces.yaml").read_text() == text


def test_whoever_sets_the_attacks_wants_these_alone(validated: list[dict[str, Any]]) -> None:
    given = GivenModel(model="a.b:Net", data=Path("people"), public=Path("strangers"))
    for assigned in ([], ["attacks=[{name: label_only}]"], ["suite=null"]):
        given_model.experiment_of(None, given, assigned, plan=True)
    whole, alone, listed = validated
    assert whole["suite"] == "standard"
    assert ("suite" in alone, alone["attacks"]) == (False, [{"name": "label_only"}])
    assert (listed["suite"], listed["attacks"]) == (None, whole["attacks"])


def test_a_plan_prints_the_choices_and_writes_only_where_it_is_told(
    validated: list[dict[str, Any]], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"model": "a.b:Net", "data": Path("people"), "public": Path("strangers")}
    given_model.experiment_of(None, GivenModel(**given), [], plan=True)
    told = capsys.readouterr().out
    for key in ("victim", "data", "evaluators", "generator", "attacks", "targets"):
        assert re.search(rf"^  {key}: \w.*\.$", told, re.M), key
    assert "The audit will write all of it into Net.yaml." in told
    assert not list(here.glob("*.yaml"))
    given_model.experiment_of(None, GivenModel(**given, write=Path("my.yaml")), [], plan=True)
    assert parse_yaml((here / "my.yaml").read_text())["name"] == "Net"


def test_the_size_that_set_gives_the_model_bounds_the_pictures(
    validated: list[dict[str, Any]],
) -> None:
    for person in ("ann", "bob", "cid"):
        for index in (0, 1):
            Image.new("RGB", (80, 80)).save(Path("people") / person / f"{index}.png")
    given = GivenModel(model="a:B", data=Path("people"), public=Path("strangers"))
    size = "victim.preprocessing.size"
    for assigned in ([], [f"{size}=[60, 48]"], [f"{size}=112"]):
        given_model.experiment_of(None, given, assigned, plan=True)
    assert [recipe["data"]["image_size"] for recipe in validated] == [64, 32, 64]
    assert validated[1]["victim"]["preprocessing"] == {"size": [60, 48]}


def test_a_recipe_is_found_by_name_and_takes_set() -> None:
    experiment = given_model.experiment_of(
        Path("demo"), GivenModel(), ["targets.count=3"], plan=False
    )
    assert (experiment.name, experiment.targets.count) == ("demo", 3)


def test_the_options_know_all_answers_and_all_fields() -> None:
    assert {a.value for a in audit.Answers} == set(get_args(given_settings.Answers))
    given = GivenModel(**{f.name: Path("x") for f in fields(GivenModel)})
    told = CliRunner().invoke(app, ["audit", "--help"], env={"COLUMNS": "200"}).stdout
    assert all(option in told for option in given.typed())
    assert len(given.typed()) == len(fields(GivenModel))
