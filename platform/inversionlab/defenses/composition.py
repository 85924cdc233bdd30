"""Which defenses can be put on which, and what a white-box attacker leaves of them."""

from __future__ import annotations

from collections.abc import Iterator

from inversionlab.access import Labels, View, WhiteBox
from inversionlab.defenses import DEFENSES, DefenseSettings, Layer
from inversionlab.defenses.none import NoneSettings


def chain(settings: DefenseSettings) -> Iterator[DefenseSettings]:
    """A defense, what it is put on, and so on down to the victim."""
    found: DefenseSettings | None = settings
    while found is not None:
        yield found
        found = found.inner


def faults(settings: DefenseSettings, where: str) -> Iterator[str]:
    """What does not go together in a defense and all that it is put on, a line a fault.

    Args:
        settings: the outermost defense.
        where: its dotted key in the recipe.
    """
    parts = list(chain(settings))
    for depth, outer in enumerate(parts):
        key = where + ".inner" * depth
        try:
            DEFENSES[outer.name].check(outer)
        except ValueError as error:
            yield f"{key} ({outer.name}): {error}"
        if outer.inner is not None:
            fault = _misfit(outer, outer.inner)
            if fault is not None:
                yield f"{key}.inner ({outer.inner.name}): {fault}"
    promise = next((p for p in parts if DEFENSES[p.name].differential_privacy), None)
    if promise is None:
        return
    for outer in parts[: parts.index(promise)]:
        kind = DEFENSES[outer.name]
        if kind.learns_private or kind(outer).carries_victim():
            how = "learns from private pictures" if kind.learns_private else "holds the bare victim"
            yield (
                f"{where} ({outer.name}): {how}, so what `{promise.name}` below it promises would no longer be "
                "true; leave one of them out"
            )


def _misfit(outer: DefenseSettings, inner: DefenseSettings) -> str | None:
    high, low = DEFENSES[outer.name].layer, DEFENSES[inner.name].layer
    if low == Layer.NOTHING:
        return "is no defense to put one on; leave `inner` out"
    if high == Layer.VICTIM:
        return f"`{outer.name}` trains the victim itself; put the other one on it, not under it"
    if low >= high:
        able = [name for name, kind in DEFENSES.items() if Layer.NOTHING < kind.layer < high]
        return f"`{outer.name}` cannot be put on it; it can be put on: {', '.join(able)}"
    return None


def stripped(settings: DefenseSettings) -> DefenseSettings:
    """What a white-box attacker is left with who takes off all that can be taken off."""
    found: DefenseSettings | None = settings
    while found is not None and _comes_off(found):
        found = DEFENSES[found.name](found).left()
    return found or NoneSettings()


def protected_views(settings: DefenseSettings) -> frozenset[type[View]]:
    """The views in which a defense, with all that it is put on, protects.

    Against a white-box attacker only what cannot be taken off does. A label modifier gives away labels as the
    recognizer below has them.
    """
    every = {view for part in chain(settings) for view in DEFENSES[part.name].protects}
    kept = {view for part in chain(stripped(settings)) for view in DEFENSES[part.name].protects}
    lost: set[type[View]] = set() if WhiteBox in kept else {WhiteBox}
    if DEFENSES[settings.name].layer == Layer.LABEL:
        lost.add(Labels)
    return frozenset(every - lost)


def awake(settings: DefenseSettings) -> DefenseSettings:
    """The outermost defense that changes anything; one that is idle releases what it is put on."""
    found: DefenseSettings | None = settings
    while found is not None and DEFENSES[found.name](found).idle():
        found = found.inner
    return found or NoneSettings()


def _comes_off(settings: DefenseSettings) -> bool:
    kind = DEFENSES[settings.name]
    return kind.layer != Layer.NOTHING and WhiteBox not in kind.protects
