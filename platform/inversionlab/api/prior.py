"""The attacker's generator, from whatever form a caller in Python has it in."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab.attacks import Attack
from inversionlab.core.seeds import torch_stream
from inversionlab.core.settings import ConfigError, validate
from inversionlab.generators import GENERATORS, Generator, GeneratorSettings
from inversionlab.generators.given import Given
from inversionlab.generators.given_checks import check_gradient, tried
from inversionlab.pipeline.train import frozen

TRIED = 2
"""Latents that a generator is tried on."""
MARGIN = 0.01
"""How far its pixels may lie outside of [0, 1]; they are cut off."""


class OwnPrior:
    """A generator of the caller's own, checked; its methods are `GenerativePrior`'s."""

    def __init__(self, generator: Any, latent_size: int | None, device: torch.device) -> None:
        """Take a copy of a module, or the object itself, and try it on a few latents.

        Raises:
            ConfigError: the length of a latent is not known, or it does not make square pictures in [0, 1].
        """
        if not callable(generator):
            raise ConfigError(
                f"generator = {type(generator).__name__}: is not a name, not settings, and not an object that "
                "makes pictures from latents"
            )
        size = latent_size or getattr(generator, "latent_size", None)
        if not isinstance(size, int) or size < 1:
            raise ConfigError(
                f"latent_size: is missing; say how long the latents of {type(generator).__name__} are"
            )
        if isinstance(generator, nn.Module):
            generator = frozen(copy.deepcopy(generator), device)
        self.latent_size, self._own, self.device = size, generator, device
        where = f"generator = {type(generator).__name__}"
        z_ND = self.draw(TRIED, torch_stream(0, "given generator")).to(device)
        what = f"latents of shape {tuple(z_ND.shape)}"
        x_NCHW = tried(generator, z_ND, where, what, finite=True)
        if x_NCHW.ndim != 4 or x_NCHW.shape[1] not in (1, 3) or x_NCHW.shape[2] != x_NCHW.shape[3]:
            raise ConfigError(
                f"{where}: must return square pictures ({TRIED}, C, S, S), C = 1 or 3, but returned "
                f"{tuple(x_NCHW.shape)}"
            )
        least, most = float(x_NCHW.min()), float(x_NCHW.max())
        if least < -MARGIN or most > 1 + MARGIN:
            raise ConfigError(
                f"{where}: its pixels go from {least:.3g} to {most:.3g}; bring them to [0, 1] (from -1 to 1: "
                "x / 2 + 0.5)"
            )
        self.channels, self.image_size = int(x_NCHW.shape[1]), int(x_NCHW.shape[3])
        if not isinstance(generator, Generator):
            check_gradient(where, generator, z_ND, "from pictures to latents")
        self.offers = self._offers(x_NCHW)

    def __call__(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, S, S) in [0, 1] of latents (N, m)."""
        x_NCHW: Tensor = self._own(z_ND)
        return x_NCHW.float().clamp(0, 1)

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        """Latents (N, m) of pictures, or None if there is no encoder."""
        encode = getattr(self._own, "encode", None)
        return None if encode is None else encode(x_NCHW)

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Latents (count, m) from the prior: its own, or N(0, I)."""
        own = getattr(self._own, "draw", None)
        z_ND: Tensor = (
            torch.randn(count, self.latent_size, generator=rng) if own is None else own(count, rng)
        )
        return z_ND

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """How real each picture looks, (N,)."""
        score: Tensor = self._own.critic(x_NCHW)
        return score.float().reshape(len(x_NCHW))

    def style(self, z_ND: Tensor) -> Tensor:
        """Style vectors (N, W) of latents (N, m)."""
        w_NW: Tensor = self._own.style(z_ND)
        return w_NW

    def synthesize(self, w_NW: Tensor) -> Tensor:
        """Pictures (N, C, S, S) in [0, 1] of style vectors (N, W)."""
        x_NCHW: Tensor = self._own.synthesize(w_NW)
        return x_NCHW.float().clamp(0, 1)

    @torch.no_grad()
    def _offers(self, x_NCHW: Tensor) -> frozenset[str]:
        """What it has besides pictures."""
        if isinstance(self._own, Generator):
            return self._own.offers_at(getattr(self._own, "settings", None))
        found = {"critic"} if hasattr(self._own, "critic") else set()
        if hasattr(self._own, "style") and hasattr(self._own, "synthesize"):
            found.add("style")
        if self.encode(x_NCHW.clamp(0, 1)) is not None:
            found.add("encoder")
        return frozenset(found)


def generator_settings(
    generator: str | Mapping[str, Any] | GeneratorSettings | None, attack: type[Attack]
) -> GeneratorSettings:
    """The settings of a generator that is to be trained; without any, of the kind that suits the attack.

    Raises:
        ConfigError: there is no such generator, or a setting of it is wrong.
    """
    if isinstance(generator, GeneratorSettings):
        return generator
    if generator is None:
        suited = (
            name for name in ("vae", "style_gan", *GENERATORS) if attack.wants <= offered(name)
        )
        generator = next(suited)
    data = {"name": generator} if isinstance(generator, str) else dict(generator)
    if data.get("name") not in GENERATORS:
        raise ConfigError(
            f"generator = {data.get('name')}: unknown name; there are: {', '.join(GENERATORS)}"
        )
    kind: type[GeneratorSettings] = GENERATORS[data["name"]].Settings
    return validate(kind, data, origin="generator")


def check_offers(attack: type[Attack], name: str, offers: frozenset[str]) -> None:
    """Raise ConfigError if an attack, called `name`, needs more of its generator than pictures."""
    if attack.wants <= offers:
        return
    able = [kind for kind in GENERATORS if attack.wants <= offered(kind)]
    raise ConfigError(
        f"generator: `{name}` needs one with {' and '.join(sorted(attack.wants))}; name one that has: "
        f"{' or '.join(able)}"
    )


def offered(name: str) -> frozenset[str]:
    """What a generator that can be trained here offers."""
    kind = GENERATORS[name]
    return kind.offers if kind is not Given else frozenset({"nothing without its settings"})
