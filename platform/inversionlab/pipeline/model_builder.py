"""The networks of one experiment at hand: built once, loaded once, frozen.

A workshop lives in a worker process (or in a test) as long as the process does. It is handed a way to
load the weights of a finished task and asks for each task's weights once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab import generators
from inversionlab.attacks import ATTACKS, AttackerContext
from inversionlab.core import seeds
from inversionlab.core.contracts import ModelShape, TrainingJob
from inversionlab.core.images import to_float
from inversionlab.core.learner import Learner, TrainingSettings
from inversionlab.core.settings import ConfigError
from inversionlab.core.views import Scores
from inversionlab.data.splits import Labelled, Splits
from inversionlab.defenses import (
    DEFENSES,
    DefenseContext,
    DefenseSettings,
    ProtectedModel,
    VictimBlueprint,
)
from inversionlab.defenses.none import NoneSettings
from inversionlab.experiment import EvaluatorSettings, Experiment
from inversionlab.generators.base import Generator
from inversionlab.pipeline.batch_invariant import BatchInvariantModel, BatchInvariantPrior
from inversionlab.pipeline.evaluator_data import evaluator_data, outsider_classes, outsiders
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.plan import Cell, Plan
from inversionlab.pipeline.train import TrainingError, frozen
from inversionlab.recognizers import (
    AugmentSettings,
    Recognizer,
    RecognizerLearner,
    RecognizerSettings,
    augment,
)
from inversionlab.store.tables import Job

Weights = Mapping[str, Tensor]

CHUNK = 256
"""Pictures a forward pass, so that memory stays small."""
STILL = AugmentSettings(flip=0, shift=0, zoom=0, rotation=0, brightness=0, contrast=0, erase=0)
"""No augmentation: a defense's own recognizer must learn a narrow range (Kotsuji §4.2)."""


