"""What a recipe alone says of its people: that nobody is private in one data set and public in the other."""

from pathlib import Path

from inversionlab.core.places import Relation, relation
from inversionlab.core.settings import ConfigError
from inversionlab.data.base import DataSettings
from inversionlab.data.parts import DIGITS, are_apart, share_digits
from inversionlab.experiment import Experiment
from inversionlab.given.settings import GivenModelSettings

_OTHERWISE = "leave public_data out, and `split.public` takes those who are left"
_WHAT_TO_DO: dict[Relation, str] = {
    "is": f"the attacker's people must be others ({_OTHERWISE})",
    "lies in": "private people would be public; give each a folder that holds nothing of the other",
    "holds": "private people would be public; give each a folder that holds nothing of the other",
}


def refuse_same_people(experiment: Experiment) -> None:
    """Look at the settings and at where the folders are; no picture is looked at.

    Raises:
        ConfigError: `public_data` shows the people of `data`, or those whom the victim's gallery enrols.
    """
    mine, theirs, victim = experiment.data, experiment.public_data, experiment.victim
    if theirs is None:
        return
    if isinstance(victim, GivenModelSettings) and isinstance(victim.gallery, Path):
        _refuse_same_place(theirs, "victim.gallery", victim.gallery)
    if mine is None:
        return
    if share_digits(mine, theirs) and not experiment.split.allow_overlap:
        raise ConfigError(
            "public_data: QMNIST holds MNIST's own digits; take its part test50k, or set split.allow_overlap: "
            "true if that is meant; the report then repeats it"
        )
    if are_apart(mine, theirs) or experiment.split.keep_copies:
        return
    seed = getattr(mine, "seed", None)
    if mine.name == theirs.name and seed is not None and seed == getattr(theirs, "seed", None):
        raise ConfigError(
            f"public_data.seed = {seed}: is the seed, so the same people, of `data` itself; the attacker's people "
            f"must be others ({_OTHERWISE})"
        )
    if (root := getattr(mine, "root", None)) is not None and _read_alike(mine, theirs):
        _refuse_same_place(theirs, "data.root", root)


def _read_alike(mine: DataSettings, theirs: DataSettings) -> bool:
    """Whether what one reads in a folder may be what the other reads there: files of digits are no pictures."""
    return mine.name == theirs.name or not DIGITS & {mine.name, theirs.name}


def _refuse_same_place(theirs: DataSettings, key: str, private: Path | str) -> None:
    public = getattr(theirs, "root", None)
    if public is not None and (found := relation(public, private)) is not None:
        raise ConfigError(
            f"public_data.root = {public}: {found} {key} = {private}; {_WHAT_TO_DO[found]}"
        )
