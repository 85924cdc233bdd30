"""How people's names are compared: in Unicode's composed form (NFC) and without case.

Two spellings that look alike must never make two people, of whom one is private and the other public.
"""

import difflib
import fnmatch
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

from inversionlab.core.settings import ConfigError


def folded(name: str) -> str:
    """The form of a name that is compared."""
    composed = unicodedata.normalize("NFC", name)
    return unicodedata.normalize("NFC", composed.casefold())


def alike(names: Iterable[str], form: Callable[[str], str] = folded) -> list[list[str]]:
    """The groups of two or more different names that have the same form."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[form(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


JOIN = "join their folders if they are one person, else rename one"


def refuse_twins(people: Iterable[str], what: str, advice: str = JOIN) -> None:
    """Raise ConfigError, with this advice, if two of the people differ in Unicode's form or in case alone."""
    if twins := alike(people):
        first, second = twins[0][:2]
        # Two forms of one character look the same, so the code points tell them apart.
        raise ConfigError(
            f"{what}: {first!a} and {second!a} differ only in case or in how their characters are encoded "
            f"({len(twins)} such groups); {advice}"
        )


def refuse_no_text(people: Iterable[str], what: str) -> None:
    """Raise ConfigError if a name has bytes, or half a character, that UTF-8 has not."""
    if wrong := [name for name in people if not is_text(name)]:
        raise ConfigError(
            f"{what}: the name {wrong[0]!a} is no text in UTF-8 ({len(wrong)} such names); rename it"
        )


def is_text(name: str) -> bool:
    """Whether UTF-8 has all characters of a name; undecodable bytes and lone surrogates are none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
