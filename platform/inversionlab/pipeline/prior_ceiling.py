"""A prior's ceiling: how much the recipe's first evaluator recognizes of private faces that a generator can make.

An attack finds no better picture of a person than its generator can make. So private pictures are fitted in the
generator's latent space (`latent_fit.py`), and the evaluator says how many of them it still recognizes. The figure
is the auditor's: no attacker ever sees it.

Pictures: one or two of each target, at most `MOST`, of those that the evaluator itself is tested on. It was not
trained on them and its gallery does not hold them, so what it says of the pictures themselves is what a perfect
generator would reach.
Fits: `pixels`, then, from where that ended, `features`: the distance of the victim's features is added. The second
one needs a victim with gradients. Both are stored, and the results report the one that is recognized more often.

Limits: descent finds *a* good picture and not the best. So each fit is a lower bound of what the space holds, and
an attack may find more. The victim's features tell people apart only as well as the victim does.
"""

from typing import Any

import torch
from torch import Tensor

from inversionlab.core.images import to_bytes, to_float
from inversionlab.core.seeds import torch_stream
from inversionlab.core.settings import fingerprint
from inversionlab.core.views import WhiteBox, shows
from inversionlab.generators import GENERATORS
from inversionlab.generators.base import Generator
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.pipeline.batch_invariant import BatchInvariantPrior
from inversionlab.pipeline.compiled import compiled
from inversionlab.pipeline.evaluate import verdicts
from inversionlab.pipeline.generator_specs import GeneratorSpec, GivenGeneratorSpec
from inversionlab.pipeline.given_specs import GivenSpec
from inversionlab.pipeline.latent_fit import Features, fit, latent_space
from inversionlab.pipeline.measure import evaluator
from inversionlab.pipeline.recognizer_specs import RecognizerSpec
from inversionlab.pipeline.session import Session
from inversionlab.recognizers import Recognizer

MOST = 60
"""The most private pictures that are fitted."""
STEPS = 100
"""Updates of each fit."""
FORMAT = 1
"""Raise it when a ceiling would differ for equal settings."""

AnyGeneratorSpec = GeneratorSpec | GivenGeneratorSpec


def priors(session: Session) -> dict[str, AnyGeneratorSpec]:
    """The attackers' generators of the plan, by their ids."""
    specs = session.plan.specs
    return {s.id: s for s in specs if isinstance(s, AnyGeneratorSpec) and s.role == "generator"}


def ceiling_key(session: Session, generator: str) -> str:
    """The name under which the ceiling of a generator, by its id, is stored."""
    plan = session.plan
    name = next(iter(plan.evaluators))
    judge, victim = plan.evaluators[name].id, _judging_victim(session).id
    return fingerprint([FORMAT, generator, judge, name, victim, list(plan.targets), plan.precision])


def measure_ceiling(session: Session, generator: str) -> None:
    """Fit private pictures in the space of a generator, by its id, and store how the first evaluator ranks them.

    The evaluator must be measured by now.
    """
    builder, device, plan = session.builder, session.builder.device, session.plan
    name = next(iter(plan.evaluators))
    judge = evaluator(session, name)
    images_NCHW, target_N = fitted_pictures(session, name)
    rows: list[dict[str, Any]] = []
    if len(target_N):
        spec = priors(session)[generator]
        module = compiled(builder.network(spec), plan.precision)
        assert isinstance(module, Generator)
        prior, x_NCHW = BatchInvariantPrior(module, plan.precision), to_float(images_NCHW, device)
        styled = "style" in GENERATORS[spec.settings.name].offers_at(spec.settings)
        rng = torch_stream(session.experiment.seed, "prior ceiling")
        space = latent_space(prior, styled=styled, like_NCHW=x_NCHW, rng=rng)
        point_ND = fit(space, x_NCHW, STEPS)
        fits = {"pixels": point_ND}
        if (features := _victim_features(session)) is not None:
            fits["features"] = fit(space, x_NCHW, STEPS, start_ND=point_ND, features=features)
        targets = target_N.tolist()
        real_N = [said["rank"] for (said,) in verdicts([judge], images_NCHW, targets, device)]
        for way, best_ND in fits.items():
            with torch.no_grad():
                made_NCHW = torch.cat([space.decode(z) for z in best_ND.split(32)]).float()
            error_N = (made_NCHW - x_NCHW).square().flatten(1).mean(1).tolist()
            found = verdicts([judge], to_bytes(made_NCHW), targets, device)
            rows += [
                {
                    "generator": generator,
                    "evaluator": name,
                    "fit": way,
                    "target": target,
                    "rank": said["rank"],
                    "real_rank": real,
                    "error": error,
                }
                for target, (said,), real, error in zip(
                    targets, found, real_N, error_N, strict=True
                )
            ]
    session.store.write("ceilings", ceiling_key(session, generator), rows)


def fitted_pictures(session: Session, name: str) -> tuple[Tensor, Tensor]:
    """The private pictures (N, C, H, W), uint8, that are fitted for an evaluator, and their targets (N,)."""
    data = session.plan.evaluators[name].data(session.builder.splits)
    targets = session.plan.targets
    each = 2 if 2 * len(targets) <= MOST else 1
    # Spread over the targets, if there are too many.
    places = torch.linspace(0, len(targets) - 1, min(MOST, len(targets))).round().long().tolist()
    rows, owners = [], []
    for place in places:
        own_N = (data.test.class_N == data.class_of[targets[place]]).nonzero().squeeze(1)[:each]
        rows.append(own_N)
        owners.append(torch.full((len(own_N),), targets[place]))
    return data.test.images_NCHW[torch.cat(rows)], torch.cat(owners)


def _victim_features(session: Session) -> Features | None:
    """The undefended victim's features; None where it gives no gradients, or asking it costs queries."""
    victim = session.builder.network(_judging_victim(session))
    assert isinstance(victim, Recognizer | GivenRecognizer)
    if isinstance(victim, GivenRecognizer) and (
        session.experiment.endpoint is not None or not shows(victim.view, WhiteBox)
    ):
        return None
    network = compiled(victim, session.plan.precision)
    assert isinstance(network, Recognizer | GivenRecognizer)
    return network.features


def _judging_victim(session: Session) -> RecognizerSpec | GivenSpec:
    """The undefended victim, of several the first, in whose features pictures are fitted."""
    return next(iter(session.plan.victims.values())).victim
