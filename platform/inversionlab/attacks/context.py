"""What an attacker holds in addition to the view of the model."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from inversionlab.attacks.engine import Widths
from inversionlab.attacks.jobs import AttackJobs
from inversionlab.core import seeds
from inversionlab.core.contracts import GenerativePrior
from inversionlab.core.rows import Images

ENCODER_BATCH = 256
"""Pictures encoded at once, so that memory does not grow with the number of jobs."""


@dataclass(frozen=True)
class AttackerContext:
    """What the attacker holds in addition to the view: a prior over faces, public pictures and randomness."""

    generator: GenerativePrior | None
    public_NCHW: Images
    """uint8 (N, C, H, W), people the victim never saw; on the CPU."""
    seed: int
    """Root of every random stream of the attack."""
    device: torch.device
    network: nn.Module | None = None
    """The attack's own trained network, frozen, where it `trains` one."""
    widths: Widths = field(default_factory=Widths)
    """How many rows are in flight; no result depends on it."""

    def stream(self, attack: str, target: int, repeat: int) -> torch.Generator:
        """The random stream of one job; it does not depend on where, or with which other jobs, the job runs."""
        return seeds.torch_stream(self.seed, "attack", attack, target, repeat)

    def streams(self, attack: str, jobs: AttackJobs) -> list[torch.Generator]:
        """The random stream of every job."""
        pairs = zip(jobs.target_N.tolist(), jobs.repeat_N.tolist(), strict=True)
        return [self.stream(attack, *pair) for pair in pairs]

    def shared_stream(self, attack: str, *labels: str | int) -> torch.Generator:
        """A random stream that all jobs of an attack share, such as that of a step's perturbations."""
        return seeds.torch_stream(self.seed, "attack", attack, "shared", *labels)

    def public(self, index_N: Tensor) -> Tensor:
        """Public pictures by number, as float (N, C, H, W) in [0, 1] on the device."""
        return self.public_NCHW[index_N].to(self.device).float() / 255

    @property
    def prior(self) -> GenerativePrior:
        """The generator, for an attack that needs one."""
        assert self.generator is not None, "checked in Attack.__init__"
        return self.generator

    @cached_property
    def has_encoder(self) -> bool:
        """Whether the generator encodes pictures."""
        return self.prior.encode(self.public(torch.tensor([0]))) is not None

    @cached_property
    def has_style(self) -> bool:
        """Whether the generator has style vectors."""
        return "style" in self.prior.offers

    @torch.no_grad()
    def encoded(self, index_N: Tensor) -> Tensor:
        """Latents (N, m) of public pictures by number; the generator must have an encoder."""
        parts = []
        for index_B in index_N.split(ENCODER_BATCH):
            z_BD = self.prior.encode(self.public(index_B))
            assert z_BD is not None, "the caller checks that there is an encoder"
            parts.append(z_BD)
        return torch.cat(parts)

    def first_latents(self, attack: str, jobs: AttackJobs, pictures: int) -> Tensor:
        """z(0) (N, m) of every job: the mean encoding of `pictures` random public pictures of its own.

        Without an encoder it is a draw from the prior. Yoshimura et al. 2021, §V-A.3, average 16 pictures.
        """
        streams, count = self.streams(attack, jobs), len(self.public_NCHW)
        if not self.has_encoder:
            return torch.cat([self.prior.draw(1, s) for s in streams]).to(self.device)
        chosen = [torch.randperm(count, generator=s)[:pictures] for s in streams]
        return self.encoded(torch.cat(chosen)).view(*torch.stack(chosen).shape, -1).mean(1)
