"""Other readings of the pictures, under which a given model might recognize far more of them.

A reading is the order of the channels, the range of the pixels, and mean and std. Those in use are tried, first
on a few pictures. Among readings that are about equally good, the simplest is advised.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.core.contracts import as_scoring_model
from inversionlab.core.images import to_float
from inversionlab.core.rows import gathered
from inversionlab.core.settings import ConfigError
from inversionlab.data.labelled import Labelled
from inversionlab.given.preprocessing import Preprocessing
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import PreprocessingSettings
from inversionlab.metrics import Estimate, wilson
from inversionlab.pipeline.class_order import SURE, simplest
from inversionlab.pipeline.evaluate import features, gallery

CHUNK = 64
"""Pictures in a forward pass."""
FIRST = 150
"""Pictures on which all readings are tried."""
MOST = 4
"""Readings that are tried on all pictures."""
BETTER = 0.05
"""Share of all pictures by which another reading must be better; it must be significantly better too."""
MENDED = 0.25
"""Share of the mistakes that it must mend."""

_PLAIN: dict[str, Any] = {"mean": (), "std": ()}
READINGS: tuple[dict[str, Any], ...] = (
    {"range": "0..1", **_PLAIN},
    {"range": "-1..1", **_PLAIN},
    {"range": "0..255", **_PLAIN},
    {"range": "0..1", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    {"range": "0..255", "mean": (127.5,), "std": (128.0,)},
    {"range": "0..255", "mean": (131.0912, 103.8827, 91.4953), "std": ()},
    {"range": "0..255", "mean": (123.68, 116.779, 103.939), "std": ()},
)
"""Preprocessings in use, with means in the order RGB; the last four are those of ImageNet, facenet, VGGFace2 and
Caffe."""


@dataclass(frozen=True)
class Recognized:
    """How a model answers the private pictures under one reading."""

    winner_N: Tensor
    """The class with the highest score; -1 where the scores are not numbers."""
    correct_N: Tensor
    """bool: whether it is the right one."""

    @property
    def correct(self) -> int:
        """Pictures that it recognizes."""
        return int(self.correct_N.sum())

    @property
    def accuracy(self) -> Estimate:
        """Their share, with its interval."""
        return wilson(self.correct, len(self.correct_N))


@dataclass(frozen=True)
class Reading:
    """A reading that is far better than the given one."""

    advice: str
    """What is wrong, and what to write."""
    found: Recognized


def recognize(
    model: GivenRecognizer,
    pictures: Labelled,
    device: torch.device,
    enrolled: Labelled | None = None,
) -> Recognized:
    """The model's answers to some pictures; of an embedding with `enrolled` pictures in place of its gallery."""
    if enrolled is not None:
        known_ND = features(model, enrolled.images_NCHW, device)
        asked_ND = features(model, pictures.images_NCHW, device)
        means_KD = gallery(known_ND, enrolled.class_N, model.classes)
        parts = (_winners(x @ means_KD.T) for x in functional.normalize(asked_ND).split(CHUNK))
        winner_N = gathered(parts, len(pictures))
    else:
        ask, chunks = as_scoring_model(model).log_scores, pictures.images_NCHW.split(CHUNK)
        with torch.no_grad():
            winner_N = gathered((_winners(ask(to_float(x, device))) for x in chunks), len(pictures))
    return Recognized(winner_N, winner_N == pictures.class_N)


def _winners(score_NK: Tensor) -> Tensor:
    """The class (N,) of the largest score; -1 where a score is no number."""
    return torch.where(score_NK.isnan().any(1), -1, score_NK.argmax(1))


def better_reading(
    model: GivenRecognizer,
    given: PreprocessingSettings,
    pictures: Labelled,
    own: Recognized,
    device: torch.device,
    enrolled: Labelled | None = None,
) -> Reading | None:
    """The simplest reading under which the model recognizes far more of the pictures; None if there is none.

    Args:
        model: the model; its preprocessing is as it was when this returns.
        given: the preprocessing that the recipe says.
        pictures: private pictures of all people, with their classes.
        own: what it recognizes of them as given.
        device: where the model is.
        enrolled: for an embedding, pictures that take the place of its gallery.
    """
    if enrolled is not None:
        own = recognize(model, pictures, device, enrolled)
    if _least(own) > len(pictures) - own.correct:
        # So few are not recognized that no reading can be far better.
        return None
    channels = pictures.images_NCHW.shape[1]

    def under(changes: Mapping[str, Any], shown: Labelled) -> Recognized:
        before = model.preprocessing
        try:
            model.preprocessing = Preprocessing(given.model_copy(update=changes), channels).to(
                device
            )
            return recognize(model, shown, device, enrolled)
        except ConfigError:
            # The model fails on such pictures.
            nobody_N = torch.full_like(shown.class_N, -1)
            return Recognized(nobody_N, nobody_N == shown.class_N)
        finally:
            model.preprocessing = before

    few = _spread(pictures, FIRST)
    changes = list(_other_readings(given, channels))
    tried = [under(c, few).correct for c in changes]
    likely = sorted(range(len(changes)), key=lambda i: -tried[i])[:MOST]
    found = [(changes[i], under(changes[i], pictures)) for i in sorted(likely)]
    better = [(c, other) for c, other in found if _far_better(other, own)]
    best = simplest(better, len(pictures), lambda pair: pair[1].correct)
    if best is None:
        return None
    return Reading(_advice(given, *best, own), best[1])


def _least(own: Recognized) -> float:
    """By how many pictures another reading must be better."""
    count = len(own.correct_N)
    return max(BETTER * count, MENDED * (count - own.correct))


def _far_better(other: Recognized, own: Recognized) -> bool:
    # McNemar's test: only the pictures on which the two readings differ say which is better.
    gained = int((other.correct_N & ~own.correct_N).sum())
    lost = int((own.correct_N & ~other.correct_N).sum())
    return gained - lost >= _least(own) and gained - lost > SURE * (gained + lost) ** 0.5


def _spread(pictures: Labelled, count: int) -> Labelled:
    """At most `count` of the pictures, spread over all of them."""
    rows = torch.linspace(0, len(pictures) - 1, min(count, len(pictures))).round().long()
    return pictures.select(rows)


def _other_readings(given: PreprocessingSettings, channels: int) -> Iterator[dict[str, Any]]:
    """Changes of the preprocessing to try, those of fewer keys first."""
    coloured = channels == 3 and given.colors != "gray"
    now = "rgb" if given.colors == "auto" else given.colors
    readings = []
    for reading in ({"range": given.range, "mean": given.mean, "std": given.std}, *READINGS):
        if not coloured and max(len(reading["mean"]), len(reading["std"])) > 1:
            continue
        for color in ("rgb", "bgr") if coloured else (now,):
            changes = dict(reading)
            if color != now:
                changes["colors"] = color
            if color == "bgr" and reading in READINGS:
                changes |= {key: reading[key][::-1] for key in ("mean", "std")}
            changes = {k: v for k, v in changes.items() if v != getattr(given, k)}
            if changes and changes not in readings:
                readings.append(changes)
    yield from sorted(readings, key=len)


def _advice(
    given: PreprocessingSettings, changes: dict[str, Any], other: Recognized, own: Recognized
) -> str:
    was = ", ".join(f"{key}: {_plain(getattr(given, key))}" for key in changes)
    said = ", ".join(f"{key}: {_plain(value)}" for key, value in changes.items())
    typed = " ".join(f"--set 'victim.preprocessing.{k}={_plain(v)}'" for k, v in changes.items())
    return (
        f"victim.preprocessing: as given ({was}) the model recognizes {own.accuracy.value:.1%} of the pictures, "
        f"and {other.accuracy.value:.1%} with {said}; write that, or add {typed}"
    )


def _plain(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
