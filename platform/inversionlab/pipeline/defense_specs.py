"""The networks that defenses train, and the names of the models that they release."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from torch import nn

from inversionlab.core.contracts import TrainingJob
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.settings import ConfigError, fingerprint
from inversionlab.defenses import (
    DEFENSES,
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    VictimBlueprint,
)
from inversionlab.defenses.composition import awake, people_of
from inversionlab.defenses.none import NoneSettings
from inversionlab.experiment import Experiment
from inversionlab.experiment.references import defender_generator
from inversionlab.generators import GENERATORS
from inversionlab.given.settings import GivenModelSettings
from inversionlab.pipeline.generator_specs import GeneratorSpec
from inversionlab.pipeline.given_facts import GivenFacts
from inversionlab.pipeline.given_specs import GivenSpec
from inversionlab.pipeline.network_spec import BuildContext, ModelRef, NetworkSpec
from inversionlab.pipeline.recognizer_specs import (
    FEWEST,
    RecognizerSpec,
    classifier_spec,
    outsider_classes,
    outsiders,
    victim_spec,
)
from inversionlab.recognizers import (
    AugmentSettings,
    Recognizer,
    RecognizerLearner,
    augment,
    recognizer_inputs,
)

NO_AUGMENTATION = AugmentSettings(
    flip=0, shift=0, zoom=0, rotation=0, brightness=0, contrast=0, erase=0
)
"""A defense's own recognizer must learn a narrow range of pictures (Kotsuji §4.2)."""


def least_pictures(settings: DefenseSettings) -> int:
    """The least public pictures of a person whom a defense's classifier learns."""
    least: int = getattr(settings, "public_min_pictures", FEWEST)
    return least


@dataclass(frozen=True)
class DefenseNetworkSpec(NetworkSpec):
    """The network that a defense trains."""

    settings: DefenseSettings
    victim: RecognizerSpec | GivenSpec
    inner: ModelRef
    """The model that the defense is put on."""
    targets: tuple[int, ...]
    """Classes under attack."""
    generator: GeneratorSpec | None = None
    classifier: RecognizerSpec | None = None

    @property
    def kind(self) -> str:
        """What the tables call the defense, and whom it protects if that is one person."""
        target = self.settings.aimed_at
        return self.settings.title + ("" if target is None else f" for person {target}")

    @property
    def protected_targets(self) -> tuple[int, ...]:
        """The classes under attack that it may aim at: all, or its own one."""
        return people_of(self.settings, self.targets)

    @property
    def uses(self) -> tuple[NetworkSpec, ...]:
        """The defender's generator and classifier, where the training needs them."""
        return tuple(spec for spec in (self.generator, self.classifier) if spec is not None)

    @property
    def reads(self) -> tuple[NetworkSpec, ...]:
        """`uses`, and the victim where the training needs it; a given one is the structure of what is trained."""
        needs_victim = self.victim.given or "victim" in self.defense.needed()
        return (self.victim, *self.uses) if needs_victim else self.uses

    @property
    def asks(self) -> tuple[ModelRef, ...]:
        """The model that the defense is put on, where the training needs it."""
        return (self.inner,) if "model" in self.defense.needed() else ()

    @property
    def of_one_model(self) -> bool:
        """Always."""
        return True

    @cached_property
    def defense(self) -> Defense:
        """The defense at these settings."""
        return DEFENSES[self.settings.name](self.settings)

    def own_inputs(self) -> dict[str, Any]:
        """The settings that the training depends on, and the names of everything that it needs."""
        defense, needs = self.defense, self.defense.needed()
        recognizer = recognizer_inputs(self.victim.structure)
        if defense.layer != Layer.VICTIM:
            # It has the victim's structure alone; its pictures and its training are its own.
            own = ("training", "augment")
            recognizer = {k: v for k, v in recognizer.items() if k not in own}
        needed = {
            "generator": self.generator and self.generator.id,
            "classifier": self.classifier and self.classifier.id,
            "victim": self.victim.id if "victim" in needs else None,
            "model": self.inner.id if "model" in needs else None,
            "targets": list(self.protected_targets) if defense.aims() else None,
        }
        return {
            "defense": self.settings.trained_part(),
            "recognizer": recognizer,
            **{name: value for name, value in needed.items() if value is not None},
        }

    def build(self, context: BuildContext) -> nn.Module:
        """The defense's network."""
        return self.defense.build(self._blueprint(context))

    def check(self, context: BuildContext) -> None:
        """Raise ValueError for settings of the defense that do not fit the data, or for missing people."""
        if "strangers" in self.defense.needed():
            outsiders(context.splits, f"`{self.settings.name}`", least_pictures(self.settings))
        needed, kept = self.defense.decoy_people(context.shape.classes), context.splits.decoys
        if needed > (people := len(kept.class_N.unique())):
            raise ConfigError(
                f"split.decoy_people = {people}: `{self.settings.title}` needs {needed} strangers for "
                f"{context.shape.classes} private people"
            )
        self.defense.fits(self._blueprint(context), len(context.splits.train))

    def training_job(self, context: BuildContext) -> TrainingJob:
        """The defense's own training."""
        return self.defense.training_job(self.defense_context(context))

    def defense_context(self, context: BuildContext) -> DefenseContext:
        """What the defender holds when the network is trained."""
        splits, needs, victim = context.splits, self.defense.needed(), self.victim.structure
        decoys = self.defense.decoy_people(context.shape.classes)

        def new_learner(training: TrainingSettings) -> RecognizerLearner:
            changed = {"training": training, "augment": NO_AUGMENTATION}
            settings = victim.model_copy(update=changed)
            return RecognizerLearner(settings, **context.shape.sizes, seed=self.weights_seed)

        return DefenseContext(
            name=self.id,
            blueprint=self._blueprint(context),
            private_NCHW=splits.train.images_NCHW,
            private_class_N=splits.train.class_N,
            public_NCHW=splits.public_NCHW,
            public_class_N=outsider_classes(splits, least_pictures(self.settings)),
            targets=self.protected_targets,
            seed=self.seed,
            device=context.device,
            augment=lambda x_NCHW, rng: augment(x_NCHW, victim.augment, rng),
            new_recognizer=new_learner,
            victim=context.network(self.victim) if "victim" in needs else None,
            model=context.protected(self.inner.defense, self.inner.seed)
            if "model" in needs
            else None,
            generator=cast(Any, context.network(self.generator)) if self.generator else None,
            classifier=context.network(self.classifier) if self.classifier else None,
            decoy_NCHW=splits.decoys.images_NCHW if decoys else None,
            decoy_person_N=splits.decoys.class_N if decoys else None,
        )

    def _blueprint(self, context: BuildContext) -> VictimBlueprint:
        sizes, seed = context.shape.sizes, self.weights_seed
        if self.victim.given and self.defense.layer == Layer.VICTIM:
            # A fine-tuned copy has the structure of the given model itself.
            return VictimBlueprint(
                context.shape, lambda: copy.deepcopy(context.network(self.victim))
            )

        def with_classes(classes: int) -> Recognizer:
            return Recognizer(self.victim.structure, **{**sizes, "classes": classes}, seed=seed)

        return VictimBlueprint(
            context.shape,
            lambda: Recognizer(self.victim.structure, **sizes, seed=seed),
            with_classes,
        )


