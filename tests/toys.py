"""A tiny world with a known answer: a linear face generator, and a victim that scores by distance.

Class k's face is c_k = G(z_k) for a known latent z_k, and the victim's score of k falls with |x - c_k|^2. So the
best reconstruction of k is c_k itself.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.attacks import ATTACKS, Attack, AttackerContext, AttackJobs
from inversionlab.attacks.engine import Widths
from inversionlab.core.contracts import ModelShape, TrainingJob
from inversionlab.core.views import Scores
from inversionlab.defenses.base import ProtectedModel
from inversionlab.pipeline.train import alone, train

LATENT, CLASSES, SIZE = 6, 5, 8
CPU = torch.device("cpu")


class ToyGenerator(nn.Module):
    """z -> sigmoid(Az), with a left inverse as its encoder; it offers everything a generator may offer."""

    latent_size = LATENT
    offers = frozenset({"encoder", "critic", "style", "classes", "conditional"})

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(1)
        self.channels = channels
        self.basis = nn.Parameter(torch.randn(LATENT, channels * SIZE * SIZE, generator=rng))

    def forward(self, z_ND: Tensor) -> Tensor:
        return (z_ND @ self.basis).sigmoid().view(-1, self.channels, SIZE, SIZE)

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        flat = x_NCHW.flatten(1).clamp(0.01, 0.99).logit()
        return flat @ torch.linalg.pinv(self.basis)

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        return torch.randn(count, LATENT, generator=rng)

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """A picture is more real the nearer its latent is to 0, where the prior's draws lie."""
        flat = x_NCHW.flatten(1).clamp(0.01, 0.99).logit()
        return -0.01 * (flat @ torch.linalg.pinv(self.basis)).square().sum(1)

    def of_class(self, z_ND: Tensor, class_N: Tensor) -> Tensor:
        """Every latent may be of any class."""
        return z_ND

    def style(self, z_ND: Tensor) -> Tensor:
        """w = leaky_relu(z): what a mapping network's last activation leaves."""
        return functional.leaky_relu(z_ND, 0.2)

    def synthesize(self, w_NW: Tensor) -> Tensor:
        return self(functional.leaky_relu(w_NW, 5.0))


class ToyVictim(ProtectedModel):
    """Softmax over negative squared distances to the classes' faces."""

    classes = CLASSES

    def __init__(self, generator: ToyGenerator, sharpness: float = 1.0) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(2)
        with torch.no_grad():
            self.register_buffer("faces", generator(torch.randn(CLASSES, LATENT, generator=rng)))
        self.faces: Tensor
        self.sharpness = sharpness

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        away = (x_NCHW[:, None] - self.faces[None]).flatten(2).square().sum(2)
        return (-self.sharpness * away).log_softmax(1)


def context(channels: int = 1, device: torch.device = CPU) -> AttackerContext:
    """An attacker with the toy generator and 64 public pictures."""
    generator = ToyGenerator(channels).requires_grad_(False)
    with torch.no_grad():
        public = generator(torch.randn(64, LATENT, generator=torch.Generator().manual_seed(3)))
    return AttackerContext(
        generator=generator.to(device),
        public_NCHW=(255 * public).byte(),
        seed=7,
        device=device,
        # A width that is measured would depend on the machine's load, and these matrix products on the width.
        widths=Widths(64),
    )


def victim(channels: int = 1, device: torch.device = CPU) -> ToyVictim:
    """The toy victim, frozen."""
    return ToyVictim(ToyGenerator(channels)).eval().requires_grad_(False).to(device)


@functools.lru_cache(maxsize=32)
def inversion_network(settings_json: str, channels: int) -> nn.Module:
    """An attack's own network at these settings, trained on the toy victim's scores."""
    kind = ATTACKS[json.loads(settings_json)["name"]]
    return learns_from_target(
        kind, kind.Settings.model_validate_json(settings_json), victim(channels), channels
    )


def learns_from_target(
    kind: type[Attack], settings: Any, teacher: ProtectedModel, channels: int = 1
) -> nn.Module:
    """An attack's own network, trained on the toy world's public pictures and a teacher's scores."""
    view = Scores(teacher, 1, kind.training_top(settings))
    public = context(channels).public_NCHW
    scores_NK = view.scores(public.float() / 255, torch.zeros(len(public), dtype=torch.int64))
    learner = kind.learner(settings, ModelShape(CLASSES, channels, SIZE), seed=1)
    training_job = TrainingJob(learner, public, scores_NK, kind.training(settings))
    train(
        training_job,
        role="toy",
        seed=1,
        world=alone(CPU),
        checkpoints=NoCheckpoints(),
        report=lambda progress: None,
    )
    return learner.product().eval().requires_grad_(False)


class NoCheckpoints:
    """Keeps nothing."""

    def load(self) -> dict[str, Any] | None:
        return None

    def save(self, state: dict[str, Any]) -> None:
        pass


def jobs(pairs: list[tuple[int, int]], device: torch.device = CPU) -> AttackJobs:
    """Jobs of (target, repeat) pairs."""
    return AttackJobs(
        torch.tensor([t for t, _ in pairs], device=device),
        torch.tensor([r for _, r in pairs], device=device),
    )


ALL = [(t, r) for t in range(CLASSES) for r in range(3)]
