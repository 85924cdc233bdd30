"""A residual variational autoencoder; its decoder is the attacker's generator.

Papers: Yoshimura et al. (2021), figure 5 and section IV-A; Kingma and Welling (2014).
Loss, mean over the batch, with x' the decoded picture and (mu, sigma) the encoder's output for x:

    L = sum over pixels of |x - x'|^a + beta * KL(N(mu, sigma^2) || N(0, I)),   a = 1 or 2

Inputs: pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 16 to 256; latents (N, m).
Offers: `encoder`, the mean mu.
Deviations: SiLU in place of leaky ReLU, because attacks that differentiate the decoder, or estimate its gradient,
follow a smooth one better; residual blocks of one convolution; colour is allowed.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.blocks import (
    Residual,
    ToMap,
    channels_at,
    down,
    mirror,
    pyramid,
    up,
)


class Vae(Generator):
    """Encoder and decoder."""

    offers: ClassVar[frozenset[str]] = frozenset({"encoder"})

    class Settings(GeneratorSettings):
        """Sizes, loss and training."""

        name: Literal["vae"] = "vae"
        latent_size: int = Field(default=32, ge=1, le=4096)
        """m, the length of the latent vector (the paper: 32)."""
        width: int = Field(default=16, ge=4, le=512)
        """Channels at full resolution; each halving of the side doubles them, up to 8 x."""
        blocks: int = Field(default=1, ge=0, le=8)
        """Residual blocks at each resolution below the full one."""
        reconstruction: Literal["l1", "l2"] = "l2"
        """Distance of picture and reconstruction, summed over the pixels."""
        beta: float = Field(default=0.2, ge=0, le=1000)
        """Weight of the KL divergence."""
        training: TrainingSettings = TrainingSettings(
            epochs=20, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=1e-4
        )
        """How the VAE is trained."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.latent_size = settings.latent_size
        side, steps = pyramid(image_size)
        shape = [channels_at(level, settings.width) for level in range(steps + 1)]
        encoder: list[nn.Module] = []
        size_in = channels
        for level in range(1, steps + 1):
            encoder.append(down(size_in, shape[level]))
            # At half resolution a block would cost as much as the rest of the encoder.
            if level > 1:
                encoder += [Residual(shape[level]) for _ in range(settings.blocks)]
            size_in = shape[level]
        flat = size_in * side**2
        self.encoder = nn.Sequential(*encoder, nn.Flatten(), nn.Linear(flat, 2 * self.latent_size))
        decoder: list[nn.Module] = [ToMap(self.latent_size, size_in, side)]
        for level in range(steps - 1, -1, -1):
            decoder.append(up(shape[level + 1], shape[level]))
            if level > 0:
                decoder += [Residual(shape[level]) for _ in range(settings.blocks)]
        self.decoder = nn.Sequential(
            *decoder, nn.Conv2d(shape[0], channels, 3, padding=1), nn.Sigmoid()
        )

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""
        x_NCHW: Tensor = self.decoder(z_ND)
        return x_NCHW

    def encode(self, x_NCHW: Tensor) -> Tensor:
        """The mean latents mu (N, m) of pictures (N, C, H, W) in [0, 1]."""
        return self.posterior(x_NCHW)[0]

    def posterior(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma^2, each (N, m), of pictures in [0, 1]."""
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        both_N2D: Tensor = self.encoder(x_NCHW * 2 - 1)
        mu_ND, log_var_ND = both_N2D.float().chunk(2, dim=1)
        # Beyond these bounds the exponential of the loss overflows, and its gradient is useless.
        return mu_ND, log_var_ND.clamp(-12, 6)

    def learner(self, settings: Settings, seed: int) -> Learner:
        """Trains encoder and decoder."""
        return VaeLearner(self, settings, seed=seed)


class VaeLearner(Learner):
    """A VAE in training."""

    def __init__(self, vae: Vae, settings: Vae.Settings, *, seed: int) -> None:
        """Take over an untrained VAE; `seed` is that of the latents of `samples`."""
        super().__init__(settings.training, vae=vae)
        self.vae, self.settings, self.seed = vae, settings, seed

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch; returns `reconstruction` and `divergence` (both per picture)."""
        noise_ND = torch.randn(len(x_NCHW), self.vae.latent_size, generator=rng).to(x_NCHW.device)
        x_NCHW = mirror(x_NCHW, rng)
        with self.autocast(x_NCHW):
            mu_ND, log_var_ND = self.vae.posterior(x_NCHW)
            decoded_NCHW = self.vae(mu_ND + noise_ND * (0.5 * log_var_ND).exp()).float()
        distance_NCHW = (decoded_NCHW - x_NCHW).abs()
        if self.settings.reconstruction == "l2":
            distance_NCHW = distance_NCHW.square()
        reconstruction = distance_NCHW.sum() / len(x_NCHW)
        divergence = 0.5 * (mu_ND**2 + log_var_ND.exp() - 1 - log_var_ND).sum() / len(x_NCHW)
        self.descend("vae", reconstruction + self.settings.beta * divergence, sync)
        return {"reconstruction": reconstruction.detach(), "divergence": divergence.detach()}

    def samples(self, count: int) -> Tensor:
        """Decoded draws from the prior, the same latents at every call."""
        return self.vae.samples(count, self.seed)
