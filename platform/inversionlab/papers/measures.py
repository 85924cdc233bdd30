"""What tables need besides attacks: measured once on the networks that an audit has stored, and kept there.

A measure is a function of an opened session. Its result is a JSON file, named by the measure, its version, the run
and the run's networks, so an equal call opens no session. Estimates are {value, low, high, count}; ends that are
not known are null.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from inversionlab.core.images import to_bytes
from inversionlab.core.seeds import torch_stream
from inversionlab.core.settings import fingerprint
from inversionlab.experiment import Experiment
from inversionlab.generators.base import Generator
from inversionlab.metrics import Estimate, Gaussian, frechet_distance, wilson
from inversionlab.papers.gradient_estimates import VARIANCES, criteria_and_cosines
from inversionlab.pipeline import evaluate
from inversionlab.pipeline.endpoint import begin
from inversionlab.pipeline.session import Session
from inversionlab.results.run_record import RunRecord
from inversionlab.store.storage import Storage

PICTURES = 2000
"""The most pictures of each kind that a distance between sets is measured on."""
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

    `rule` is the share of the points with C < 0.1 whose cosine is above 0.8; the unit of its interval is the
    point. `criterion` and `cosine` are the points themselves, a list for each sigma^2.
    """
    cell = next(c for c in session.plan.cells if c.attack.name.startswith("latent_"))
    context = session.builder.attacker_context(cell)
    model = session.builder.attacked(cell.attacked) if cell.attacked is not None else None
    assert model is not None, "an attack on a latent asks the model"
    criterion_VN, cosine_VN = criteria_and_cosines(context, model, session.plan.targets)
    near_VN = criterion_VN < LOW_CRITERION
    hits = int((cosine_VN[near_VN] > HIGH_COSINE).sum())
    lowest = float(cosine_VN[near_VN].min()) if near_VN.any() else math.nan
    return {
        "rule": _plain(wilson(hits, int(near_VN.sum()))),
        "lowest": _plain(Estimate(lowest, math.nan, math.nan, int(near_VN.sum()))),
        "variances": list(VARIANCES),
        "criterion": criterion_VN.tolist(),
        "cosine": cosine_VN.tolist(),
    }


MEASURES: Mapping[str, Measure] = {
    "generator_distance": Measure(1, generator_distance),
    "gradient_estimates": Measure(1, gradient_estimates),
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
    plain = asdict(estimate)
    return {key: None if math.isnan(value) else value for key, value in plain.items()}
