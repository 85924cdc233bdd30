"""A network of the user's own, named by its import path.

Contract: `path` = "package.module:Class". The class is a `torch.nn.Module` that takes `arguments` as keywords and
maps pictures (N, C, H, W) in [0, 1] to features (N, D). One dry forward pass finds D.
"""

import hashlib
import importlib
import inspect
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.recognizers.base import Backbone, NetworkSettings


class Imported(Backbone):
    """Wraps the user's module and checks its output."""

    class Settings(NetworkSettings):
        """Where the class is, and its arguments."""

        name: Literal["imported"] = "imported"
        path: str = Field(pattern=r"^[\w.]+:[\w.]+$")
        """Import path of the class: `package.module:Class`."""
        arguments: dict[str, Any] = Field(default_factory=dict)
        """Keyword arguments of the class."""

    def __init__(self, settings: Settings, *, channels: int, image_size: int) -> None:
        """Import and build the module, and try it on two blank pictures.

        Raises:
            ConfigError: it cannot be imported or built, is no `nn.Module`, or returns no finite floats (N, D).
        """
        super().__init__()
        kind = _imported_class(settings)
        try:
            self.module = kind(**settings.arguments)
        except Exception as error:  # the user's code may raise anything; the text names the setting
            raise ConfigError(
                f"path = {settings.path}: cannot be built with arguments {settings.arguments}: {error}"
            ) from error
        self.feature_size = _feature_size(self.module, settings.path, channels, image_size)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Features (N, D) of pictures (N, C, H, W) in [0, 1]."""
        feature_ND: Tensor = self.module(x_NCHW)
        return feature_ND


def source_digest(settings: Imported.Settings) -> str:
    """SHA-256 of the file that defines the class, so that changed code is trained again.

    Raises:
        ConfigError: the module cannot be imported.
    """
    file = inspect.getsourcefile(_imported_class(settings))
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def _imported_class(settings: Imported.Settings) -> type[nn.Module]:
    module_name, _, class_name = settings.path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in class_name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"path = {settings.path}: cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ConfigError(f"path = {settings.path}: must name a subclass of torch.nn.Module")
    return found


def _feature_size(module: nn.Module, path: str, channels: int, image_size: int) -> int:
    x_NCHW = torch.full((2, channels, image_size, image_size), 0.5)
    was_training = module.training
    try:
        with torch.no_grad():
            feature_ND = module.eval()(x_NCHW)
    except Exception as error:  # the user's code may raise anything; the text names the setting
        raise ConfigError(
            f"path = {path}: fails on pictures of shape {tuple(x_NCHW.shape)}: {error}"
        ) from error
    module.train(was_training)
    if not isinstance(feature_ND, Tensor) or feature_ND.ndim != 2 or len(feature_ND) != 2:
        got = getattr(feature_ND, "shape", type(feature_ND).__name__)
        raise ConfigError(f"path = {path}: must return features (2, D), but returned {got}")
    if not feature_ND.is_floating_point():
        raise ConfigError(f"path = {path}: must return floats, but returned {feature_ND.dtype}")
    if feature_ND.shape[1] == 0 or not bool(feature_ND.isfinite().all()):
        raise ConfigError(
            f"path = {path}: must return finite numbers for a gray picture, one or more per picture"
        )
    return feature_ND.shape[1]
