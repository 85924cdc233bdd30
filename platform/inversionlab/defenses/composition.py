"""Which defenses can be put on which, and what a white-box attacker leaves of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from inversionlab.core.views import Labels, View, WhiteBox
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
        if not able:
            return f"`{outer.name}` is no defense to be put on one; leave it out"
        return f"`{outer.name}` cannot be put on it; it can be put on: {', '.join(able)}"
    if (
        high == Layer.LABEL
        and low == Layer.VICTIM
        and not DEFENSES[outer.name](outer).carries_victim()
    ):
        return (
            f"it retrains the recognizer, whose labels are given anyway, so `{outer.name}` would change nothing; "
            "for the undefended victim's labels set label_of = victim"
        )
    return None


def stripped(settings: DefenseSettings) -> DefenseSettings:
    """What a white-box attacker is left with who takes off all that can be taken off."""
    found: DefenseSettings | None = settings
    while found is not None and _comes_off(found):
        found = DEFENSES[found.name](found).left()
    return found or NoneSettings()


def protected_views(settings: DefenseSettings) -> frozenset[type[View]]:
    """The views in which a defense, with all that it is put on, protects.

    Against a white-box attacker only what cannot be taken off does. A label modifier gives labels away as the
    recognizer has them that it takes them from.
    """
    every = _views(chain(settings))
    lost: set[type[View]] = set() if WhiteBox in _views(chain(stripped(settings))) else {WhiteBox}
    kind = DEFENSES[settings.name]
    if kind.layer == Layer.LABEL and Labels not in _views(_labels_from(settings)):
        lost.add(Labels)
    return frozenset(every - lost)


def _views(parts: Iterable[DefenseSettings]) -> set[type[View]]:
    return {view for part in parts for view in DEFENSES[part.name].protects}


def _labels_from(settings: DefenseSettings) -> list[DefenseSettings]:
    """What has changed the recognizer whose labels a label modifier gives."""
    if DEFENSES[settings.name](settings).carries_victim():
        return []
    return [part for part in chain(settings) if DEFENSES[part.name].layer == Layer.VICTIM]


def awake(settings: DefenseSettings) -> DefenseSettings:
    """The outermost defense that changes anything; one that is idle releases what it is put on."""
    found: DefenseSettings | None = settings
    while found is not None and DEFENSES[found.name](found).idle():
        found = found.inner
    return found or NoneSettings()


def _comes_off(settings: DefenseSettings) -> bool:
    kind = DEFENSES[settings.name]
    return kind.layer != Layer.NOTHING and WhiteBox not in kind.protects
