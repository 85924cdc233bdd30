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
from inversionlab.defenses import Protected
from inversionlab.distributed.object_cache import Ref, read_network, read_splits
from inversionlab.pipeline.attack import arm, run_attack
from inversionlab.pipeline.evaluate import Judge, verdicts
from inversionlab.pipeline.measure import judge, measure_judge, measure_model
from inversionlab.pipeline.network_spec import Task
from inversionlab.pipeline.plan import Cell
from inversionlab.pipeline.session import Address, Site, open_site
from inversionlab.store.tables import Job

SITES = 8
"""Experiments that a worker keeps open: those of as many trials."""
NETWORKS = 16
"""Networks of single models under attack that a worker keeps: sweeps and searches make ever new ones."""


@dataclass(frozen=True, eq=False)
class Brief:
    """What an order is about: an experiment, its data and its networks."""

    address: Address
    data_id: str
    splits: Ref | None
    networks: Mapping[str, Ref]


@dataclass(frozen=True, eq=False)
class MeasureModel:
    """Order: measure how well the model of a cell recognizes, and show what it leads attacks to."""

    brief: Brief
    cell: str


@dataclass(frozen=True, eq=False)
class MeasureJudge:
    """Order: measure an evaluator, and keep its features of the targets' private pictures."""

    brief: Brief
    name: str


@dataclass(frozen=True, eq=False)
class Shard:
    """Order: attack these jobs of a cell, judge what is found, store the rows."""

    brief: Brief
    cell: str
    jobs: tuple[Job, ...]


Order = MeasureModel | MeasureJudge | Shard


@dataclass(frozen=True)
class _Armed:
    """A cell's attack and model, ready."""

    attack: Attack
    model: Protected | None
    training_queries: int
    """Pictures that were sent to a model to train the attacker's networks."""


@dataclass
class _Open:
    """An experiment that the worker has open."""

    site: Site
    cells: dict[str, Cell]
    judges: list[Judge] | None = None
    armed: dict[str, _Armed] = field(default_factory=dict)


class AttackWorker:
    """Opens each experiment once, shares data and networks between them; then one call an order."""

    def __init__(self, *, gpu: bool) -> None:
        # Many single-threaded workers beat few with many threads: there is no waiting between them.
        torch.set_num_threads(1)
        self._device = torch.device("cuda" if gpu else "cpu")
        self._open: OrderedDict[Address, _Open] = OrderedDict()
        self._networks: dict[str, nn.Module] = {}
        self._passing: set[str] = set()

    def ready(self) -> bool:
        """Whether the worker is there."""
        return True

    def run(self, order: Order) -> float:
        """Carry out an order; returns its seconds. Its results are in the store when this returns."""
        began = time.monotonic()
        here = self._at(order.brief)
        if isinstance(order, MeasureModel):
            measure_model(here.site, here.cells[order.cell])
        elif isinstance(order, MeasureJudge):
            measure_judge(here.site, order.name)
        else:
            self._attack(here, here.cells[order.cell], order.jobs)
        return time.monotonic() - began

    def _at(self, brief: Brief) -> _Open:
        """The experiment of an order, opened now or before."""
        if brief.address not in self._open:
            self._open[brief.address] = self._opened(brief)
            while len(self._open) > SITES:
                self._open.popitem(last=False)
        self._open.move_to_end(brief.address)
        return self._open[brief.address]

    def _opened(self, brief: Brief) -> _Open:
        near = next((o.site for o in self._open.values() if _same_data(o.site, brief)), None)
        splits = near.workshop.splits if near is not None else read_splits(brief.splits)

        def load(task: Task) -> Mapping[str, Tensor]:
            found = read_network(brief.networks, task)
            return site.artifacts.weights(task) if found is None else found

        site = open_site(
            brief.address, self._device, splits=splits, load=load, networks=self._networks
        )
        return _Open(site, {cell.id: cell for cell in site.plan.work()})

    def _let_go(self, site: Site) -> None:
        """Drop the networks of single models that were not asked for of late."""
        self._passing |= {t.key for t in site.plan.tasks if t.defense or t.taught_by}
        for key in [k for k in self._networks if k in self._passing][:-NETWORKS]:
            del self._networks[key]

    def _attack(self, here: _Open, cell: Cell, jobs: Sequence[Job]) -> None:
        site = here.site
        armed = _armed(here, cell)
        self._let_go(site)
        attack = armed.attack
        private = None
        if attack.overhears:
            private = to_float(site.workshop.private_pictures(jobs), self._device)
        attacked = run_attack(attack, armed.model, jobs, private)
        found = attacked.found
        images = to_bytes(found.images_NCHW)
        targets = [target for target, _ in jobs]
        if here.judges is None:
            here.judges = [judge(site, e.name) for e in site.experiment.evaluators]
        said = verdicts(here.judges, images, targets, self._device)
        weight = attacked.queries_N.double() + 1
        seconds = attacked.seconds * weight / weight.sum()
        rows = [
            {
                **_provenance(site, cell),
                "target": target,
                "person": site.workshop.splits.people[target],
                "repeat": repeat,
                "picture": png(images[i]),
                "confidence": float(found.confidence_N[i]),
                "converged": bool(found.converged_N[i]),
                "steps": int(found.steps_N[i]),
                "queries": int(attacked.queries_N[i]),
                "seconds": float(seconds[i]),
                "training_queries": armed.training_queries,
                "error": float(attacked.error_N[i]),
                "verdicts": said[i],
            }
            for i, (target, repeat) in enumerate(jobs)
        ]
        site.store.write_shard(cell.id, rows)


def _same_data(site: Site, brief: Brief) -> bool:
    """Whether the splits are the same: a search changes the defense only, an audit nothing."""
    return brief.splits is not None and site.plan.data_id == brief.data_id


def _armed(here: _Open, cell: Cell) -> _Armed:
    """The cell's attack and model; the last cell's are kept, since shards of a cell come in a row."""
    if cell.id not in here.armed:
        workshop = here.site.workshop
        model = workshop.protected(cell.attacked) if cell.attacked is not None else None
        attack = arm(cell.attack, workshop.knowledge(cell))
        asked = sum(_queries(here.site, task) for task in (cell.generator, cell.network))
        here.armed = {cell.id: _Armed(attack, model, asked)}
    return here.armed[cell.id]


def _queries(site: Site, task: Task | None) -> int:
    """Pictures that were sent to a model to train a network."""
    card = site.artifacts.card(task) if task is not None and task.taught_by is not None else None
    return int(card["metrics"].get("queries", 0)) if card is not None else 0


def _provenance(site: Site, cell: Cell) -> dict[str, Any]:
    model = cell.attacked
    return {
        "cell": cell.id,
        "attack": cell.attack.title,
        "defense": model.name if model is not None else "",
        "protected": cell.model,
        "attack_settings": cell.attack.model_dump_json(),
        "defense_settings": model.model_dump_json() if model is not None else "{}",
        "seed": site.experiment.seed,
        "victim": site.plan.task("victim").id,
        "generator": cell.generator.id,
        "version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
