"""What tables need besides attacks: measured once on the networks that an audit has stored, and kept there.

A measure is a function of an opened session. Its result is a JSON file, named by the measure, its version, the run
and the run's networks, so an equal call opens no session. Estimates are {value, low, high, count}; ends that are
not known are null.
"""

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from inversionlab.core.images import png, to_bytes, to_float
from inversionlab.core.rows import select
from inversionlab.core.seeds import torch_stream
from inversionlab.core.settings import fingerprint
from inversionlab.data.labelled import Labelled
from inversionlab.defenses.adversarial_noise import AdversarialNoiseSettings
from inversionlab.defenses.dummy_recognizer import DummyRecognizerSettings
from inversionlab.defenses.none import NoneSettings
from inversionlab.defenses.parts.fine_tuning import FakeSamplesSettings, public_labels
from inversionlab.experiment import Experiment
from inversionlab.generators.base import Generator
from inversionlab.generators.inversion_noise import find_noise
from inversionlab.metrics import Estimate, Gaussian, by_person, frechet_distance
from inversionlab.metrics.mean_by_person import mean_by_person
from inversionlab.papers.clone_change import CLONE_CHANGE, clone_change
from inversionlab.papers.finder import DECOYS
from inversionlab.papers.gradient_estimates import VARIANCES, criteria_and_cosines
from inversionlab.pipeline import evaluate
from inversionlab.pipeline.defense_specs import DefenseSpecs, least_pictures
from inversionlab.pipeline.endpoint import begin
from inversionlab.pipeline.recognizer_specs import RecognizerSpec, outsider_classes
from inversionlab.pipeline.session import Session
from inversionlab.recognizers import Recognizer
from inversionlab.results.run_record import RunRecord
from inversionlab.store.storage import Storage

PICTURES = 2000
"""The most pictures of each kind that a distance between sets is measured on."""
LINE = 41
"""Points of a line between two pictures."""
DRAWN = 64
"""Pictures that a generator makes at once."""
LOW_CRITERION, HIGH_COSINE = 0.1, 0.8
"""Yoshimura's rule: where C is below the first, the cosine is above the second."""


@dataclass(frozen=True)
class Measure:
    """Something to measure on a session."""

    version: int
    """Raise it when the result would differ for equal networks."""
    compute: Callable[[Session], dict[str, Any]]


def first_victim(session: Session) -> DefenseSpecs:
    """What the plan holds of the only victim, or of the first of several, which stands for all."""
    return next(iter(session.plan.victims.values()))


def generator_distance(session: Session) -> dict[str, Any]:
    """Fréchet distance of the defender's generator to the private pictures, by every evaluator's features.

    As many pictures are drawn as there are private ones, at most `PICTURES`. It is no Inception FID.
    """
    splits, builder = session.builder.splits, session.builder
    (spec, *_) = [s for s in session.plan.specs if s.role == "defense_generator"]
    generator = builder.network(spec)
    assert isinstance(generator, Generator)
    count = min(len(splits.train), PICTURES)
    rng = torch_stream(session.experiment.seed, "papers", "generator distance")
    with torch.no_grad():
        parts = (generator.draw(count, rng).to(builder.device)).split(DRAWN)
        made_NCHW = torch.cat([to_bytes(generator(z).float().cpu()) for z in parts])
    real_NCHW = evaluate.sample((splits.train,), count).images_NCHW
    found = {}
    for name, judging in session.plan.evaluators.items():
        recognizer = builder.recognizer(judging.role)
        both = [
            Gaussian.fit(evaluate.features(recognizer, x_NCHW, builder.device).numpy())
            for x_NCHW in (made_NCHW, real_NCHW)
        ]
        found[name] = _plain(Estimate(frechet_distance(*both), math.nan, math.nan, count))
    return found


