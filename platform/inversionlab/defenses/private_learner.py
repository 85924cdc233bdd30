"""A recognizer in training with differential privacy, and the ledger of what that spent (see dp_sgd.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab.core import seeds
from inversionlab.core.contracts import as_scoring_model
from inversionlab.core.images import to_float
from inversionlab.core.learner import (
    GradientSync,
    Learner,
    TrainingSettings,
    make_optimizer,
    set_rate,
)
from inversionlab.defenses.base import ProtectedModel
from inversionlab.defenses.batch_norms import batch_norms
from inversionlab.defenses.private_gradients import clipped_sum, noised_mean

_PICTURES, _NUMBERS = 256, 2**24
"""Most pictures in a pass, and most gradient numbers (64 MiB, and a few times that while they are made)."""

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Budget:
    """How much noise a training adds, and what each of its steps costs."""

    noise_multiplier: float
    """sigma: the noise's standard deviation in units of the clipping norm."""
    expected: int
    """B, the expected batch size."""
    rate: float
    """q, the probability with which a picture is drawn into a step."""
    delta: float
    accountant: str
    """Opacus' name of the way of counting: rdp or prv."""

    @classmethod
    def plan(
        cls,
        *,
        epsilon: float,
        delta: float,
        expected: int,
        count: int,
        epochs: int,
        accountant: str,
    ) -> Budget:
        """The least noise with which `epochs` of `count // expected` steps stay within (epsilon, delta).

        Raises:
            ValueError: no noise keeps that budget.
        """
        # Opacus takes as long to import as torch: only who trains with it pays.
        from opacus.accountants.utils import get_noise_multiplier

        steps = max(1, epochs * (count // expected))
        try:
            noise = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=expected / count,
                steps=steps,
                accountant=accountant,
            )
        except ValueError as error:
            raise ValueError(
                f"no noise keeps epsilon = {epsilon:g} at delta = {delta:g} for {steps} steps: {error}"
            ) from error
        return cls(float(noise), expected, expected / count, delta, accountant)

    def spent(self, steps: int) -> float:
        """The epsilon that so many steps spend."""
        if steps == 0:
            return 0.0
        from opacus.accountants import create_accountant

        ledger = create_accountant(mechanism=self.accountant)
        ledger.history = [(self.noise_multiplier, self.rate, steps)]
        return float(ledger.get_epsilon(delta=self.delta))


class PrivateRecognizer(ProtectedModel):
    """A recognizer, and what is to be known about how private its weights are."""

    def __init__(self, recognizer: nn.Module, classes: int) -> None:
        super().__init__()
        self.victim: Any = recognizer
        self.classes = classes
        self.epsilon: Tensor
        self.delta: Tensor
        self.noise_multiplier: Tensor
        for name in ("epsilon", "delta", "noise_multiplier"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The recognizer's."""
        return as_scoring_model(self.victim).log_scores(x_NCHW)

    def facts(self) -> dict[str, float]:
        """The (epsilon, delta) that the training spent, and sigma."""
        return {name: float(buffer) for name, buffer in self.named_buffers(recurse=False)}


class PrivateLearner(Learner):
    """Takes DP-SGD's steps. It draws its own batches, because fixed batches would void the promise."""

    def __init__(
        self,
        model: PrivateRecognizer,
        budget: Budget,
        training: TrainingSettings,
        *,
        pictures: tuple[Tensor, Tensor],
        head_only: bool,
        clip: float,
        augment: Augment | None,
        stream: str,
    ) -> None:
        """Train `model` on `pictures`: uint8 (N, C, H, W) and class numbers (N,), on the CPU.

        `stream` names the network by everything that goes into it, so that no two released models share a draw
        or their noise: from two that did, both could be taken off.
        """
        self.stream = stream
        self.model, self.budget, self.training = model, budget, training
        self.images_NCHW, self.class_N = pictures
        self.head_only, self.clip, self.augment = head_only, clip, augment
        recognizer = model.victim
        # The recognizer's own forward pass asks for a memory format that vmap does not know.
        self.part: nn.Module = (
            recognizer.head if head_only else nn.Sequential(recognizer.backbone, recognizer.head)
        )
        constant = {id(p) for m in batch_norms(self.part) for p in m.parameters()}
        self.weights = {n: p for n, p in self.part.named_parameters() if id(p) not in constant}
        self.modules = {"recognizer": model}
        self.optimizers = {"recognizer": make_optimizer(self.weights.values(), training)}
        self.counters: dict[str, float] = {"steps": 0.0}

    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        """Draw a batch of its own and learn from it; returns `loss` (not private), 0 for an empty batch.

        Raises:
            ValueError: there is more than one training worker.
        """
        if self.workers > 1:
            raise ValueError(
                f"dp_sgd: trains on one worker, but runtime.train_workers = {self.workers}: each of them would "
                "add noise and draw batches of its own, which the privacy accountant does not count"
            )
        rng = self.own_stream(rng)
        drawn = torch.rand(len(self.class_N), generator=rng) < self.budget.rate
        rows = drawn.nonzero().squeeze(1)
        self._set_modes()
        sums, loss = self._sums(rows, rng, x_NCHW.device)
        deviation = self.budget.noise_multiplier * self.clip
        gradients = noised_mean(sums, deviation, self.budget.expected, rng)
        for name, weight in self.weights.items():
            weight.grad = gradients[name]
        self.optimizers["recognizer"].step()
        self.counters["steps"] += 1
        return {"loss": loss / max(1, len(rows))}

    def probe(self) -> None:
        """Take the gradient of the first picture, as a step would, and let it go.

        Raises:
            Exception: whatever stands in the way.
        """
        self._set_modes()
        self._sums(torch.zeros(1, dtype=torch.long), torch.Generator(), torch.device("cpu"))

    def own_stream(self, rng: torch.Generator) -> torch.Generator:
        """The randomness of a step, out of what the loop gives to every network of this role."""
        return seeds.torch_stream(rng.initial_seed(), "dp_sgd", self.stream)

    def schedule(self, progress: float) -> None:
        """Follow the schedule of the settings."""
        set_rate(self.optimizers["recognizer"], self.training, progress)

    def product(self) -> PrivateRecognizer:
        """The recognizer, with what has been spent on it so far."""
        self.model.epsilon.fill_(self.budget.spent(int(self.counters["steps"])))
        self.model.delta.fill_(self.budget.delta)
        self.model.noise_multiplier.fill_(self.budget.noise_multiplier)
        return self.model

    def _set_modes(self) -> None:
        """What is trained in training mode; batch normalisation never, as it would mix the samples."""
        self.model.eval()
        self.part.train()
        for norm in batch_norms(self.part):
            norm.eval()

    def _sums(
        self, rows: Tensor, rng: torch.Generator, device: torch.device
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The sum of the clipped gradients of these pictures, and of their losses; in chunks."""
        weights = {name: weight.detach() for name, weight in self.weights.items()}
        sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        loss = torch.zeros((), device=device)
        size = _NUMBERS // sum(weight.numel() for weight in weights.values())
        for chunk in rows.split(min(max(size, 1), _PICTURES)) if len(rows) else ():
            x_N = self._inputs(self.images_NCHW[chunk], rng, device)
            parts, part_loss = clipped_sum(
                self.part, weights, x_N, self.class_N[chunk].to(device), self.clip
            )
            loss += part_loss
            for name, part in parts.items():
                sums[name] += part
        return sums, loss

    def _inputs(self, images_NCHW: Tensor, rng: torch.Generator, device: torch.device) -> Tensor:
        """What the trained part is fed with: pictures, or the features of a backbone that is not trained."""
        x_NCHW = to_float(images_NCHW, device)
        if self.augment is not None:
            x_NCHW = self.augment(x_NCHW, rng)
        if not self.head_only:
            return x_NCHW
        with torch.no_grad():
            feature_ND: Tensor = self.model.victim.features(x_NCHW)
        return feature_ND
