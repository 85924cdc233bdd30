"""What a run's record says of a given victim, in words. It names files and import paths, never folders."""

from collections.abc import Sequence
from pathlib import Path

from inversionlab.core.views import view_word
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import LIVE, GivenModelSettings, PreprocessingSettings
from inversionlab.pipeline.session import Session
from inversionlab.pipeline.victim_check import FORCED
from inversionlab.results.run_record import GivenVictimRecord

ANSWERS = {
    "auto": "what its answers show",
    "logits": "logits",
    "probabilities": "probabilities",
    "log_probabilities": "log-probabilities",
    "top_k": "its largest scores",
    "labels": "labels alone",
}
"""What a model answers, in words."""


def given_victim_record(session: Session, checked: Sequence[str]) -> GivenVictimRecord | None:
    """What is known of a given victim; None: it was trained here.

    `checked` are the lines that its check said. The victim is built by now.
    """
    settings = session.experiment.victim
    if not isinstance(settings, GivenModelSettings):
        return None
    model = session.builder.recognizer("victim")
    assert isinstance(model, GivenRecognizer)
    embeds = f"an embedding; a person's score is the cosine with the enrolled pictures, times {settings.scale:g}"
    return GivenVictimRecord(
        model=_name(settings),
        weights=settings.weights.name if settings.weights is not None else "",
        answers=ANSWERS.get(model.answers, embeds),
        shows=view_word(model.view).replace("_", " "),
        why=model.raw.note,
        preprocessing=in_words(settings.preprocessing, session.builder.shape.channels),
        people=model.classes,
        checked=tuple(line for line in checked if not line.startswith(FORCED)),
        fault=next((c.removeprefix(FORCED) for c in checked if c.startswith(FORCED)), ""),
    )


def in_words(settings: PreprocessingSettings, channels: int) -> str:
    """A preprocessing in one line, for data of 1 or 3 channels."""
    colors = settings.colors if settings.colors != "auto" else ("rgb" if channels == 3 else "gray")
    size = settings.size if isinstance(settings.size, tuple) else (settings.size,) * 2
    pixels = "" if settings.size is None else f"{size[0]}x{size[1]} pixels"
    if settings.points is not None:
        parts = ["aligned by five points", pixels]
    elif pixels:
        how = f" ({settings.fit})" if size[0] != size[1] else ""
        parts = [f"resized to {pixels}{how}"]
    else:
        parts = ["size as it is"]
    parts += [colors.upper() if colors != "gray" else colors, f"range {settings.range}"]
    for key, numbers in (("mean", settings.mean), ("std", settings.std)):
        if numbers:
            parts.append(f"{key} {', '.join(f'{number:g}' for number in numbers)}")
    return "; ".join(filter(None, [*parts, settings.layout.upper()]))


def _name(settings: GivenModelSettings) -> str:
    if settings.endpoint is not None:
        return settings.endpoint.address
    assert settings.model is not None, "checked at load"
    if settings.model == LIVE:
        return "a module handed over from Python"
    return settings.model if ":" in settings.model else Path(settings.model).name
