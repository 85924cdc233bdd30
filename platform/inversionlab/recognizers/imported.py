"""A network of the user's own, named by its import path.

Contract: `path` = "package.module:Class". The class is a `torch.nn.Module` that takes `arguments` as keywords and
maps pictures (N, C, H, W) in [0, 1] to features (N, D). One dry forward pass finds D.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.settings import Arguments, ConfigError
from inversionlab.core.user_code import blamed_on, code_digest, import_object
from inversionlab.recognizers.base import Backbone, NetworkSettings


class Imported(Backbone):
    """Wraps the user's module and checks its output."""

    class Settings(NetworkSettings):
        """Where the class is, and its arguments."""

        name: Literal["imported"] = "imported"
        path: str = Field(pattern=r"^[\w.]+:[\w.]+$")
        """Import path of the class: `package.module:Class`."""
        arguments: Arguments = Field(default_factory=dict)
        """Keyword arguments of the class."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        """Import and build the module, and try it on two blank pictures.

        Raises:
            ConfigError: it cannot be imported or built, is no `nn.Module`, returns no finite floats (N, D), or
                breaks the gradient.
        """
        super().__init__()
        kind = _imported_class(settings)
        # The trial needs numbers, also where a large network is built without (`pipeline/untrained.py`).
        with torch.device("cpu"):
            with blamed_on(
                f"path = {settings.path}: cannot be built with arguments {settings.arguments}"
            ):
                self.module = kind(**settings.arguments)
            self.feature_size = _feature_size(self.module, settings.path, channels, image_size)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Features (N, D) of pictures (N, C, H, W) in [0, 1]."""
        feature_ND: Tensor = self.module(x_NCHW)
        return feature_ND


def source_digest(settings: Imported.Settings) -> str:
    """Hash of the class's module, its package and the user's modules that it imports, so that changed code is
    trained again.

    Raises:
        ConfigError: the class cannot be imported.
    """
    _imported_class(settings)
    return code_digest(settings.path.partition(":")[0])


def _imported_class(settings: Imported.Settings) -> type[nn.Module]:
    found = import_object(settings.path, "path")
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ConfigError(f"path = {settings.path}: must name a subclass of torch.nn.Module")
    return found


def _feature_size(module: nn.Module, path: str, channels: int, image_size: int) -> int:
    x_NCHW = torch.full((2, channels, image_size, image_size), 0.5)
    was_training = module.training
    fails = f"path = {path}: fails on pictures of shape {tuple(x_NCHW.shape)}"
    with blamed_on(fails), torch.no_grad():
        feature_ND: Tensor = module.eval()(x_NCHW)
    if not isinstance(feature_ND, Tensor) or feature_ND.ndim != 2 or len(feature_ND) != 2:
        got = getattr(feature_ND, "shape", type(feature_ND).__name__)
        raise ConfigError(f"path = {path}: must return features (2, D), but returned {got}")
    if not feature_ND.is_floating_point():
        raise ConfigError(f"path = {path}: must return floats, but returned {feature_ND.dtype}")
    if feature_ND.shape[1] == 0 or not bool(feature_ND.isfinite().all()):
        raise ConfigError(
            f"path = {path}: must return finite numbers for a gray picture, one or more per picture"
        )
    broken = (
        f"path = {path}: its forward breaks the gradient, and training and attacks need it from the features to "
        "the pictures; leave out argmax, detach, no_grad and NumPy"
    )
    with blamed_on(broken), torch.enable_grad():
        feature_ND = module(x_NCHW.requires_grad_(True))
        # Without a gradient at all, autograd itself would raise.
        if not feature_ND.requires_grad:
            raise ConfigError(broken)
        (slope_NCHW,) = torch.autograd.grad(feature_ND.sum(), x_NCHW, allow_unused=True)
    if slope_NCHW is None:
        raise ConfigError(broken)
    module.train(was_training)
    return feature_ND.shape[1]
