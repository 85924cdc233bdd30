"""Stage 1: pictures, person-disjoint splits and targets, and the names under which they are stored."""

import torch

from inversionlab import data
from inversionlab.core import seeds
from inversionlab.core.settings import ConfigError, fingerprint
from inversionlab.data.base import Pictures
from inversionlab.data.splits import Splits, split
from inversionlab.experiment import Experiment

FORMAT = 1
"""Raise it when stored pictures would differ for equal settings."""


def picture_ids(experiment: Experiment) -> tuple[str, ...]:
    """The names of the experiment's data sets: the private one and, if there is one, the public one.

    Raises:
        ConfigError: a source is missing or empty.
    """
    wanted = [experiment.data, experiment.public_data]
    return tuple(
        fingerprint([FORMAT, settings.name, data.build(settings).fingerprint()])
        for settings in wanted
        if settings is not None
    )


def data_id(experiment: Experiment, pictures: tuple[str, ...]) -> str:
    """The name of the splits: it depends on the pictures and on how they are split."""
    cut = experiment.split.model_dump(mode="json")
    return fingerprint({"pictures": pictures, "split": cut, "seed": experiment.seed})


def cut(experiment: Experiment, private: Pictures, public: Pictures | None = None) -> Splits:
    """The experiment's splits.

    Raises:
        ConfigError: a set would be empty, two sets overlap, or there are fewer private people than targets.
    """
    if public is not None and public.images_NCHW.shape[1:] != private.images_NCHW.shape[1:]:
        raise ConfigError(
            f"public_data: pictures are {tuple(public.images_NCHW.shape[1:])} (channels, height, width), "
            f"but those of `data` are {tuple(private.images_NCHW.shape[1:])}; make them equal"
        )
    _refuse_same_people(experiment)
    splits = split(private, experiment.split, experiment.seed, public)
    wanted, people = experiment.targets, len(splits.people)
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


def _refuse_same_people(experiment: Experiment) -> None:
    """Refuse a `public_data` that shows the people of `data` again."""
    mine, theirs = experiment.data, experiment.public_data
    if theirs is None or theirs.name != mine.name:
        return
    parts = {getattr(mine, "part", None), getattr(theirs, "part", None)}
    if parts == {"train", "test"}:
        return  # The halves of one data set share no picture.
    for key, what in (("root", "folder"), ("seed", "seed, so the same people")):
        value = getattr(mine, key, None)
        if value is not None and value == getattr(theirs, key, None):
            raise ConfigError(
                f"public_data.{key} = {value}: is the {what}, of `data` itself; the attacker's people must "
                "be others (leave public_data out, and `split.public` takes those who are left)"
            )


def choose_people(experiment: Experiment, people: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The classes under attack, and those that the person-disjoint evaluators know, drawn by the seed, sorted.

    The evaluators know the targets and, if `targets.pool` is set, as many classes as it says.
    """
    wanted, stream = experiment.targets, seeds.torch_stream(experiment.seed, "targets")
    drawn: list[int] = torch.randperm(people, generator=stream).tolist()
    targets = tuple(sorted(drawn[wanted.skip : wanted.skip + wanted.count]))
    return targets, targets if wanted.pool is None else tuple(sorted(drawn[: wanted.pool]))
