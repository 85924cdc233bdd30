"""The second bound: as many passes as an attack made, at the best batch size, and nothing else.

While an attack runs, every pass through a network is recorded (a microsecond each): which network, how many rows,
and whether a backward pass follows. A plain loop then makes full batches of the same kinds of passes on the same
compiled networks, in the attack's precision, and each kind at the batch size that is best for it. No row leaves,
no score is compared, nothing is drawn, and no layer is computed in lanes. What the loop takes for the recorded
numbers of rows, over what the attack took, is the attack's share of the bound.

    python -m benchmarks.attacks --parts bound
"""

from __future__ import annotations

import functools
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.arena import Arena, seconds
from inversionlab.attacks import AttackerContext
from inversionlab.defenses import ProtectedModel
from inversionlab.pipeline.attack import make_attack, run_attack
from inversionlab.pipeline.batch_invariant import BatchInvariantModel, BatchInvariantPrior

Kind = Literal["encode", "decode", "style", "synthesize", "critic", "scores"]
Forward = Callable[[Tensor], Any]
BATCHES = (8, 16, 32, 64)
ROWS = 64
"""Rows that are timed at each batch size."""
ROUNDS = 3


@dataclass(frozen=True)
class Pass:
    """One forward pass; `back`: a backward pass to its input follows."""

    kind: Kind
    size: int
    back: bool


@dataclass(frozen=True)
class Bound:
    """An attack against its bound."""

    share: float
    """The bound over the attack's seconds."""
    update: float
    """Seconds of an update at the best batch size; 0 if the attack makes none."""
    batch: int
    """That batch size."""


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
    """An attacker's generator that records its passes; its methods are `GenerativePrior`'s."""

    def __init__(self, prior: Any, log: list[Pass]) -> None:
        self._prior, self._log = prior, log
        self.latent_size, self.draw, self.offers = prior.latent_size, prior.draw, prior.offers
        self.style = functools.partial(self._run, "style", prior.style)
        self.synthesize = functools.partial(self._run, "synthesize", prior.synthesize)
        self.critic = functools.partial(self._run, "critic", prior.critic)

    def __call__(self, z_ND: Tensor) -> Tensor:
        """Pictures of latents."""
        return self._run("decode", self._prior, z_ND)

    def of_class(self, z_ND: Tensor, class_N: Tensor) -> Tensor:
        """Latents of these classes; no pass."""
        named_ND: Tensor = self._prior.of_class(z_ND, class_N)
        return named_ND

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        """Latents of pictures."""
        z_ND: Tensor | None = self._prior.encode(x_NCHW)
        if z_ND is not None:
            self._log.append(Pass("encode", len(x_NCHW), False))
        return z_ND

    def _run(self, kind: Kind, forward: Forward, x_N: Tensor) -> Tensor:
        self._log.append(Pass(kind, len(x_N), _followed(x_N)))
        made_N: Tensor = forward(x_N)
        return made_N


def recording(context: AttackerContext, log: list[Pass]) -> AttackerContext:
    """The same context with a generator that records its passes."""
    assert context.generator is not None
    return replace(context, generator=RecordingPrior(context.generator, log))


