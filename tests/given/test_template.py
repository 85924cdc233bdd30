"""The documented recipe for a given model is valid, and shows every key under `victim`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from inversionlab.experiment import Experiment, load
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.given.settings import GivenModelSettings, PreprocessingSettings

TEMPLATE = Path(__file__).resolve().parents[2] / "docs" / "own_model.yaml"


def given(path: Path) -> GivenModelSettings:
    experiment = load(path, [])
    assert isinstance(experiment, Experiment)
    assert isinstance(experiment.victim, GivenModelSettings)
    return experiment.victim


def of_an_endpoint(folder: Path) -> Path:
    """The template with the endpoint's lines in place of the model's."""
    text = TEMPLATE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r"#  +\w+:", line)]
    block = "\n".join(line[1:] for line in lines)
    text = re.sub(r"^  (model|arguments|weights): .*\n", "", text, flags=re.MULTILINE)
    path = folder / "endpoint.yaml"
    path.write_text(text.replace("victim:\n", f"victim:\n{block}\n"), encoding="utf-8")
    return path


def test_the_template_is_valid_and_holds_the_defaults() -> None:
    victim = given(TEMPLATE)
    named = {"model", "weights", "stand_in"}
    assert victim.model_dump(exclude=named) == GivenModelSettings(model="m:M").model_dump(
        exclude=named
    )


@pytest.mark.parametrize(
    ("section", "path"),
    [
        (GivenModelSettings, "victim"),
        (PreprocessingSettings, "preprocessing"),
        (EndpointSettings, "endpoint"),
    ],
)
def test_the_template_shows_every_key(section: type[BaseModel], path: str) -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    assert f"{path}:" in text
    missing = [
        k for k in section.model_fields if not re.search(rf"^#? +{k}: ?", text, re.MULTILINE)
    ]
    assert not missing


def test_the_endpoints_lines_are_valid_in_the_models_place(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"latent_white_box.*needs the model's white box view"):
        load(of_an_endpoint(tmp_path), [])
    attacks = "attacks=[{name: label_only}]"
    experiment = load(of_an_endpoint(tmp_path), [attacks])
    assert isinstance(experiment.victim, GivenModelSettings)
    endpoint = experiment.victim.endpoint
    assert endpoint is not None
    assert (endpoint.batch_size, endpoint.budget, endpoint.headers) == (
        16,
        50000,
        {"Authorization": "FACES_TOKEN"},
    )
