"""One peer against our attack of the same family, in rounds of targets that take turns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from typing import Any

import torch
from torch import Tensor

from benchmarks.arena import Arena, seconds
from benchmarks.peers import gmi, ked_mi, mi_face, mirror, ppa
from benchmarks.peers.curves import Curve, Snapshot
from benchmarks.peers.judge import Judge
from benchmarks.peers.networks import Loop, Networks, Pause
from inversionlab.core.seeds import torch_stream
from inversionlab.pipeline.attack import Attacked, make_attack, run_attack
from inversionlab.store.tables import Job

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""The shares of our attack's updates at which its curve is measured, each by a run of its own."""
GROWTH = 1.5
"""From one point of a peer's curve to the next its updates grow by this factor."""


@dataclass(frozen=True)
class Peer:
    """A peer, and our attack of its family."""

    name: str
    ours: str
    """Our attack; both use the generator that the recipe gives it."""
    loop: Loop
    defaults: Any
    """The peer's own settings."""

    def at_equal_cost(self, updates: float, asked: float, targets: int) -> Any:
        """Its settings where it makes about as many updates a target as our attack.

        It then has one start or candidate, so that the updates are not spread thin.

        Args:
            updates: the mean number of updates of our attack, a target.
            asked: pictures that our attack sends to the model without an update, a target. A peer that chooses
                among samples scores as many.
            targets: how many are attacked at once; the samples are scored once for all of them.
        """
        changes: dict[str, Any] = {"steps": max(1, round(updates))}
        if self.name == "gmi":
            changes["starts"] = 1
        if self.name in ("mirror", "ppa"):
            pictures = 2 if self.name == "ppa" else 1
            changes["candidates"] = 1
            changes["samples"] = max(1, round(asked * targets / pictures))
        if self.name == "ppa":
            late = [ceil(m * changes["steps"] / self.defaults.steps) for m in (30, 40)]
            changes["milestones"] = tuple(late)
        return replace(self.defaults, **changes)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("mi_face", "mi_face", mi_face.loop, mi_face.MiFace()),
        Peer("gmi", "gmi", gmi.loop, gmi.Gmi()),
        Peer("ked_mi", "ked_mi", ked_mi.loop, ked_mi.KedMi()),
        Peer("mirror", "mirror", mirror.loop, mirror.Mirror()),
        Peer("ppa", "ppa", ppa.loop, ppa.Ppa()),
    )
}


@dataclass(frozen=True)
class Duel:
    """The curves of a peer and of our attack on the same targets."""

    peer: Peer
    ours: Curve
    defaults: Curve
    """The peer at its own defaults."""
    equal: Curve
    """The peer at equal cost."""


def duel(arena: Arena, peer: Peer, judge: Judge, chunks: Sequence[list[Job]], cap: float) -> Duel:
    """All rounds of one peer: in each, ours, the peer at equal cost and the peer at its defaults take turns.

    Args:
        arena: the open experiment.
        peer: the peer.
        judge: the evaluator.
        chunks: the targets of each round.
        cap: a peer at its defaults is cut off after so many times the seconds of our attack.
    """
    networks = Networks.of(arena, peer.ours)
    # The first call of anything pays for what is set up once.
    our_point(arena, peer.ours, judge, chunks[0][:1], SHARES[0])
    ours, equal, defaults = list[Curve](), list[Curve](), list[Curve]()
    asked, pauses = 0.0, None
    for number, jobs in enumerate(chunks):
        measured = [our_point(arena, peer.ours, judge, jobs, share) for share in SHARES]
        ours.append(Curve(tuple(point for point, _ in measured)))
        if number == 0:
            asked = measured[-1][1]
        target_N = torch.tensor([target for target, _ in jobs], device=arena.device)
        rng = torch_stream(0, "peers", peer.name, number)
        settings = peer.at_equal_cost(ours[0].end.updates, asked, len(jobs))
        walk = peer.loop(networks, target_N, settings, rng)
        equal.append(followed(walk, judge, target_N)[0])
        walk = peer.loop(networks, target_N, peer.defaults, rng)
        # Where the first round is cut, later ones are cut at the same update.
        most = math.inf if pauses is not None else cap * ours[0].end.seconds
        curve, made = followed(walk, judge, target_N, most, pauses)
        defaults.append(curve)
        if curve.cut:
            pauses = made
    return Duel(peer, Curve.pooled(ours), Curve.pooled(defaults), Curve.pooled(equal))


def our_point(
    arena: Arena, name: str, judge: Judge, jobs: list[Job], share: float
) -> tuple[Snapshot, float]:
    """Our attack with this share of its updates, and how many more pictures it shows the model, a target."""
    full = arena.settings(name)
    settings = full.model_copy(update={"steps": ceil(share * full.steps)})
    attack, model = make_attack(settings, arena.context(name)), arena.model
    done: list[Attacked] = []
    spent = seconds(lambda: done.append(run_attack(attack, model, jobs)), arena.device)
    (attacked,) = done
    updates = float(attacked.result.steps_N.double().mean())
    more = float(attacked.queries_N.double().mean()) - updates
    rank_N = judge.ranks(attacked.result.images_NCHW, [target for target, _ in jobs])
    return Snapshot(updates, spent / len(jobs), rank_N), max(0.0, more)


def followed(
    walk: Iterator[Pause],
    judge: Judge,
    target_N: Tensor,
    most_seconds: float = math.inf,
    most_pauses: int | None = None,
) -> tuple[Curve, int]:
    """A peer's curve, and the number of updates of its loop.

    The loop is looked at when its updates have grown by `GROWTH`, and at its end. The seconds of a point are
    those of the loop until then, and of the final choice at this point; the evaluator's are not counted.

    Args:
        walk: the running loop.
        judge: the evaluator.
        target_N: the loop's targets.
        most_seconds: the loop is cut off after so many CPU-seconds a target,
        most_pauses: and after so many updates; None: any number.
    """
    count, spent, points = len(target_N), 0.0, list[Snapshot]()
    made, look_at, cut = 0, 1, False
    last: Pause | None = None
    got: list[Pause] = []

    def look(pause: Pause) -> None:
        pictures: list[Tensor] = []
        more = seconds(lambda: pictures.append(pause.pictures()), target_N.device)
        rank_N = judge.ranks(pictures[0], target_N.tolist())
        points.append(Snapshot(pause.updates, (spent + more) / count, rank_N))

    def advance() -> None:
        got.extend(islice(walk, 1))

    while True:
        spent += seconds(advance, target_N.device)
        if not got:
            break
        made, last = made + 1, got.pop()
        cut = spent / count >= most_seconds or made == most_pauses
        if made == look_at or cut:
            look(last)
            look_at, last = max(made + 1, ceil(GROWTH * made)), None
        if cut:
            # Whether it would have gone on.
            cut = next(walk, None) is not None
            break
    if last is not None:
        look(last)
    return Curve(tuple(points), cut), made
