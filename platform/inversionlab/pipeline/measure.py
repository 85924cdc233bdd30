"""What is measured beside the attacks: how well models and judges recognize, and what judges know of targets."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inversionlab.core.images import png, to_bytes
from inversionlab.core.settings import fingerprint
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses import DEFENSES, DefenseSettings
from inversionlab.defenses.composition import chain, protected_views, stripped
from inversionlab.defenses.none import Alone
from inversionlab.metrics import within_person_distance
from inversionlab.pipeline import footprint
from inversionlab.pipeline.batch_invariant import SteadyModel
from inversionlab.pipeline.evaluate import (
    Judge,
    features,
    gallery,
    milliseconds,
    recognition,
    utility,
)
from inversionlab.pipeline.evaluator_data import judge_classes
from inversionlab.pipeline.plan import Cell, protected_id
from inversionlab.pipeline.session import Site

VIEWS: dict[type[View], str] = {WhiteBox: "white box", Scores: "scores", Labels: "labels"}
"""What attackers see, for reading."""


def judge_key(site: Site, name: str) -> str:
    """Under which name an evaluator's measurements are stored."""
    task = site.plan.task(f"evaluator:{name}")
    return fingerprint([task.id, name, list(site.plan.targets)])


def model_key(site: Site, protected: str) -> str:
    """Under which name a protected model's measurements are stored."""
    return fingerprint([protected, list(site.plan.targets)])


def judge(site: Site, name: str) -> Judge:
    """An evaluator with the features that were stored when it was measured."""
    who = judge_classes(site.workshop.evaluator(name), site.workshop.splits, site.plan.pool)
    table = site.store.read("features", judge_key(site, name))
    target_N = table["target"].to_numpy()
    features_ND = table["feature"].combine_chunks().flatten().to_numpy().reshape(len(target_N), -1)
    # The rows were stored target by target only if the pictures stand so: sort, then cut once.
    order = np.argsort(target_N, kind="stable")
    bounds = np.searchsorted(target_N[order], [*site.plan.targets, site.plan.targets[-1] + 1])
    private = {
        target: torch.from_numpy(features_ND[order[first:last]])
        for target, first, last in zip(site.plan.targets, bounds[:-1], bounds[1:], strict=True)
    }
    people = None
    if site.workshop.evaluator(name).protocol == "nearest_identity":
        stored = site.store.read("galleries", judge_key(site, name))["feature"].combine_chunks()
        people = torch.tensor(stored.flatten().to_numpy()).view(len(stored), -1)
    recognizer = site.workshop.recognizer(f"evaluator:{name}")
    return Judge(name, recognizer, who.class_of, private, people)


def measure_model(site: Site, cell: Cell) -> None:
    """Store how well the model of a cell recognizes, and what it leads attacks to."""
    assert cell.defense is not None
    workshop, store = site.workshop, site.store
    test = workshop.splits.test
    model = workshop.protected(cell.defense)
    victim = SteadyModel(Alone(workshop.recognizer("victim")))
    used = utility(model.log_scores, victim.log_scores, test, workshop.device)
    aimed = torch.isin(test.class_N, torch.tensor(site.plan.targets))
    row = {
        "protected": cell.protected,
        "defense": cell.defense.name,
        "defense_settings": cell.defense.model_dump_json(),
        "correct_all": int(used.correct_N.sum()),
        "total_all": len(test),
        "correct_targets": int(used.correct_N[aimed].sum()),
        "total_targets": int(aimed.sum()),
        "milliseconds": milliseconds(model.log_scores, test, workshop.device),
        "networks": footprint.networks(model),
        "parameters": footprint.parameters(model),
        "memory": footprint.memory(model.log_scores, test, workshop.device),
        "distortion": used.distortion,
        "log_distortion": used.log_distortion,
        "facts": json.dumps(footprint.facts(model), sort_keys=True),
        **_protection(cell.defense),
    }
    key = model_key(site, cell.protected)
    store.write("references", key, _decoys(site, cell))
    store.write("models", key, [row])


def _protection(defense: DefenseSettings) -> dict[str, str]:
    """Whom the defense stops by its own word, and what is left for an attacker who takes it off."""
    left = stripped(defense)
    stopped = protected_views(defense)
    return {
        "protects": ", ".join(word for view, word in VIEWS.items() if view in stopped),
        "left": "" if left == defense else left.title,
    }


def _decoys(site: Site, cell: Cell) -> list[dict[str, Any]]:
    """The synthetic faces that a defense, or what it is put on, leads attacks to."""
    assert cell.defense is not None
    workshop = site.workshop
    for part in chain(cell.defense):
        task = site.plan.defense_task(part)
        decoys = DEFENSES[part.name](part).decoys(workshop.bench(task)) if task else None
        if decoys is not None:
            break
    else:
        return []
    images = to_bytes(decoys)
    return [
        {
            "kind": "synthetic",
            "protected": protected_id(site.plan, cell.defense),
            "target": target,
            "person": workshop.splits.people[target],
            "picture": png(images[target]),
        }
        for target in site.plan.targets
    ]


def _store_gallery(site: Site, name: str, people_KD: Tensor) -> None:
    rows = [
        {"evaluator": name, "person": k, "feature": f.tolist()} for k, f in enumerate(people_KD)
    ]
    site.store.write("galleries", judge_key(site, name), rows)


def measure_judge(site: Site, name: str) -> None:
    """Store how well an evaluator recognizes, and its features of the targets' private pictures."""
    workshop = site.workshop
    settings = workshop.evaluator(name)
    recognizer = workshop.recognizer(f"evaluator:{name}")
    who = judge_classes(settings, workshop.splits, site.plan.pool)
    train = workshop.splits.train
    nearest = settings.protocol == "nearest_identity"
    aimed = torch.isin(train.class_N, torch.tensor(site.plan.targets)) | nearest
    feature_ND = features(recognizer, train.images_NCHW[aimed], workshop.device)
    target_N = train.class_N[aimed]
    key = judge_key(site, name)
    if nearest:
        people_KD = gallery(feature_ND, target_N)
        asked_ND = features(recognizer, who.test.images_NCHW, workshop.device)
        own = Judge(name, recognizer, who.class_of, {}, people_KD)
        correct_N = own.logits(asked_ND, workshop.device).argmax(1) == who.test.class_N
        _store_gallery(site, name, people_KD)
        kept = torch.isin(target_N, torch.tensor(site.plan.targets))
        feature_ND, target_N = feature_ND[kept], target_N[kept]
    else:
        correct_N = recognition(recognizer.log_scores, who.test, workshop.device)
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
