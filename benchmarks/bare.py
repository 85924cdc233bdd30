"""The passes of an attack and nothing else: a lower bound of an attack's time.

While an attack runs, every forward pass is recorded (a microsecond each) with its size and whether a backward pass
follows. The bare loop then makes the same passes on the networks themselves, without the pipeline's wrappers.

    python -m benchmarks.attacks --parts bare
"""

from __future__ import annotations

import functools
import statistics
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from benchmarks.arena import Arena, seconds
from inversionlab.attacks import AttackerContext
from inversionlab.core.contracts import GenerativePrior
from inversionlab.defenses import ProtectedModel
from inversionlab.generators.base import Generator
from inversionlab.pipeline.attack import make_attack, run_attack


@dataclass(frozen=True)
class Pass:
    """One forward pass; `back`: a backward pass to its input follows."""

    kind: Literal["encode", "decode", "scores"]
    size: int
    back: bool


class RecordingModel(ProtectedModel):
    """A protected model that records its passes."""

    def __init__(self, model: ProtectedModel, log: list[Pass]) -> None:
        super().__init__()
        self.model, self.classes = model, model.classes
        self._log = log

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The model's log-scores."""
        self._log.append(Pass("scores", len(x_NCHW), _followed(x_NCHW)))
        return self.model.log_scores(x_NCHW)


class RecordingPrior:
    """An attacker's generator that records its passes: encoder and decoder, no critic, no styles."""

    def __init__(self, prior: GenerativePrior, log: list[Pass]) -> None:
        self._prior, self._log = prior, log
        self.latent_size, self.draw = prior.latent_size, prior.draw

    def __call__(self, z_ND: Tensor) -> Tensor:
        """Pictures of latents."""
        self._log.append(Pass("decode", len(z_ND), _followed(z_ND)))
        return self._prior(z_ND)

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        """Latents of pictures."""
        z_ND = self._prior.encode(x_NCHW)
        if z_ND is not None:
            self._log.append(Pass("encode", len(x_NCHW), False))
        return z_ND


def share(arena: Arena, name: str, rows: int, rounds: int) -> float:
    """The bare loop's share of an attack's time: the median over the rounds after a warm-up round."""
    shares = []
    for number in range(rounds + 1):
        log: list[Pass] = []
        attack = make_attack(arena.settings(name), recording(arena.context(name), log))
        model, jobs = RecordingModel(arena.model, log), arena.jobs(rows, skip=number * rows)
        whole = seconds(functools.partial(run_attack, attack, model, jobs), arena.device)
        count, shape = max(each.size for each in log), arena.context(name).public_NCHW.shape[1:]
        pictures_NCHW = torch.rand(count, *shape).to(arena.device)
        bare = arena.bare_model, arena.bare_generator(name)
        spent = seconds(functools.partial(bare_loop, log, *bare, pictures_NCHW), arena.device)
        shares.append(spent / whole)
    return statistics.median(shares[1:])


def recording(context: AttackerContext, log: list[Pass]) -> AttackerContext:
    """The same context with a generator that records its passes."""
    assert context.generator is not None
    # `GenerativePrior` also has methods that only some generators offer; no attack that needs them runs here.
    return replace(context, generator=RecordingPrior(context.generator, log))  # type: ignore[arg-type]


def bare_loop(
    log: list[Pass], model: ProtectedModel, generator: Generator, pictures_NCHW: Tensor
) -> None:
    """Make the passes of `log`.

    Args:
        log: the recorded passes of an attack.
        model: the model itself.
        generator: the generator itself.
        pictures_NCHW: float pictures on the device, as many as the largest pass takes.
    """
    device = pictures_NCHW.device
    z_ND = torch.randn(len(pictures_NCHW), generator.latent_size).to(device)
    decoded: tuple[Tensor, Tensor] | None = None
    for each in log:
        x_NCHW, size = pictures_NCHW[: each.size], each.size
        if each.kind == "decode" and each.back:
            point = z_ND[:size].detach().requires_grad_(True)
            decoded = point, generator(point)
        elif each.kind == "scores" and each.back:
            point, made_NCHW = decoded or _leaf(x_NCHW)
            torch.autograd.grad(model.log_scores(made_NCHW)[:, 0].sum(), point)
            decoded = None
        else:
            with torch.no_grad():
                _forward(each, model, generator, x_NCHW, z_ND[:size])


def _leaf(x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """An attack on pixels differentiates with respect to the picture itself."""
    leaf = x_NCHW.detach().requires_grad_(True)
    return leaf, leaf


def _forward(
    each: Pass, model: ProtectedModel, generator: Generator, x_NCHW: Tensor, z_ND: Tensor
) -> None:
    if each.kind == "encode":
        generator.encode(x_NCHW)
    elif each.kind == "decode":
        generator(z_ND)
    else:
        model.log_scores(x_NCHW)


def _followed(x_N: Tensor) -> bool:
    return torch.is_grad_enabled() and x_N.requires_grad
