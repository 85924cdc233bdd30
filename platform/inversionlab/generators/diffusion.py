"""A latent diffusion model as a generator: noise to code by a few deterministic steps, code to picture.

Papers: Ho et al. (2020), denoising diffusion; Song et al. (2021), DDIM, whose sampler is a function of
its first noise; Rombach et al. (2022), diffusion on the codes of an autoencoder; Salimans and Ho
(2022), the v parameterisation. Named as future work by Kotsuji et al. (2025), section 6; a drop-in for
`gan_ada`.
Equations: the encoder's code c ~ N(mu, sigma^2) of a picture is standardised to c' = (c - a) / b entry by entry,
and mixed with noise e ~ N(0, I) at the time t in [0, 1]:

    u_t = alpha c' + beta e,   alpha = cos(pi t / 2), beta = sin(pi t / 2);   v = alpha e - beta c'
    c'^ = alpha u - beta V(u, t),   e^ = beta u + alpha V(u, t),   V the denoiser's estimate of v
    DDIM, from t to t' < t:  u_t' = alpha' c'^ + beta' e^

A latent z ~ N(0, I) is u_1; after S steps over 1, 1 - 1/S, ..., 0 the code is a + b u_0. (Were the codes
N(0, I) themselves, V = 0 would be exact, and S steps would shrink z by cos(pi / 2S)^S: 0.86 at S = 8.)
Training: on each batch the autoencoder takes a step of `vae.py`. Then the denoiser takes one on the codes,
through which no gradient flows back: for each code `noisings` draws of t ~ U(0, 1) and e ~ N(0, I), and the loss

    mean over draws and entries of (V(u_t, t) - v)^2

The mean a and the variance b^2 of the codes are running averages.
Inputs: latents (N, m) ~ N(0, I); pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 16 to 256.
Deviations: time is continuous; the code is a vector, not a map, and the denoiser is dense, so that the latent has
the length m that the settings name; V estimates v, because an estimate of e says nothing of the code at t = 1;
both parts learn at once, where Rombach et al. train the autoencoder first. The step size falls to 0 for both, so
the codes stand still while the denoiser comes to rest.
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.learner import (
    GradientSync,
    Learner,
    Losses,
    TrainingSettings,
    make_optimizer,
)
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.blocks import averaged, mirror
from inversionlab.generators.vae import Vae, VaeLearner

# The share of the newest batch in the codes' running mean and variance.
MOMENTUM = 0.02


class Diffusion(Generator):
    """An autoencoder and the denoiser of its codes."""

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
        """Weight of the autoencoder's KL divergence. It is small, because the denoiser learns the distribution of
        the codes."""
        denoiser_width: int = Field(default=256, ge=4, le=8192)
        """Units of the denoiser's layers."""
        denoiser_blocks: int = Field(default=2, ge=1, le=64)
        """Residual blocks of the denoiser."""
        noisings: int = Field(default=8, ge=1, le=1024)
        """Number of pairs of time and noise that the denoiser learns from for each code of a batch."""
        sample_steps: int = Field(default=8, ge=1, le=1000)
        """S, the number of steps from noise to code. Each step is one pass of the denoiser. With few steps the
        codes vary too little."""
        training: TrainingSettings = TrainingSettings(
            epochs=20, batch_size=32, learning_rate=2e-3, schedule="one_cycle", weight_decay=1e-4
        )
        """How both parts are trained, at the same time."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
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
        """Codes (N, m) of the autoencoder, denoised from latents (N, m)."""
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
        """The autoencoder's codes (N, m), scaled to mean 0 and variance 1 over the training pictures."""
        return (code_ND - self.code_mean_D) / self._spread_D()

    def _spread_D(self) -> Tensor:
        # The small constant is for entries that the autoencoder does not use: they hardly vary.
        return (self.code_variance_D + 1e-6).sqrt()

    def learner(self, settings: Settings, seed: int) -> Learner:
        """Trains autoencoder and denoiser."""
        return DiffusionLearner(self, settings, seed=seed)


