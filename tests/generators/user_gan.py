"""A user's own trained GAN, and the classes that a user gets wrong. The platform knows only its import path."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class UserGan(nn.Module):
    """z (N, m) -> w = leaky_relu(z A) -> pictures of 24 pixels in (-1, 1); with an encoder and a critic."""

    def __init__(self, channels: int = 3, latent_size: int = 6) -> None:
        super().__init__()
        self.channels, size = channels, channels * 24 * 24
        self.map = nn.Sequential(nn.Linear(latent_size, 8), nn.LeakyReLU(0.2))
        self.to_picture = nn.Linear(8, size)
        self.look = nn.Linear(size, 1)
        self.back = nn.Linear(size, latent_size)

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesize(self.style(z))

    def style(self, z: Tensor) -> Tensor:
        return self.map(z)

    def synthesize(self, w: Tensor) -> Tensor:
        return self.to_picture(w).tanh().view(-1, self.channels, 24, 24)

    def critic(self, x: Tensor) -> Tensor:
        return self.look(x.flatten(1))

    def encode(self, x: Tensor) -> Tensor:
        return self.back(x.flatten(1))


class Bright(UserGan):
    """Its range is 0..1."""

    def synthesize(self, w: Tensor) -> Tensor:
        return super().synthesize(w) / 2 + 0.5


class Bytes(UserGan):
    def synthesize(self, w: Tensor) -> Tensor:
        return 127.5 * (super().synthesize(w) + 1)


class Pair(UserGan):
    def forward(self, z: Tensor) -> Any:
        return super().forward(z), None


class Flat(UserGan):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).flatten(1)


class Oblong(UserGan):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z)[..., :20]


class Integers(UserGan):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).round().long()


class NotANumber(UserGan):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) / 0


class Noisy(UserGan):
    def synthesize(self, w: Tensor) -> Tensor:
        made = super().synthesize(w)
        return (made + 0.2 * torch.randn_like(made)).clamp(-1, 1)


class Mixing(UserGan):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z - z.mean(dim=0))


class Constant(UserGan):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(0 * z)


class Detached(UserGan):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.detach())


class ThroughNumpy(UserGan):
    def forward(self, z: Tensor) -> Tensor:
        return torch.from_numpy(super().forward(z).numpy())


class Exits(UserGan):
    def forward(self, z: Tensor) -> Tensor:
        raise SystemExit(3)


class CriticOfBatch(UserGan):
    def critic(self, x: Tensor) -> Tensor:
        return super().critic(x).mean()


class CriticWithoutGradient(UserGan):
    @torch.no_grad()
    def critic(self, x: Tensor) -> Tensor:
        return super().critic(x)


class EncoderOfStyles(UserGan):
    def encode(self, x: Tensor) -> Tensor:
        return self.style(super().encode(x))


class StylePerLayer(UserGan):
    def style(self, z: Tensor) -> Tensor:
        return super().style(z)[:, None].repeat(1, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesize(self.map(z))


class OtherSynthesis(UserGan):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(-z)


def no_module() -> int:
    return 3
