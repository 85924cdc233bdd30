"""Where curves go besides the storage, as `--log-to` says."""

import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import cut
from inversionlab.tracking.mlflow import MlflowTracker
from inversionlab.tracking.tracker import Service
from inversionlab.tracking.wandb import WandbTracker

SERVICES: dict[str, type[Service]] = {"mlflow": MlflowTracker, "wandb": WandbTracker}
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY")
"""Environment variables that no line may show."""


@dataclass(frozen=True)
class LogTo:
    """The services that are told about trainings and trials."""

    services: tuple[str, ...] = ()
    """Each NAME:ADDRESS, and checked."""
    pictures: bool = True
    """Whether they get grids of pictures that the attacker's generators make up; they never get others."""


def read_log_to(given: Iterable[str], *, pictures: bool) -> LogTo:
    """What `--log-to` names.

    Raises:
        ConfigError: a service is not known, its address is wrong or holds a secret, or its library is missing.
    """
    services = tuple(dict.fromkeys(given))
    for each in services:
        name, _, address = each.partition(":")
        service = SERVICES.get(name)
        if service is None:
            known = " or ".join(f"`{n}:{a}`" for n, a in (("mlflow", "URI"), ("wandb", "PROJECT")))
            # Whatever else it is may hold a secret.
            raise ConfigError(f"--log-to {cut(name)}: is not a known service; must be {known}")
        if wrong := service.fault(address):
            raise ConfigError(f"--log-to {name}: {wrong}")
        if importlib.util.find_spec(service.library) is None:
            raise ConfigError(
                f"--log-to {name}: needs {service.library}: pip install 'inversionlab[{service.library}]'"
            )
    return LogTo(services, pictures)


def without_secrets(text: str) -> str:
    """A text in which no secret of the environment stands."""
    for secret in filter(None, map(os.environ.get, SECRETS)):
        text = text.replace(secret, "***")
    return text
