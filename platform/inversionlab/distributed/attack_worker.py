"""The attack worker: an actor that holds data and networks, and works off orders of any experiment on them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab import __version__
from inversionlab.attacks import Attack
from inversionlab.core.images import png, to_bytes, to_float
from inversionlab.defenses import ProtectedModel
from inversionlab.distributed.object_cache import Ref, read_network, read_splits
from inversionlab.pipeline.attack import make_attack, run_attack
from inversionlab.pipeline.evaluate import Evaluator, verdicts
from inversionlab.pipeline.measure import evaluator, measure_evaluator, measure_model
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Session, SessionSpec, open_session
from inversionlab.store.tables import Job

SITES = 8
"""Experiments that a worker keeps open: those of as many trials."""
NETWORKS = 16
"""Networks of single models under attack that a worker keeps: sweeps and searches make ever new ones."""


@dataclass(frozen=True, eq=False)
class WorkContext:
    """What an order is about: an experiment, its data and its networks."""

    spec: SessionSpec
    data_id: str
    splits: Ref | None
    networks: Mapping[str, Ref]


@dataclass(frozen=True, eq=False)
class MeasureModel:
    """Order: measure how well the model of a cell recognizes, and show what it leads attacks to."""

    context: WorkContext
    cell: str


@dataclass(frozen=True, eq=False)
class MeasureEvaluator:
    """Order: measure an evaluator, and keep its features of the targets' private pictures."""

    context: WorkContext
    name: str


@dataclass(frozen=True, eq=False)
class Shard:
    """Order: attack these jobs of a cell, judge what is found, store the rows."""

    context: WorkContext
    cell: str
    jobs: tuple[Job, ...]


WorkItem = MeasureModel | MeasureEvaluator | Shard


@dataclass(frozen=True)
class _ReadyAttack:
    """A cell's attack and model, ready."""

    attack: Attack
    model: ProtectedModel | None
    training_queries: int
    """Pictures that were sent to a model to train the attacker's networks."""


@dataclass
class _Open:
    """An experiment that the worker has open."""

    session: Session
    cells: dict[str, Cell]
    evaluators: list[Evaluator] | None = None
    ready: dict[str, _ReadyAttack] = field(default_factory=dict)


class AttackWorker:
    """Opens each experiment once, shares data and networks between them; then one call an order."""

    def __init__(self, *, gpu: bool) -> None:
        # Many single-threaded workers beat few with many threads: there is no waiting between them.
        torch.set_num_threads(1)
        self._device = torch.device("cuda" if gpu else "cpu")
        self._open: OrderedDict[SessionSpec, _Open] = OrderedDict()
        self._networks: dict[str, nn.Module] = {}
        self._passing: set[str] = set()

    def ready(self) -> bool:
        """Whether the worker is there."""
        return True

    def run(self, item: WorkItem) -> float:
        """Carry out an order; returns its seconds. Its results are in the store when this returns."""
        began = time.monotonic()
        here = self._at(item.context)
        if isinstance(item, MeasureModel):
            measure_model(here.session, here.cells[item.cell])
        elif isinstance(item, MeasureEvaluator):
            measure_evaluator(here.session, item.name)
        else:
            self._attack(here, here.cells[item.cell], item.jobs)
        return time.monotonic() - began

    def _at(self, context: WorkContext) -> _Open:
        """The experiment of an order, opened now or before."""
        if context.spec not in self._open:
            self._open[context.spec] = self._opened(context)
            while len(self._open) > SITES:
                self._open.popitem(last=False)
        self._open.move_to_end(context.spec)
        return self._open[context.spec]

    def _opened(self, context: WorkContext) -> _Open:
        near = next(
            (o.session for o in self._open.values() if _same_data(o.session, context)), None
        )
        splits = near.builder.splits if near is not None else read_splits(context.splits)

        def load(spec: NetworkSpec) -> Mapping[str, Tensor]:
            found = read_network(context.networks, spec)
            return session.artifacts.weights(spec) if found is None else found

        session = open_session(
            context.spec, self._device, splits=splits, load=load, networks=self._networks
        )
        return _Open(session, {cell.id: cell for cell in session.plan.work()})

    def _let_go(self, session: Session) -> None:
        """Drop the networks of single models that were not asked for of late."""
        self._passing |= {spec.key for spec in session.plan.specs if spec.of_one_model}
        for key in [k for k in self._networks if k in self._passing][:-NETWORKS]:
            del self._networks[key]

    def _attack(self, here: _Open, cell: Cell, jobs: Sequence[Job]) -> None:
        session = here.session
        ready = _ready_attack(here, cell)
        self._let_go(session)
        attack = ready.attack
        private = None
        if attack.inverts_outputs:
            private = to_float(session.builder.private_pictures(jobs), self._device)
        attacked = run_attack(attack, ready.model, jobs, private)
        found = attacked.found
        images = to_bytes(found.images_NCHW)
        targets = [target for target, _ in jobs]
        if here.evaluators is None:
            here.evaluators = [evaluator(session, e.name) for e in session.experiment.evaluators]
        said = verdicts(here.evaluators, images, targets, self._device)
        weight = attacked.queries_N.double() + 1
        seconds = attacked.seconds * weight / weight.sum()
        rows = [
            {
                **_provenance(session, cell),
                "target": target,
                "person": session.builder.splits.people[target],
                "repeat": repeat,
                "picture": png(images[i]),
                "confidence": float(found.confidence_N[i]),
                "converged": bool(found.converged_N[i]),
                "steps": int(found.steps_N[i]),
                "queries": int(attacked.queries_N[i]),
                "seconds": float(seconds[i]),
                "training_queries": ready.training_queries,
                "error": float(attacked.error_N[i]),
                "verdicts": said[i],
            }
            for i, (target, repeat) in enumerate(jobs)
        ]
        session.store.write_shard(cell.id, rows)


def _same_data(session: Session, context: WorkContext) -> bool:
    """Whether the splits are the same: a search changes the defense only, an audit nothing."""
    return context.splits is not None and session.plan.data_id == context.data_id


def _ready_attack(here: _Open, cell: Cell) -> _ReadyAttack:
    """The cell's attack and model; the last cell's are kept, since shards of a cell come in a row."""
    if cell.id not in here.ready:
        builder = here.session.builder
        model = builder.protected(cell.attacked) if cell.attacked is not None else None
        attack = make_attack(cell.attack, builder.attacker_context(cell))
        asked = sum(_queries(here.session, spec) for spec in (cell.generator, cell.network))
        here.ready = {cell.id: _ReadyAttack(attack, model, asked)}
    return here.ready[cell.id]


def _queries(session: Session, spec: NetworkSpec | None) -> int:
    """Pictures that were sent to a model to train a network."""
    card = (
        session.artifacts.card(spec) if spec is not None and spec.learns_from is not None else None
    )
    return int(card["metrics"].get("queries", 0)) if card is not None else 0


def _provenance(session: Session, cell: Cell) -> dict[str, Any]:
    model = cell.attacked
    return {
        "cell": cell.id,
        "attack": cell.attack.title,
        "defense": model.name if model is not None else "",
        "protected": cell.model,
        "attack_settings": cell.attack.model_dump_json(),
        "defense_settings": model.model_dump_json() if model is not None else "{}",
        "seed": session.experiment.seed,
        "victim": session.plan.spec("victim").id,
        "generator": cell.generator.id,
        "version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
