"""How people's names are compared: without case, blanks at the ends, and what cannot be seen.

Two spellings that look alike must never make two people, of whom one is private and the other public.
"""

import difflib
import fnmatch
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache

from inversionlab.core.settings import ConfigError
from inversionlab.core.text import is_text

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What Unicode lets a text leave out when it is shown, besides format characters (category Cf)."""


@lru_cache(maxsize=1 << 16)
def folded(name: str) -> str:
    """The form of a name that is compared: NFKC, without case, invisible characters and needless blanks."""
    # What stands between a letter and its accent would keep them apart.
    visible = "".join(c for c in _INVISIBLE.sub("", name) if unicodedata.category(c) != "Cf")
    composed = unicodedata.normalize("NFKC", visible)
    composed = unicodedata.normalize("NFKC", composed.casefold())
    return "/".join(" ".join(part.split()) for part in composed.split("/"))


def alike(names: Iterable[str], form: Callable[[str], str] = folded) -> list[list[str]]:
    """The groups of two or more different names that have the same form."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[form(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


JOIN = "join their folders if they are one person, else rename one"


def refuse_twins(people: Iterable[str], what: str, advice: str = JOIN) -> None:
    """Raise ConfigError, with this advice, if the names of two of the people have the same form."""
    if twins := alike(people):
        first, second = twins[0][:2]
        # Two forms of one character look the same, so the code points tell them apart.
        raise ConfigError(
            f"{what}: {first!a} and {second!a} differ only in case, in blanks, in characters that cannot be seen, "
            f"or in how characters are encoded ({len(twins)} such groups); {advice}"
        )


def refuse_equal_numbers(people: Iterable[str], what: str) -> None:
    """Raise ConfigError if two of the people, whose names are numbers, have the same number: 7 and 007."""
    numbers = (name for name in people if folded(name).isdecimal())
    if twins := alike(numbers, lambda name: folded(name).lstrip("0")):
        first, second = twins[0][:2]
        raise ConfigError(
            f"{what}: {first!a} and {second!a} are the same number ({len(twins)} such groups); write each "
            "person's number in one way"
        )


def refuse_no_text(people: Iterable[str], what: str) -> None:
    """Raise ConfigError if a name has bytes, or half a character, that UTF-8 has not."""
    if wrong := [name for name in people if not is_text(name)]:
        raise ConfigError(
            f"{what}: the name {wrong[0]!a} is not text in UTF-8 ({len(wrong)} such names); rename it"
        )


def matching(wanted: str, people: Iterable[str]) -> list[str]:
    """The people whom a name or a shell pattern means. A name that somebody bears is no pattern."""
    names = list(people)
    form = folded(wanted)
    if exact := [name for name in names if folded(name) == form]:
        return exact
    return [name for name in names if fnmatch.fnmatchcase(folded(name), form)]


def nobody(wanted: str, people: Iterable[str]) -> str:
    """What is wrong with a name or pattern that means nobody, and whom it may have meant."""
    close = difflib.get_close_matches(folded(wanted), [folded(name) for name in people], 1, 0.6)
    hint = next((f"; did you mean `{name}`?" for name in people if folded(name) in close), "")
    return f"`{wanted}` matches nobody{hint}"
