"""The networks that an experiment may need: each a task, named by the hash of all that goes into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inversionlab.attacks import AttackSettings
from inversionlab.core.settings import fingerprint
from inversionlab.defenses import DEFENSES, DefenseSettings, Layer
from inversionlab.defenses.composition import awake
from inversionlab.defenses.none import NoneSettings
from inversionlab.experiment import Experiment
from inversionlab.experiment.references import defender_generator
from inversionlab.generators import GENERATORS, GeneratorSettings

NETWORK_FORMAT = 1
"""Raise it when a trained network would differ for equal settings."""


@dataclass(frozen=True)
class NetworkSpec:
    """A network to be trained."""

    role: str
    """victim, evaluator:NAME, generator, attack, defense_generator, defense_classifier, or defense."""
    id: str
    """Hash of everything that goes into it."""
    inputs: dict[str, Any]
    """What was hashed."""
    defense: DefenseSettings | None = None
    """For the role `defense`: the settings it is trained for."""
    generator: GeneratorSettings | None = None
    """For the roles `generator` and `defense_generator`: its settings."""
    attack: AttackSettings | None = None
    """For the role `attack`: the settings it is trained for."""
    learns_from: DefenseSettings | None = None
    """The model whose scores of the public pictures it learns from, if it does."""
    uses: tuple[NetworkSpec, ...] = ()
    """For the role `defense`: further networks of the defender's that its training needs."""

    @property
    def title(self) -> str:
        """What users read: the role, and which one of it."""
        if self.learns_from is not None:
            kind = self.generator.name if self.generator else self.attack and self.attack.title
            return f"{self.role} {kind} {self.id[:6]}, taught by {self.learns_from.title}"
        if self.defense is not None:
            return f"{self.role} {self.defense.title}"
        return f"{self.role} {self.generator.name}" if self.generator is not None else self.role

    @property
    def key(self) -> str:
        """Where it is stored."""
        return f"{self.role.replace(':', '-')}/{self.id}"


def new_spec(role: str, inputs: dict[str, Any], **kind: Any) -> NetworkSpec:
    """The task of these inputs; `kind` is what else it holds."""
    return NetworkSpec(role, fingerprint({"role": role, **inputs}), inputs, **kind)


def public_generator(base: dict[str, Any], settings: GeneratorSettings) -> NetworkSpec:
    """An attacker's generator."""
    inputs = {**base, "on": "public", "generator": settings.model_dump(mode="json")}
    return new_spec("generator", inputs, generator=settings)


@dataclass(frozen=True)
class DefenseSpecs:
    """What the networks of defenses are, and how the models are called that they release."""

    experiment: Experiment
    base: dict[str, Any]
    """What goes into every network."""
    victim: NetworkSpec
    targets: tuple[int, ...]

    def needed(self, settings: DefenseSettings) -> list[NetworkSpec]:
        """All networks of a defense and of what it is put on, each after those that it needs."""
        below = self.needed(settings.inner) if settings.inner is not None else []
        own = self.own(settings)
        return [*below, *own.uses, own] if own is not None else below

    def own(self, settings: DefenseSettings) -> NetworkSpec | None:
        """The network that a defense trains, if it does."""
        kind = DEFENSES[settings.name]
        if not kind.trains:
            return None
        whole = kind.layer == Layer.VICTIM
        recognizer = self.victim.inputs["recognizer"]
        inputs = {
            **self.base,
            "defense": settings.trained_part(),
            "recognizer": recognizer if whole else _structure(recognizer),
        }
        uses = self._uses(settings)
        inputs |= {spec.role.removeprefix("defense_"): spec.id for spec in uses}
        needs = kind(settings).needed()
        if "victim" in needs:
            inputs["victim"] = self.victim.id
        if "model" in needs:
            inputs["model"] = self.released(settings.inner or NoneSettings())
        if kind(settings).aims():
            inputs["targets"] = list(self.targets)
        return new_spec("defense", inputs, defense=settings, uses=uses)

    def released(self, settings: DefenseSettings) -> str:
        """The name of the model that a defense releases; at idle settings that of what it is put on."""
        active = awake(settings)
        if DEFENSES[active.name](active).idle():
            return fingerprint({"victim": self.victim.id})
        own = self.own(active)
        settings_here = {k: v for k, v in active.released_part().items() if k != "inner"}
        inputs: dict[str, Any] = {
            "victim": self.victim.id,
            "defense": settings_here,
            "network": own.id if own else None,
        }
        if active.inner is not None and awake(active.inner).name != "none":
            inputs["on"] = self.released(active.inner)
        return fingerprint(inputs)

    def _uses(self, settings: DefenseSettings) -> tuple[NetworkSpec, ...]:
        needs = DEFENSES[settings.name](settings).needed()
        found = []
        if "private_generator" in needs:
            found.append(self._private_generator())
        if "public_generator" in needs:
            found.append(self._public_generator(settings))
        if "classifier" in needs:
            recognizer = self.victim.inputs["recognizer"]
            inputs = {**self.base, "on": "public", "recognizer": recognizer}
            found.append(new_spec("defense_classifier", inputs))
        return tuple(found)

    def _private_generator(self) -> NetworkSpec:
        settings = self.experiment.defense_generator
        assert settings is not None, "the experiment was checked at load"
        inputs = {**self.base, "on": "private", "generator": settings.model_dump(mode="json")}
        return new_spec("defense_generator", inputs, generator=settings)

    def _public_generator(self, settings: DefenseSettings) -> NetworkSpec:
        """The defender's own: of an attacker's structure, perhaps, but never his network."""
        chosen = defender_generator(self.experiment, settings)
        inputs = {**self.base, "on": "public", "generator": chosen.model_dump(mode="json")}
        teacher = None
        if GENERATORS[chosen.name].learns_from_target:
            teacher = NoneSettings()
            inputs["taught_by"] = self.released(teacher)
        return new_spec("defense_generator", inputs, generator=chosen, learns_from=teacher)


def _structure(recognizer: dict[str, Any]) -> dict[str, Any]:
    """What a network of the victim's structure, trained on other pictures in another way, depends on."""
    return {k: v for k, v in recognizer.items() if k not in ("training", "augment")}
