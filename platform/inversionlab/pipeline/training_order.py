"""Which networks are trained next, where several groups of them may be trained at once.

A worker group takes about twenty seconds to start, so what has to come one after another stays in one group. What
does not is divided, more finely towards the end, so that the groups end at about the same time.
"""

import math
from collections.abc import Collection, Mapping

from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.plan import Plan

Needs = Mapping[str, Collection[str]]
"""The missing networks in the order of the plan, each with the networks that its training needs."""


def needed_by(spec: NetworkSpec, plan: Plan) -> list[NetworkSpec]:
    """The networks of a plan that must be stored before the training of this one begins."""
    found = [*spec.reads]
    for model in spec.asks:
        specs = plan.of_seed(model.seed)
        found += [specs.victim, *specs.needed(model.defense)]
    return found


def next_group(needs: Needs, busy: Collection[str], at_once: int) -> list[str]:
    """The networks that a group should train now, in the order of the plan; none if all of them have to wait.

    Args:
        needs: what is missing. What it needs besides is stored.
        busy: networks in training; those that need them wait.
        at_once: how many groups share what is missing.
    """
    waits = set(busy)
    for key, needed in needs.items():
        if not waits.isdisjoint(needed):
            waits.add(key)
    free = {key: needed for key, needed in needs.items() if key not in waits}
    if at_once == 1:
        return [*free]
    parts = _parts(free)
    group: set[str] = set()
    for part in parts[: math.ceil(len(parts) / (2 * at_once))]:
        group |= _trunk(part, free)
    return [key for key in free if key in group]


def _parts(needs: Needs) -> list[set[str]]:
    """The networks divided into parts of which none needs another, in the order of their first ones."""
    part_of: dict[str, set[str]] = {}
    for key, needed in needs.items():
        joined = {key}.union(*(part_of[need] for need in needed if need in part_of))
        part_of |= dict.fromkeys(joined, joined)
    # Each part once; the keys lie in the order of the plan.
    return [*{id(part): part for part in part_of.values()}.values()]


def _trunk(part: set[str], needs: Needs) -> set[str]:
    """What comes one after another before the rest of a part can be divided; all of it, if it never can.

    Of several networks that come first and need none of each other, the one that most of the part needs.
    """
    rest = part
    while len(_parts({key: needs[key] for key in needs if key in rest})) == 1:
        first = [key for key in needs if key in rest and rest.isdisjoint(needs[key])]
        if len(first) > 1:
            most = max(first, key=lambda key: sum(key in needs[other] for other in part))
            return part - rest or {most}
        rest = rest - {*first}
    return part - rest
