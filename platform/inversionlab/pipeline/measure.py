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
from inversionlab.defenses.none import Undefended
from inversionlab.metrics import within_person_distance
from inversionlab.pipeline import footprint
from inversionlab.pipeline.batch_invariant import BatchInvariantModel
from inversionlab.pipeline.evaluate import (
    Evaluator,
    features,
    gallery,
    milliseconds,
    recognition,
    utility,
)
from inversionlab.pipeline.evaluator_data import evaluator_data
from inversionlab.pipeline.plan import Cell, model_id
from inversionlab.pipeline.session import Session

VIEWS: dict[type[View], str] = {WhiteBox: "white box", Scores: "scores", Labels: "labels"}
"""What attackers see, for reading."""


def evaluator_key(session: Session, name: str) -> str:
    """Under which name an evaluator's measurements are stored."""
    spec = session.plan.spec(f"evaluator:{name}")
    return fingerprint([spec.id, name, list(session.plan.targets)])


def model_key(session: Session, protected: str) -> str:
    """Under which name a protected model's measurements are stored."""
    return fingerprint([protected, list(session.plan.targets)])


def evaluator(session: Session, name: str) -> Evaluator:
    """An evaluator with the features that were stored when it was measured."""
    who = evaluator_data(session.builder.evaluator(name), session.builder.splits, session.plan.pool)
    table = session.store.read("features", evaluator_key(session, name))
    target_N = table["target"].to_numpy()
    features_ND = table["feature"].combine_chunks().flatten().to_numpy().reshape(len(target_N), -1)
    # The rows were stored target by target only if the pictures stand so: sort, then cut once.
    order = np.argsort(target_N, kind="stable")
    bounds = np.searchsorted(target_N[order], [*session.plan.targets, session.plan.targets[-1] + 1])
    private = {
        target: torch.from_numpy(features_ND[order[first:last]])
        for target, first, last in zip(session.plan.targets, bounds[:-1], bounds[1:], strict=True)
    }
    people = None
    if session.builder.evaluator(name).protocol == "nearest_identity":
        stored = session.store.read("galleries", evaluator_key(session, name))[
            "feature"
        ].combine_chunks()
        people = torch.tensor(stored.flatten().to_numpy()).view(len(stored), -1)
    recognizer = session.builder.recognizer(f"evaluator:{name}")
    return Evaluator(name, recognizer, who.class_of, private, people)


def measure_model(session: Session, cell: Cell) -> None:
    """Store how well the model of a cell recognizes, and what it leads attacks to."""
    assert cell.defense is not None
    builder, store = session.builder, session.store
    test = builder.splits.test
    model = builder.protected(cell.defense)
    victim = BatchInvariantModel(Undefended(builder.recognizer("victim")))
    used = utility(model.log_scores, victim.log_scores, test, builder.device)
    aimed = torch.isin(test.class_N, torch.tensor(session.plan.targets))
    row = {
        "protected": cell.protected,
        "defense": cell.defense.name,
        "defense_settings": cell.defense.model_dump_json(),
        "correct_all": int(used.correct_N.sum()),
        "total_all": len(test),
        "correct_targets": int(used.correct_N[aimed].sum()),
        "total_targets": int(aimed.sum()),
        "milliseconds": milliseconds(model.log_scores, test, builder.device),
        "networks": footprint.networks(model),
        "parameters": footprint.parameters(model),
        "memory": footprint.memory(model.log_scores, test, builder.device),
        "distortion": used.distortion,
        "log_distortion": used.log_distortion,
        "facts": json.dumps(footprint.facts(model), sort_keys=True),
        **_protection(cell.defense),
    }
    key = model_key(session, cell.protected)
    store.write("references", key, _decoys(session, cell))
    store.write("models", key, [row])


def _protection(defense: DefenseSettings) -> dict[str, str]:
    """Whom the defense stops by its own word, and what is left for an attacker who takes it off."""
    left = stripped(defense)
    stopped = protected_views(defense)
    return {
        "protects": ", ".join(word for view, word in VIEWS.items() if view in stopped),
        "left": "" if left == defense else left.title,
    }


def _decoys(session: Session, cell: Cell) -> list[dict[str, Any]]:
    """The synthetic faces that a defense, or what it is put on, leads attacks to."""
    assert cell.defense is not None
    builder = session.builder
    for part in chain(cell.defense):
        spec = session.plan.defense_spec(part)
        decoys = DEFENSES[part.name](part).decoys(builder.defense_context(spec)) if spec else None
        if decoys is not None:
            break
    else:
        return []
    images = to_bytes(decoys)
    return [
        {
            "kind": "synthetic",
            "protected": model_id(session.plan, cell.defense),
            "target": target,
            "person": builder.splits.people[target],
            "picture": png(images[target]),
        }
        for target in session.plan.targets
    ]


def _store_gallery(session: Session, name: str, people_KD: Tensor) -> None:
    rows = [
        {"evaluator": name, "person": k, "feature": f.tolist()} for k, f in enumerate(people_KD)
    ]
    session.store.write("galleries", evaluator_key(session, name), rows)


def measure_evaluator(session: Session, name: str) -> None:
    """Store how well an evaluator recognizes, and its features of the targets' private pictures."""
    builder = session.builder
    settings = builder.evaluator(name)
    recognizer = builder.recognizer(f"evaluator:{name}")
    who = evaluator_data(settings, builder.splits, session.plan.pool)
    train = builder.splits.train
    nearest = settings.protocol == "nearest_identity"
    aimed = torch.isin(train.class_N, torch.tensor(session.plan.targets)) | nearest
    feature_ND = features(recognizer, train.images_NCHW[aimed], builder.device)
    target_N = train.class_N[aimed]
    key = evaluator_key(session, name)
    if nearest:
        people_KD = gallery(feature_ND, target_N)
        asked_ND = features(recognizer, who.test.images_NCHW, builder.device)
        own = Evaluator(name, recognizer, who.class_of, {}, people_KD)
        correct_N = own.logits(asked_ND, builder.device).argmax(1) == who.test.class_N
        _store_gallery(session, name, people_KD)
        kept = torch.isin(target_N, torch.tensor(session.plan.targets))
        feature_ND, target_N = feature_ND[kept], target_N[kept]
    else:
        correct_N = recognition(recognizer.log_scores, who.test, builder.device)
    session.store.write(
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
    session.store.write("evaluators", key, [row])
