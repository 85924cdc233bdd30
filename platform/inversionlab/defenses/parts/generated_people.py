"""People who do not exist: a latent a person, varied as widely as the pictures of public people vary."""

import torch
from torch import Tensor

from inversionlab.core import seeds
from inversionlab.core.images import to_bytes, to_float
from inversionlab.core.rows import gathered, rows_of, select
from inversionlab.defenses.base import DefenseContext


@torch.no_grad()
def generated_people(
    context: DefenseContext, secret: str, count_M: Tensor, chunk: int = 256
) -> Tensor:
    """`count_M` pictures of each of M generated people; ValueError where the generator has no encoder."""
    generator = context.generator
    if generator is None:
        raise ValueError("anonymity_set: generated decoys need a generator of public people")
    encode, device = generator.encode, context.device

    def encoded(x_NCHW: Tensor) -> Tensor:
        z_ND = encode(to_float(x_NCHW, device))
        if z_ND is None:
            raise ValueError(
                "anonymity_set: generated decoys vary as the encodings of people do; choose a generator with an "
                "encoder (`vae`)"
            )
        return z_ND

    known_N = context.public_class_N >= 0
    # Of a large set, the pictures are read a chunk at a time.
    known_NCHW = select(context.public_NCHW, known_N)
    z_ND = gathered((encoded(x) for x in known_NCHW.split(chunk)), len(known_NCHW))
    between_D, within_D = spreads(z_ND, context.public_class_N[known_N])
    rng = seeds.torch_stream(context.seed, "anonymity_set", secret, "latents")
    person_MD = z_ND.mean(0) + between_D * torch.randn(len(count_M), z_ND.shape[1], generator=rng)
    z_ND = person_MD.repeat_interleave(count_M, dim=0)
    z_ND = z_ND + within_D * torch.randn(z_ND.shape, generator=rng)
    pictures = (to_bytes(generator(z.to(device))) for z in z_ND.split(chunk))
    return gathered(pictures, len(z_ND))


def spreads(z_ND: Tensor, person_N: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations (m,) of encodings between people, and within a person; each person has two or more."""
    rows_P = rows_of(person_N, int(person_N.max()) + 1)
    count_P = torch.tensor([len(rows) for rows in rows_P])
    mean_PD = (
        torch.zeros(len(count_P), z_ND.shape[1]).index_add_(0, person_N, z_ND) / count_P[:, None]
    )
    within_D = (z_ND - mean_PD[person_N]).square().sum(0) / (len(z_ND) - len(count_P))
    # The means of few pictures scatter more than people do.
    between_D = (mean_PD.var(0) - within_D * (1 / count_P).mean()).clamp_min(0)
    return between_D.sqrt(), within_D.sqrt()
