"""What a recipe alone says of its networks, before a picture is read, drawn or decoded: that their sizes fit."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

import torch

from inversionlab.core.contracts import ModelShape
from inversionlab.core.settings import ConfigError
from inversionlab.data.labelled import Labelled
from inversionlab.data.splits import Splits
from inversionlab.defenses.composition import chain
from inversionlab.defenses.none import NoneSettings
from inversionlab.experiment import Experiment
from inversionlab.generators.base import Generator
from inversionlab.given.live import Live
from inversionlab.pipeline.attacker_specs import attacker_networks, generator_spec
from inversionlab.pipeline.defense_specs import DefenseSpecs, least_pictures, victim_specs
from inversionlab.pipeline.given_facts import GivenFacts
from inversionlab.pipeline.network_spec import NetworkSpec, fault_of, latent_faults
from inversionlab.pipeline.recognizer_specs import PROTOCOLS, RecognizerSpec
from inversionlab.pipeline.untrained import untrained

CPU = torch.device("cpu")
MANY = 10_000
"""People of a large data set."""


def check_recipe(experiment: Experiment) -> None:
    """Build every kind of network untrained, for pictures of the recipe's size.

    How many people there will be is not known, so what fits only few or only many of them is left to
    `ModelBuilder.check`, as are given models and what is made of them.

    Raises:
        ConfigError: which networks and attacks do not fit; faults are joined by semicolons.
    """
    wanted = experiment.targets
    # There may be many targets, and each of them is a number in memory.
    least = min(max(2, wanted.skip + wanted.count), MANY)
    if few := dict(_faults(experiment, least)):
        many = dict(_faults(experiment, least + MANY))
        if sure := [few[place] for place in few if place in many]:
            raise ConfigError("; ".join(dict.fromkeys(sure)))


def _faults(experiment: Experiment, people: int) -> Iterator[tuple[int, str]]:
    """What does not fit if there are so many private people, by the place of the network or the attack."""
    made, targets, seed = experiment.pictures, tuple(range(people)), experiment.seed
    # As many pictures of each stranger as a defense's classifier may ask for.
    known = max(least_pictures(d) for _, whole in experiment.every_defense() for d in chain(whole))
    context = _Imagined(ModelShape(people, made.channels, made.image_size), known)
    # What is not known yet of given models goes into names alone.
    facts: defaultdict[str, GivenFacts] = defaultdict(lambda: GivenFacts(""))
    victim = next(iter(victim_specs(experiment, "", facts)))
    defended = DefenseSpecs(experiment, victim, targets, facts)
    # Networks for other models differ only in what they learn from.
    attackers = [(a, *attacker_networks(defended, a, NoneSettings())) for a in experiment.attacks]
    needed = [
        victim,
        *(
            RecognizerSpec("", seed, f"evaluator:{e.name}", e.name, e.recognizer, protocol, targets)
            for e in experiment.evaluators
            if (protocol := PROTOCOLS.get(e.protocol)) is not None
        ),
        generator_spec("", seed, experiment.generator, facts),
        *(spec for _, defense in experiment.every_defense() for spec in defended.needed(defense)),
        *(spec for _, *pair in attackers for spec in pair if spec is not None),
    ]
    specs = {spec.key: spec for spec in needed if not spec.given}
    latent_sizes: dict[str, int] = {}
    for place, spec in enumerate(specs.values()):
        try:
            module = untrained(partial(spec.build, context))
        except _UnknownError:
            continue
        except ValueError as error:
            yield place, fault_of(spec, error, specs.values())
            continue
        if isinstance(module, Generator):
            latent_sizes[spec.key] = module.latent_size
    for place, (attack, generator, _) in enumerate(attackers, len(specs)):
        if (size := latent_sizes.get(generator.key)) is not None:
            yield from ((place, fault) for fault in latent_faults(attack, size))


class _UnknownError(Exception):
    """A network is made of another one, which is not at hand yet."""


@dataclass
class _Imagined:
    """A `BuildContext` of people without pictures."""

    shape: ModelShape
    pictures: int
    """Of each stranger."""
    device: torch.device = CPU
    live: Live | None = None
    splits: Splits = field(init=False)

    def __post_init__(self) -> None:
        people = torch.arange(self.shape.classes)
        strangers = torch.arange(2).repeat_interleave(self.pictures)
        private, others = self._pictures(people), self._pictures(strangers)
        self.splits = Splits(
            people=tuple(map(str, people.tolist())),
            train=private,
            test=private,
            evaluator_people=("a", "b"),
            evaluator_train=others,
            evaluator_test=others,
            decoys=others,
            public_NCHW=others.images_NCHW,
            public_person_N=strangers,
            public_people=2,
            notes=(),
        )

    def _pictures(self, class_N: torch.Tensor) -> Labelled:
        # Nothing looks at them, and without pixels a hundred thousand take no memory.
        images = torch.zeros(len(class_N), self.shape.channels, 0, 0, dtype=torch.uint8)
        return Labelled(images, class_N)

    def network(self, spec: NetworkSpec) -> NoReturn:
        """None is at hand."""
        raise _UnknownError

    def protected(self, settings: object, seed: int | None = None) -> NoReturn:
        """None is at hand."""
        raise _UnknownError
