"""The attack worker: an actor that opens the experiment once, holds its networks, and works off orders."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import torch

from inversionlab import __version__
from inversionlab.attacks import Attack
from inversionlab.config import fingerprint
from inversionlab.defenses import DEFENSES, Protected
from inversionlab.metrics import within_person_distance
from inversionlab.pictures import png, to_bytes
from inversionlab.runtime.site import Address, Site, open_site
from inversionlab.stages.attack import arm, run_attack
from inversionlab.stages.evaluate import Judge, features, milliseconds, recognition, verdicts
from inversionlab.stages.plan import Cell, protected_id
from inversionlab.stages.workshop import judge_classes
from inversionlab.store import Job


@dataclass(frozen=True)
class MeasureModel:
    """Order: measure how well the model of a cell recognizes, and show what it leads attacks to."""

    cell: str


@dataclass(frozen=True)
class MeasureJudge:
    """Order: measure an evaluator, and keep its features of the targets' private pictures."""

    name: str


@dataclass(frozen=True)
class Shard:
    """Order: attack these jobs of a cell, judge what is found, store the rows."""

    cell: str
    jobs: tuple[Job, ...]


Order = MeasureModel | MeasureJudge | Shard


def judge_key(site: Site, name: str) -> str:
    """Under which name an evaluator's measurements are stored."""
    task = site.plan.task(f"evaluator:{name}")
    return fingerprint([task.id, name, list(site.plan.targets)])


def model_key(site: Site, protected: str) -> str:
    """Under which name a protected model's measurements are stored."""
    return fingerprint([protected, list(site.plan.targets)])


