"""Who is private, who is public, who only the evaluator knows: person-disjoint by construction.

- private: the victim's training set, split into train and test pictures person by person;
- evaluator-only: people that only a person-disjoint evaluator is trained on, beside the targets
  (Kotsuji §5.1, Khosravy §4.2, Yoshimura §V-A);
- public: everybody else; the attacker's auxiliary set.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from inversionlab.core import seeds
from inversionlab.core.settings import ConfigError, Settings
from inversionlab.data.base import Pictures

EVERYBODY = ("*",)


class SplitSettings(Settings):
    """Which people go into which set. Patterns match a person's identifier as a shell would (`private/*`)."""

    private: tuple[str, ...] = EVERYBODY
    """Patterns of the people who may be private."""
    private_min_pictures: int = Field(default=10, ge=2)
    """A private person has at least as many pictures."""
    private_people: int | None = Field(default=None, ge=2)
    """At most as many private people, drawn by the seed; null takes all who qualify."""
    evaluator_only: tuple[str, ...] = EVERYBODY
    """Patterns of the people who may be evaluator-only; they are taken after the private people."""
    evaluator_min_pictures: int = Field(default=5, ge=2)
    """An evaluator-only person has at least as many pictures."""
    evaluator_people: int | None = Field(default=None, ge=0)
    """At most as many evaluator-only people; null takes all who qualify."""
    public: tuple[str, ...] = EVERYBODY
    """Patterns of the people who may be public; they are what the others leave."""
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of each private (and evaluator-only) person's pictures that no training sees; at least one."""


@dataclass(frozen=True)
class Labelled:
    """Pictures with class numbers: uint8 (N, C, H, W) and int64 (N,)."""

    images_NCHW: Tensor
    class_N: Tensor

    def __len__(self) -> int:
        return len(self.images_NCHW)


@dataclass(frozen=True)
class Splits:
    """Everything that the stages ask of the data."""

    people: tuple[str, ...]
    """Identifiers of the private people; a person's place is the class number."""
    train: Labelled
    test: Labelled
    evaluator_people: tuple[str, ...]
    evaluator_train: Labelled
    evaluator_test: Labelled
    public_NCHW: Tensor
    """uint8 (N, C, H, W); the attacker's pictures carry no names."""
    public_person_N: Tensor
    """Who is on them, int64 numbers: for a judge that is trained on outsiders, never for an attacker."""
    public_people: int
    notes: tuple[str, ...]
    """What was left out, one line each."""


def split(
    pictures: Pictures, settings: SplitSettings, seed: int, public: Pictures | None = None
) -> Splits:
    """Cut the pictures into person-disjoint sets.

    Args:
        pictures: all pictures of the data set.
        settings: who goes where.
        seed: draws the people (where there are more than asked for) and the test pictures.
        public: another data set as the attacker's; then nobody in `pictures` is public.

    Raises:
        ConfigError: a set would be empty, or two sets would share a person.
    """
    rooms = _assign_people(pictures, settings, seed, wants_public=public is None)
    source = public if public is not None else pictures
    crowd = range(len(source.people)) if public is not None else rooms["public"]
    public_rows = _rows_of(source, crowd)
    public_images = source.images_NCHW[public_rows]
    train, test = _train_test(pictures, rooms["private"], settings, seed)
    evaluator_train, evaluator_test = _train_test(pictures, rooms["evaluator_only"], settings, seed)
    parts = (train, test, evaluator_train, evaluator_test)
    known = {_digest(x) for part in parts for x in part.images_NCHW}
    fresh = torch.tensor([_digest(x) not in known for x in public_images], dtype=torch.bool)
    notes = list(pictures.skipped) + list(public.skipped if public is not None else ())
    if not bool(fresh.all()):
        count = int((~fresh).sum())
        notes.append(f"{count} public pictures equal a private or a judge's one and were left out")
    if not bool(fresh.any()):
        raise ConfigError(
            "split.public: every public picture equals a private one; nothing is left"
        )
    return Splits(
        people=tuple(pictures.people[p] for p in rooms["private"]),
        train=train,
        test=test,
        evaluator_people=tuple(pictures.people[p] for p in rooms["evaluator_only"]),
        evaluator_train=evaluator_train,
        evaluator_test=evaluator_test,
        public_NCHW=public_images[fresh],
        public_person_N=source.person_N[public_rows][fresh],
        public_people=len(list(crowd)),
        notes=tuple(notes),
    )


