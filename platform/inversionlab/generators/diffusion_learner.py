"""How the latent diffusion model of `diffusion.py` is trained: both parts side by side.

For each batch the autoencoder takes a step of `vae.py`; then, on its codes, which pass no gradient back,
the denoiser takes one: for each code `noisings` draws of t ~ U(0, 1) and e ~ N(0, I), and the loss

    mean over draws and entries of (V(u_t, t) - v)^2

The mean and variance that codes are standardised by are running averages.
Inputs: pictures (N, C, H, W) in [0, 1].
Deviations: both parts learn at once, where Rombach et al. train the autoencoder first; the step size
falls to 0 for both, so the codes stand still while the denoiser comes to rest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inversionlab.core.learner import GradientSync, Learner, make_optimizer, set_rate
from inversionlab.core.seeds import torch_stream
from inversionlab.generators.adversarial import averaged
from inversionlab.generators.blocks import mirror
from inversionlab.generators.diffusion import Diffusion, codec_settings
from inversionlab.generators.vae import VaeLearner

# The share of the newest batch in the codes' running mean and variance.
MOMENTUM = 0.02


class DiffusionLearner(Learner):
    """Autoencoder and denoiser in training."""

    def __init__(
        self, settings: Diffusion.Settings, *, channels: int, image_size: int, seed: int
    ) -> None:
        """Build networks and optimizers; `seed` sets the initial weights."""
        self.settings, self.seed = settings, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = Diffusion(settings, channels=channels, image_size=image_size)
        self.codec = VaeLearner(
            codec_settings(settings), channels=channels, image_size=image_size, seed=seed
        )
        self.net.codec = self.codec.vae
        self.modules = {"diffusion": self.net}
        self.optimizers = {
            "codec": self.codec.optimizers["vae"],
            "denoiser": make_optimizer(self.net.denoiser.parameters(), settings.training),
        }
        self.counters: dict[str, float] = {"steps": 0.0}

    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        """Learn from one batch; returns `reconstruction`, `divergence` (a picture) and `denoising`."""
        losses = self.codec.step(x_NCHW, y_N, rng, sync)
        code_ND = self._codes(x_NCHW, rng)
        self._measure(code_ND, sync)
        loss = self._denoising(self.net.standardise(code_ND), rng)
        optimizer = self.optimizers["denoiser"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        sync(self.net.denoiser.parameters())
        optimizer.step()
        return {**losses, "denoising": loss.detach()}

    @torch.no_grad()
    def _codes(self, x_NCHW: Tensor, rng: torch.Generator) -> Tensor:
        """Codes (N * noisings, m), each drawn from what the encoder says of a picture."""
        with torch.autocast(x_NCHW.device.type, torch.bfloat16, enabled=x_NCHW.is_cuda):
            mu_ND, log_var_ND = self.net.codec.posterior(mirror(x_NCHW, rng))
        many = self.settings.noisings
        mu_ND, spread_ND = mu_ND.repeat(many, 1), (0.5 * log_var_ND).exp().repeat(many, 1)
        return mu_ND + spread_ND * torch.randn(mu_ND.shape, generator=rng).to(mu_ND.device)

    @torch.no_grad()
    def _measure(self, code_ND: Tensor, sync: GradientSync) -> None:
        """Let the running mean and variance follow: faster early on, to forget the start."""
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

    def schedule(self, progress: float) -> None:
        """Follow the schedule of the settings."""
        for optimizer in self.optimizers.values():
            set_rate(optimizer, self.settings.training, progress)

    def product(self) -> Diffusion:
        """Autoencoder and denoiser."""
        return self.net

    @torch.no_grad()
    def samples(self, count: int) -> Tensor:
        """Pictures of draws from the prior, the same latents at every call."""
        was_training = self.net.training
        self.net.eval()
        device = self.net.code_mean_D.device
        z_ND = self.net.draw(count, torch_stream(self.seed, "samples")).to(device)
        x_NCHW: Tensor = self.net(z_ND)
        self.net.train(was_training)
        return x_NCHW
