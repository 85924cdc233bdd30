"""What a peer's loop works on: plain networks, and the pauses at which it can be asked for its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.arena import Arena
from inversionlab.core.contracts import GenerativePrior

PASS = 128
"""Pictures at once where no gradient is taken."""


@dataclass(frozen=True)
class Networks:
    """The victim and the generator of one attack, in float32, as they were trained: nothing is folded or cast.

    Their weights are frozen. Most authors' code lets the weights collect gradients too, which costs it more.
    """

    logits: Callable[[Tensor], Tensor]
    """The victim's logits (N, K) of pictures (N, C, H, W) in [0, 1]."""
    generator: GenerativePrior
    shape: tuple[int, int, int]
    """Channels, height and width of a picture."""
    device: torch.device

    @classmethod
    def of(cls, arena: Arena, attack: str) -> Networks:
        """The networks that this attack of ours works on, without the pipeline's wrappers."""
        builder = arena.session.builder
        (cell,) = (
            c for c in arena.session.plan.cells if c.attack.name == attack and c.defense is not None
        )
        generator: Any = builder.network(cell.generator)
        victim: Any = builder.recognizer("victim")
        # A given model may have scores only.
        logits = victim.logits if hasattr(victim, "logits") else victim.log_scores
        channels, height, width = builder.splits.public_NCHW.shape[1:]
        return cls(logits, generator, (channels, height, width), builder.device)

    def search_space(self) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """What turns latents into what is searched, and that into pictures: style vectors where there are any."""
        generator: Any = self.generator
        if "style" in getattr(generator, "offers", ()):
            return generator.style, generator.synthesize
        return lambda z_ND: z_ND, generator

    @torch.no_grad()
    def scores(self, x_NCHW: Tensor) -> Tensor:
        """Probabilities (N, K)."""
        return self.in_parts(x_NCHW, lambda x: self.logits(x).softmax(dim=1))

    @torch.no_grad()
    def in_parts(self, x_N: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """A forward pass without gradients, `PASS` rows at a time."""
        return torch.cat([forward(part_N) for part_N in x_N.split(PASS)])

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Latents (count, m) from N(0, I)."""
        return self.generator.draw(count, rng).to(self.device)


@dataclass(frozen=True)
class Pause:
    """A loop after an update."""

    updates: float
    """Updates so far, a target: each row of each update counts."""
    pictures: Callable[[], Tensor]
    """What the loop would hand out if it ended here, one picture (C, H, W) a target; the final choice included."""


Loop = Callable[[Networks, Tensor, Any, torch.Generator], Iterator[Pause]]
"""(networks, targets (N,), the loop's settings, randomness) -> the pauses."""


def decoded(networks: Networks, z_ND: Tensor) -> Callable[[], Tensor]:
    """The pictures of these latents, made when they are asked for."""
    return partial(networks.in_parts, z_ND.detach(), networks.generator)


def forked(rng: torch.Generator) -> torch.Generator:
    """A stream that begins where `rng` is now, and leaves it there: looking at a pause changes nothing."""
    copy = torch.Generator()
    copy.set_state(rng.get_state())
    return copy
