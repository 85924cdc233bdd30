"""How long jobs take: as measured, and before that as what is known of others tells.

What a job takes is about a property of its attack times one of the model that it attacks: behind a defense, all
attacks converge later. So an attack that was measured on one model is expected to take on another as much longer
or shorter as other attacks do there. One that was not measured at all takes as many times longer or shorter than
planned as those that were, all together, so the dear ones decide; as long as only cheap ones are measured, about
what was planned.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

KEEP = 0.5
"""Share of the old pace in the new one."""
TOLD = 0.7
"""How far an attack takes longer on another model where others do, as a power: not all of them do so alike."""
PLANNED = 0.1
"""Seconds of a job that count as if they had been measured to be as planned."""


@dataclass(frozen=True)
class Kind:
    """Jobs that are expected to run at the same pace."""

    key: str
    attack: str = ""
    """What all jobs of the same attack have; "" where that is not known."""
    model: str = ""
    """What all jobs on such a model have."""
    expected: float = 1.0
    """Seconds a job, before anything is known; only the ratio to that of other jobs matters."""

    @property
    def of_attack(self) -> str:
        """The attack, or else the key."""
        return self.attack or self.key


@dataclass
class Paces:
    """Seconds a job, by kind."""

    _known: dict[str, float] = field(default_factory=dict)
    _kinds: dict[str, dict[str, dict[str, Kind]]] = field(default_factory=dict)
    """What is measured: by attack, model and key."""
    _means: dict[str, dict[str, float]] = field(default_factory=dict)
    """Seconds a job by attack and model; the mean of models that differ in settings alone."""

    def note(self, kind: Kind, pace: float) -> None:
        """Note a measured pace."""
        self._known[kind.key] = KEEP * self._known.get(kind.key, pace) + (1 - KEEP) * pace
        alike = self._kinds.setdefault(kind.of_attack, {}).setdefault(kind.model, {})
        alike[kind.key] = kind
        mean = sum(self._known[key] for key in alike) / len(alike)
        self._means.setdefault(kind.of_attack, {})[kind.model] = mean

    def known(self, key: str) -> float | None:
        """The pace as it was measured, or None."""
        return self._known.get(key)

    def slower(self) -> float | None:
        """How many times longer than planned the measured attacks take; None while none is measured."""
        if not self._kinds:
            return None
        planned = [
            next(kind.expected for alike in models.values() for kind in alike.values())
            for models in self._kinds.values()
        ]
        measured = sum(sum(of.values()) / len(of) for of in self._means.values())
        return (PLANNED + measured) / (PLANNED + sum(planned))

    def expect(self, kind: Kind) -> float | None:
        """The pace of a kind, measured or told by others; None while nothing is measured."""
        if (known := self.known(kind.key)) is not None:
            return known
        measured = self._means.get(kind.of_attack, {})
        if kind.model in measured:
            return measured[kind.model]
        if measured:
            return _middle(
                pace * self._ratio(kind.model, model, kind.of_attack)
                for model, pace in measured.items()
            )
        slower = self.slower()
        return None if slower is None else slower * kind.expected

    def _ratio(self, model: str, other: str, but: str) -> float:
        """How many times longer attacks take on one model than on another; 1 where none is measured on both."""
        ratios = [
            max(of[model], 1e-9) / max(of[other], 1e-9)
            for attack, of in self._means.items()
            if attack != but and model in of and other in of
        ]
        return _middle(ratios) ** TOLD if ratios else 1.0


def _middle(values: Iterable[float]) -> float:
    """The geometric mean."""
    logs = [math.log(max(value, 1e-9)) for value in values]
    return math.exp(sum(logs) / len(logs))
