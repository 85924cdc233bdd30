"""Splits the people of a data set into sets that share nobody.

- private: the victim's people; each person's pictures are split into training and test pictures;
- evaluator-only: people that only a person-disjoint evaluator is trained on, in addition to the targets
  (Kotsuji §5.1, Khosravy §4.2, Yoshimura §V-A);
- decoys: strangers whom the defender keeps secret, for a defense that hides people among others;
- public: everybody else, the attacker's auxiliary set.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor

from inversionlab.core import seeds
from inversionlab.core.rows import Images, rows_of, select
from inversionlab.core.settings import ConfigError, Settings
from inversionlab.data.base import Pictures
from inversionlab.data.labelled import NO_ROWS, Labelled, LabelledRows
from inversionlab.data.names import matching, nobody, refuse_twins

EVERYBODY = ("*",)


class SplitSettings(Settings):
    """Which people go into which set.

    Patterns match identifiers like a shell does (`private/*`), in Unicode's composed form and without case. A name
    that somebody bears is no pattern. A name or pattern that matches nobody is refused.
    """

    private: tuple[str, ...] = EVERYBODY
    """Patterns of the people who may be private."""
    private_min_pictures: int = Field(default=10, ge=2)
    """The least number of pictures of a private person."""
    private_people: int | None = Field(default=None, ge=2)
    """The largest number of private people, drawn by the seed; null: everybody who qualifies."""
    evaluator_only: tuple[str, ...] = EVERYBODY
    """Patterns of the people who may be evaluator-only; they are chosen after the private people."""
    evaluator_min_pictures: int = Field(default=5, ge=2)
    """The least number of pictures of an evaluator-only person."""
    evaluator_people: int | None = Field(default=None, ge=0)
    """The largest number of evaluator-only people; null: everybody who qualifies."""
    decoy_people: int = Field(default=0, ge=0)
    """People whom the defender keeps secret as decoys (`anonymity_set`); the seed draws them after the
    evaluator-only people, and nobody of them is public."""
    decoy_min_pictures: int = Field(default=2, ge=1)
    """The least number of pictures of a decoy."""
    public: tuple[str, ...] = EVERYBODY
    """Patterns of the people who may be public; they are chosen last."""
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of each private and evaluator-only person's pictures that no training sees; at least one picture."""

    @model_serializer(mode="wrap")
    def _as_stored(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the decoys out where there are none, so that the hashes of older recipes stay."""
        without = () if self.decoy_people else ("decoy_people", "decoy_min_pictures")
        return {k: v for k, v in plain(self).items() if k not in without}


@dataclass(frozen=True)
class Splits:
    """The sets, as the pipeline uses them."""

    people: tuple[str, ...]
    """Identifiers of the private people; a person's position is the class number."""
    train: Labelled
    test: Labelled
    evaluator_people: tuple[str, ...]
    evaluator_train: Labelled
    evaluator_test: Labelled
    decoys: Labelled
    """The defender's secret strangers, numbered from 0."""
    public_NCHW: Images
    """uint8 (N, C, H, W): the attacker's pictures, without names."""
    public_person_N: Tensor
    """int64 (N,): the people on them; for evaluators that are trained on public people, never for an attacker."""
    public_people: int
    notes: tuple[str, ...]
    """One line for each thing that was left out."""


def split(
    pictures: Pictures, settings: SplitSettings, seed: int, public: Pictures | None = None
) -> Splits:
    """Split the pictures into person-disjoint sets.

    Args:
        pictures: all pictures of the data set.
        settings: which people go into which set.
        seed: draws the test pictures, and the people where there are more than the settings ask for.
        public: another data set for the attacker; then nobody in `pictures` is public.

    Raises:
        ConfigError: a set would be empty, or two sets would share a person.
    """
    refuse_twins(pictures.people, "data")
    if public is not None and public is not pictures:
        refuse_twins(public.people, "public_data")
    members = _assign_people(pictures, settings, seed, wants_public=public is None)
    private, evaluator = (
        train_test(pictures, members[name], settings, seed)
        for name in ("private", "evaluator_only")
    )
    names = tuple(pictures.people[p] for p in members["private"])
    return assemble(pictures, names, private, members, evaluator, public)


def assemble(
    pictures: Pictures,
    names: tuple[str, ...],
    private: tuple[LabelledRows, LabelledRows],
    members: Mapping[str, Sequence[int]],
    evaluator: tuple[LabelledRows, LabelledRows],
    public: Pictures | None,
) -> Splits:
    """The splits, from the private people's `names` and the rows of their training and test pictures.

    `members` holds the other sets as positions in `pictures.people`. Without `public`, the public pictures are
    those of its "public" people. A public picture that equals one of another set is left out.

    Raises:
        ConfigError: no public picture is left.
    """
    own_P = rows_of(pictures.person_N, len(pictures.people))
    decoys = LabelledRows.of([own_P[p] for p in members.get("decoys", ())])
    parts = (*private, *evaluator, decoys)
    contents = pictures.contents()
    known = {contents[row] for part in parts for row in part.row_N.tolist()}
    notes = list(pictures.skipped)
    if public is not None and public is not pictures:
        notes += public.skipped
    if public is None:
        others = torch.tensor(members["public"], dtype=torch.int64)
        row_N = torch.isin(pictures.person_N, others).nonzero().squeeze(1)
        public, people = pictures, len(members["public"])
    else:
        row_N, people = torch.arange(len(public.person_N)), len(public.people)
    theirs = contents if public is pictures else public.contents()
    fresh_N = torch.tensor([theirs[row] not in known for row in row_N.tolist()], dtype=torch.bool)
    if not bool(fresh_N.all()):
        count = int((~fresh_N).sum())
        notes.append(f"{count} public pictures equal one of another set and were left out")
    row_N = row_N[fresh_N]
    if not len(row_N):
        raise ConfigError(
            "split.public: every public picture equals one of another set; nothing is left"
        )
    return Splits(
        people=names,
        train=private[0].pictures(pictures),
        test=private[1].pictures(pictures),
        evaluator_people=tuple(pictures.people[p] for p in members.get("evaluator_only", ())),
        evaluator_train=evaluator[0].pictures(pictures),
        evaluator_test=evaluator[1].pictures(pictures),
        decoys=decoys.pictures(pictures),
        public_NCHW=select(public.images_NCHW, row_N),
        public_person_N=public.person_N[row_N],
        public_people=people,
        notes=tuple(notes),
    )


def _assign_people(
    pictures: Pictures, settings: SplitSettings, seed: int, *, wants_public: bool
) -> dict[str, list[int]]:
    """The members of each set, as sorted positions in `pictures.people`."""
    counts = torch.bincount(pictures.person_N, minlength=len(pictures.people)).tolist()
    # In this order: each set takes from what the earlier ones leave.
    wanted = {
        "private": (settings.private_min_pictures, settings.private_people),
        "evaluator_only": (settings.evaluator_min_pictures, settings.evaluator_people),
        "decoys": (settings.decoy_min_pictures, settings.decoy_people),
        "public": (1, None),
    }
    if not settings.decoy_people:
        del wanted["decoys"]
    claimed = claims(pictures.people, settings)
    if "private" in claimed:
        _refuse_few(pictures.people, settings, counts)
    taken: set[int] = set()
    members: dict[str, list[int]] = {}
    for name, (minimum, most) in wanted.items():
        others = {p for other, people in claimed.items() if other != name for p in people}
        pool = claimed.get(name, set(range(len(pictures.people))) - others) - taken
        able = sorted(p for p in pool if counts[p] >= minimum)
        if most is not None and len(able) > most:
            order = torch.randperm(len(able), generator=seeds.torch_stream(seed, "split", name))
            able = sorted(able[i] for i in order[:most].tolist())
        members[name] = able
        taken |= set(able)
    if len(members["private"]) < 2:
        raise ConfigError(
            f"split.private: {len(members['private'])} people match {list(settings.private)} with at "
            f"least split.private_min_pictures = {settings.private_min_pictures} pictures; a "
            f"recognizer needs 2 or more (the fullest person has {max(counts, default=0)} pictures)"
        )
    decoys = len(members.get("decoys", ()))
    if decoys < settings.decoy_people:
        raise ConfigError(
            f"split.decoy_people = {settings.decoy_people}: only {decoys} people with at least "
            f"split.decoy_min_pictures = {settings.decoy_min_pictures} pictures are neither private nor "
            "evaluator-only; lower one of the two, or split.evaluator_people"
        )
    if wants_public and not members["public"]:
        raise ConfigError(
            "split.public: nobody is left for the attacker's public set; lower split.private_people, "
            "split.evaluator_people or split.decoy_people, or name a `public_data` of its own"
        )
    return members


def _refuse_few(people: tuple[str, ...], settings: SplitSettings, counts: Sequence[int]) -> None:
    """Refuse a name or pattern of private people none of whom has enough pictures."""
    number = dict(zip(people, counts, strict=True))
    for wanted in settings.private:
        most = max(number[person] for person in matching(wanted, people))
        if most < settings.private_min_pictures:
            raise ConfigError(
                f"split.private: `{wanted}` has {most} pictures at most, and split.private_min_pictures = "
                f"{settings.private_min_pictures}; lower that, or take the name out"
            )


def claims(people: tuple[str, ...], settings: SplitSettings) -> dict[str, set[int]]:
    """The people whom the patterns of each set name, for sets whose patterns are not `EVERYBODY`.

    Raises:
        ConfigError: a pattern names nobody, or the patterns of two sets name the same person.
    """
    found: dict[str, set[int]] = {}
    place = {person: index for index, person in enumerate(people)}
    for name in ("evaluator_only", "private", "public"):
        patterns: tuple[str, ...] = getattr(settings, name)
        if patterns != EVERYBODY:
            meant = {wanted: matching(wanted, people) for wanted in patterns}
            if none := [wanted for wanted, who in meant.items() if not who]:
                raise ConfigError(f"split.{name}: {nobody(none[0], people)}")
            found[name] = {place[person] for who in meant.values() for person in who}
    for first, second in itertools.combinations(found, 2):
        both = sorted(found[first] & found[second])
        if both:
            names = ", ".join(people[p] for p in both[:3])
            raise ConfigError(
                f"split.{first} and split.{second} overlap: {len(both)} people match both "
                f"({names}{', ...' if len(both) > 3 else ''}); the sets must be person-disjoint"
            )
    return found


def train_test(
    pictures: Pictures, people: Sequence[int | None], settings: SplitSettings, seed: int
) -> tuple[LabelledRows, LabelledRows]:
    """The rows of the training and the test pictures of these people, whose class numbers are their positions.

    A class whose person is None has no pictures.
    """
    train: list[Tensor] = []
    test: list[Tensor] = []
    own_P = rows_of(pictures.person_N, len(pictures.people))
    for person in people:
        if person is None:
            train.append(NO_ROWS)
            test.append(NO_ROWS)
            continue
        rows = own_P[person]
        stream = seeds.torch_stream(seed, "test pictures", pictures.people[person])
        rows = rows[torch.randperm(len(rows), generator=stream)]
        held = min(len(rows) - 1, max(1, round(len(rows) * settings.test_fraction)))
        test.append(rows[:held].sort().values)
        train.append(rows[held:].sort().values)
    return LabelledRows.of(train), LabelledRows.of(test)