def gradient_estimates(session: Session) -> dict[str, Any]:
    """Criterion C against the cosine of estimated and true gradient (`gradient_estimates.py`).

    `rule` is the share of the points with C < 0.1 whose cosine is above 0.8, and `elsewhere` that of the others.
    The unit of their intervals is the target. `criterion` and `cosine` are the points, a list for each sigma^2.
    """
    cell = next(c for c in session.plan.cells if c.attack.name.startswith("latent_"))
    context = session.builder.attacker_context(cell)
    assert cell.attacked is not None, "an attack on a latent asks the model"
    model = session.builder.attacked(cell.attacked, seed=cell.seed)
    criterion_VN, cosine_VN = criteria_and_cosines(context, model, session.plan.targets)
    near_VN, alike_VN = criterion_VN < LOW_CRITERION, cosine_VN > HIGH_COSINE
    people = np.array(session.plan.targets)
    person_VN = np.broadcast_to(
        np.tile(people, criterion_VN.shape[1] // len(people)), criterion_VN.shape
    )
    lowest = float(cosine_VN[near_VN].min()) if near_VN.any() else math.nan
    return {
        **{
            name: _plain(by_person(alike_VN[mine_VN].numpy(), person_VN[mine_VN.numpy()]))
            for name, mine_VN in (("rule", near_VN), ("elsewhere", ~near_VN))
        },
        "lowest": _plain(Estimate(lowest, math.nan, math.nan, int(near_VN.sum()))),
        "variances": list(VARIANCES),
        "criterion": criterion_VN.tolist(),
        "cosine": cosine_VN.tolist(),
    }


@torch.no_grad()
def public_classifier(session: Session) -> dict[str, Any]:
    """How much of the public people's pictures the defender's classifiers F_C recognize; the unit is the person.

    `own pictures` are those that it has learned from, and `held out` others of the same people, where there are
    any. Of two classifiers the one of people with fewer pictures has keys that end in `starved`.
    """
    builder, found = session.builder, dict[str, Any]()
    seed = first_victim(session).victim.seed
    specs = [s for s in session.plan.specs if isinstance(s, RecognizerSpec) and s.seed == seed]
    mine = [s for s in specs if s.role == "defense_classifier"]
    mine.sort(key=lambda s: int(s.protocol.inputs.get("pictures", "0")), reverse=True)
    for place, spec in enumerate(mine):
        recognizer = builder.network(spec)
        assert isinstance(recognizer, Recognizer)
        data, end = spec.data(builder.splits), ", starved" if place else ""
        shown = {"own pictures": data.train, "held out": data.test}
        for name, known in shown.items() if spec.protocol.holds_out else [*shown.items()][:1]:
            hit_N = evaluate.recognition(recognizer.log_scores, known, builder.device)
            found[f"{name}{end}"] = _plain(by_person(hit_N.numpy(), known.class_N.numpy()))
    return found


def noise_size(session: Session) -> dict[str, Any]:
    """How far each defense of the recipe moves log-scores of test pictures, by its title; the unit is the person.

    Of `adversarial_noise` on the victim itself it is the mean L1 size for each entry of the noise before it is
    renormalised. Others add no noise: theirs is the distance of log-scores from the undefended model's.
    """
    builder, specs = session.builder, first_victim(session)
    seed, test = specs.victim.seed, builder.splits.test
    victim, found = builder.attacked(NoneSettings(), seed=seed), {}
    for _, defense in session.experiment.every_defense():
        own, sizes = specs.own(defense), []
        noisy = isinstance(defense, AdversarialNoiseSettings) and not defense.inner
        model = None if noisy else builder.attacked(defense, seed=seed)
        for pictures_NCHW, _ in _chunks(test):
            x_NCHW = to_float(pictures_NCHW, builder.device)
            with torch.no_grad():
                log_NK = victim.log_scores(x_NCHW)
            if isinstance(defense, AdversarialNoiseSettings) and noisy and own is not None:
                moved_NK = find_noise(builder.network(own), x_NCHW, log_NK, defense.noise)
            else:
                assert model is not None
                with torch.no_grad():
                    log_y_NK = model.log_scores(x_NCHW)
                moved_NK = log_y_NK.clamp(evaluate.LOG_FLOOR) - log_NK.clamp(evaluate.LOG_FLOOR)
            sizes.append(moved_NK.detach().abs().mean(1).double().cpu())
        found[defense.title] = _plain(
            mean_by_person(torch.cat(sizes).numpy(), test.class_N.numpy())
        )
    return found


def decoy_labels(session: Session) -> dict[str, Any]:
    """The public person l_p of each attacked one: a picture, and every evaluator's mean feature of their pictures.

    l_p is drawn with the victim's seed, so there is one for each victim; the picture is of the first's. They are
    those of the first fake-samples defense of the recipe; l_p does not depend on its other settings.
    """
    builder, plan = session.builder, session.plan
    defenses, splits = session.experiment.every_defense(), builder.splits
    settings = next(d for _, d in defenses if isinstance(d, FakeSamplesSettings))
    public_class_N = outsider_classes(splits, least_pictures(settings))
    classes, found = int(public_class_N.max()) + 1, dict[str, Any]()
    for seed, specs in plan.victims.items():
        for target in plan.targets:
            (decoy,) = public_labels((target,), classes, specs.victim.seed)
            own_NCHW = select(splits.public_NCHW, public_class_N == decoy)
            # Pictures are shown of the first victim alone.
            picture = base64.b64encode(png(own_NCHW[0])).decode()
            known = found.setdefault(str(target), {"picture": picture, "means": {}})
            known["means"][str(seed)] = {
                name: evaluate.features(builder.recognizer(judging.role), own_NCHW, builder.device)
                .double()
                .mean(0)
                .tolist()
                for name, judging in plan.evaluators.items()
            }
    return found


def _chunks(known: Labelled) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pictures and classes, a few at a time."""
    size = evaluate.CHUNK
    return zip(known.images_NCHW.split(size), known.class_N.split(size), strict=True)


def score_line(session: Session) -> dict[str, Any]:
    """The target's score along straight lines from a real picture of a target to its synthetic face (Kotsuji, Fig.
    3).

    Means over the targets: at both ends for the victim, the dummy and their mixture of the recipe, and the whole
    lines for a chart. `peak` is the share of the targets whose highest score is nearer the synthetic face.
    """
    builder, specs = session.builder, first_victim(session)
    defense = session.experiment.defense
    own = specs.own(defense)
    assert isinstance(defense, DummyRecognizerSettings)
    assert own is not None
    made_NCHW = own.defense.decoys(own.defense_context(builder))
    assert made_NCHW is not None, "a dummy recognizer leads to its synthetic faces"
    models = {
        name: builder.attacked(defense.model_copy(update={"alpha": alpha}), seed=specs.victim.seed)
        for name, alpha in (("victim", 1.0), ("dummy", 0.0), ("mixture", defense.alpha))
    }
    train, places = builder.splits.train, torch.linspace(0, 1, LINE)
    lines: dict[str, list[torch.Tensor]] = {name: [] for name in models}
    for target in session.plan.targets:
        real_CHW = to_float(select(train.images_NCHW, train.class_N == target)[0], builder.device)
        share_N111 = places[:, None, None, None]
        x_NCHW = (1 - share_N111) * real_CHW + share_N111 * made_NCHW[target].to(builder.device)
        with torch.no_grad():
            for name, model in models.items():
                lines[name].append(model.log_scores(x_NCHW)[:, target].exp().cpu())
    found: dict[str, Any] = {"places": places.tolist()}
    for name, scores in lines.items():
        score_MN = torch.stack(scores).double()
        found[f"{name} line"] = score_MN.mean(0).tolist()
        people_M = np.arange(len(score_MN))
        nearer_M = score_MN.argmax(1).numpy() >= LINE / 2
        found[f"{name} peak"] = _plain(by_person(nearer_M, people_M))
        for end, place in (("real", 0), ("synthetic", -1)):
            mean = mean_by_person(score_MN[:, place].numpy(), people_M)
            # A score lies in [0, 1], whatever Student's interval of few people says.
            bounded = replace(mean, low=max(mean.low, 0.0), high=min(mean.high, 1.0))
            found[f"{name} {end}"] = _plain(bounded)
    return found


def private_faces(session: Session) -> dict[str, Any]:
    """A held-out picture of each target, as PNG in base64, by the target's number (`blind.py`)."""
    test, found = session.builder.splits.test, {}
    for target in session.plan.targets:
        own = select(test.images_NCHW, test.class_N == target)
        if len(own):
            found[str(target)] = {"picture": base64.b64encode(png(own[0])).decode()}
    return found


