"""Which defenses can be put on which, and what a white-box attacker leaves of them."""

from collections.abc import Iterable, Iterator, Sequence

from inversionlab.core.views import Labels, View, WhiteBox
from inversionlab.defenses import DEFENSES, DefenseSettings, Layer
from inversionlab.defenses.none import NoneSettings


def chain(settings: DefenseSettings) -> Iterator[DefenseSettings]:
    """The defense, its `inner`, and so on down to the victim."""
    part: DefenseSettings | None = settings
    while part is not None:
        yield part
        part = part.inner


def aims(settings: DefenseSettings) -> bool:
    """Whether any part of a defense protects the people under attack, so that they may have a network each."""
    return any(DEFENSES[part.name](part).aims() for part in chain(settings))


def alone_for_each(settings: DefenseSettings, targets: Sequence[int]) -> list[DefenseSettings]:
    """A defense for each of these classes, whose parts that protect people under attack protect that one alone.

    The defense itself, if there are none or it protects nobody in particular.
    """
    return [_alone_for(settings, t) for t in targets] if targets and aims(settings) else [settings]


def people_of(settings: DefenseSettings | None, targets: Iterable[int]) -> tuple[int, ...]:
    """Of these people those whom a model is for: all of them, or the one whom its defense protects alone."""
    one = None if settings is None else settings.aimed_at
    return tuple(target for target in targets if one is None or target == one)


def _alone_for(settings: DefenseSettings, target: int) -> DefenseSettings:
    inner = None if settings.inner is None else _alone_for(settings.inner, target)
    if DEFENSES[settings.name](settings).aims():
        return settings.alone_for(target, inner)
    return settings.model_copy(update={"inner": inner})


def faults(settings: DefenseSettings, where: str) -> Iterator[str]:
    """Every reason, one line each, why a defense at the recipe's key `where` does not go with those below it."""
    parts = list(chain(settings))
    for depth, outer in enumerate(parts):
        key = where + ".inner" * depth
        try:
            DEFENSES[outer.name].check(outer)
        except ValueError as error:
            yield f"{key} ({outer.name}): {error}"
        if outer.inner is not None and (fault := _misfit(outer, outer.inner)):
            yield f"{key}.inner ({outer.inner.name}): {fault}"
    private = next((i for i, p in enumerate(parts) if DEFENSES[p.name].differential_privacy), 0)
    for outer in parts[:private]:
        kind = DEFENSES[outer.name]
        if kind.learns_private or kind(outer).carries_victim():
            how = "learns from private pictures" if kind.learns_private else "holds the bare victim"
            yield (
                f"{where} ({outer.name}): {how}, which breaks what `{parts[private].name}` below it promises; "
                "leave one of them out"
            )


def _misfit(outer: DefenseSettings, inner: DefenseSettings) -> str | None:
    """Why `outer` cannot be put on `inner`; None if it can."""
    kind, low = DEFENSES[outer.name], DEFENSES[inner.name].layer
    if low == Layer.NOTHING:
        return "is not a defense that another can be put on; leave `inner` out"
    if kind.layer == Layer.VICTIM:
        return f"`{outer.name}` trains the victim itself; put the other one on it, not under it"
    if kind.layer == Layer.NOTHING:
        return f"`{outer.name}` cannot be put on a defense; leave it out"
    if low >= kind.layer:
        able = [n for n, other in DEFENSES.items() if Layer.NOTHING < other.layer < kind.layer]
        return f"`{outer.name}` cannot be put on it; it can be put on: {', '.join(able)}"
    if (kind.layer, low) == (Layer.LABEL, Layer.VICTIM) and not kind(outer).carries_victim():
        return (
            f"retrains the recognizer, whose labels are released anyway, so `{outer.name}` would change "
            "nothing; for the undefended victim's labels set label_of = victim"
        )
    return None


def stripped(settings: DefenseSettings) -> DefenseSettings:
    """What remains after a white-box attacker removes every defense that the weights allow to remove."""
    part: DefenseSettings | None = settings
    while part is not None:
        kind = DEFENSES[part.name]
        if kind.layer == Layer.NOTHING or WhiteBox in kind.protects:
            return part
        part = kind(part).left()
    return NoneSettings()


def protected_views(settings: DefenseSettings) -> frozenset[type[View]]:
    """The views in which a defense, together with those below it, protects.

    In the white-box view only what cannot be removed protects. A label modifier releases its reference's labels,
    so labels are protected only if that recognizer protects them.
    """
    views = _views(chain(settings))
    if WhiteBox not in _views(chain(stripped(settings))):
        views -= {WhiteBox}
    kind = DEFENSES[settings.name]
    if kind.layer == Layer.LABEL:
        retrained = [p for p in chain(settings) if DEFENSES[p.name].layer == Layer.VICTIM]
        if kind(settings).carries_victim() or Labels not in _views(retrained):
            views -= {Labels}
    return views


def _views(parts: Iterable[DefenseSettings]) -> frozenset[type[View]]:
    return frozenset(view for part in parts for view in DEFENSES[part.name].protects)


def awake(settings: DefenseSettings) -> DefenseSettings:
    """The outermost defense that is not idle; an idle one releases the model below unchanged."""
    for part in chain(settings):
        if not DEFENSES[part.name](part).idle():
            return part
    return NoneSettings()
