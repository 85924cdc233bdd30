"""DP-SGD (D9): a network of the victim's structure is trained with differential privacy.

Paper:    Abadi et al. 2016, "Deep Learning with Differential Privacy", algorithm 1; Yousefpour et al. 2021,
          "Opacus". Gong et al. 2023 compare with it at epsilon = 8.
Releases: the recognizer so trained; the victim itself is not used.
Trains:   in each step every private picture is drawn with probability q = B / N (Poisson sampling). With g_i the
          gradient of picture i's loss over all trained weights and B the expected batch size, the optimizer is
          given
              g = ( sum_i g_i min(1, C / |g_i|) + N(0, (sigma C)^2 I) ) / B.
          sigma is the smallest that Opacus' accountant allows for (epsilon, delta, q, steps). The epsilon spent is
          computed from the steps taken and stored in the artifact (`facts`). The loss is the cross-entropy of the
          released scores.
Start:    `public` (default): the weights of a recognizer of public people, which cost no privacy, and a new head.
          Batch normalisation keeps its public statistics as constants. `train` = head trains the head alone, all
          every weight except those of the normalisation. `scratch`: random weights, with group normalisation in
          place of batch normalisation.
Defaults: epsilon = 8 (Gong §V-A2); delta = min(1e-5, 1 / (10 N)). C = 3, whole-batch steps and Adam were found on
          LFW (158 people, 3,463 pictures): 52 % accuracy on test pictures, 103 CPU seconds.
Protects: in every view, because whatever is computed from the released weights is as private as they are. The
          promise covers one picture: data sets that differ by one picture are told apart with odds of at most
          e^epsilon, except with probability delta. For a person with 20 pictures it is far weaker, and model
          inversion looks for what a person's pictures share: a large epsilon promises nothing against it. It holds
          for one released model; those of a sweep or a search add up, though each has its own noise. Not counted:
          the choice of settings by private accuracy, and the training loss in the log.
Deviates: training has no margin in the loss (CosFace's is left out; on LFW that cost nothing). Per-sample
          gradients are `torch.func`'s, not those of Opacus' hooks, which fail at in-place activations and do not
          know our heads. A test holds that both give the same.
Warning:  the noise comes from the training's seeded generator, so that a run can be repeated. With the seed an
          attacker can remove the noise: a model that leaves the laboratory needs a secret seed and a secure
          source.
Ranges:   epsilon in [0.5, 1000]; one training worker only.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob
from inversionlab.core.images import to_float
from inversionlab.core.learner import (
    GradientSync,
    Learner,
    Losses,
    TrainingSettings,
    make_optimizer,
)
from inversionlab.core.rows import Images
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    ProtectedModel,
    VictimBlueprint,
)
from inversionlab.defenses.parts.differential_privacy import (
    BatchNorm,
    Budget,
    PrivateRecognizer,
    clipped_sum,
    noised_mean,
    without_batch_norm,
)
from inversionlab.defenses.parts.public_start import start_from_public

NOISE_FORMAT = 2
"""Raise it when equal settings would train with other noise; networks of other defenses keep their hashes."""
_PICTURES, _NUMBERS = 256, 2**24
"""Most pictures in a pass, and most gradient numbers (64 MiB; computing them takes a few times that)."""


class DpSgdSettings(DefenseSettings):
    """Settings of DP-SGD."""

    name: Literal["dp_sgd"] = "dp_sgd"
    epsilon: float = Field(default=8.0, ge=0.5, le=1000)
    """Privacy budget of the whole training; smaller means more noise."""
    delta: float | None = Field(default=None, gt=0, lt=1e-2)
    """Probability with which the guarantee may fail, below 1 / N; null: 1e-5, or 1 / (10 N) if that is less."""
    clip: float = Field(default=3.0, gt=0, le=1e4)
    """C, the largest norm of one picture's gradient."""
    start: Literal["public", "scratch"] = "public"
    """Initial weights: those of a recognizer of public people, or random ones."""
    train: Literal["head", "all"] = "head"
    """Which weights are trained; must be all if `start` is scratch."""
    augment: bool = False
    """Whether pictures are augmented as in the victim's training."""
    accountant: Literal["rdp", "prv"] = "rdp"
    """How the budget is counted: rdp by Renyi divergence; prv is tighter (about 6 % less noise) and slower."""
    training: TrainingSettings = TrainingSettings(
        epochs=20, batch_size=4096, learning_rate=3e-2, schedule="constant", weight_decay=0.0
    )
    """How it is trained; `batch_size` is the expected size, at most the whole set."""

    def trained_part(self) -> dict[str, Any]:
        """The settings, and the version of how the noise is drawn."""
        return {**super().trained_part(), "noise": NOISE_FORMAT}


