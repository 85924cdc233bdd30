"""What an attacker trains against one model at hand, in this process: a generator, and the attack's network."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from inversionlab.api.prior import OwnPrior, check_offers, generator_settings
from inversionlab.attacks import Attack, AttackerContext, AttackSettings
from inversionlab.core.contracts import GenerativePrior, ModelShape
from inversionlab.core.rows import Images
from inversionlab.core.settings import ConfigError
from inversionlab.core.views import Scores, WhiteBox
from inversionlab.data.base import Pictures
from inversionlab.data.known_people import split_unseen
from inversionlab.defenses import DefenseSettings, ProtectedModel
from inversionlab.defenses.none import NoneSettings
from inversionlab.generators import GENERATORS, Generator
from inversionlab.generators.given import Given, load_given_generator
from inversionlab.given.live import Live
from inversionlab.pipeline.batch_invariant import BatchInvariantPrior, batch_invariant_network
from inversionlab.pipeline.compiled import best_precision, compiled
from inversionlab.pipeline.generator_specs import AttackNetworkSpec, GeneratorSpec
from inversionlab.pipeline.network_spec import ModelRef, NetworkSpec
from inversionlab.pipeline.train import Progress, alone, frozen, train
from inversionlab.pipeline.untrained import untrained

EVERY = 5.0
"""Seconds between lines about a training."""
THE_MODEL = ModelRef(NoneSettings(), "")
"""Stands for the only model that there is."""


class Attacker:
    """Trains what an attack needs, exactly as an audit does; it is a `BuildContext` of one model."""

    def __init__(
        self,
        model: ProtectedModel,
        public_NCHW: Images,
        seed: int,
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        """Take the model under attack and the public pictures, uint8 (N, C, S, S)."""
        unnamed = Pictures(
            public_NCHW, torch.zeros(len(public_NCHW), dtype=torch.int64), ("stranger",)
        )
        self.splits = split_unseen(tuple(map(str, range(model.classes))), unnamed)
        self.shape = ModelShape(model.classes, public_NCHW.shape[1], public_NCHW.shape[3])
        self.device, self.seed, self.say = device, seed, say
        self.live: Live | None = None
        self.training_queries = 0
        """Pictures that the model was asked about in trainings."""
        self._model = model

    def context(self, kind: type[Attack], settings: AttackSettings, wanted: Any) -> AttackerContext:
        """What the attacker holds; `wanted` is a generator at hand, one to be trained, or None.

        Raises:
            ConfigError: the attack needs another generator, or the settings do not fit together.
            TrainingError: a training cannot go on.
        """
        prior, own = None, None
        if kind.trains_at(settings):
            own = AttackNetworkSpec("", self.seed, "attack", settings, learns_from=THE_MODEL)
            # Refused now, and not once the generator is trained.
            untrained(partial(own.build, self))
        if kind.needs_generator:
            prior = (
                wanted if isinstance(wanted, OwnPrior) else self._generator(kind, settings, wanted)
            )
            if isinstance(prior, OwnPrior):
                check_offers(kind, settings.name, prior.offers)
            _check_fit(kind, settings, prior.latent_size)
        network = None
        if own is not None:
            network = compiled(self._trained(own, f"the network of {settings.title}"))
        return AttackerContext(
            # A wrapper needs no more of a generator than its contract.
            generator=None if prior is None else BatchInvariantPrior(cast(Generator, prior)),
            public_NCHW=self.splits.public_NCHW,
            seed=self.seed,
            device=self.device,
            network=batch_invariant_network(network),
        )

    def network(self, spec: NetworkSpec) -> nn.Module:
        """Refuses: nothing that is trained here needs another network."""
        raise TypeError(f"{spec.title} is not there")

    def protected(self, settings: DefenseSettings, seed: int | None = None) -> ProtectedModel:
        """The model under attack."""
        return self._model

    def _generator(
        self, kind: type[Attack], settings: AttackSettings, wanted: Any
    ) -> GenerativePrior:
        chosen = generator_settings(wanted, kind)
        shape = self.shape
        if isinstance(chosen, Given.Settings):
            given = load_given_generator(chosen, shape.channels, shape.image_size)
            check_offers(kind, settings.name, given.offers_at(chosen))
            return cast(GenerativePrior, frozen(given, self.device))
        generator = GENERATORS[chosen.name]
        check_offers(kind, settings.name, generator.offers_at(chosen))
        learns = generator.learns_from_target
        whole = getattr(settings, "truncate", None) is None
        enough = (WhiteBox,) if generator.needs_gradients else (Scores, WhiteBox)
        if learns and not (whole and kind.view_at(settings) in enough):
            what = "gradients" if generator.needs_gradients else "whole score vectors"
            raise ConfigError(
                f"generator = {chosen.name}: learns from {what}, which the attacker of "
                f"`{settings.name}` does not see; give another one"
            )
        spec = GeneratorSpec(
            "", self.seed, "generator", chosen, learns_from=THE_MODEL if learns else None
        )
        _check_fit(
            kind, settings, cast(Generator, untrained(partial(spec.build, self))).latent_size
        )
        trained = compiled(self._trained(spec, f"the generator {chosen.name}"))
        return cast(GenerativePrior, trained)

    def _trained(self, spec: NetworkSpec, title: str) -> nn.Module:
        """The trained network of a spec, frozen."""
        job = spec.training_job(self)
        self.training_queries += job.queries
        train(
            job,
            role=spec.role,
            title=title,
            seed=self.seed,
            world=alone(self.device),
            checkpoints=_NoCheckpoints(),
            report=self._reporter(),
            checkpoint_seconds=float("inf"),
            # On CPUs everything here is float32, so that the result is that of any machine.
            precision=best_precision(self.device) if self.device.type == "cuda" else "fp32",
        )
        product = job.learner.product().eval().requires_grad_(False)
        # As an audit restores it from its file.
        weights = {key: tensor.cpu() for key, tensor in spec.pack(product).items()}
        return frozen(spec.restore(self, weights), self.device)

    def _reporter(self) -> Callable[[Progress], None]:
        last = float("-inf")

        def report(progress: Progress) -> None:
            nonlocal last
            if time.monotonic() - last < EVERY and progress.epoch < progress.epochs:
                return
            last = time.monotonic()
            losses = ", ".join(f"{name} {loss:.3g}" for name, loss in progress.losses.items())
            self.say(
                f"[train] {progress.title}: epoch {progress.epoch}/{progress.epochs}, {losses}"
            )

        return report


class _NoCheckpoints:
    """Keeps nothing."""

    def load(self) -> dict[str, Any] | None:
        """There is no state."""
        return None

    def save(self, state: dict[str, Any]) -> None:
        """Drop the state."""


def _check_fit(kind: type[Attack], settings: AttackSettings, latent_size: int) -> None:
    try:
        kind.check(settings, latent_size)
    except ValueError as error:
        raise ConfigError(f"attack = {settings.title}: {error}") from error
