"""A latent diffusion model as a generator: noise to code by a few deterministic steps, code to picture.

Papers: Ho et al. (2020), denoising diffusion; Song et al. (2021), DDIM, whose sampler is a function of
its first noise; Rombach et al. (2022), diffusion on the codes of an autoencoder; Salimans and Ho
(2022), the v parameterisation. Named as future work by Kotsuji et al. (2025), section 6; a drop-in for
`gan_ada`. The training stands in `diffusion_learner.py`.
Equations: a code c ~ N(mu, sigma^2) of a picture by the encoder, standardised to c' = (c - a) / b entry
by entry, is mixed with noise e ~ N(0, I) at the time t in [0, 1]:

    u_t = alpha c' + beta e,   alpha = cos(pi t / 2), beta = sin(pi t / 2);   v = alpha e - beta c'
    c'^ = alpha u - beta V(u, t),   e^ = beta u + alpha V(u, t),   V the denoiser's estimate of v
    DDIM, from t to t' < t:  u_t' = alpha' c'^ + beta' e^

A latent z ~ N(0, I) is u_1; after S steps over 1, 1 - 1/S, ..., 0 the code is a + b u_0. (Were the codes
N(0, I) themselves, V = 0 would be exact, and S steps would shrink z by cos(pi / 2S)^S: 0.86 at S = 8.)
Inputs: latents (N, m) ~ N(0, I); pictures have H = W a multiple of 8 from 16 to 256.
Deviations: time is continuous; the code is a vector, not a map, and the denoiser is dense, so that
the latent has the length m that the settings name; V estimates v, because an estimate of e says nothing
of the code at t = 1.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.learner import TrainingSettings
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.vae import Vae


class Diffusion(Generator):
    """Denoiser of codes, and the autoencoder that the codes are of."""

    class Settings(GeneratorSettings):
        """Sizes, losses, sampling and training."""

        name: Literal["diffusion"] = "diffusion"
        latent_size: int = Field(default=64, ge=1, le=4096)
        """m, the length of the latent vector and of the codes."""
        width: int = Field(default=12, ge=4, le=512)
        """The autoencoder's channels at full resolution; each halving doubles them, up to 8 x."""
        blocks: int = Field(default=1, ge=0, le=8)
        """The autoencoder's residual blocks at each resolution below the full one."""
        beta: float = Field(default=0.05, ge=0, le=1000)
        """Weight of the autoencoder's KL divergence: light, since the denoiser learns the codes' shape."""
        denoiser_width: int = Field(default=256, ge=4, le=8192)
        """Units of the denoiser's layers."""
        denoiser_blocks: int = Field(default=2, ge=1, le=64)
        """Residual blocks of the denoiser."""
        noisings: int = Field(default=8, ge=1, le=1024)
        """Times and noises that the denoiser learns from for each code of a batch."""
        sample_steps: int = Field(default=8, ge=1, le=1000)
        """S, the steps from noise to code; each is one pass of the denoiser. Few make codes vary too little."""
        training: TrainingSettings = TrainingSettings(
            epochs=20, batch_size=32, learning_rate=2e-3, schedule="one_cycle", weight_decay=1e-4
        )
        """How both parts are trained, side by side."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        """Build for pictures of `channels` x `image_size` x `image_size`.

        Raises:
            ConfigError: the size is not a multiple of 8 from 16 to 256.
        """
        super().__init__()
        self.latent_size, self.sample_steps = settings.latent_size, settings.sample_steps
        self.codec = Vae(codec_settings(settings), channels=channels, image_size=image_size)
        self.denoiser = Denoiser(
            self.latent_size, width=settings.denoiser_width, blocks=settings.denoiser_blocks
        )
        self.code_mean_D: Tensor
        self.code_variance_D: Tensor
        self.register_buffer("code_mean_D", torch.zeros(self.latent_size))
        self.register_buffer("code_variance_D", torch.ones(self.latent_size))

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""
        x_NCHW: Tensor = self.codec(self.code(z_ND))
        return x_NCHW

    def code(self, z_ND: Tensor) -> Tensor:
        """The autoencoder's codes (N, m) that latents (N, m) are denoised to."""
        u_ND, steps = z_ND, self.sample_steps
        for step in range(steps, 0, -1):
            t_N = torch.full((len(u_ND),), step / steps, device=u_ND.device)
            now, after = step / steps * math.pi / 2, (step - 1) / steps * math.pi / 2
            v_ND = self.denoiser(u_ND, t_N)
            clean_ND = math.cos(now) * u_ND - math.sin(now) * v_ND
            noise_ND = math.sin(now) * u_ND + math.cos(now) * v_ND
            u_ND = math.cos(after) * clean_ND + math.sin(after) * noise_ND
        return self.code_mean_D + u_ND * self._spread_D()

    def standardise(self, code_ND: Tensor) -> Tensor:
        """Codes (N, m) of the autoencoder, to mean 0 and variance 1 over the training pictures."""
        return (code_ND - self.code_mean_D) / self._spread_D()

    def _spread_D(self) -> Tensor:
        # An entry that the autoencoder does not use may vary by next to nothing.
        return (self.code_variance_D + 1e-6).sqrt()


class Denoiser(nn.Module):
    """Estimates v from a noisy code and its time."""

    FREQUENCIES = 16

    def __init__(self, size: int, *, width: int, blocks: int) -> None:
        """Build for codes of length `size`."""
        super().__init__()
        self.enter = nn.Linear(size, width)
        self.time = nn.Linear(2 * self.FREQUENCIES, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.leave = nn.Linear(width, size)
        # v = 0 is right for codes that are themselves N(0, I): a good place to start.
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, u_ND: Tensor, t_N: Tensor) -> Tensor:
        """v (N, m) of noisy codes (N, m) at times (N,) in [0, 1]."""
        # Periods from 4, of which [0, 1] is a quarter, down to 4 / 64.
        octave_F = torch.linspace(0, 6, self.FREQUENCIES, device=u_ND.device)
        angle_NF = t_N[:, None] * torch.exp2(octave_F) * math.pi / 2
        time_NW = self.time(torch.cat([angle_NF.sin(), angle_NF.cos()], dim=1))
        h_NW = self.enter(u_ND)
        for block in self.blocks:
            h_NW = block(h_NW, time_NW)
        v_ND: Tensor = self.leave(h_NW)
        return v_ND


class Block(nn.Module):
    """Two dense layers beside a shortcut, told the time between them."""

    def __init__(self, width: int) -> None:
        """Build for `width` units."""
        super().__init__()
        self.first = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.second = nn.Sequential(nn.SiLU(), nn.Linear(width, width))

    def forward(self, h_NW: Tensor, time_NW: Tensor) -> Tensor:
        """The next units (N, W)."""
        next_NW: Tensor = h_NW + self.second(self.first(h_NW) + time_NW)
        return next_NW


def codec_settings(settings: Diffusion.Settings) -> Vae.Settings:
    """The settings of the autoencoder in it."""
    return Vae.Settings(
        latent_size=settings.latent_size,
        width=settings.width,
        blocks=settings.blocks,
        beta=settings.beta,
        training=settings.training,
    )