def _assign_people(
    pictures: Pictures, settings: SplitSettings, seed: int, *, wants_public: bool
) -> Mapping[str, list[int]]:
    counts = torch.bincount(pictures.person_N, minlength=len(pictures.people)).tolist()
    patterns = {
        "private": settings.private,
        "evaluator_only": settings.evaluator_only,
        "public": settings.public,
    }
    claims = _claims(pictures.people, patterns)
    minimum = {
        "private": settings.private_min_pictures,
        "evaluator_only": settings.evaluator_min_pictures,
        "public": 1,
    }
    most = {"private": settings.private_people, "evaluator_only": settings.evaluator_people}
    taken: set[int] = set()
    rooms: dict[str, list[int]] = {}
    for room in patterns:
        others = {p for other, people in claims.items() if other != room for p in people}
        pool = claims.get(room, set(range(len(pictures.people))) - others) - taken
        able = sorted(p for p in pool if counts[p] >= minimum[room])
        chosen = _draw(able, most.get(room), seed, room)
        rooms[room] = chosen
        taken |= set(chosen)
    _refuse_empty(rooms, counts, settings, wants_public=wants_public)
    return rooms


def _claims(
    people: tuple[str, ...], patterns: Mapping[str, tuple[str, ...]]
) -> dict[str, set[int]]:
    """Who is asked for by an explicit pattern; refuses a person whom two sets ask for."""
    claims = {
        room: {i for i, p in enumerate(people) if any(fnmatch.fnmatchcase(p, w) for w in wanted)}
        for room, wanted in patterns.items()
        if wanted != EVERYBODY
    }
    rooms = sorted(claims)
    for index, first in enumerate(rooms):
        for second in rooms[index + 1 :]:
            both = sorted(claims[first] & claims[second])
            if both:
                names = ", ".join(people[p] for p in both[:3])
                raise ConfigError(
                    f"split.{first} and split.{second} overlap: {len(both)} people match both "
                    f"({names}{', ...' if len(both) > 3 else ''}); the sets must be person-disjoint"
                )
    return claims


def _draw(able: list[int], most: int | None, seed: int, room: str) -> list[int]:
    if most is None or len(able) <= most:
        return able
    order = torch.randperm(len(able), generator=seeds.torch_stream(seed, "split", room))
    return sorted(able[i] for i in order[:most].tolist())


def _refuse_empty(
    rooms: Mapping[str, list[int]],
    counts: list[int],
    settings: SplitSettings,
    *,
    wants_public: bool,
) -> None:
    if len(rooms["private"]) < 2:
        raise ConfigError(
            f"split.private: {len(rooms['private'])} people match {list(settings.private)} with at "
            f"least split.private_min_pictures = {settings.private_min_pictures} pictures; a "
            f"recognizer needs 2 or more (the fullest person has {max(counts, default=0)} pictures)"
        )
    if wants_public and not rooms["public"]:
        raise ConfigError(
            "split.public: nobody is left for the attacker's public set; lower "
            "split.private_people or split.evaluator_people, or name a `public_data` of its own"
        )


def _rows_of(pictures: Pictures, people: range | list[int]) -> Tensor:
    wanted = torch.zeros(len(pictures.people), dtype=torch.bool)
    wanted[list(people)] = True
    return wanted[pictures.person_N].nonzero().squeeze(1)


def _train_test(
    pictures: Pictures, people: list[int], settings: SplitSettings, seed: int
) -> tuple[Labelled, Labelled]:
    train: list[Tensor] = []
    test: list[Tensor] = []
    for person in people:
        rows = (pictures.person_N == person).nonzero().squeeze(1)
        stream = seeds.torch_stream(seed, "test pictures", pictures.people[person])
        rows = rows[torch.randperm(len(rows), generator=stream)]
        held = min(len(rows) - 1, max(1, round(len(rows) * settings.test_fraction)))
        test.append(rows[:held].sort().values)
        train.append(rows[held:].sort().values)
    return _labelled(pictures, train), _labelled(pictures, test)


def _labelled(pictures: Pictures, parts: list[Tensor]) -> Labelled:
    if not parts:
        return Labelled(pictures.images_NCHW[:0], torch.zeros(0, dtype=torch.int64))
    classes = torch.cat([torch.full((len(p),), i, dtype=torch.int64) for i, p in enumerate(parts)])
    return Labelled(pictures.images_NCHW[torch.cat(parts)], classes)


def _digest(image_CHW: Tensor) -> bytes:
    return hashlib.blake2b(image_CHW.numpy().tobytes(), digest_size=16).digest()