class AttackWorker:
    """Opens the experiment once; then one call an order."""

    def __init__(self, address: Address, *, gpu: bool) -> None:
        # Many single-threaded workers beat few with many threads: there is no waiting between them.
        torch.set_num_threads(1)
        device = torch.device("cuda" if gpu else "cpu")
        self.site = open_site(address, device)
        self.cells = {cell.id: cell for cell in self.site.plan.cells}
        self._armed: tuple[str, Attack, Protected | None] | None = None

    def ready(self) -> bool:
        """Whether the worker is there."""
        return True

    def run(self, order: Order) -> float:
        """Carry out an order; returns its seconds. Its results are in the store when this returns."""
        began = time.monotonic()
        if isinstance(order, MeasureModel):
            self._measure_model(self.cells[order.cell])
        elif isinstance(order, MeasureJudge):
            self._measure_judge(order.name)
        else:
            self._attack(self.cells[order.cell], order.jobs)
        return time.monotonic() - began

    def _attack(self, cell: Cell, jobs: Sequence[Job]) -> None:
        attack, model = self._arm(cell)
        attacked = run_attack(attack, model, jobs)
        found = attacked.found
        images = to_bytes(found.images_NCHW)
        targets = [target for target, _ in jobs]
        said = verdicts(self._judges, images, targets, self.site.workshop.device)
        weight = attacked.queries_N.double() + 1
        seconds = attacked.seconds * weight / weight.sum()
        rows = [
            {
                **self._provenance(cell),
                "target": target,
                "person": self.site.workshop.splits.people[target],
                "repeat": repeat,
                "picture": png(images[i]),
                "confidence": float(found.confidence_N[i]),
                "converged": bool(found.converged_N[i]),
                "steps": int(found.steps_N[i]),
                "queries": int(attacked.queries_N[i]),
                "seconds": float(seconds[i]),
                "verdicts": said[i],
            }
            for i, (target, repeat) in enumerate(jobs)
        ]
        self.site.store.write_shard(cell.id, rows)

    def _arm(self, cell: Cell) -> tuple[Attack, Protected | None]:
        """The cell's attack and model; the last cell's are kept, since shards of a cell come in a row."""
        if self._armed is None or self._armed[0] != cell.id:
            workshop = self.site.workshop
            model = workshop.protected(cell.defense) if cell.defense is not None else None
            self._armed = (cell.id, arm(cell.attack, workshop.knowledge()), model)
        return self._armed[1], self._armed[2]

    @cached_property
    def _judges(self) -> list[Judge]:
        return [self._judge(e.name) for e in self.site.experiment.evaluators]

    def _judge(self, name: str) -> Judge:
        site = self.site
        who = judge_classes(site.workshop.evaluator(name), site.workshop.splits, site.plan.targets)
        table = site.store.read("features", judge_key(site, name))
        target_N = torch.tensor(table["target"].to_pylist())
        feature_ND = torch.tensor(table["feature"].to_pylist())
        private = {t: feature_ND[target_N == t] for t in site.plan.targets}
        return Judge(name, site.workshop.recognizer(f"evaluator:{name}"), who.class_of, private)

    def _provenance(self, cell: Cell) -> dict[str, Any]:
        plan = self.site.plan
        return {
            "cell": cell.id,
            "attack": cell.attack.name,
            "defense": cell.defense.name if cell.defense is not None else "",
            "protected": cell.protected,
            "attack_settings": cell.attack.model_dump_json(),
            "defense_settings": cell.defense.model_dump_json()
            if cell.defense is not None
            else "{}",
            "seed": self.site.experiment.seed,
            "victim": plan.task("victim").id,
            "generator": plan.task("generator").id,
            "version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _measure_model(self, cell: Cell) -> None:
        assert cell.defense is not None
        workshop, store = self.site.workshop, self.site.store
        test = workshop.splits.test
        model = workshop.protected(cell.defense)
        correct_N = recognition(model.log_scores, test, workshop.device)
        aimed = torch.isin(test.class_N, torch.tensor(self.site.plan.targets))
        row = {
            "protected": cell.protected,
            "defense": cell.defense.name,
            "defense_settings": cell.defense.model_dump_json(),
            "correct_all": int(correct_N.sum()),
            "total_all": len(test),
            "correct_targets": int(correct_N[aimed].sum()),
            "total_targets": int(aimed.sum()),
            "milliseconds": milliseconds(model.log_scores, test, workshop.device),
        }
        key = model_key(self.site, cell.protected)
        store.write("references", key, self._decoys(cell))
        store.write("models", key, [row])

    def _decoys(self, cell: Cell) -> list[dict[str, Any]]:
        """The synthetic faces that a defense leads attacks to."""
        assert cell.defense is not None
        workshop = self.site.workshop
        if self.site.plan.defense_task(cell.defense) is None:
            return []
        decoys = DEFENSES[cell.defense.name](cell.defense).decoys(workshop.bench(cell.defense))
        if decoys is None:
            return []
        images = to_bytes(decoys)
        return [
            {
                "kind": "synthetic",
                "protected": protected_id(self.site.plan, cell.defense),
                "target": target,
                "person": workshop.splits.people[target],
                "picture": png(images[target]),
            }
            for target in self.site.plan.targets
        ]

    def _measure_judge(self, name: str) -> None:
        site, workshop = self.site, self.site.workshop
        settings = workshop.evaluator(name)
        recognizer = workshop.recognizer(f"evaluator:{name}")
        who = judge_classes(settings, workshop.splits, site.plan.targets)
        correct_N = recognition(recognizer.log_scores, who.test, workshop.device)
        train = workshop.splits.train
        aimed = torch.isin(train.class_N, torch.tensor(site.plan.targets))
        feature_ND = features(recognizer, train.images_NCHW[aimed], workshop.device)
        target_N = train.class_N[aimed]
        key = judge_key(site, name)
        site.store.write(
            "features",
            key,
            [
                {"evaluator": name, "target": int(t), "feature": f.tolist()}
                for t, f in zip(target_N, feature_ND, strict=True)
            ],
        )
        row = {
            "evaluator": name,
            "protocol": settings.protocol,
            "network": settings.recognizer.network.name,
            "correct": int(correct_N.sum()),
            "total": len(who.test),
            "within_person": within_person_distance(feature_ND.numpy(), target_N.numpy()),
        }
        site.store.write("evaluators", key, [row])
