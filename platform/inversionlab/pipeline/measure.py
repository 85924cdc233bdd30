"""What is measured in addition to the attacks: models, evaluators, and evaluators' features of the targets."""

import json
import math
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from inversionlab.core import views
from inversionlab.core.images import png, to_bytes
from inversionlab.core.rows import Images, select
from inversionlab.core.settings import fingerprint
from inversionlab.core.views import View
from inversionlab.data.labelled import Labelled
from inversionlab.defenses import DefenseSettings, ProtectedModel
from inversionlab.defenses.composition import chain, people_of, protected_views, stripped
from inversionlab.defenses.none import NoneSettings
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.metrics import within_person_distance
from inversionlab.pipeline import evaluate, footprint
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.compiled import compiled
from inversionlab.pipeline.recognizer_specs import outsider_classes
from inversionlab.pipeline.session import Session
from inversionlab.recognizers import Recognizer
from inversionlab.results.models import MODEL_METRICS, STRANGER_SCORE

Judge = Recognizer | GivenRecognizer
STRANGERS = 2000
"""Pictures at most of people whom a model does not know, that it is asked about."""
VIEWS: dict[type[View], str] = {view: word.replace("_", " ") for word, view in views.VIEWS.items()}
"""What each view shows, in words."""


def evaluator_key(session: Session, name: str) -> str:
    """The name under which an evaluator's measurements are stored."""
    spec = session.plan.evaluators[name]
    return fingerprint([spec.id, name, list(session.plan.targets)])


def model_key(session: Session, protected: str, defense: DefenseSettings | None = None) -> str:
    """The name under which a protected model's measurements are stored; `defense` released it."""
    return fingerprint([protected, list(people_of(defense, session.plan.targets))])


def evaluator(session: Session, name: str) -> evaluate.Evaluator:
    """An evaluator with the features that were stored when it was measured."""
    spec, key = session.plan.evaluators[name], evaluator_key(session, name)
    table = session.store.read("features", key)
    feature_ND, target_N = _features(table), table["target"].to_numpy()
    # The rows follow the order of the pictures, not of the targets: sort them, then cut once.
    order = np.argsort(target_N, kind="stable")
    targets = session.plan.targets
    bounds = np.searchsorted(target_N[order], [*targets, targets[-1] + 1])
    private = {
        target: feature_ND[order[first:last]]
        for target, first, last in zip(targets, bounds[:-1], bounds[1:], strict=True)
    }
    people_KD = _features(session.store.read("galleries", key)) if spec.has_gallery else None
    class_of = spec.data(session.builder.splits).class_of
    judge = cast(Judge, compiled(session.builder.recognizer(spec.role)))
    return evaluate.Evaluator(name, judge, class_of, private, people_KD)


def _features(table: pa.Table) -> Tensor:
    """The stored features (N, D)."""
    stored = table["feature"].combine_chunks()
    return torch.tensor(stored.flatten().to_numpy()).view(len(stored), -1)


def measure_model(session: Session, cell: Cell) -> None:
    """Store how well the protected model of a cell recognizes, its footprint, and the decoys of its defense."""
    assert cell.defense is not None, "a null attack has no model"
    builder, store, behind_http = (
        session.builder,
        session.store,
        session.experiment.endpoint is not None,
    )
    test, people = builder.splits.test, people_of(cell.defense, session.plan.targets)
    if behind_http:
        test = evaluate.sample((test,), evaluate.QUERIES)
    model = builder.attacked(cell.defense, "fp32", cell.seed)
    victim = builder.attacked(NoneSettings(), "fp32", cell.seed)
    # An endpoint's queries cost, so it is not asked about anybody whom it does not know.
    strangers = None if behind_http else unknown_people(session)
    used = evaluate.utility(
        model.log_scores,
        victim.log_scores,
        test,
        builder.device,
        people,
        strangers,
    )
    aimed_N = torch.isin(test.class_N, torch.tensor(people))
    classes = len(builder.splits.people)
    stopped, left = protected_views(cell.defense), stripped(cell.defense)
    row = {
        "protected": cell.protected,
        "defense": cell.defense.name,
        "defense_settings": cell.defense.model_dump_json(),
        "correct_all": int(used.correct_N.sum()),
        "total_all": len(test),
        "correct_targets": int(used.correct_N[aimed_N].sum()),
        "total_targets": int(aimed_N.sum()),
        "correct_of": torch.bincount(test.class_N[used.correct_N], minlength=classes).tolist(),
        "total_of": torch.bincount(test.class_N, minlength=classes).tolist(),
        # What runs elsewhere has no footprint here, and its time would be the network's.
        **({} if behind_http else _footprint(session, cell, model)),
        **{metric.key: getattr(used, metric.key) for metric in MODEL_METRICS},
        "others_taken_of": list(used.others_taken_of),
        "facts": json.dumps(_facts(session, cell, model), sort_keys=True),
        "protects": ", ".join(word for view, word in VIEWS.items() if view in stopped),
        "left": "" if left == cell.defense else left.title,
    }
    key = model_key(session, cell.protected, cell.defense)
    store.write("references", key, _decoys(session, cell.defense, cell.seed))
    store.write("models", key, [row])