class ModelBuilder:
    """Builds and holds the networks of one experiment."""

    def __init__(
        self,
        experiment: Experiment,
        splits: Splits,
        plan: Plan,
        load: Callable[[NetworkSpec], Weights],
        device: torch.device,
        networks: dict[str, nn.Module] | None = None,
    ) -> None:
        """Open the workshop; nothing is built yet.

        Args:
            experiment: the experiment.
            splits: its data.
            plan: its plan.
            load: returns the weights of a finished task.
            device: where the networks live.
            networks: frozen networks at hand by their tasks' keys; others are added to them.
        """
        self.experiment, self.splits, self.plan = experiment, splits, plan
        self.device = device
        self._load = load
        self.networks_at_hand = {} if networks is None else networks
        _, self.channels, self.image_size, _ = splits.train.images_NCHW.shape

    def check(self) -> None:
        """Build every network of the plan once, untrained, so that what does not fit is refused early.

        Raises:
            ConfigError: what does not fit the data, of which network, a part a fault.
        """
        latent_sizes: dict[str, int] = {}
        wrong: list[str] = []
        for spec in self.plan.specs:
            try:
                module = self._fitting(spec)
            except ValueError as error:
                wrong.append(f"{spec.title}{self._for_whom(spec)}: {error}")
                continue
            if isinstance(module, Generator):
                latent_sizes[spec.key] = module.latent_size
        for cell in self.plan.cells:
            try:
                if size := latent_sizes.get(cell.generator.key):
                    ATTACKS[cell.attack.name].check(cell.attack, size)
            except ValueError as error:
                wrong.append(f"attacks ({cell.attack.title}): {error}")
        if wrong:
            raise ConfigError("; ".join(dict.fromkeys(wrong)))

    def _fitting(self, spec: NetworkSpec) -> nn.Module:
        """A task's network, untrained.

        Raises:
            ValueError: it, or the training of a defense's own, does not fit the data.
        """
        module = self._untrained(spec)
        if spec.defense is not None:
            defense = DEFENSES[spec.defense.name](spec.defense)
            defense.fits(self.blueprint, len(self.splits.train.images_NCHW))
        return module

    def _for_whom(self, spec: NetworkSpec) -> str:
        """Which defenses use a network that has no name of theirs."""
        users = [t.defense.title for t in self.plan.specs if t.defense and spec in t.uses]
        return f" (for {', '.join(users)})" if users else ""

    def network(self, spec: NetworkSpec) -> nn.Module:
        """The trained network of a task, frozen."""
        module = self.networks_at_hand.pop(spec.key, None)
        if module is None:
            module = self._untrained(spec)
            module.load_state_dict(dict(self._load(spec)))
            frozen(module, self.device)
        # The last one asked for stands last, so that who is short of memory knows which to let go.
        self.networks_at_hand[spec.key] = module
        return module

    def recognizer(self, role: str) -> Recognizer:
        """The trained recognizer of this role, frozen."""
        module = self.network(self.plan.spec(role))
        assert isinstance(module, Recognizer)
        return module

    def protected(self, settings: DefenseSettings) -> ProtectedModel:
        """The model that the defense releases, frozen."""
        model = self._released(settings)
        frozen(model, self.device)
        return BatchInvariantModel(model)

    def _released(self, settings: DefenseSettings) -> ProtectedModel:
        inner = settings.inner
        below = self.recognizer("victim") if inner is None else self._released(inner)
        defense, spec = DEFENSES[settings.name](settings), self.plan.defense_spec(settings)
        trained = self.network(spec) if spec is not None else None
        return defense.protect(
            below, self.recognizer("victim") if defense.carries_victim() else trained
        )

    def attacker_context(self, cell: Cell) -> AttackerContext:
        """What the attacker of a cell holds."""
        module = self.network(cell.generator)
        assert isinstance(module, Generator)
        return AttackerContext(
            generator=BatchInvariantPrior(module),
            public_NCHW=self.splits.public_NCHW,
            seed=self.experiment.seed,
            device=self.device,
            network=self.network(cell.network) if cell.network is not None else None,
        )

    def private_pictures(self, work: Sequence[Job]) -> Tensor:
        """A training picture (uint8) of each job's target, another one for each repeat while there are more."""
        train = self.splits.train
        rows = []
        for target, repeat in work:
            own = (train.class_N == target).nonzero().squeeze(1)
            rows.append(own[repeat % len(own)])
        return train.images_NCHW[torch.stack(rows)]

    def training_job(self, spec: NetworkSpec) -> TrainingJob:
        """The training that makes a task's network."""
        experiment, splits = self.experiment, self.splits
        if spec.role == "victim":
            return self._recognizer_job(experiment.victim, splits.train, self._seed(spec))
        if spec.role.startswith("evaluator:"):
            evaluator = self.evaluator(spec.role.partition(":")[2])
            who = evaluator_data(evaluator, splits, self.plan.pool)
            return self._recognizer_job(evaluator.recognizer, who.train, self._seed(spec))
        if spec.generator is not None:
            private = spec.inputs["on"] == "private"
            images_NCHW = splits.train.images_NCHW if private else splits.public_NCHW
            return self._generator_job(spec, images_NCHW)
        if spec.role == "attack":
            return self._attack_job(spec)
        if spec.role == "defense_classifier":
            return self._recognizer_job(experiment.victim, outsiders(self.splits), self._seed(spec))
        assert spec.defense is not None
        return DEFENSES[spec.defense.name](spec.defense).training_job(self.defense_context(spec))

    def evaluator(self, name: str) -> EvaluatorSettings:
        """The settings of the evaluator of this name."""
        (found,) = [e for e in self.experiment.evaluators if e.name == name]
        return found

    def defense_context(self, spec: NetworkSpec) -> DefenseContext:
        """What the defender has in hand for the training of a defense's own network."""
        settings = spec.defense
        assert settings is not None
        needs = DEFENSES[settings.name](settings).needed()
        found = {used.role: self.network(used) for used in spec.uses}
        generator: Any = found.get("defense_generator")
        splits, augmenting = self.splits, self.experiment.victim.augment
        return DefenseContext(
            name=spec.id,
            blueprint=self.blueprint,
            private_NCHW=splits.train.images_NCHW,
            private_class_N=splits.train.class_N,
            public_NCHW=splits.public_NCHW,
            public_class_N=outsider_classes(splits),
            targets=self.plan.targets,
            seed=self.experiment.seed,
            device=self.device,
            augment=lambda x_NCHW, rng: augment(x_NCHW, augmenting, rng),
            new_recognizer=self._dummy_learner,
            victim=self.recognizer("victim") if "victim" in needs else None,
            model=self.protected(settings.inner or NoneSettings()) if "model" in needs else None,
            generator=generator,
            classifier=found.get("defense_classifier"),
        )

    @property
    def blueprint(self) -> VictimBlueprint:
        """What a defense's network is built for."""
        seed = seeds.derive(self.experiment.seed, "weights", "defense")
        classes = len(self.splits.people)
        return VictimBlueprint(
            self.shape, lambda: self._recognizer(self.experiment.victim, classes, seed)
        )

    def _dummy_learner(self, training: TrainingSettings) -> Learner:
        settings = self.experiment.victim.model_copy(
            update={"training": training, "augment": STILL}
        )
        seed = seeds.derive(self.experiment.seed, "weights", "defense")
        return self._recognizer_learner(settings, len(self.splits.people), seed)

    def _recognizer_learner(
        self, settings: RecognizerSettings, classes: int, seed: int
    ) -> RecognizerLearner:
        return RecognizerLearner(
            settings,
            classes=classes,
            channels=self.channels,
            image_size=self.image_size,
            seed=seed,
        )

    def _recognizer_job(
        self, settings: RecognizerSettings, who: Labelled, seed: int
    ) -> TrainingJob:
        learner = self._recognizer_learner(settings, int(who.class_N.max()) + 1, seed)
        return TrainingJob(learner, who.images_NCHW, who.class_N, settings.training)

    def _generator_job(self, spec: NetworkSpec, images_NCHW: Tensor) -> TrainingJob:
        settings = spec.generator
        assert settings is not None
        answers, queries = torch.zeros(len(images_NCHW), dtype=torch.int64), 0
        if spec.learns_from is not None:
            answers, queries = self._answers(spec.learns_from, None)
        learner = generators.learner(
            settings,
            channels=self.channels,
            image_size=self.image_size,
            seed=self._seed(spec),
            classes=len(self.splits.people),
        )
        return TrainingJob(learner, images_NCHW, answers, settings.training, queries)

    def _attack_job(self, spec: NetworkSpec) -> TrainingJob:
        settings: Any = spec.attack
        assert settings is not None
        assert spec.learns_from is not None
        kind = ATTACKS[settings.name]
        answers_NK, queries = self._answers(spec.learns_from, kind.training_top(settings))
        learner = kind.learner(settings, self.shape, self._seed(spec))
        return TrainingJob(learner, self.splits.public_NCHW, answers_NK, settings.training, queries)

    @property
    def shape(self) -> ModelShape:
        """The shape of the victim's input and output."""
        return ModelShape(len(self.splits.people), self.channels, self.image_size)

    def _answers(self, teacher: DefenseSettings, top: int | None) -> tuple[Tensor, int]:
        """What a model says of every public picture, (N, K) on the CPU, and the queries that took.

        With several training workers each of them asks; counted is what one attacker would ask.

        Raises:
            TrainingError: the model answers with scores that are not numbers.
        """
        view = Scores(self.protected(teacher), 1, top)
        public_NCHW = self.splits.public_NCHW
        answers_NK = torch.empty(len(public_NCHW), view.classes)
        for rows in torch.arange(len(public_NCHW)).split(CHUNK):
            x_NCHW = to_float(public_NCHW[rows], self.device)
            answers_NK[rows] = view.scores(x_NCHW, torch.zeros_like(rows)).cpu()
        if bool(answers_NK.isnan().any()):
            raise TrainingError(
                f"the model under attack ({teacher.name}) answers public pictures with scores that are not "
                "numbers, and no attacker's network can learn from them"
            )
        return answers_NK, int(view.queries.sum())

    def _seed(self, spec: NetworkSpec) -> int:
        return seeds.derive(self.experiment.seed, "weights", spec.role)

    def _recognizer(self, settings: RecognizerSettings, classes: int, seed: int = 0) -> Recognizer:
        return Recognizer(
            settings,
            classes=classes,
            channels=self.channels,
            image_size=self.image_size,
            seed=seed,
        )

    def _strangers(self, spec: NetworkSpec) -> int:
        """How many public people a defense can learn from.

        Raises:
            ConfigError: fewer than two.
        """
        classes = int(outsider_classes(self.splits).max()) + 1
        if classes < 2:
            raise ConfigError(
                f"{spec.title}: needs public people with two pictures or more each, and there are fewer than two "
                "of them; choose another defense, or other public data"
            )
        return classes

    def _untrained(self, spec: NetworkSpec) -> nn.Module:
        """A network of the task's structure."""
        if spec.generator is not None:
            return generators.build(
                spec.generator,
                classes=len(self.splits.people),
                channels=self.channels,
                image_size=self.image_size,
            )
        if spec.attack is not None:
            return ATTACKS[spec.attack.name].build(spec.attack, self.shape)
        if spec.defense is not None:
            defense = DEFENSES[spec.defense.name](spec.defense)
            if "strangers" in defense.needed():
                self._strangers(spec)
            return defense.build(self.blueprint)
        if spec.role == "defense_classifier":
            return self._recognizer(self.experiment.victim, self._strangers(spec))
        if spec.role.startswith("evaluator:"):
            evaluator = self.evaluator(spec.role.partition(":")[2])
            classes = evaluator_data(evaluator, self.splits, self.plan.pool).classes
            return self._recognizer(evaluator.recognizer, classes)
        return self._recognizer(self.experiment.victim, len(self.splits.people))
