"""Which networks an attacker holds: the generator that it searches, and the network that the attack trains."""

from collections.abc import Mapping

from inversionlab.attacks import ATTACKS, AttackSettings
from inversionlab.defenses import DefenseSettings
from inversionlab.defenses.none import NoneSettings
from inversionlab.experiment.references import attacker_generator
from inversionlab.generators import GENERATORS, GeneratorSettings
from inversionlab.generators.given import Given
from inversionlab.pipeline.defense_specs import DefenseSpecs
from inversionlab.pipeline.generator_specs import (
    AttackNetworkSpec,
    GeneratorSpec,
    GivenGeneratorSpec,
)
from inversionlab.pipeline.given_facts import GivenFacts, generator_role
from inversionlab.pipeline.network_spec import ModelRef


def attacker_networks(
    specs: DefenseSpecs, attack: AttackSettings, attacked: DefenseSettings | None
) -> tuple[GeneratorSpec | GivenGeneratorSpec, AttackNetworkSpec | None]:
    """The generator that the attacker searches, and the network that the attack trains for a model, if it does.

    What learns from a victim has the victim's seed, and what all victims share has the experiment's.
    """
    kind, data_id = ATTACKS[attack.name], specs.victim.data_id
    own, several = specs.victim.seed, specs.victim.for_each_seed
    victim, settings = NoneSettings(), attacker_generator(specs.experiment, attack)
    learns = GENERATORS[settings.name].learns_from_target
    source = specs.model(attacked or victim) if learns else None
    seed = own if learns else specs.experiment.seed
    generator = generator_spec(
        data_id, seed, settings, specs.facts, source, for_each_seed=several and learns
    )
    if attacked is None or not kind.trains_at(attack):
        return generator, None
    teacher = specs.model(attacked if kind.teacher(attack) == "protected" else victim)
    network = AttackNetworkSpec(
        data_id, own, "attack", attack, learns_from=teacher, for_each_seed=several
    )
    return generator, network


def generator_spec(
    data_id: str,
    seed: int,
    settings: GeneratorSettings,
    facts: Mapping[str, GivenFacts],
    learns_from: ModelRef | None = None,
    *,
    for_each_seed: bool = False,
) -> GeneratorSpec | GivenGeneratorSpec:
    """An attacker's generator, to be trained or given."""
    if isinstance(settings, Given.Settings):
        digest = facts[generator_role(settings)].digest
        return GivenGeneratorSpec(data_id, seed, "generator", settings, digest)
    return GeneratorSpec(
        *(data_id, seed, "generator", settings),
        learns_from=learns_from,
        for_each_seed=for_each_seed,
    )
