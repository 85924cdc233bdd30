"""The attack worker: an actor that holds data and networks, and works off items of any experiment on them."""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab import __version__
from inversionlab.attacks import Attack
from inversionlab.core.images import png, to_bytes, to_float
from inversionlab.defenses import ProtectedModel
from inversionlab.distributed.object_cache import read_network, read_splits
from inversionlab.distributed.work_items import (
    MeasureCeiling,
    MeasureEvaluator,
    MeasureModel,
    Shard,
    WorkContext,
    WorkItem,
)
from inversionlab.pipeline.attack import make_attack, run_attack
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.evaluate import Evaluator, verdicts
from inversionlab.pipeline.judged_before import judged_again
from inversionlab.pipeline.measure import evaluator, measure_evaluator, measure_model
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.prior_ceiling import measure_ceiling
from inversionlab.pipeline.session import Session, SessionSpec, open_session
from inversionlab.store.storage import Storage
from inversionlab.store.tables import Job

SESSIONS = 8
"""Experiments that a worker keeps open, such as those of as many trials."""
NETWORKS = 16
"""Networks of single models under attack that a worker keeps; sweeps and searches train more and more of them."""


@dataclass(frozen=True)
class _ReadyAttack:
    """A cell's attack and model, ready to run."""

    cell: str
    attack: Attack
    model: ProtectedModel | None
    training_queries: int
    """Pictures that were sent to a model to train the attacker's networks; the attack adds those about starts."""


@dataclass
class _OpenExperiment:
    """An experiment that the worker has open."""

    session: Session
    ready: _ReadyAttack | None = None
    """The last cell's attack: shards of a cell come in a row."""

    @cached_property
    def evaluators(self) -> list[Evaluator]:
        """The evaluators, which must be measured by now."""
        return [evaluator(self.session, name) for name in self.session.plan.evaluators]


