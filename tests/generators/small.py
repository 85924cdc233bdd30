"""Small settings of every generator, for tests over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inversionlab.generators import GENERATORS

TRAINED = sorted(name for name, kind in GENERATORS.items() if kind.trains)
"""Those that are not the user's own."""


def small(name: str, channels: int = 3, latent_size: int = 6, **more: Any) -> Any:
    """The settings; a given generator is `UserGan`, and its weights' file is not there."""
    kind = GENERATORS[name]
    if not kind.trains:
        return given("UserGan", channels, latent_size, **more)
    return kind.Settings(latent_size=latent_size, width=4, **more)


def given(cls: str, channels: int = 3, latent_size: int = 6, **more: Any) -> Any:
    """The settings of a class in `user_gan.py`."""
    plain = {
        "path": f"tests.generators.user_gan:{cls}",
        "arguments": {"channels": channels, "latent_size": latent_size},
        "weights": Path("nowhere.safetensors"),
        "range": "-1..1",
        "latent_size": latent_size,
    }
    return GENERATORS["given"].Settings(**(plain | more))