def _footprint(session: Session, cell: Cell, model: ProtectedModel) -> dict[str, Any]:
    """What a released model needs; without private pictures it is measured on public ones."""
    assert cell.defense is not None, "a null attack has no model"
    device, test = session.builder.device, session.builder.splits.test
    # A folded network has fewer parameters than the released one.
    released = session.builder.protected(cell.defense, cell.seed)
    shown = test if len(test) else _strangers(session)
    return {
        "milliseconds": evaluate.milliseconds(model.log_scores, shown, device),
        "networks": footprint.networks(released),
        "parameters": footprint.parameters(released),
        "memory": footprint.memory(model.log_scores, shown, device),
    }


def _facts(session: Session, cell: Cell, model: ProtectedModel) -> dict[str, float]:
    """The facts that a released model states.

    Without private pictures its own score is all that there is to judge by, so its score of strangers is added.
    """
    facts, builder = footprint.facts(model), session.builder
    victim = builder.network(session.plan.of_seed(cell.seed).victim)
    silent = isinstance(victim, GivenRecognizer) and victim.answers == "labels"
    if len(builder.splits.train) or session.experiment.endpoint is not None or silent:
        return facts
    score = evaluate.mean_winning_score(model.log_scores, _strangers(session), builder.device)
    return facts | ({STRANGER_SCORE: score} if math.isfinite(score) else {})


def unknown_people(session: Session) -> Images | None:
    """Pictures of people whom no model has learned to tell apart; None where there are none.

    They are evaluator-only people, or else public people on a single picture: from more pictures some defenses
    learn people.
    """
    splits = session.builder.splits
    apart = (splits.evaluator_train, splits.evaluator_test)
    if any(map(len, apart)):
        return evaluate.sample(apart, STRANGERS).images_NCHW
    single_N = outsider_classes(splits) < 0
    if not single_N.any():
        return None
    alone = Labelled(select(splits.public_NCHW, single_N), splits.public_person_N[single_N])
    return evaluate.sample((alone,), STRANGERS).images_NCHW


def _strangers(session: Session) -> Labelled:
    """Some public pictures, all of class 0."""
    public_NCHW = session.builder.splits.public_NCHW[: footprint.BATCH]
    return Labelled(public_NCHW, torch.zeros(len(public_NCHW), dtype=torch.int64))


def _decoys(session: Session, defense: DefenseSettings, seed: int) -> list[dict[str, Any]]:
    """The pictures to which a defense, or one below it, leads attacks; one row per target."""
    specs = session.plan.of_seed(seed)
    for part in chain(defense):
        spec = specs.own(part)
        if spec is None:
            continue
        decoys = spec.defense.decoys(spec.defense_context(session.builder))
        if decoys is not None:
            images = to_bytes(decoys)
            return [
                {
                    "kind": "synthetic",
                    "protected": specs.model(defense).id,
                    "target": target,
                    "person": session.builder.splits.people[target],
                    "picture": png(images[target]),
                }
                for target in people_of(defense, session.plan.targets)
            ]
    return []


def measure_evaluator(session: Session, name: str) -> None:
    """Store what an evaluator says of real test pictures, and its features of the targets' private pictures."""
    builder, spec = session.builder, session.plan.evaluators[name]
    recognizer = cast(Judge, compiled(builder.recognizer(spec.role)))
    data, train = spec.data(builder.splits), builder.splits.train
    aimed_N = torch.isin(train.class_N, torch.tensor(session.plan.targets))
    key, people_KD = evaluator_key(session, name), None
    if data.gallery is not None:
        known_ND = evaluate.features(recognizer, data.gallery.images_NCHW, builder.device)
        classes = len(builder.splits.people)
        people_KD = evaluate.gallery(known_ND, data.gallery.class_N, classes)
        people = enumerate(people_KD.tolist())
        rows = [{"evaluator": name, "person": k, "feature": feature} for k, feature in people]
        session.store.write("galleries", key, rows)
    own = evaluate.Evaluator(name, recognizer, data.class_of, {}, people_KD)
    real = evaluate.held_out(own, data.test, builder.device)
    verdicts = zip(data.test.class_N, real.rank_N, real.similarity_N, strict=True)
    rows = [
        {"evaluator": name, "person": int(person), "rank": int(rank), "similarity": float(alike)}
        for person, rank, alike in verdicts
    ]
    session.store.write("held_out", key, rows)
    if data.gallery is train:
        feature_ND = known_ND[aimed_N]
    else:
        feature_ND = evaluate.features(
            recognizer, select(train.images_NCHW, aimed_N), builder.device
        )
    feature_ND, target_N = evaluate.bounded(feature_ND), train.class_N[aimed_N]
    rows = [
        {"evaluator": name, "target": int(target), "feature": feature.tolist()}
        for target, feature in zip(target_N, feature_ND, strict=True)
    ]
    session.store.write("features", key, rows)
    row = {
        "evaluator": name,
        "protocol": spec.protocol_name,
        "network": spec.structure_name,
        "correct": int(real.correct_N.sum()),
        "total": len(data.test),
        "within_person": within_person_distance(feature_ND.numpy(), target_N.numpy()),
        "people": real.people,
    }
    session.store.write("evaluators", key, [row])