class AttackWorker:
    """Opens each experiment once and shares data and networks between them; one call runs one item."""

    def __init__(self, *, gpu: bool) -> None:
        # Many single-threaded workers beat few with many threads, because they do not wait for each other.
        torch.set_num_threads(1)
        self._device = torch.device("cuda" if gpu else "cpu")
        self._open: OrderedDict[SessionSpec, _OpenExperiment] = OrderedDict()
        self._networks: dict[str, nn.Module] = {}
        self._single: set[str] = set()
        """Keys of networks that belong to single models under attack."""

    def ready(self) -> bool:
        """Whether the worker is there."""
        return True

    def run(self, item: WorkItem) -> float:
        """Carry out an item; returns its seconds. Its results are in the store when this returns.

        An experiment that is opened for it first does not count: later items do not take that time again.
        """
        experiment = self._experiment(item.context)
        began = time.monotonic()
        session = experiment.session
        if isinstance(item, MeasureModel):
            measure_model(session, session.plan.work[item.cell])
        elif isinstance(item, MeasureEvaluator):
            measure_evaluator(session, item.name)
        elif isinstance(item, MeasureCeiling):
            measure_ceiling(session, item.generator)
        else:
            self._reconstruct(experiment, session.plan.work[item.cell], item)
        return time.monotonic() - began

    def _experiment(self, context: WorkContext) -> _OpenExperiment:
        """The experiment of an item, opened now or before."""
        if context.spec not in self._open:
            # Often another open experiment has the same data: a search changes the defense only.
            same = [
                other.session.builder.splits
                for other in self._open.values()
                if context.splits is not None and other.session.plan.data_id == context.data_id
            ]

            def load(spec: NetworkSpec) -> Mapping[str, Tensor]:
                cached = read_network(context.networks, spec)
                return session.artifacts.weights(spec) if cached is None else cached

            session = open_session(
                context.spec,
                self._device,
                splits=same[0]
                if same
                else read_splits(context.splits, Storage(context.spec.storage)),
                load=load,
                networks=self._networks,
            )
            self._open[context.spec] = _OpenExperiment(session)
            while len(self._open) > SESSIONS:
                self._open.popitem(last=False)
        self._open.move_to_end(context.spec)
        return self._open[context.spec]

    def _reconstruct(self, experiment: _OpenExperiment, cell: Cell, shard: Shard) -> None:
        """Store the rows of a shard; pictures that are stored are only judged by more evaluators."""
        session, rows = experiment.session, {}
        if shard.files:
            judges = experiment.evaluators
            rows = judged_again(session, cell, shard.jobs, shard.files, judges)
            session.store.write_shard(cell.id, [*rows.values()])
        # Of a file that was damaged since, the pictures are made again.
        if left := [job for job in shard.jobs if job not in rows]:
            session.store.write_shard(cell.id, self._attack(experiment, cell, left))

    def _attack(
        self, experiment: _OpenExperiment, cell: Cell, jobs: Sequence[Job]
    ) -> list[dict[str, Any]]:
        """Attack, and evaluate the reconstructions; returns their rows."""
        session = experiment.session
        ready = _ready_attack(experiment, cell)
        self._drop_networks(session)
        private = None
        if ready.attack.inverts_outputs:
            private = to_float(session.builder.private_pictures(jobs), self._device)
        attacked = run_attack(ready.attack, ready.model, jobs, private)
        result = attacked.result
        images = to_bytes(result.images_NCHW)
        targets = [target for target, _ in jobs]
        row_verdicts = verdicts(experiment.evaluators, images, targets, self._device)
        weight_N = attacked.queries_N.double() + 1
        seconds_N = attacked.seconds * weight_N / weight_N.sum()
        model, victims = cell.attacked, session.plan.victims
        # A null attack asks none; the first stands for all.
        victim = victims.get(cell.seed, next(iter(victims.values()))).victim
        provenance = {
            "cell": cell.id,
            "attack": cell.attack.title,
            "defense": model.name if model is not None else "",
            "protected": cell.model,
            "attack_settings": cell.attack.model_dump_json(),
            "defense_settings": model.model_dump_json() if model is not None else "{}",
            "seed": session.experiment.seed,
            "victim_seed": cell.seed if model is not None else None,
            "victim": victim.id,
            "generator": cell.generator.id,
            "version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return [
            {
                **provenance,
                "target": target,
                "person": session.builder.splits.people[target],
                "repeat": repeat,
                "picture": png(images[i]),
                "confidence": float(result.confidence_N[i]),
                "converged": bool(result.converged_N[i]),
                "steps": int(result.steps_N[i]),
                "queries": int(attacked.queries_N[i]),
                "seconds": float(seconds_N[i]),
                "training_queries": ready.training_queries + ready.attack.shared_queries,
                "error": float(attacked.error_N[i]),
                "verdicts": row_verdicts[i],
            }
            for i, (target, repeat) in enumerate(jobs)
        ]

    def _drop_networks(self, session: Session) -> None:
        """Drop the least recently used networks of single models; they come first in the dict."""
        self._single |= {s.key for s in session.plan.specs if s.of_one_model}
        for key in [key for key in self._networks if key in self._single][:-NETWORKS]:
            del self._networks[key]


def _ready_attack(experiment: _OpenExperiment, cell: Cell) -> _ReadyAttack:
    """The cell's attack and model, made now or for the previous shard."""
    if experiment.ready is not None and experiment.ready.cell == cell.id:
        return experiment.ready
    session = experiment.session
    model = None
    if cell.attacked is not None:
        model = session.builder.attacked(cell.attacked, seed=cell.seed)
    attack = make_attack(cell.attack, session.builder.attacker_context(cell))
    queries = 0
    for spec in (cell.generator, cell.network):
        if spec is not None and spec.learns_from is not None:
            card = session.artifacts.card(spec)
            queries += int(card["metrics"].get("queries", 0)) if card is not None else 0
    experiment.ready = _ReadyAttack(cell.id, attack, model, queries)
    return experiment.ready
