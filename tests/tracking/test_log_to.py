"""What `--log-to` takes, and what it refuses before anything is done."""

from __future__ import annotations

import importlib.util

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.tracking import log_to
from inversionlab.tracking.log_to import read_log_to, without_secrets

GOOD = ["mlflow:http://127.0.0.1:5000", "wandb:faces", "wandb:team/faces", "mlflow:https://host/x"]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_services_are_kept_in_their_order_and_once() -> None:
    found = read_log_to([*GOOD, GOOD[0]], pictures=False)
    assert found.services == tuple(GOOD)
    assert not found.pictures
    assert read_log_to([], pictures=True).services == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("comet:x", "`mlflow:URI` or `wandb:PROJECT`"),
        ("", "is not a known service"),
        ("mlflow", "such as mlflow:http://127.0.0.1:5000"),
        ("mlflow:", "such as mlflow:"),
        ("mlflow:localhost:5000", "such as mlflow:"),
        ("mlflow:http://host:port", "is not an address"),
        ("wandb:", "such as wandb:faces"),
        ("wandb:a/b/c", "TEAM/PROJECT"),
        ("wandb:a b", "such as wandb:faces"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match="--log-to") as caught:
        read_log_to([given], pictures=True)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        "mlflow:http://me:hunter2@host:5000",
        "mlflow:https://hunter2@host",
        "mlflow:https://host/?token=hunter2",
        "mlflow:https://me:9/hunter2@host",
        "mlflow:https://me:hunter2/x@host",
        "mlflow:https://me:hunter2",
        "mlflow:https://host/x;token=hunter2",
        "mlflow:https://host/#hunter2",
        "https://me:hunter2@host",
        "wandb:https://hunter2@host",
    ],
)
def test_no_secret_is_taken_or_shown(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_log_to([given], pictures=True)
    assert "hunter2" not in str(caught.value)


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for service in log_to.SERVICES:
        with pytest.raises(ConfigError, match=rf"pip install 'inversionlab\[{service}\]'"):
            read_log_to([next(g for g in GOOD if g.startswith(service))], pictures=True)


def test_a_secret_of_the_environment_is_taken_out_of_what_a_service_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123abcd")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "")
    assert without_secrets("key 0123abcd is wrong") == "key *** is wrong"