MEASURES: Mapping[str, Measure] = {
    DECOYS: Measure(2, decoy_labels),
    CLONE_CHANGE: Measure(1, lambda s: {k: _plain(v) for k, v in clone_change(s).items()}),
    "private_faces": Measure(1, private_faces),
    "score_line": Measure(3, score_line),
    "public_classifier": Measure(2, public_classifier),
    "noise_size": Measure(2, noise_size),
    "generator_distance": Measure(1, generator_distance),
    "gradient_estimates": Measure(2, gradient_estimates),
}


def measured(
    name: str,
    experiment: Experiment,
    record: RunRecord,
    storage: Storage,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The result of a measure on a run that is stored; it is computed where it is not there yet."""
    measure = MEASURES[name]
    networks = sorted(artifact.id for artifact in record.artifacts)
    key = f"papers/measures/{fingerprint([name, measure.version, record.run, networks])}.json"
    if not storage.exists(key):
        say(f"      measuring: {name.replace('_', ' ')}")
        storage.write_json(key, measure.compute(begin(experiment, storage)))
    found: dict[str, Any] = storage.read_json(key)
    return {
        known: {end: math.nan if number is None else number for end, number in value.items()}
        if isinstance(value, dict)
        else value
        for known, value in found.items()
    }


def _plain(estimate: Estimate) -> dict[str, Any]:
    """As JSON, which has no NaN."""
    return {k: None if math.isnan(value) else value for k, value in asdict(estimate).items()}
