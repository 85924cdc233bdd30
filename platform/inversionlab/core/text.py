"""Names and lines that may hold what is no text in UTF-8: undecodable bytes of file names, and lone surrogates."""

from collections.abc import Iterable


def is_text(name: str) -> bool:
    """Whether UTF-8 has all characters of a name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(lines: Iterable[str]) -> tuple[str, ...]:
    """The lines, in which what is no text is spelled out, for terminals and pages."""
    return tuple(line.encode("utf-8", "backslashreplace").decode() for line in lines)
