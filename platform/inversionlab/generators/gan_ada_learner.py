"""How the GAN of `gan_ada.py` is trained.

Losses: non-saturating, D: softplus(-D(T x)) + softplus(D(T G(z))), G: softplus(-D(T G(z))), T the
augmentation; plus gamma/2 |grad D|^2 on real pictures (R1, Mescheder et al. 2018), every 16th step.
Augmentation (Karras et al. 2020): r = E[sign D(T x)]; after each batch of N pictures, p moves by
N / `ada_pictures` toward where r = `ada_target` (0.6), within [0, `ada_limit`].
Inputs: pictures (N, C, H, W) in [0, 1].
Deviations: R1 is taken at the augmented picture; the product is the generator's running average.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.generators.augment_ada import augment_ada
from inversionlab.generators.discriminator import Discriminator
from inversionlab.generators.gan_ada import GanAda
from inversionlab.learning import GradientSync, Learner, make_optimizer, rate_factor
from inversionlab.seeds import torch_stream

R1_EVERY = 16


class GanAdaLearner(Learner):
    """Generator, discriminator and the generator's running average in training."""

    def __init__(
        self, settings: GanAda.Settings, *, channels: int, image_size: int, seed: int
    ) -> None:
        """Build networks and optimizers; `seed` sets the initial weights."""
        self.settings, self.seed = settings, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.generator = GanAda(settings, channels=channels, image_size=image_size)
            self.discriminator = Discriminator(
                width=settings.discriminator_width,
                kernels=settings.minibatch_kernels,
                channels=channels,
                image_size=image_size,
            )
        self.average: GanAda = copy.deepcopy(self.generator).requires_grad_(False)
        self.modules = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
        }
        self.optimizers = {
            name: make_optimizer(self.modules[name].parameters(), settings.training)
            for name in ("generator", "discriminator")
        }
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (0.5, 0.99)
        self.schedule(0.0)
        self.counters: dict[str, float] = {"augment_p": 0.0, "pictures": 0.0, "steps": 0.0}

    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        """Learn from one batch; returns `discriminator`, `generator` and `real_sign`."""
        real_NCHW = augment_ada(x_NCHW, self.counters["augment_p"], rng)
        loss_d, sign = self._step_discriminator(real_NCHW, rng, sync)
        loss_g = self._step_generator(len(x_NCHW), x_NCHW.device, rng, sync)
        self._adapt(sign, len(x_NCHW) * self.workers)
        self._follow(len(x_NCHW) * self.workers)
        return {"discriminator": loss_d, "generator": loss_g, "real_sign": sign}

    def _made(self, count: int, device: torch.device, rng: torch.Generator) -> Tensor:
        """Made and augmented pictures."""
        z_ND = self.generator.draw(count, rng).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            made_NCHW = self.generator(z_ND)
        return augment_ada(made_NCHW.float(), self.counters["augment_p"], rng)

    def _judge(self, x_NCHW: Tensor) -> Tensor:
        with torch.autocast(x_NCHW.device.type, torch.bfloat16, enabled=x_NCHW.is_cuda):
            score_N: Tensor = self.discriminator(x_NCHW)
        return score_N

    def _step_discriminator(
        self, real_NCHW: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> tuple[Tensor, Tensor]:
        optimizer = self.optimizers["discriminator"]
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            made_NCHW = self._made(len(real_NCHW), real_NCHW.device, rng)
        real_N, made_N = self._judge(real_NCHW), self._judge(made_NCHW)
        loss = functional.softplus(-real_N).mean() + functional.softplus(made_N).mean()
        total = loss
        if self.settings.r1_weight > 0 and self.counters["steps"] % R1_EVERY == 0:
            total = loss + R1_EVERY * self.settings.r1_weight / 2 * self._steepness(real_NCHW)
        total.backward()
        sync(self.discriminator.parameters())
        optimizer.step()
        # Carried as a gradient, so that `sync` makes it, and with it p, the same on every worker.
        sign = nn.Parameter(torch.zeros((), device=real_NCHW.device))
        sign.grad = real_N.detach().sign().mean()
        sync([sign])
        return loss.detach(), sign.grad

    def _steepness(self, real_NCHW: Tensor) -> Tensor:
        """Mean squared gradient of the discriminator at real pictures, in float32."""
        x_NCHW = real_NCHW.detach().requires_grad_(True)
        (slope_NCHW,) = torch.autograd.grad(
            self.discriminator(x_NCHW).sum(), x_NCHW, create_graph=True
        )
        return slope_NCHW.square().sum() / len(x_NCHW)

    def _step_generator(
        self, count: int, device: torch.device, rng: torch.Generator, sync: GradientSync
    ) -> Tensor:
        optimizer = self.optimizers["generator"]
        optimizer.zero_grad(set_to_none=True)
        # Only the generator learns here: spare the gradients of the discriminator's weights.
        self.discriminator.requires_grad_(False)
        loss = functional.softplus(-self._judge(self._made(count, device, rng))).mean()
        loss.backward()
        self.discriminator.requires_grad_(True)
        sync(self.generator.parameters())
        optimizer.step()
        return loss.detach()

    def _adapt(self, sign: Tensor, count: int) -> None:
        """Move the probability of augmentation."""
        move = count / self.settings.ada_pictures
        direction = 1.0 if float(sign) > self.settings.ada_target else -1.0
        p = self.counters["augment_p"] + direction * move
        self.counters["augment_p"] = min(max(p, 0.0), self.settings.ada_limit)
        self.counters["pictures"] += count
        self.counters["steps"] += 1

    @torch.no_grad()
    def _follow(self, count: int) -> None:
        """Let the running average follow: faster early on, to forget the random start."""
        half_life = min(self.settings.average_pictures, 0.05 * self.counters["pictures"])
        keep = 0.5 ** (count / half_life)
        generator, average = self.generator, self.average
        for weight, new in zip(average.parameters(), generator.parameters(), strict=True):
            weight.lerp_(new, 1 - keep)
        for statistic, value in zip(average.buffers(), generator.buffers(), strict=True):
            statistic.copy_(value)

    def schedule(self, progress: float) -> None:
        """Follow the schedule of the settings."""
        training = self.settings.training
        rate = training.learning_rate * rate_factor(training.schedule, progress)
        for name, optimizer in self.optimizers.items():
            factor = self.settings.discriminator_rate if name == "discriminator" else 1.0
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def product(self) -> GanAda:
        """The running average of the generator."""
        return self.average

    @torch.no_grad()
    def samples(self, count: int) -> Tensor:
        """Pictures of the running average, of the same latents at every call."""
        self.average.eval()
        device = next(self.average.parameters()).device
        z_ND = self.average.draw(count, torch_stream(self.seed, "samples")).to(device)
        x_NCHW: Tensor = self.average(z_ND)
        return x_NCHW
