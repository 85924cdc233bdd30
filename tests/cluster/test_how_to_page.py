"""The image, the placeholders, and the commands that the cluster's page and manifests name."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from ray._private.runtime_env.packaging import create_package

from inversionlab.core.yaml_io import parse_yaml
from inversionlab.experiment import load

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
YAML = [ROOT / "ray_cluster.yaml", *sorted(CLUSTER.rglob("*.yaml"))]


def _commands() -> list[list[str]]:
    """Every `python jobs/...` command of the page and the manifests, in words."""
    page = (CLUSTER / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    job = parse_yaml((CLUSTER / "kuberay" / "rayjob.yaml").read_text(encoding="utf-8"))
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", page, re.S) for line in block.split("\n")
    ]
    lines.append(job["spec"]["entrypoint"])
    search = parse_yaml((CLUSTER / "kuberay" / "search.yaml").read_text(encoding="utf-8"))
    container = search["spec"]["template"]["spec"]["containers"][0]
    lines += [item["value"] for item in container["env"] if item["name"] == "COMMAND"]
    found = [re.search(r"python (jobs/.*)", line) for line in lines]
    return [shlex.split(match[1]) for match in found if match]


def test_images_buckets_and_accounts_are_placeholders() -> None:
    for path in YAML:
        text = path.read_text(encoding="utf-8")
        for value in re.findall(r"(?:s3|gs)://\S+|image: (?!\*)\S.*|arn:\S+|sg-\w+|ami-\w+", text):
            assert "REPLACE" in value, f"{path.name}: {value}"


def test_the_image() -> None:
    text = (CLUSTER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert [step for step in steps if step.startswith("FROM ")] == ["FROM ${BASE}"]
    (base,) = [step.removeprefix("ARG BASE=") for step in steps if step.startswith("ARG BASE=")]
    name, _, tag = base.partition(":")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # No host before the image's name, a version behind it, and one that the package supports.
    assert name == "python"
    assert re.fullmatch(r"3\.1[123]-slim-\w+", tag)
    assert project["requires-python"] == ">=3.11,<3.14"
    assert [step for step in steps if step.startswith("USER ")] == ["USER 1000:1000"]
    assert not [step for step in steps if "://" in step or "--index" in step or " -i " in step]
    # How a digest takes the tag's place is said where the tag stands.
    assert "--build-arg BASE=" in text
    assert "@sha256:" in text
    install, more = [step for step in steps if "pip install" in step]
    assert "--require-hashes --only-binary :all: -r requirements.lock" in install
    assert "-c constraints.txt ${CLOUD}" in more
    assert 'ARG CLOUD=""' in steps
    copied = [word for step in steps if step.startswith("COPY ") for word in step.split()[1:-1]]
    assert copied == ["constraints.txt", "cluster/requirements.lock"]
    ignored = (CLUSTER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    assert [i for i in ignored if i and i[0] != "#"] == ["*", *(f"!{name}" for name in copied)]
    # `ray up` finds "~" by it, and keeps the token's folder readable by the uid.
    assert "ENV HOME=/home/ray" in text


def test_commands_name_files_options_and_settings_that_exist() -> None:
    commands = _commands()
    assert {words[0] for words in commands} == {"jobs/search.py", "jobs/audit.py"}
    for words in commands:
        for word in words:
            if word.endswith((".py", ".yaml")):
                assert (ROOT / word).is_file(), word
        recipe = next(word for word in words if word.startswith("jobs/recipes/"))
        values = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        runtime = load(ROOT / recipe, values).runtime
        assert runtime.train_resources == {"train": 1.0}
        assert runtime.attack_resources == {"attack": 1.0}
        assert runtime.attack_workers


@pytest.mark.parametrize("script", ["jobs/audit.py", "jobs/search.py"])
def test_scripts_know_the_options(script: str) -> None:
    used = {w for words in _commands() if words[0] == script for w in words if w.startswith("--")}
    shown = subprocess.run(
        [sys.executable, script, "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert not {option for option in used if option not in shown}


def test_results_stay_out_of_the_upload(tmp_path: Path) -> None:
    """Ray's own packing of `--working-dir .`."""
    (tmp_path / "code" / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "code" / "jobs").mkdir()
    (tmp_path / "code" / "runs" / "demo" / "face.png").write_bytes(b"private")
    (tmp_path / "code" / "jobs" / "audit.py").write_text("")
    (tmp_path / "code" / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    package = tmp_path / "package.zip"
    create_package(
        str(tmp_path / "code"), package, include_gitignore=True, include_parent_dir=False
    )
    assert sorted(zipfile.ZipFile(package).namelist()) == [".gitignore", "jobs/audit.py"]
