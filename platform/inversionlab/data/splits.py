"""Splits the people of a data set into sets that share nobody.

- private: the victim's people; each person's pictures are split into training and test pictures;
- evaluator-only: people that only a person-disjoint evaluator is trained on, in addition to the targets
  (Kotsuji §5.1, Khosravy §4.2, Yoshimura §V-A);
- decoys: strangers whom the defender keeps secret, for a defense that hides people among others;
- public: everybody else, the attacker's auxiliary set.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inversionlab.core import seeds
from inversionlab.core.rows import Images, rows_of, select
from inversionlab.core.settings import ConfigError
from inversionlab.data.base import Pictures
from inversionlab.data.duplicates import (
    DECOYS,
    EVALUATOR,
    PRIVATE,
    PUBLIC,
    Part,
    find_equal,
    unknown,
)
from inversionlab.data.duplicates import notes as duplicate_notes
from inversionlab.data.labelled import NO_ROWS, Labelled, LabelledRows
from inversionlab.data.names import matching, nobody, refuse_twins
from inversionlab.data.namesakes import refuse_namesakes
from inversionlab.data.split_settings import EVERYBODY, SplitSettings


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
    pictures: Pictures,
    settings: SplitSettings,
    seed: int,
    public: Pictures | None = None,
    *,
    one_naming: bool = True,
) -> Splits:
    """Split the pictures into person-disjoint sets.

    Args:
        pictures: all pictures of the data set.
        settings: which people go into which set.
        seed: draws the test pictures, and the people where there are more than the settings ask for.
        public: another data set for the attacker; then nobody in `pictures` is public.
        one_naming: whether a name means the same person in `pictures` and in `public`.

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
    shared = []
    if public is not None and one_naming:
        sets = {PRIVATE: "private", EVALUATOR: "evaluator_only", DECOYS: "decoys"}
        people = {
            kind: [pictures.people[p] for p in members.get(s, ())] for kind, s in sets.items()
        }
        shared = refuse_namesakes(
            people, pictures.people, public.people, allowed=settings.allow_overlap
        )
    splits = assemble(pictures, names, private, members, evaluator, public, settings=settings)
    return replace(splits, notes=(*splits.notes, *shared))


def assemble(
    pictures: Pictures,
    names: tuple[str, ...],
    private: tuple[LabelledRows, LabelledRows],
    members: Mapping[str, Sequence[int]],
    evaluator: tuple[LabelledRows, LabelledRows],
    public: Pictures | None,
    *,
    settings: SplitSettings | None = None,
) -> Splits:
    """The splits, from the private people's `names` and the rows of their training and test pictures.

    `members` holds the other sets as positions in `pictures.people`. Without `public`, the public pictures are
    those of its "public" people. A public picture that equals one of another set is left out, unless the settings
    keep copies.

    Raises:
        ConfigError: no public picture is left, or sets share pictures and the settings do not allow it.
    """
    options = settings or SplitSettings()
    own_P = rows_of(pictures.person_N, len(pictures.people))
    hidden, others = members.get("decoys", ()), members.get("evaluator_only", ())
    decoys = LabelledRows.of([own_P[p] for p in hidden])
    strangers = tuple(pictures.people[p] for p in others)
    secret = tuple(pictures.people[p] for p in hidden)
    digest_N2 = pictures.digests()
    known = [
        _part(PRIVATE, digest_N2, private[0], names),
        _part(PRIVATE, digest_N2, private[1], names, test=True),
        _part(EVALUATOR, digest_N2, evaluator[0], strangers),
        _part(EVALUATOR, digest_N2, evaluator[1], strangers, test=True),
        _part(DECOYS, digest_N2, decoys, secret),
    ]
    notes = list(pictures.skipped)
    if public is not None and public is not pictures:
        notes += public.skipped
    shown = pictures if public is None else public
    if public is None:
        row_N = torch.isin(pictures.person_N, torch.tensor(members["public"], dtype=torch.int64))
        row_N, people = row_N.nonzero().squeeze(1), len(members["public"])
    else:
        row_N, people = torch.arange(len(public.person_N)), len(public.people)
    theirs_N2 = digest_N2 if shown is pictures else shown.digests()
    free = Part(PUBLIC, theirs_N2[row_N.numpy()], shown.person_N[row_N].numpy(), shown.people)
    notes += duplicate_notes(find_equal([*known, free]), allowed=options.allow_overlap)
    fresh_N = torch.from_numpy(unknown(free, known))
    if not bool(fresh_N.all()):
        count = int((~fresh_N).sum())
        kept = "stay: the attacker holds them (split.keep_copies)"
        what = kept if options.keep_copies else "were left out"
        notes.append(f"{count} public pictures equal one of another set and {what}")
    row_N = row_N if options.keep_copies else row_N[fresh_N]
    if not len(row_N):
        raise ConfigError(
            "split.public: every public picture equals one of another set; nothing is left"
        )
    return Splits(
        people=names,
        train=private[0].pictures(pictures),
        test=private[1].pictures(pictures),
        evaluator_people=strangers,
        evaluator_train=evaluator[0].pictures(pictures),
        evaluator_test=evaluator[1].pictures(pictures),
        decoys=decoys.pictures(pictures),
        public_NCHW=select(shown.images_NCHW, row_N),
        public_person_N=shown.person_N[row_N],
        public_people=people,
        notes=tuple(notes),
    )


def _part(
    kind: str,
    digest_N2: NDArray[np.uint64],
    rows: LabelledRows,
    people: Sequence[str],
    *,
    test: bool = False,
) -> Part:
    return Part(kind, digest_N2[rows.row_N.numpy()], rows.class_N.numpy(), people, test)


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
                f"split.private: `{wanted}` has {most} pictures at most, but split.private_min_pictures = "
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
