"""A trained generator of the user's own, named by its import path and its weights. Nothing here is trained.

Contract: `path` = "package.module:Class". The class is a `torch.nn.Module` that takes `arguments` as keywords and
maps latents (N, m) ~ N(0, I) to square pictures (N, C, S, S) in `range`, each latent to its picture alone, without
noise of its own, and differentiable. A published GAN with another signature, or with more than pictures as its
output, needs a class of a few lines around it.
Offers: what `offers` names, by methods or submodules of the class:

    encoder   `encoder`: pictures (N, C, S, S) in `range` to latents (N, m)
    style     `mapping`: latents to style vectors w (N, W); `synthesis`: style vectors to pictures
    critic    `critic`: pictures (N, C, S, S) in `range` to (N,) or (N, 1), larger is more real

Mirror undoes the last leaky ReLU of the mapping (slope 0.2), as StyleGANs have it.
Pictures: the user's range and size are brought to [0, 1] and to the experiment's size, by antialiased bilinear
interpolation, and back for encoder and critic. What lies outside the range is cut off.
"""

from operator import attrgetter
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.files import file_digest
from inversionlab.core.learner import Learner
from inversionlab.core.seeds import torch_stream
from inversionlab.core.settings import AbsolutePath, Arguments, ConfigError
from inversionlab.core.user_code import blamed_on, code_digest, import_object
from inversionlab.core.weights import load_into, read_state_dict
from inversionlab.generators.base import Generator, GeneratorSettings
from inversionlab.generators.given_checks import RANGES, check_gradient, check_range, tried

TRIED = 4
"""Latents of the check."""


