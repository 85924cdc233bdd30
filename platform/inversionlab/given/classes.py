"""The names of a given model's classes, in the order of its scores."""

from collections import Counter
from pathlib import Path

from inversionlab.core.files import read_file
from inversionlab.core.settings import ConfigError
from inversionlab.core.strict_json import parse_json
from inversionlab.core.text import is_text

LARGEST = 100_000_000
"""Bytes of a list of classes at most; a million people have 20 to 50 MB."""


def read_classes(path: Path) -> tuple[str, ...]:
    """The names in a text file (a line a class) or a JSON file (a list, names to numbers, or numbers to names).

    Raises:
        ConfigError: the file is missing or unreadable, has fewer than two names, one or a key twice, or a gap.
    """
    where = f"classes = {path}"
    try:
        text = read_file(path, "classes", LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: cannot be read: {error}") from error
    if path.suffix.lower() == ".json":
        names = _from_json(text, where)
    else:
        names = [line.strip() for line in text.splitlines()]
        while names and not names[-1]:
            names.pop()
        if "" in names:
            raise ConfigError(
                f"{where}: line {names.index('') + 1} is empty; every line names a class"
            )
    for number, name in enumerate(names):
        if not name.strip():
            raise ConfigError(
                f"{where}: the name of class {number} is empty; every class needs one"
            )
        if not is_text(name):
            raise ConfigError(
                f"{where}: the name of class {number}, {name!a}, is not text: it holds half of a character (a "
                "lone surrogate); write the whole one"
            )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigError(f"{where}: `{twice[0]}` appears twice; list every class once")
    if len(names) < 2:
        raise ConfigError(f"{where}: has {len(names)} names; a recognizer knows 2 people or more")
    return tuple(names)


def _from_json(text: str, where: str) -> list[str]:
    expected = "expected a list of names, or an object of names to numbers (0, 1, ...)"
    try:
        found = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: is not readable as JSON: {error}") from error
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return found
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: {expected}")
    if all(isinstance(value, str) for value in found.values()):
        try:
            number = {value: int(key) for key, value in found.items()}
        except ValueError as error:
            raise ConfigError(f"{where}: {expected}; {error}") from error
    else:
        number = found
    if sorted(map(str, number.values())) != sorted(str(n) for n in range(len(found))):
        raise ConfigError(f"{where}: the numbers must be 0 to {len(found) - 1}, each once")
    return sorted(number, key=lambda name: int(number[name]))