class Denoiser(nn.Module):
    """Estimates v from a noisy code of length `size` and its time."""

    FREQUENCIES = 16

    def __init__(self, size: int, *, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Linear(size, width)
        self.time = nn.Linear(2 * self.FREQUENCIES, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.leave = nn.Linear(width, size)
        # v = 0 is exact for codes that are themselves N(0, I): a good start.
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
    """Two dense layers of `width` units with a shortcut; the embedded time is added between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.second = nn.Sequential(nn.SiLU(), nn.Linear(width, width))

    def forward(self, h_NW: Tensor, time_NW: Tensor) -> Tensor:
        """The next units (N, W)."""
        next_NW: Tensor = h_NW + self.second(self.first(h_NW) + time_NW)
        return next_NW


class DiffusionLearner(Learner):
    """Autoencoder and denoiser in training."""

    def __init__(self, net: Diffusion, settings: Diffusion.Settings, *, seed: int) -> None:
        """Take over an untrained network; `seed` is that of the latents of `samples`."""
        super().__init__(settings.training, diffusion=net)
        self.net, self.settings, self.seed = net, settings, seed
        self.codec = VaeLearner(net.codec, codec_settings(settings), seed=seed)
        self.optimizers = {
            "codec": self.codec.optimizers["vae"],
            "denoiser": make_optimizer(net.denoiser.parameters(), settings.training),
        }
        self.counters = {"steps": 0.0}

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch; returns `reconstruction`, `divergence` (both per picture) and `denoising`."""
        losses = self.codec.step(x_NCHW, y_N, rng, sync)
        code_ND = self._codes(x_NCHW, rng)
        self._update_statistics(code_ND, sync)
        loss = self._denoising(self.net.standardise(code_ND), rng)
        self.descend("denoiser", loss, sync)
        return {**losses, "denoising": loss.detach()}

    @torch.no_grad()
    def _codes(self, x_NCHW: Tensor, rng: torch.Generator) -> Tensor:
        """Codes (N * noisings, m), each drawn from the encoder's distribution for a picture."""
        with self.autocast(x_NCHW):
            mu_ND, log_var_ND = self.net.codec.posterior(mirror(x_NCHW, rng))
        many = self.settings.noisings
        mu_ND, spread_ND = mu_ND.repeat(many, 1), (0.5 * log_var_ND).exp().repeat(many, 1)
        return mu_ND + spread_ND * torch.randn(mu_ND.shape, generator=rng).to(mu_ND.device)

    @torch.no_grad()
    def _update_statistics(self, code_ND: Tensor, sync: GradientSync) -> None:
        """Move the running mean and variance; faster early on, to forget the start."""
        self.counters["steps"] += 1
        share = max(MOMENTUM, 1 / self.counters["steps"])
        mean_D = self.net.code_mean_D.lerp(averaged(code_ND.mean(dim=0), sync), share)
        square_D = averaged((code_ND - mean_D).square().mean(dim=0), sync)
        self.net.code_mean_D.copy_(mean_D)
        self.net.code_variance_D.lerp_(square_D, share)

    def _denoising(self, code_ND: Tensor, rng: torch.Generator) -> Tensor:
        """The denoiser's loss on standardised codes (N, m), each with a time and noise of its own."""
        t_N = torch.rand(len(code_ND), generator=rng).to(code_ND.device)
        noise_ND = torch.randn(code_ND.shape, generator=rng).to(code_ND.device)
        alpha_N1 = (t_N * math.pi / 2).cos()[:, None]
        beta_N1 = (t_N * math.pi / 2).sin()[:, None]
        v_ND = alpha_N1 * noise_ND - beta_N1 * code_ND
        estimate_ND = self.net.denoiser(alpha_N1 * code_ND + beta_N1 * noise_ND, t_N)
        loss: Tensor = (estimate_ND - v_ND).square().mean()
        return loss

    def samples(self, count: int) -> Tensor:
        """Pictures of draws from the prior, the same latents at every call."""
        return self.net.samples(count, self.seed)


def codec_settings(settings: Diffusion.Settings) -> Vae.Settings:
    """The settings of the autoencoder inside."""
    return Vae.Settings(
        latent_size=settings.latent_size,
        width=settings.width,
        blocks=settings.blocks,
        beta=settings.beta,
        training=settings.training,
    )
