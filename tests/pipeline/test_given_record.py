"""What a run's record says of a given victim."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from inversionlab.given.raw_model import RawModel
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import GivenModelSettings, PreprocessingSettings
from inversionlab.given.sface import SFACE_SETTINGS
from inversionlab.pipeline.given_record import given_victim_record, in_words
from inversionlab.pipeline.victim_check import FORCED
from inversionlab.recognizers import RecognizerSettings
from inversionlab.results.run_record import GivenVictimRecord


def session(settings: Any, answers: str = "logits", note: str = "") -> Any:
    """As much of a session as the record reads."""
    raw = RawModel(nn.Flatten(), name="m", differentiable=not note, note=note)
    given = settings if isinstance(settings, GivenModelSettings) else GivenModelSettings(model="m")
    model = GivenRecognizer(raw, given, channels=3, answers=answers, classes=7)
    builder = SimpleNamespace(recognizer=lambda role: model, shape=SimpleNamespace(channels=3))
    return SimpleNamespace(experiment=SimpleNamespace(victim=settings), builder=builder)


def record(checked: tuple[str, ...] = (), **settings: Any) -> GivenVictimRecord:
    answers = settings.pop("kind", "logits")
    note = settings.pop("note", "")
    made = given_victim_record(
        session(GivenModelSettings(**settings), answers=answers, note=note), checked
    )
    assert made is not None
    return made


def test_a_trained_victim_has_none() -> None:
    assert given_victim_record(session(RecognizerSettings()), ()) is None


def test_files_are_named_without_their_folders() -> None:
    made = record(model="/home/ann/secret/faces.onnx")
    assert (made.model, made.weights) == ("faces.onnx", "")
    made = record(
        model="net:Net", weights=Path("/home/ann/net.pth"), classes=Path("/home/ann/c.txt")
    )
    assert (made.model, made.weights) == ("net:Net", "net.pth")
    assert "/home" not in made.model_dump_json()
    assert record(model="live").model == "a module handed over from Python"


def test_an_endpoint_is_named_by_its_address_alone() -> None:
    url = "https://host/identify?tenant=4"
    headers = {"Authorization": "FACES_TOKEN"}
    made = record(
        endpoint={"url": url, "headers": headers},
        note="an endpoint gives no gradients",
        kind="top_k",
    )
    assert made.model == "https://host/identify"
    assert (made.answers, made.shows) == ("its largest scores", "scores")
    assert made.why == "an endpoint gives no gradients"
    assert "FACES_TOKEN" not in made.model_dump_json()


def test_what_it_answers_and_shows() -> None:
    assert record(model="m:M", kind="labels").shows == "labels"
    assert record(model="m:M", access="scores").shows == "scores"
    made = record(model="m:M", kind="embedding", answers="embedding", gallery="private", scale=30.0)
    assert made.answers.endswith("the cosine with the enrolled pictures, times 30")
    assert (made.shows, made.people) == ("white box", 7)


def test_what_was_forced_stands_apart() -> None:
    made = record(("it recognizes 3%", f"{FORCED}check the weights"), model="m:M")
    assert made.checked == ("it recognizes 3%",)
    assert made.fault == "check the weights"


@pytest.mark.parametrize(
    ("settings", "channels", "said"),
    [
        ({}, 3, "size as it is; RGB; range 0..1; NCHW"),
        ({}, 1, "size as it is; gray; range 0..1; NCHW"),
        (
            {"size": (112, 96), "fit": "stretch", "colors": "bgr", "range": "0..255"},
            3,
            "resized to 112x96 pixels (stretch); BGR; range 0..255; NCHW",
        ),
        (
            {"size": 160, "mean": (0.5,), "std": (0.25,), "layout": "nhwc"},
            3,
            "resized to 160x160 pixels; RGB; range 0..1; mean 0.5; std 0.25; NHWC",
        ),
    ],
)
def test_a_preprocessing_in_one_line(settings: dict[str, Any], channels: int, said: str) -> None:
    assert in_words(PreprocessingSettings(**settings), channels) == said


def test_an_alignment_in_one_line() -> None:
    line = in_words(SFACE_SETTINGS.preprocessing, 3)
    assert line == "aligned by five points; 112x112 pixels; RGB; range 0..255; NCHW"