class Given(Generator):
    """Wraps the user's module: brings its pictures to [0, 1] and to the experiment's size."""

    trains: ClassVar[bool] = False

    class Settings(GeneratorSettings):
        """Where the class and its weights are, and what it takes and gives."""

        name: Literal["given"] = "given"
        path: str = Field(pattern=r"^[\w.]+:[\w.]+$")
        """Import path of the class: `package.module:Class`."""
        arguments: Arguments = Field(default_factory=dict)
        """Keyword arguments of the class."""
        weights: AbsolutePath
        """Its trained weights: a state dict as `*.safetensors`, or as `*.pt`, `*.pth` that holds tensors alone."""
        latent_size: int = Field(ge=1, le=1_000_000)
        """m, the length of the latent vector that it takes."""
        range: Literal["0..1", "-1..1"] = "0..1"
        """The range of its pixels."""
        offers: tuple[Literal["encoder", "style", "critic"], ...] = ()
        """What the generator offers besides pictures. Attacks that need it can then use this generator."""
        encoder: str = Field(default="encode", pattern=r"^[\w.]+$")
        """Name of its method that maps pictures to latents, if it offers `encoder`."""
        mapping: str = Field(default="style", pattern=r"^[\w.]+$")
        """Name of its method that maps latents to style vectors, if it offers `style`."""
        synthesis: str = Field(default="synthesize", pattern=r"^[\w.]+$")
        """Name of its method that maps style vectors to pictures, if it offers `style`."""
        critic: str = Field(default="critic", pattern=r"^[\w.]+$")
        """Name of its method that says how real pictures look, if it offers `critic`."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        """Import and build the module, and try its shapes on two latents; its weights are those of a fresh one.

        Raises:
            ConfigError: it cannot be imported or built, is no `nn.Module`, lacks what `offers` names, or returns
                no pictures with these channels.
        """
        super().__init__()
        self.settings, self.where = settings, f"path = {settings.path}"
        self.latent_size, self.image_size = settings.latent_size, image_size
        kind = import_object(settings.path, "path")
        with blamed_on(f"{self.where}: cannot be built with arguments {settings.arguments}"):
            self.module = kind(**settings.arguments)
        if not isinstance(self.module, nn.Module):
            raise ConfigError(f"{self.where}: must make a torch.nn.Module")
        names = {"encoder": ("encoder",), "style": ("mapping", "synthesis"), "critic": ("critic",)}
        for offered in settings.offers:
            for key in names[offered]:
                self._method(key)
        # Whether numbers are finite is seen later: these weights are not the trained ones.
        z_ND = self.draw(2, torch_stream(0, "given generator"))
        raw_NCHW = self.eval()._tried(self.module, z_ND, "latents", finite=False)
        self.train()
        if raw_NCHW.ndim != 4 or raw_NCHW.shape[1] != channels:
            raise ConfigError(
                f"{self.where}: must return pictures (2, {channels}, H, W), as the data has them, but returned "
                f"{tuple(raw_NCHW.shape)}"
            )
        self.side = raw_NCHW.shape[3]
        if raw_NCHW.shape[2] != self.side:
            raise ConfigError(
                f"{self.where}: must return square pictures, but returned {tuple(raw_NCHW.shape)}"
            )

    @classmethod
    def offers_at(cls, settings: Settings) -> frozenset[str]:
        """What the settings name."""
        return frozenset(settings.offers)

    def forward(self, z_ND: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of latents (N, m)."""
        return self._pictures(self.module(z_ND))

    def encode(self, x_NCHW: Tensor) -> Tensor | None:
        """Latents (N, m) of pictures in [0, 1], or None where no encoder is offered."""
        if "encoder" not in self.settings.offers:
            return None
        z_ND: Tensor = self._method("encoder")(self._raw(x_NCHW))
        return z_ND.float()

    def style(self, z_ND: Tensor) -> Tensor:
        """Style vectors w (N, W) of latents (N, m)."""
        if "style" not in self.settings.offers:
            return super().style(z_ND)
        w_NW: Tensor = self._method("mapping")(z_ND)
        return w_NW.float()

    def synthesize(self, w_NW: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of style vectors (N, W)."""
        if "style" not in self.settings.offers:
            return super().synthesize(w_NW)
        return self._pictures(self._method("synthesis")(w_NW))

    def critic(self, x_NCHW: Tensor) -> Tensor:
        """How real pictures in [0, 1] look, (N,)."""
        if "critic" not in self.settings.offers:
            return super().critic(x_NCHW)
        score: Tensor = self._method("critic")(self._raw(x_NCHW))
        return score.float().reshape(len(x_NCHW))

    def learner(self, settings: Settings, seed: int) -> Learner:
        """Raises TypeError: a given generator is not trained."""
        raise TypeError(f"{self.where}: a given generator is not trained")

    def check(self) -> None:
        """Try the loaded generator on a few latents, on the CPU.

        Raises:
            ConfigError: pictures are not finite, of another range, all the same, or not a function of their own
                latents alone; a gradient is broken; what is offered does not work.
        """
        settings, was_training = self.settings, self.training
        self.eval()
        z_ND = self.draw(TRIED, torch_stream(0, "given generator"))
        with torch.no_grad():
            raw_NCHW = self._tried(self.module, z_ND, "latents")
            check_range(raw_NCHW, settings.range, settings.path)
            x_NCHW = self(z_ND)
            again_NCHW, first_NCHW = self(z_ND), self(z_ND[:1])
        if not torch.allclose(x_NCHW, again_NCHW, atol=1e-3):
            raise ConfigError(
                f"{self.where}: gives another picture for the same latent; switch its noise off"
            )
        if not torch.allclose(x_NCHW[:1], first_NCHW, atol=1e-2):
            raise ConfigError(
                f"{self.where}: its picture of a latent depends on the other latents of the batch; switch that off"
            )
        if torch.allclose(x_NCHW[1:], x_NCHW[:1].expand_as(x_NCHW[1:]), atol=1e-6):
            raise ConfigError(f"{self.where}: gives the same picture for every latent")
        check_gradient(self.where, self.module, z_ND, "from pictures to latents")
        self._check_offers(z_ND, x_NCHW)
        self.train(was_training)

    def _check_offers(self, z_ND: Tensor, x_NCHW: Tensor) -> None:
        """Raise ConfigError where an encoder, a style space or a critic that is offered does not work."""
        settings, raw_NCHW = self.settings, self._raw(x_NCHW)
        if "encoder" in settings.offers:
            shape = tuple(self._tried(self._method("encoder"), raw_NCHW, "pictures").shape)
            if shape != (TRIED, self.latent_size):
                raise ConfigError(
                    f"encoder = {settings.encoder}: must return latents {(TRIED, self.latent_size)}, but returned "
                    f"{shape}"
                )
        if "critic" in settings.offers:
            shape = tuple(self._tried(self._method("critic"), raw_NCHW, "pictures").shape)
            if shape not in ((TRIED,), (TRIED, 1)):
                raise ConfigError(
                    f"critic = {settings.critic}: must return a number for each picture, {(TRIED,)}, but returned "
                    f"{shape}"
                )
            check_gradient(
                self.where, self._method("critic"), raw_NCHW, "from the critic to pictures"
            )
        if "style" in settings.offers:
            w_NW = self._tried(self._method("mapping"), z_ND, "latents")
            if w_NW.ndim != 2 or len(w_NW) != TRIED:
                raise ConfigError(
                    f"mapping = {settings.mapping}: must return style vectors ({TRIED}, W), but returned "
                    f"{tuple(w_NW.shape)}"
                )
            made_NCHW = self._tried(self._method("synthesis"), w_NW, "style vectors")
            if made_NCHW.shape != (TRIED, x_NCHW.shape[1], self.side, self.side) or not (
                torch.allclose(self._pictures(made_NCHW), x_NCHW, atol=1e-2)
            ):
                raise ConfigError(
                    f"synthesis = {settings.synthesis}: must make the pictures of the latents from their style "
                    "vectors, but makes others"
                )
            check_gradient(
                self.where, self._method("synthesis"), w_NW, "from pictures to style vectors"
            )

    def _tried(self, part: Any, x_N: Tensor, kind: str, *, finite: bool = True) -> Tensor:
        what = f"{kind} of shape {tuple(x_N.shape)}"
        where = f"{self.where} (latent_size = {self.latent_size})"
        return tried(part, x_N, where, what, finite=finite)

    def _method(self, key: str) -> Any:
        name = getattr(self.settings, key)
        try:
            return attrgetter(name)(self.module)
        except AttributeError as error:
            raise ConfigError(
                f"{key} = {name}: {self.settings.path} has no such method; name its own, or shorten `offers`"
            ) from error

    def _pictures(self, raw_NCHW: Tensor) -> Tensor:
        """Pictures in [0, 1] and of the experiment's size, of those that the module makes."""
        low, high = RANGES[self.settings.range]
        x_NCHW = (raw_NCHW.float() - low) / (high - low)
        return _resized(x_NCHW, self.image_size).clamp(0, 1)

    def _raw(self, x_NCHW: Tensor) -> Tensor:
        """Pictures as the module makes them, of those in [0, 1]."""
        low, high = RANGES[self.settings.range]
        return _resized(x_NCHW, self.side) * (high - low) + low


def load_given_generator(settings: Given.Settings, channels: int, image_size: int) -> Given:
    """The user's generator with its weights, checked and frozen, on the CPU.

    Raises:
        ConfigError: it cannot be built, its weights do not fit, or what it makes is not what the settings say.
    """
    generator = Given(settings, channels=channels, image_size=image_size)
    state = read_state_dict(settings.weights, "weights")
    load_into(generator.module, state, f"weights = {settings.weights}")
    generator.eval().requires_grad_(False).check()
    return generator


def given_inputs(settings: Given.Settings) -> dict[str, Any]:
    """All that a given generator depends on, as JSON values: settings without places, weights, and code.

    Raises:
        ConfigError: the class cannot be imported, or the weights cannot be read.
    """
    import_object(settings.path, "path")
    plain = settings.model_dump(mode="json", exclude={"weights"})
    return {
        "generator": {**plain, "offers": sorted({*settings.offers})},
        "weights": file_digest(settings.weights, "weights"),
        "source": code_digest(settings.path.partition(":")[0]),
    }


def _resized(x_NCHW: Tensor, side: int) -> Tensor:
    if x_NCHW.shape[3] == side:
        return x_NCHW
    return functional.interpolate(
        x_NCHW, size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )
