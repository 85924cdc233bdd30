"""The check of a given victim before anything is attacked: does it recognize the people that it is said to know?

A wrong order of the classes, of the channels, or another range of pixels lets a model fail silently, and an audit
would then report that it leaks nothing. So its answers to the private pictures are compared with those under other
readings. If another reading explains the pictures far better, the audit stops with exactly that advice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.core.contracts import as_scoring_model
from inversionlab.core.images import to_float
from inversionlab.core.settings import ConfigError
from inversionlab.data.splits import Labelled
from inversionlab.given.preprocessing import Preprocessing
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import GivenModelSettings, PreprocessingSettings
from inversionlab.metrics import Estimate, wilson
from inversionlab.pipeline.class_order import order_advice
from inversionlab.pipeline.endpoint import LocalEndpoint, settle_answers
from inversionlab.pipeline.enrolment import gallery_lines
from inversionlab.pipeline.evaluate import QUERIES, features, gallery, sample
from inversionlab.pipeline.session import Session

CHUNK = 64
"""Pictures in a forward pass."""
PICTURES = 1000
"""Private pictures that are looked at."""
BETTER = 0.05
"""By how much of all pictures another reading must be better for the audit to stop; it must be significant too."""
SURE = 3.3
"""Standard errors that count as significant."""
FORCED = "goes on by --force, although: "
"""Begins the line on what an audit by `--force` ignores."""

_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
READINGS: tuple[dict[str, Any], ...] = (
    {"range": "0..1", "mean": (), "std": ()},
    {"range": "-1..1", "mean": (), "std": ()},
    {"range": "0..255", "mean": (), "std": ()},
    {"range": "0..1", **_IMAGENET},
    {"range": "0..255", "mean": (127.5,), "std": (128.0,)},
    {"range": "0..255", "mean": (131.0912, 103.8827, 91.4953), "std": ()},
    {"range": "0..255", "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)},
)
"""Preprocessings in use. The first two with channels in either order cover most recognizers of faces."""


@dataclass(frozen=True)
class Recognized:
    """How a model answers the private pictures under one reading."""

    winner_N: Tensor
    """The class with the highest score."""
    correct_N: Tensor
    """bool: whether it is the right one."""

    @property
    def accuracy(self) -> Estimate:
        """The share of correct answers, with its interval."""
        return wilson(int(self.correct_N.sum()), len(self.correct_N))


def check_victim(session: Session, *, force: bool = False) -> Iterator[str]:
    """Check a given victim on the private pictures; yields lines for the user.

    With `force` it goes on where it would stop.

    Raises:
        ConfigError: another reading explains the pictures far better, or the model recognizes nobody.
    """
    settings = session.experiment.victim
    if not isinstance(settings, GivenModelSettings):
        return
    model = session.builder.recognizer("victim")
    assert isinstance(model, GivenRecognizer)
    if isinstance(session.builder.live, LocalEndpoint):
        settle_answers(session, model, session.builder.live())
    splits = session.builder.splits
    if not len(splits.train):
        yield "no private pictures: the model's accuracy is not known, and success cannot be judged"
        return
    # Enrolled pictures would recognize themselves.
    sources = (splits.test,) if model.answers == "embedding" else (splits.train, splits.test)
    pictures = sample(sources, QUERIES if settings.endpoint else PICTURES)
    found = recognize(model, pictures, session.builder.device)
    share = found.accuracy
    yield (
        f"the given model recognizes {share.value:.1%} ({share.low:.1%} to {share.high:.1%}) of {share.count} "
        "pictures; if it was trained on them, it will do worse on new ones"
    )
    yield from gallery_lines(session.experiment, session.builder, splits.people, pictures)
    advice = order_advice(found.winner_N, pictures.class_N, splits.people)
    if advice is None and settings.endpoint is None:
        advice = _reading_advice(model, settings.preprocessing, pictures, found, session)
    chance = 1 / model.classes
    if advice is None and share.low <= chance:
        advice = (
            f"victim: recognizes {share.value:.1%} of the pictures, which is no better than guessing among "
            f"{model.classes} people; check weights, classes and preprocessing"
        )
    if advice is None:
        return
    if not force:
        raise ConfigError(f"{advice} (--force attacks it as it is)")
    yield f"{FORCED}{advice}"


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
        winner_N = (functional.normalize(asked_ND) @ means_KD.T).argmax(1)
        return Recognized(winner_N, winner_N == pictures.class_N)
    ask = as_scoring_model(model).log_scores
    with torch.no_grad():
        parts = [
            ask(to_float(x, device)).argmax(1).cpu() for x in pictures.images_NCHW.split(CHUNK)
        ]
    winner_N = torch.cat(parts)
    return Recognized(winner_N, winner_N == pictures.class_N)


def _reading_advice(
    model: GivenRecognizer,
    given: PreprocessingSettings,
    pictures: Labelled,
    found: Recognized,
    session: Session,
) -> str | None:
    """The reading of pictures that is far better than the given one, if there is one."""
    builder = session.builder
    own, device, channels = model.preprocessing, builder.device, builder.shape.channels
    enrolled = None
    if model.answers == "embedding":
        # The gallery must be read in the same way as the pictures that are compared with it.
        enrolled = sample((builder.splits.train,), PICTURES)
        found = recognize(model, pictures, device, enrolled)
    best: tuple[int, dict[str, Any], Recognized] | None = None
    for changes in _other_readings(given, channels):
        model.preprocessing = Preprocessing(given.model_copy(update=changes), channels).to(device)
        other = recognize(model, pictures, device, enrolled)
        # McNemar's test: only the pictures on which the two readings differ say which is better.
        gained = int((other.correct_N & ~found.correct_N).sum())
        lost = int((found.correct_N & ~other.correct_N).sum())
        sure = gained - lost > SURE * (gained + lost) ** 0.5
        better = sure and gained - lost > BETTER * len(pictures)
        if better and (best is None or gained - lost > best[0]):
            best = (gained - lost, changes, other)
    model.preprocessing = own
    if best is None:
        return None
    _, changes, other = best
    said = ", ".join(f"{k}: {_plain(v)}" for k, v in changes.items() if v != getattr(given, k))
    return (
        f"victim.preprocessing: with {{{said}}} the model recognizes {other.accuracy.value:.1%} of the pictures, "
        f"and {found.accuracy.value:.1%} as given; correct it"
    )


def _other_readings(given: PreprocessingSettings, channels: int) -> Iterator[dict[str, Any]]:
    """Changes of the preprocessing to try: the order of the channels, the pixels' range, and the mean."""
    colors = ["bgr", "rgb"] if channels == 3 and given.colors != "gray" else [given.colors]
    now = "rgb" if given.colors == "auto" and channels == 3 else given.colors
    for reading in ({"range": given.range, "mean": given.mean, "std": given.std}, *READINGS):
        wide = max(len(reading["mean"]), len(reading["std"]))
        if wide > 1 and (channels != 3 or given.colors == "gray"):
            continue
        for color in colors:
            changes = {**reading, "colors": color} if color != now else dict(reading)
            if any(getattr(given, key) != value for key, value in changes.items()):
                yield changes


def _plain(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