def measure(arena: Arena, name: str, rows: int, rounds: int) -> Bound:
    """An attack against its bound: the medians over the rounds after a warm-up round.

    Widths are chosen in the warm-up round, as in a worker's first shard.
    """
    log = list[Pass]()
    attack = make_attack(arena.settings(name), recording(arena.context(name), log))
    model = RecordingModel(arena.model, log)
    found = []
    for number in range(rounds + 1):
        log.clear()
        jobs = arena.jobs(rows, skip=number * rows)
        whole = seconds(functools.partial(run_attack, attack, model, jobs), arena.device)
        spent, update, batch = bound(log, networks(arena, name), points(arena, name), arena.device)
        found.append(Bound(spent / whole, update, batch))
    return sorted(found[1:], key=lambda each: each.share)[rounds // 2]


def networks(arena: Arena, name: str) -> dict[Kind, Forward]:
    """The compiled networks without the pipeline's wrappers, in the attack's precision."""
    model, prior = arena.model, arena.context(name).generator
    assert isinstance(model, BatchInvariantModel)
    calls: dict[Kind, Forward] = {"scores": model.model.log_scores}
    if isinstance(prior, BatchInvariantPrior):
        generator, autocast = prior.generator, prior.autocast

        def within(forward: Forward, x_N: Tensor) -> Tensor:
            with autocast(x_N):
                made_N: Tensor = forward(x_N).float()
            return made_N

        parts: dict[Kind, Forward] = {
            "decode": generator,
            "encode": generator.encode,
            "style": generator.style,
            "synthesize": generator.synthesize,
            "critic": generator.critic,
        }
        calls |= {kind: functools.partial(within, part) for kind, part in parts.items()}
    return calls


def points(arena: Arena, name: str) -> dict[Kind, Tensor]:
    """Inputs of each kind, as many as the largest batch has."""
    context, device = arena.context(name), arena.device
    x_NCHW = torch.rand(max(BATCHES), *context.public_NCHW.shape[1:]).to(device)
    inputs: dict[Kind, Tensor] = dict.fromkeys(("encode", "critic", "scores"), x_NCHW)
    if context.generator is None:
        return inputs
    z_ND = torch.randn(max(BATCHES), context.generator.latent_size).to(device)
    inputs |= {"decode": z_ND, "style": z_ND}
    if "style" in getattr(arena.bare_generator(name), "offers", ()):
        with torch.no_grad():
            inputs["synthesize"] = context.generator.style(z_ND)
    return inputs


def bound(
    log: list[Pass],
    calls: Mapping[Kind, Forward],
    inputs: Mapping[Kind, Tensor],
    device: torch.device,
) -> tuple[float, float, int]:
    """What the passes of `log` cost in full batches; what an update does, and its batch size.

    An update is a pass of the generator (if the attack has one), of the critic (if it asks one) and of the model,
    forward and back.
    """
    updated, asked = Counter[Kind](), Counter[Kind]()
    for each in log:
        (updated if each.back else asked)[each.kind] += each.size
    total, update, batch = 0.0, 0.0, 0
    if updated["scores"]:
        start: Kind | None = next((k for k in ("decode", "synthesize") if updated[k]), None)
        critic = bool(updated["critic"])

        def forth_and_back(size: int) -> None:
            leaf_N = inputs[start or "scores"][:size].clone().requires_grad_(True)
            x_NCHW = calls[start](leaf_N) if start else leaf_N
            loss = calls["scores"](x_NCHW)[:, 0].sum()
            if critic:
                loss = loss + calls["critic"](x_NCHW).sum()
            torch.autograd.grad(loss, leaf_N)

        update, batch = _best(forth_and_back, device)
        total += updated["scores"] * update
    for kind, rows in asked.items():

        def forth(size: int, kind: Kind = kind) -> None:
            with torch.no_grad():
                calls[kind](inputs[kind][:size])

        total += rows * _best(forth, device)[0]
    return total, update, batch


def _best(work: Callable[[int], None], device: torch.device) -> tuple[float, int]:
    """Seconds a row at the best batch size, and that size; sizes take turns, and medians count."""
    spent: dict[int, list[float]] = {size: [] for size in BATCHES}
    for _ in range(ROUNDS + 1):
        for size in BATCHES:

            def passes(size: int = size) -> None:
                for _ in range(ROWS // size):
                    work(size)

            spent[size].append(seconds(passes, device) / ROWS)
    medians = {size: statistics.median(each[1:]) for size, each in spent.items()}
    best = min(medians, key=medians.__getitem__)
    return medians[best], best


def _followed(x_N: Tensor) -> bool:
    return torch.is_grad_enabled() and x_N.requires_grad
