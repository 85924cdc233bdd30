"""How a run's networks learned: the losses of each epoch, out of the cards of the networks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from inversionlab.results.run_record import ArtifactRecord
from inversionlab.store.storage import Storage


@dataclass(frozen=True)
class TrainingCurve:
    """The losses of one network's training."""

    title: str
    """What the network is, for users."""
    id: str
    epochs: tuple[float, ...]
    losses: Mapping[str, tuple[float | None, ...]]
    """By name, a value for each epoch; None where it is not known."""

    @classmethod
    def of_card(cls, network: ArtifactRecord, card: Any) -> Self | None:
        """The curve in a card; None where it holds none, as those of earlier versions and of given networks."""
        kept = card.get("curve") if isinstance(card, Mapping) else None
        if not isinstance(kept, Mapping) or not all(isinstance(v, list) for v in kept.values()):
            return None
        columns = {str(name): tuple(map(_known, column)) for name, column in kept.items()}
        epochs = tuple(e for e in columns.pop("epoch", ()) if e is not None)
        losses = {n: c for n, c in columns.items() if len(c) == len(epochs) and set(c) != {None}}
        return cls(network.role, network.id, epochs, losses) if epochs and losses else None


def training_curves(
    storage: Storage, networks: Sequence[ArtifactRecord]
) -> tuple[TrainingCurve, ...]:
    """The curves of these networks in their order; those without a curve are left out."""
    places = {network.id: "" for network in networks}
    for role in storage.folders("artifacts"):
        for id in storage.folders(f"artifacts/{role}"):
            if id in places:
                places[id] = f"artifacts/{role}/{id}/card.json"
    found = []
    for network in networks:
        if places[network.id] and (card := _card(storage, places[network.id])) is not None:
            found.append(TrainingCurve.of_card(network, card))
    return tuple(curve for curve in found if curve is not None)


def _card(storage: Storage, name: str) -> Any:
    """A card; None where it cannot be read, which is no reason to have no page."""
    try:
        return storage.read_json(name)
    except (OSError, ValueError, RecursionError):
        return None


def _known(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None
