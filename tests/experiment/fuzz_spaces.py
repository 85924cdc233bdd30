"""Search spaces that a seed spoils: real ones with other domains, keys, start points, goals and bounds."""

from __future__ import annotations

import functools
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.experiment.fuzz import NUMBERS, WORDS, schema

SPACES = sorted((Path(__file__).resolve().parents[2] / "search_spaces").glob("*.py"))
SAFE = tuple(word for word in WORDS if len(word) < 500)
METRICS = (
    "accuracy",
    "attack_success",
    "accuracy_loss",
    "seconds",
    "targets",
    "score",
    "top1",
    "x",
)


RAISED = ("ValueError", "SystemExit", "MemoryError", "Exception")


@dataclass(frozen=True)
class FuzzedSpace:
    """What a seed made."""

    stem: str
    """The module's name."""
    text: str
    """The module."""


def fuzzed_space(seed: int) -> FuzzedSpace:
    """The search space of a seed."""
    rng = random.Random(seed)
    path = rng.choice(SPACES)
    text = path.read_text(encoding="utf-8")
    for _ in range(rng.choice((1, 1, 2, 4))):
        text = _spoiled(rng, text)
    return FuzzedSpace(path.stem, text.encode("utf-8", "replace").decode())


def _spoiled(rng: random.Random, text: str) -> str:
    kind = rng.random()
    if kind < 0.35:
        return _one(rng, text, r"tune\.\w+\([^()]*\)", lambda _: _domain(rng))
    if kind < 0.5:
        added = f"SPACE[{_key(rng)!r}] = {_domain(rng)}"
        start = rng.choice(
            (
                "",
                "\nfor p in START:\n    p.update({k: v.sample() for k, v in SPACE.items() if k not in p})",
            )
        )
        return f"{text}\n{added}{start}\n"
    if kind < 0.6:
        return _one(rng, text, r"\b\d+(\.\d+)?\b(?=[,\]}\)])", lambda _: _literal(rng))
    if kind < 0.75:
        metric, mode = rng.choice(METRICS), rng.choice(("max", "min", "best", 1, None))
        return f"{text}\nOBJECTIVES[{metric!r}] = {mode!r}\n"
    if kind < 0.85:
        return f"{text}\nCONSTRAINTS[{rng.choice(METRICS)!r}] = {_literal(rng)}\n"
    if kind < 0.93:
        name = rng.choice(("SPACE", "START", "OBJECTIVES", "CONSTRAINTS", "OTHER"))
        return f"{text}\n{name} = {_literal(rng)}\n"
    return rng.choice(
        (
            f"{text}\nraise {rng.choice(RAISED)}({rng.choice(SAFE)!r})\n",
            text[: rng.randrange(len(text) + 1)],
            text.replace(
                '"defense.', f'"{rng.choice(SAFE[:20])}.'.replace("\n", "").replace("\0", "")
            ),
            f"{text}\ndef f():\n    return f()\nf()\n",
            f"{text}\nSPACE = SPACE | {{f'defense.k{{i}}': tune.uniform(0, 1) for i in range(2_000)}}\n",
            f"{text}\nSTART = START * 3_000\n",
            f"{text}\x00",
            "",
        )
    )


def _one(rng: random.Random, text: str, pattern: str, new: Any) -> str:
    """The text with one of the places that match replaced."""
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    place = rng.choice(found)
    return text[: place.start()] + new(place) + text[place.end() :]


@functools.cache
def _defense_keys() -> tuple[str, ...]:
    every = schema()["$defs"].values()
    known = {name for option in every for name in option.get("properties", {})}
    return tuple(sorted(f"defense.{name}" for name in known))


def _key(rng: random.Random) -> str:
    return rng.choice(
        (
            rng.choice(_defense_keys()),
            rng.choice(_defense_keys()),
            f"defense.training.{rng.choice(('epochs', 'batch_size', 'learning_rate', 'x'))}",
            f"defense_generator.{rng.choice(('width', 'latent_size', 'training.epochs', 'name'))}",
            rng.choice(SAFE),
            "victim.network.width",
            "defense",
        )
    )


def _domain(rng: random.Random) -> str:
    low, high, step = (_literal(rng) for _ in range(3))
    if rng.random() < 0.6:
        low, high, step = sorted(rng.choice((0.05, 0.5, 1, 2, 5, 40, 10_000)) for _ in range(3))
        low, high, step = repr(low), repr(high), repr(step)
    several = ", ".join(_literal(rng) for _ in range(rng.choice((0, 1, 2, 5, 70))))
    return rng.choice(
        (
            f"tune.uniform({low}, {high})",
            f"tune.loguniform({low}, {high})",
            f"tune.quniform({low}, {high}, {step})",
            f"tune.randint({low}, {high})",
            f"tune.lograndint({low}, {high})",
            f"tune.qrandint({low}, {high}, {step})",
            f"tune.choice([{several}])",
            f"tune.choice([{low}, {high}])",
            f"tune.grid_search([{low}, {high}])",
            "tune.randn(0, 1)",
            "tune.sample_from(lambda s: 1)",
            low,
        )
    )


def _literal(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return (
            repr(rng.choice(NUMBERS)).replace("inf", 'float("inf")').replace("nan", 'float("nan")')
        )
    return rng.choice(
        (
            repr(rng.choice(SAFE)),
            "None",
            "True",
            "[]",
            "{}",
            "()",
            "object()",
            "[1, 2]",
            "{1: 2}",
            "{'x': object()}",
            "10 ** 5000",
            "1 + 2j",
            "b'x'",
            "range(10)",
            "(lambda: 1)",
            "__import__('numpy').float64(0.5)",
            "__import__('numpy').array([0.5])",
            "__import__('torch').tensor(0.5)",
        )
    )
