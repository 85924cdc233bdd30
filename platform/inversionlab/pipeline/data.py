"""Stage 1: pictures, person-disjoint splits and targets, and the names under which they are stored."""

from collections.abc import Sequence

import torch

from inversionlab import data
from inversionlab.core import seeds
from inversionlab.core.settings import NAMING, ConfigError, fingerprint
from inversionlab.data.base import Pictures
from inversionlab.data.known_people import known_names, split_known, split_unseen
from inversionlab.data.splits import Splits, split
from inversionlab.experiment import Experiment
from inversionlab.given.settings import GivenModelSettings
from inversionlab.pipeline.manifests import fingerprint_of
from inversionlab.store.storage import Storage

FORMAT = 1
"""Raise it when stored pictures would differ for equal settings."""


def picture_ids(experiment: Experiment, storage: Storage | None = None) -> tuple[str, ...]:
    """The names of the experiment's data sets: the private one and, if there is one, the public one.

    Files that `storage` has a manifest of are not read again, unless `runtime.verify_data` asks for it.

    Raises:
        ConfigError: a source is missing or empty.
    """
    wanted, verify = [experiment.data, experiment.public_data], experiment.runtime.verify_data
    return tuple(
        fingerprint(
            [FORMAT, settings.name, fingerprint_of(data.build(settings), storage, verify=verify)]
        )
        for settings in wanted
        if settings is not None
    )


def data_id(
    experiment: Experiment, pictures: tuple[str, ...], names: tuple[str, ...] | None = None
) -> str:
    """The name of the splits, which depends on the pictures, the split, and whom a given victim knows."""
    cut = experiment.split.model_dump(mode="json", context=NAMING)
    classes = {} if names is None else {"classes": list(names)}
    given = isinstance(experiment.victim, GivenModelSettings)
    known = {"known": True, **classes} if given else {}
    return fingerprint({"pictures": pictures, "split": cut, "seed": experiment.seed, **known})


def cut(
    experiment: Experiment,
    private: Pictures | None,
    public: Pictures | None,
    names: tuple[str, ...] | None = None,
) -> Splits:
    """The experiment's splits. `names` are the classes of a given victim; None: as the data says.

    Raises:
        ConfigError: a set would be empty, two sets overlap, or there are fewer private people than targets.
    """
    splits = _split(experiment, private, public, names)
    wanted, people = experiment.targets, len(attackable(splits))
    end = wanted.skip + wanted.count
    if end > people:
        skipped = f" after targets.skip = {wanted.skip}" if wanted.skip else ""
        raise ConfigError(
            f"targets.count = {wanted.count}{skipped}: there are only {people} private "
            "people; lower it or loosen split.private_min_pictures"
        )
    if wanted.pool is not None and not end <= wanted.pool <= people:
        raise ConfigError(
            f"targets.pool = {wanted.pool}: must hold the targets (targets.skip + targets.count = "
            f"{end}) and be at most {people}, the private people"
        )
    disjoint = [e.name for e in experiment.evaluators if e.protocol == "person_disjoint"]
    if disjoint and not splits.evaluator_people:
        raise ConfigError(
            f"evaluators: `{disjoint[0]}` is person_disjoint, but split.evaluator_min_pictures = "
            f"{experiment.split.evaluator_min_pictures} and the private people leave nobody for it"
        )
    return splits


def _split(
    experiment: Experiment,
    private: Pictures | None,
    public: Pictures | None,
    names: tuple[str, ...] | None,
) -> Splits:
    if private is None:
        assert public is not None, "checked at load"
        return split_unseen(names or (), public)
    if public is not None and public.images_NCHW.shape[1:] != private.images_NCHW.shape[1:]:
        raise ConfigError(
            f"public_data: pictures are {tuple(public.images_NCHW.shape[1:])} (channels, height, width), "
            f"but those of `data` are {tuple(private.images_NCHW.shape[1:])}; make them equal"
        )
    if not isinstance(experiment.victim, GivenModelSettings):
        mine, theirs = experiment.data, experiment.public_data
        alike = mine is None or theirs is None or data.name_people_alike(mine, theirs)
        return split(private, experiment.split, experiment.seed, public, one_naming=alike)
    has_public = public is not None
    names = names or known_names(private, experiment.split, has_public=has_public)
    return split_known(private, names, experiment.split, experiment.seed, public)


def attackable(splits: Splits) -> list[int]:
    """The classes that can be attacked: those with pictures, or all if no private pictures are at hand."""
    shown = splits.train.class_N.unique().tolist()
    return shown or list(range(len(splits.people)))


def choose_people(
    experiment: Experiment, people: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The classes under attack, and those that the person-disjoint evaluators know, drawn by the seed, sorted.

    Both are drawn from the classes `people`.

    The evaluators know the targets and, if `targets.pool` is set, as many classes as it says.
    """
    wanted, stream = experiment.targets, seeds.torch_stream(experiment.seed, "targets")
    drawn = [people[i] for i in torch.randperm(len(people), generator=stream).tolist()]
    targets = tuple(sorted(drawn[wanted.skip : wanted.skip + wanted.count]))
    return targets, targets if wanted.pool is None else tuple(sorted(drawn[: wanted.pool]))
