"""Which parts of published sets share people or pictures."""

from inversionlab.data.base import DataSettings

_WHOLE = frozenset({"both", "all", "nist"})
"""Parts that hold every other part of their set."""
_DIGITS = {
    "train": frozenset({"mnist train"}),
    "test": frozenset({"mnist test", "lost digits"}),
    "test10k": frozenset({"mnist test"}),
    "test50k": frozenset({"lost digits"}),
    "nist": frozenset({"mnist train", "mnist test", "lost digits"}),
    "both": frozenset({"mnist train", "mnist test"}),
}
"""What the parts of MNIST and QMNIST hold; QMNIST made MNIST's digits again."""
DIGITS = frozenset({"mnist", "qmnist"})


def are_apart(mine: DataSettings, theirs: DataSettings) -> bool:
    """Whether the settings name two parts of one set that share nothing."""
    parts = [getattr(settings, "part", None) for settings in (mine, theirs)]
    if mine.name != theirs.name or None in parts or parts[0] == parts[1]:
        return False
    if mine.name in DIGITS:
        return not _digits(mine) & _digits(theirs)
    return not _WHOLE & set(parts)


def share_digits(mine: DataSettings, theirs: DataSettings) -> bool:
    """Whether one is MNIST and the other QMNIST, and both hold the same digits."""
    if {mine.name, theirs.name} != DIGITS:
        return False
    return bool(_digits(mine) & _digits(theirs))


def _digits(settings: DataSettings) -> frozenset[str]:
    return _DIGITS[getattr(settings, "part", "both")]
