"""Splits for a model that exists: its people are private, whether or not there are pictures of them."""

from dataclasses import replace

import torch

from inversionlab.core.settings import ConfigError
from inversionlab.data.base import Pictures
from inversionlab.data.labelled import LabelledRows
from inversionlab.data.names import refuse_twins
from inversionlab.data.namesakes import listed, namesakes
from inversionlab.data.split_settings import EVERYBODY, SplitSettings
from inversionlab.data.splits import Splits, assemble, claims, train_test


def known_names(
    pictures: Pictures, settings: SplitSettings, *, has_public: bool
) -> tuple[str, ...]:
    """The people whom a model knows if nothing but the pictures says so: those who may be private, sorted.

    Raises:
        ConfigError: it is not clear who is private and who is public.
    """
    claimed = claims(pictures.people, settings)
    if "private" in claimed:
        chosen = claimed["private"]
    else:
        if not has_public and "public" not in claimed:
            raise ConfigError(
                "victim.classes: is missing, so it is not known which people of `data` the model knows; name the "
                "file of its classes, put other people into `public_data`, or set split.private"
            )
        others = {p for people in claimed.values() for p in people}
        chosen = set(range(len(pictures.people))) - others
    return tuple(pictures.people[p] for p in sorted(chosen))


def split_known(
    pictures: Pictures,
    names: tuple[str, ...],
    settings: SplitSettings,
    seed: int,
    public: Pictures | None,
) -> Splits:
    """Split the pictures of a model's people, whose class numbers are their positions in `names`.

    People of whom there are too few pictures stay classes without pictures. Whoever is in `data` and not in
    `names` is public only where `split.public` names them.

    Raises:
        ConfigError: nobody has pictures, somebody is neither private nor clearly public, or a set would be empty.
    """
    refuse_twins(names, "victim.classes")
    refuse_twins(pictures.people, "data")
    known_one = "the model knows one of them; spell the folder as in `victim.classes`"
    refuse_twins([*names, *pictures.people], "data", known_one)
    refuse_known(names, public)
    place = {name: index for index, name in enumerate(pictures.people)}
    least = settings.private_min_pictures
    counts = torch.bincount(pictures.person_N, minlength=len(pictures.people)).tolist()
    able = [place[n] if n in place and counts[place[n]] >= least else None for n in names]
    if not any(person is not None for person in able):
        raise ConfigError(_nobody(pictures, names, least))
    claimed, known = claims(pictures.people, settings), set(names)
    strangers = [i for i, name in enumerate(pictures.people) if name not in known]
    chosen = {pictures.people[p] for p in claimed.get("public", ())}
    if private := [name for name in namesakes(names, pictures.people) if name in chosen]:
        raise ConfigError(
            f"split.public: matches {listed(private)}, whom the model knows; public people must be others"
        )
    unclear = [i for i in strangers if i not in claimed.get("public", ())]
    if settings.evaluator_only != EVERYBODY:
        unclear = [i for i in unclear if i not in claimed["evaluator_only"]]
    if unclear:
        raise ConfigError(
            f"data: {len(unclear)} people are not among the model's classes "
            f"({listed(pictures.people[i] for i in unclear)}); correct the names in `victim.classes` or enrol "
            "them in `victim.gallery`, take their folders out, or name them in split.public if the model never "
            "saw them"
        )
    train, test = train_test(pictures, able, settings, seed)
    members = {
        "evaluator_only": sorted(claimed.get("evaluator_only", set())),
        "public": sorted(claimed.get("public", set())),
    }
    evaluator = train_test(pictures, members["evaluator_only"], settings, seed)
    if public is None and not members["public"]:
        raise ConfigError(
            "split.public: nobody is left for the attacker's public set; name a `public_data`, or name in "
            "split.public the people of `data` whom the model never saw"
        )
    splits = assemble(pictures, names, (train, test), members, evaluator, public, settings=settings)
    if public is None or not chosen:
        return splits
    unused = (
        f"{len(chosen)} people of data whom split.public names are in no set: the attacker's people are those of "
        f"public_data ({listed(sorted(chosen))})"
    )
    return replace(splits, notes=(*splits.notes, unused))


def split_unseen(names: tuple[str, ...], public: Pictures) -> Splits:
    """Splits without private pictures: the people are names, and everybody in `public` is public."""
    refuse_known(names, public)
    nothing = LabelledRows.of(())
    return assemble(public, names, (nothing, nothing), {}, (nothing, nothing), public)


def refuse_known(names: tuple[str, ...], public: Pictures | None) -> None:
    """Raise ConfigError if the attacker's public pictures show somebody whom the model knows by name."""
    if both := namesakes(names, public.people) if public is not None else []:
        raise ConfigError(
            f"public_data: shows {len(both)} people whom the model knows ({listed(both)}); the attacker's people "
            "must be others"
        )


def _nobody(pictures: Pictures, names: tuple[str, ...], least: int) -> str:
    shared = [name for name in names if name in set(pictures.people)]
    if shared:
        return (
            f"split.private_min_pictures = {least}: none of the model's {len(names)} people has as many pictures; "
            "lower it"
        )
    return (
        f"data: none of its {len(pictures.people)} people ({listed(pictures.people)}) is one of the model's "
        f"{len(names)} classes ({listed(names)}); name the folders as the classes, or correct `victim.classes` "
        "(or the folders of `victim.gallery`)"
    )
