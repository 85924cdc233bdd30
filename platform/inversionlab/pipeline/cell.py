"""A cell of the tables: one attack on one model."""

from dataclasses import dataclass

from inversionlab.attacks import AttackSettings
from inversionlab.defenses import DefenseSettings
from inversionlab.pipeline.generator_specs import (
    AttackNetworkSpec,
    GeneratorSpec,
    GivenGeneratorSpec,
)


@dataclass(frozen=True)
class Cell:
    """One attack on one protected model (or a null attack, on none)."""

    id: str
    """Hash of everything that its rows depend on. To attack a stripped model is to attack what is left."""
    attack: AttackSettings
    defense: DefenseSettings | None
    """The defense under test; None for a null attack."""
    protected: str
    """Id of the model that the defense releases; empty for a null attack."""
    attacked: DefenseSettings | None
    """What is attacked: the defense, or what a white-box attacker has left of it."""
    model: str
    """Id of the model that is attacked; empty for a null attack."""
    point: float | None
    """The swept setting's value."""
    label: str
    generator: GeneratorSpec | GivenGeneratorSpec
    """The generator that the attacker searches."""
    network: AttackNetworkSpec | None
    """The attack's own network, if it trains one."""
    judged_otherwise: tuple[str, ...]
    """The ids that its rows have with some of the evaluators, or with all in another order, the most first
    (`judged_before.py`)."""
    seed: int
    """The victim's seed, from which the attack's own random streams derive; a null attack has the experiment's."""

    @property
    def baseline(self) -> bool:
        """Whether it is a row to compare with: a null attack, or the undefended victim."""
        return self.defense is None or self.defense.name == "none"

    @property
    def stripped(self) -> bool:
        """Whether the attacker has taken off a part of the defense."""
        return self.attacked != self.defense

    @property
    def attacker(self) -> str:
        """The attack, and whether it takes a defense off first."""
        return f"{self.attack.title}, stripped" if self.stripped else self.attack.title