def victim_specs(
    experiment: Experiment, data_id: str, facts: Mapping[str, GivenFacts]
) -> Iterator[RecognizerSpec | GivenSpec]:
    """The victims: one that is given, or one that is trained for each seed."""
    settings, seeds = experiment.victim, experiment.victim_seeds
    if isinstance(settings, GivenModelSettings):
        name = (data_id, experiment.seed, "victim", "victim")
        yield GivenSpec(*name, settings, facts["victim"], experiment)
        return
    for seed in seeds:
        yield victim_spec(data_id, seed, settings, for_each_seed=len(seeds) > 1)


@dataclass(frozen=True)
class DefenseSpecs:
    """The networks that an experiment's defenses train for one victim, and the names of the released models.

    The defender starts anew for each of several victims: all of these networks have the victim's seed.
    """

    experiment: Experiment
    victim: RecognizerSpec | GivenSpec
    targets: tuple[int, ...]
    facts: Mapping[str, GivenFacts] = field(default_factory=dict)
    """What is known of the given models, by role."""
    _own: dict[DefenseSettings, DefenseNetworkSpec] = field(default_factory=dict, init=False)
    _models: dict[DefenseSettings, ModelRef] = field(default_factory=dict, init=False)

    def needed(self, settings: DefenseSettings) -> list[NetworkSpec]:
        """All networks of a defense and of what it is put on, each after those that it needs."""
        below = self.needed(settings.inner) if settings.inner is not None else []
        own = self.own(settings)
        return [*below, *own.uses, own] if own is not None else below

    def own(self, settings: DefenseSettings) -> DefenseNetworkSpec | None:
        """The network that a defense trains, if it does."""
        kind = DEFENSES[settings.name]
        if not kind.trains:
            return None
        if settings not in self._own:
            name = (self.victim.data_id, self.victim.seed)
            several = self.victim.for_each_seed
            needs, generator = kind(settings).needed(), None
            private = self.experiment.defense_generator
            if "private_generator" in needs and private is not None:
                generator = GeneratorSpec(
                    *name, "defense_generator", private, private=True, for_each_seed=several
                )
            if "public_generator" in needs:
                chosen = defender_generator(self.experiment, settings)
                learns = GENERATORS[chosen.name].learns_from_target
                source = self.model(NoneSettings()) if learns else None
                shared = getattr(settings, "shared_generator", False)
                generator = (
                    GeneratorSpec(name[0], self.experiment.seed, "generator", chosen)
                    if shared
                    else GeneratorSpec(
                        *(*name, "defense_generator", chosen),
                        learns_from=source,
                        for_each_seed=several,
                    )
                )
            self._own[settings] = DefenseNetworkSpec(
                *name,
                "defense",
                settings,
                self.victim,
                self.model(settings.inner or NoneSettings()),
                self.targets,
                generator,
                classifier_spec(
                    *(*name, self.victim.structure),
                    least=least_pictures(settings),
                    for_each_seed=several,
                )
                if "classifier" in needs
                else None,
                for_each_seed=several,
            )
        return self._own[settings]

    def model(self, settings: DefenseSettings) -> ModelRef:
        """The model that a defense releases; at idle settings it is the model that the defense is put on."""
        if settings not in self._models:
            active = awake(settings)
            inputs: dict[str, Any] = {"victim": self.victim.id}
            if active.name != "none":
                own = self.own(active)
                released = active.released_part()
                inputs["defense"] = {k: v for k, v in released.items() if k != "inner"}
                inputs["network"] = own.id if own is not None else None
                if active.inner is not None and awake(active.inner).name != "none":
                    inputs["on"] = self.model(active.inner).id
            self._models[settings] = ModelRef(active, fingerprint(inputs), self.victim.seed)
        return self._models[settings]
