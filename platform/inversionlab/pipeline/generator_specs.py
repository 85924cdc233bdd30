"""The generators, and the networks that attacks train; both may learn a model's scores of public pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab import generators
from inversionlab.attacks import ATTACKS, AttackSettings
from inversionlab.core.contracts import TrainingJob
from inversionlab.core.images import to_float
from inversionlab.core.rows import table
from inversionlab.core.views import Scores, WhiteBox
from inversionlab.generators import GeneratorSettings
from inversionlab.generators.given import Given, load_given_generator
from inversionlab.generators.inversion_model import holding_out
from inversionlab.pipeline.network_spec import BuildContext, ModelRef, NetworkSpec
from inversionlab.pipeline.train import TrainingError

CHUNK = 256
"""Pictures in a forward pass; it bounds the memory."""


@dataclass(frozen=True)
class GeneratorSpec(NetworkSpec):
    """A generator of the attackers', or of the defender's, which is another network unless a recipe shares it."""

    settings: GeneratorSettings
    private: bool = False
    """Whether it learns from the private training pictures, and not from the public ones."""

    @property
    def kind(self) -> str:
        """The name of its structure."""
        return self.settings.name

    def own_inputs(self) -> dict[str, Any]:
        """The generator's settings, and which pictures it learns from."""
        settings = self.settings.model_dump(mode="json")
        return {"on": "private" if self.private else "public", "generator": settings}

    def build(self, context: BuildContext) -> nn.Module:
        """The generator that the settings name."""
        return generators.build(self.settings, **context.shape.sizes)

    def training_job(self, context: BuildContext) -> TrainingJob:
        """Learns pictures, and the scores of them if it learns from a model."""
        splits = context.splits
        images_NCHW = splits.train.images_NCHW if self.private else splits.public_NCHW
        labels, queries = torch.zeros(len(images_NCHW), dtype=torch.int64), 0
        kind, teacher = generators.GENERATORS[self.settings.name], None
        if (source := self.learns_from) is not None:
            score_NK, queries = _public_scores(source, context)
            images_NCHW, labels = kind.lessons(self.settings, images_NCHW, score_NK)
            if kind.needs_gradients:
                teacher = WhiteBox(context.protected(source.defense, source.seed), 1)
                queries += kind.further_queries(self.settings, len(images_NCHW))
        learner = generators.learner(
            self.settings, **context.shape.sizes, seed=self.weights_seed, teacher=teacher
        )
        training = self.settings.training  # type: ignore[attr-defined]
        return TrainingJob(learner, images_NCHW, labels, training, queries)


@dataclass(frozen=True)
class GivenGeneratorSpec(NetworkSpec):
    """A generator of the user's own, which is not trained."""

    settings: Given.Settings
    digest: str
    """Hash of its weights and of the user's code."""

    @property
    def given(self) -> bool:
        """Always: nothing is trained."""
        return True

    @property
    def kind(self) -> str:
        """Where its class is."""
        return f"({self.settings.path}, given)"

    def own_inputs(self) -> dict[str, Any]:
        """Its settings, weights and code, by content and not by place."""
        return {"given": self.digest}

    def build(self, context: BuildContext) -> nn.Module:
        """The generator, from the user's own files; ConfigError if it does not do what its settings say."""
        shape = context.shape
        return load_given_generator(self.settings, shape.channels, shape.image_size)

    def restore(self, context: BuildContext, weights: Mapping[str, Tensor]) -> nn.Module:
        """The generator with stored weights, on any node that can import its class."""
        module = generators.build(self.settings, **context.shape.sizes)
        module.load_state_dict(dict(weights))
        return module

    def training_job(self, context: BuildContext) -> TrainingJob:
        """Refuses: it is given."""
        raise TypeError(f"{self.title} is not trained")


@dataclass(frozen=True)
class AttackNetworkSpec(NetworkSpec):
    """The network that an attack trains on the public pictures and a model's scores of them."""

    settings: AttackSettings
    learns_from: ModelRef = field(kw_only=True)

    @property
    def kind(self) -> str:
        """What the tables call the attack."""
        return self.settings.title

    def own_inputs(self) -> dict[str, Any]:
        """The settings that the training depends on. Attacks that train the same network share it."""
        attack = ATTACKS[self.settings.name]
        return {"network": attack.network_kind, "attack": attack.network_part(self.settings)}

    def build(self, context: BuildContext) -> nn.Module:
        """The attack's network."""
        return ATTACKS[self.settings.name].build(self.settings, context.shape)

    def training_job(self, context: BuildContext) -> TrainingJob:
        """Learns the public pictures and their scores."""
        attack, settings = ATTACKS[self.settings.name], self.settings
        score_NK, queries = _public_scores(self.learns_from, context, attack.training_top(settings))
        learner = attack.learner(settings, context.shape, self.weights_seed)
        training = attack.training(settings)
        job = TrainingJob(learner, context.splits.public_NCHW, score_NK, training, queries)
        return holding_out(job, self.seed)


def _public_scores(
    model: ModelRef, context: BuildContext, top: int | None = None
) -> tuple[Tensor, int]:
    """The scores (N, K) that a model gives to every public picture, on the CPU, and the queries that they took.

    Of each score vector the `top` largest are kept; None keeps all. With several training workers each of them
    asks; only the queries that one attacker needs are counted.

    Raises:
        TrainingError: the model gives scores that are not numbers.
    """
    public_NCHW = context.splits.public_NCHW
    view = Scores(context.protected(model.defense, model.seed), 1, top)
    score_NK = table(len(public_NCHW), view.classes)
    for rows in torch.arange(len(public_NCHW)).split(CHUNK):
        x_NCHW = to_float(public_NCHW[rows], context.device)
        score_NK[rows] = view.scores(x_NCHW, torch.zeros_like(rows)).cpu()
        if bool(score_NK[rows].isnan().any()):
            raise TrainingError(
                f"the model under attack ({model.defense.name}) answers public pictures with scores that are "
                "not numbers, and no attacker's network can learn from them"
            )
    return score_NK, int(view.queries.sum())
