"""The check of a given victim before anything is attacked: does it recognize the people that it is said to know?

A wrong order of the classes, of the channels, or another range of pixels lets a model fail silently, and an audit
would then report that it leaks nothing. So its answers to the private pictures are compared with those in another
order of the classes (`class_order.py`) and under other readings of the pictures (`readings.py`). If one of them
explains the pictures far better, the audit stops with exactly that advice.
"""

from collections import Counter
from collections.abc import Iterator
from typing import cast

from inversionlab.core.settings import ConfigError
from inversionlab.data.labelled import Labelled
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import GivenModelSettings
from inversionlab.pipeline.class_order import EQUAL, SURE, other_order
from inversionlab.pipeline.compiled import compiled
from inversionlab.pipeline.endpoint import LocalEndpoint, settle_answers
from inversionlab.pipeline.enrolment import enrolled, gallery_lines
from inversionlab.pipeline.evaluate import QUERIES, sample
from inversionlab.pipeline.readings import Recognized, better_reading, recognize
from inversionlab.pipeline.session import Session

PICTURES = 1000
"""Private pictures that are looked at."""
ENOUGH = 0.95
"""Share of the pictures that another order explains for no other reading to be tried."""
FORCED = "goes on by --force, although: "
"""Begins the line on what an audit by `--force` ignores."""


def check_victim(session: Session, *, force: bool = False) -> Iterator[str]:
    """Check a given victim on the private pictures; yields lines for the user.

    With `force` it goes on where it would stop.

    Raises:
        ConfigError: another order or reading explains the pictures far better, or the model recognizes nobody.
    """
    settings = session.experiment.victim
    if not isinstance(settings, GivenModelSettings):
        return
    builder = session.builder
    model = builder.recognizer("victim")
    assert isinstance(model, GivenRecognizer)
    if isinstance(builder.live, LocalEndpoint):
        settle_answers(session, model, builder.live())
    splits = builder.splits
    if not len(splits.train):
        yield "no private pictures: the model's accuracy is not known, and success cannot be judged"
        return
    # Enrolled pictures would recognize themselves.
    sources = (splits.test,) if settings.gallery == "private" else (splits.train, splits.test)
    pictures = sample(sources, QUERIES if settings.endpoint else PICTURES)
    # As attacks run it.
    attacked = cast(GivenRecognizer, compiled(model, session.plan.precision))
    found = recognize(attacked, pictures, builder.device)
    share = found.accuracy
    yield (
        f"the given model recognizes {share.value:.1%} ({share.low:.1%} to {share.high:.1%}) of {share.count} "
        "pictures; if it was trained on them, it will do worse on new ones"
    )
    yield from gallery_lines(session.experiment, session.builder, splits.people, pictures)
    advice = _advice(session, settings, model, pictures, found)
    if advice is None:
        guessed = _guessed(found, pictures, model.classes)
        if share.low <= guessed and share.high >= (1 + guessed) / 2:
            yield "these are too few pictures to tell it from guessing"
    elif not force:
        raise ConfigError(f"{advice} (--force attacks it as it is)")
    else:
        yield f"{FORCED}{advice}"


def _advice(
    session: Session,
    settings: GivenModelSettings,
    model: GivenRecognizer,
    pictures: Labelled,
    found: Recognized,
) -> str | None:
    """What is wrong and what to write; None if nothing is."""
    people, count = session.builder.splits.people, len(pictures)
    unsure = int((found.winner_N < 0).sum())
    if unsure:
        return (
            f"victim: answers NaN to {unsure} of {count} private pictures; its weights may be damaged, or "
            "victim.preprocessing is not what it was trained with"
        )
    order = other_order(found.winner_N, pictures.class_N, people)
    reading = None
    if settings.endpoint is None and (order is None or order.correct < ENOUGH * count):
        known = None
        if model.answers == "embedding":
            # The gallery must be read in the same way as the pictures that are compared with it.
            known = sample((enrolled(session.experiment, session.builder, people)[0],), PICTURES)
        reading = better_reading(
            model, model.settings.preprocessing, pictures, found, session.builder.device, known
        )
    # A wrong reading confuses people too, and a wrong order spoils every reading; the better explanation is right.
    if reading and (order is None or reading.found.correct >= order.correct - EQUAL * count):
        return reading.advice
    if order is not None:
        file = "" if settings.classes is None else str(settings.classes)
        return order.advice(people, found.correct, count, file)
    guessed = _guessed(found, pictures, model.classes)
    bound = count * guessed + SURE * (count * guessed * (1 - guessed)) ** 0.5
    if found.correct <= bound and found.accuracy.high < (1 + guessed) / 2:
        return (
            f"victim: recognizes {found.accuracy.value:.1%} of the pictures, which is no better than guessing "
            f"among {model.classes} people ({guessed:.1%}); check victim.weights, victim.classes (one class per "
            "line, in the order of the model's scores) and victim.preprocessing"
        )
    return None


def _guessed(found: Recognized, pictures: Labelled, classes: int) -> float:
    """The share of pictures that these answers would recognize if they had nothing to do with the pictures.

    A model that always names the person with most pictures is right more often than one in K.
    """
    said, shown = Counter(found.winner_N.tolist()), Counter(pictures.class_N.tolist())
    by_chance = sum(said[k] * shown[k] for k in said) / len(pictures) ** 2
    return max(by_chance, 1 / classes)