class PrivateLearner(Learner):
    """Takes DP-SGD's steps on batches that it draws itself; fixed batches would void the promise."""

    def __init__(
        self,
        settings: DpSgdSettings,
        model: PrivateRecognizer,
        pictures: tuple[Images, Tensor],
        count: int,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None,
        stream: str,
    ) -> None:
        """Prepare to train `model` with the budget for `count` private pictures; ValueError as `Budget.plan`.

        `pictures` are uint8 (N, C, H, W) and class numbers (N,), on the CPU. `augment` is applied to float
        pictures. `stream` is the hash of everything that goes into the network, so that no two released models
        share their draws or their noise, which could then be removed from both.
        """
        self.training = training = settings.training
        self.budget = Budget.plan(
            epsilon=settings.epsilon,
            delta=settings.delta,
            batch_size=training.batch_size,
            count=count,
            epochs=training.epochs,
            accountant=settings.accountant,
        )
        self.settings, self.model, self.augment, self.stream = settings, model, augment, stream
        self.images_NCHW, self.class_N = pictures
        network = model.victim
        # The recognizer's own forward pass asks for a memory format that vmap does not support.
        self.part: nn.Module = network.head
        if settings.train == "all":
            self.part = nn.Sequential(network.backbone, network.head)
        self.norms = [module for module in self.part.modules() if isinstance(module, BatchNorm)]
        constant = {id(p) for norm in self.norms for p in norm.parameters()}
        self.weights = {n: p for n, p in self.part.named_parameters() if id(p) not in constant}
        self.modules = {"recognizer": model}
        self.optimizers = {"recognizer": make_optimizer(self.weights.values(), training)}
        self.counters = {"steps": 0.0}

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Draw a batch and learn; returns `loss` (not private), 0 if empty. ValueError with several workers."""
        if self.workers > 1:
            raise ValueError(
                f"dp_sgd: trains on one worker, but runtime.train_workers = {self.workers}: each of them would "
                "add noise and draw batches of its own, which the privacy accountant does not count"
            )
        rng, budget = self.own_stream(rng), self.budget
        drawn = torch.rand(len(self.class_N), generator=rng) < budget.rate
        rows = drawn.nonzero().squeeze(1)
        sums, loss = self._sums(rows, rng, x_NCHW.device)
        deviation = budget.noise_multiplier * self.settings.clip
        gradients = noised_mean(sums, deviation, budget.expected, rng)
        for name, weight in self.weights.items():
            weight.grad = gradients[name]
        self.optimizers["recognizer"].step()
        self.counters["steps"] += 1
        return {"loss": loss / max(1, len(rows))}

    def probe(self) -> None:
        """Compute the gradient of the first picture as a step would; any exception if the network has none."""
        self._sums(torch.zeros(1, dtype=torch.long), torch.Generator(), torch.device("cpu"))

    def own_stream(self, rng: torch.Generator) -> torch.Generator:
        """A step's own random stream, derived from the one that the loop gives to every network of this role."""
        return seeds.torch_stream(rng.initial_seed(), "dp_sgd", self.stream)

    def product(self) -> PrivateRecognizer:
        """The recognizer, with what has been spent so far."""
        self.model.epsilon.fill_(self.budget.spent(int(self.counters["steps"])))
        self.model.delta.fill_(self.budget.delta)
        self.model.noise_multiplier.fill_(self.budget.noise_multiplier)
        return self.model

    def _sums(
        self, rows: Tensor, rng: torch.Generator, device: torch.device
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The sum of these pictures' clipped gradients by weight, and of their losses; computed in chunks."""
        self.model.eval()
        self.part.train()
        for norm in self.norms:  # they would mix the samples
            norm.eval()
        weights = {name: weight.detach() for name, weight in self.weights.items()}
        sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        loss = torch.zeros((), device=device)
        size = _NUMBERS // sum(weight.numel() for weight in weights.values())
        for chunk in rows.split(min(max(size, 1), _PICTURES)) if len(rows) else ():
            x_N, y_N = to_float(self.images_NCHW[chunk], device), self.class_N[chunk].to(device)
            if self.augment is not None:
                x_N = self.augment(x_N, rng)
            if self.settings.train == "head":
                with torch.no_grad():
                    x_N = self.model.victim.features(x_N)
            parts, part_loss = clipped_sum(self.part, weights, x_N, y_N, self.settings.clip)
            loss += part_loss
            for name, part in parts.items():
                sums[name] += part
        return sums, loss


class DpSgd(Defense):
    """Trains the victim's structure with differential privacy."""

    Settings: ClassVar[type[DefenseSettings]] = DpSgdSettings
    settings: DpSgdSettings
    layer: ClassVar[Layer] = Layer.VICTIM
    trains: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"classifier"})
    learns_private: ClassVar[bool] = True
    differential_privacy: ClassVar[bool] = True
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    @classmethod
    def check(cls, settings: DpSgdSettings) -> None:
        """Raise ValueError if the backbone would stay random."""
        if settings.start == "scratch" and settings.train != "all":
            raise ValueError(
                f"train = {settings.train}: with start = scratch nothing but the head would ever be trained; "
                "set train = all"
            )

    def needed(self) -> frozenset[str]:
        """A classifier of public people, unless training starts from scratch."""
        return frozenset() if self.settings.start == "scratch" else self.needs

    def fits(self, blueprint: VictimBlueprint, pictures: int) -> None:
        """Raise ValueError if no noise keeps the promise, or the network has no per-sample gradients."""
        shape = blueprint.shape
        black_NCHW = torch.zeros(1, shape.channels, shape.image_size, shape.image_size).byte()
        one = black_NCHW, torch.zeros(1, dtype=torch.long)
        learner = PrivateLearner(self.settings, self.build(blueprint), one, pictures, None, "")
        try:
            learner.probe()
        except Exception as error:  # what vmap raises has no class of its own
            why = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"train = {self.settings.train}: the victim's network gives no gradients of single pictures "
                f"({why}); set train = head, or choose another victim.network"
            ) from error

    def build(self, blueprint: VictimBlueprint) -> PrivateRecognizer:
        """The untrained recognizer, without batch normalisation if training starts from scratch."""
        network = blueprint.new_network()
        if self.settings.start == "scratch":
            without_batch_norm(network)
        return PrivateRecognizer(network, blueprint.shape.classes)

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Train on the private pictures; ValueError without a name or a classifier in the context."""
        if not context.name:
            raise ValueError("dp_sgd: a network without a name has no noise of its own")
        model = self.build(context.blueprint)
        if self.settings.start == "public":
            start_from_public(model.victim, context.classifier, "dp_sgd: start = public")
        pictures = context.private_NCHW, context.private_class_N
        augment = context.augment if self.settings.augment else None
        count = len(context.private_NCHW)
        learner = PrivateLearner(self.settings, model, pictures, count, augment, context.name)
        return TrainingJob(learner, *pictures, self.settings.training)

    def protect(self, victim: nn.Module, trained: nn.Module | None) -> ProtectedModel:
        """The privately trained recognizer alone."""
        private = self.own(trained)
        assert isinstance(private, PrivateRecognizer)
        return private
