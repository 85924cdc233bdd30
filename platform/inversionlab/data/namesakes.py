"""People of one name in two data sets, of whom one is private and the other public.

The folders above a person's do not count: `staff/ann` is `ann`, and it is `web/ann` unless somebody else of the
same set ends in `/ann` too, as with `a/photos` and `b/photos`. `_` counts as a blank, since published sets write
names in either way.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from inversionlab.core.settings import ConfigError
from inversionlab.data.duplicates import DECOYS, EVALUATOR
from inversionlab.data.names import folded

SHOWN = 3
"""Names that an error text lists."""
_ADVICE = (
    "the attacker's people must be others: take them out of one of the two sets, rename those who are somebody "
    "else, or set split.allow_overlap: true if that is meant; the report then repeats it"
)


def namesakes(known: Sequence[str], shown: Iterable[str], among: Sequence[str] = ()) -> list[str]:
    """Those of `shown` who have the name of somebody in `known`, sorted.

    `among` are all people of the set that `known` is a part of, if they are more.
    """
    mine, theirs = _called([*known, *among]), _called(shown)
    whole = {mine[name].whole for name in known}
    last = {mine[name].last for name in known}
    own = {mine[name].last for name in known if mine[name].alone}
    return sorted(
        name
        for name, other in theirs.items()
        if other.whole in whole | last or other.last in whole or (other.alone and other.last in own)
    )


def refuse_namesakes(
    members: Mapping[str, Sequence[str]],
    among: Sequence[str],
    public: Iterable[str],
    *,
    allowed: bool,
) -> list[str]:
    """One line for each set of `members` some of whose people have the name of a public person.

    `among` are all people of the data set that the members are from.

    Raises:
        ConfigError: it is a set of people who must not be public, and that is not allowed.
    """
    shown, lines = list(public), []
    for kind, people in members.items():
        if both := namesakes(people, shown, among):
            whom = kind if kind == DECOYS else f"{kind} people"
            lines.append(f"{len(both)} public people have the names of {whom} ({listed(both)})")
            if kind != EVALUATOR and not allowed:
                raise ConfigError(f"public_data: {lines[-1]}; {_ADVICE}")
    return lines


def listed(names: Iterable[str]) -> str:
    """The first of the names."""
    every = list(names)
    return ", ".join(every[:SHOWN]) + (", ..." if len(every) > SHOWN else "")


class _Called(NamedTuple):
    """What a person is called, in the form that is compared."""

    whole: str
    last: str
    """What is behind the last `/`."""
    alone: bool
    """Whether nobody else of the set has the same last part."""


def _called(people: Iterable[str]) -> dict[str, _Called]:
    whole = {name: folded(name.replace("_", " ")) for name in people}
    last = {name: PurePosixPath(form).name for name, form in whole.items()}
    count = Counter(last.values())
    return {name: _Called(form, last[name], count[last[name]] == 1) for name, form in whole.items()}
