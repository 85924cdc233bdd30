"""One client for all workers: an actor on the driver's node that alone sends pictures to an endpoint.

So the rate, the requests in flight and the budget hold for all workers together, and the headers' secrets stay on
one node. The actor gets their values from the driver as arguments of its constructor. Ray keeps these in memory,
to start the actor again, and shows them nowhere; a runtime environment's variables would stand in its logs and
dashboard.

If the actor dies, Ray starts it again and repeats the calls that it had not answered; the client goes on from the
ledger. If a worker dies in the middle of a call, the actor finishes the call and keeps the answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch import Tensor

from inversionlab.given.endpoint import EndpointClient
from inversionlab.given.endpoint_answers import Kind
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.given.secret_headers import SecretHeaders
from inversionlab.given.settings import Answers

CALLS = 64
"""Calls at once; further ones wait in the actor's queue."""
RESTARTS = 20
"""How often a dead actor is started again, and a call repeated."""


class EndpointActor:
    """Owns the client."""

    def __init__(
        self,
        settings: EndpointSettings,
        names: tuple[str, ...] | None,
        folder: Path,
        answers: Answers,
        headers: SecretHeaders,
    ) -> None:
        self._client = EndpointClient(settings, names, folder, answers, headers)

    def ask(self, images_NCHW: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Score vectors float32 (N, K) of uint8 pictures (N, C, H, W)."""
        # A copy: what Ray hands over is read-only, which PyTorch does not know.
        return self._client.ask(torch.from_numpy(images_NCHW.copy())).numpy()

    @ray.method(concurrency_group="look")
    def look(self, name: str) -> Any:
        """A property of the client, or its `status`; this waits for no call of `ask`."""
        return self._client.status() if name == "status" else getattr(self._client, name)


@dataclass(frozen=True)
class EndpointHandle:
    """The endpoint as workers on any node use it; it may be sent to them."""

    actor: Any

    def ask(self, images_NCHW: Tensor) -> Tensor:
        """Score vectors float32 (N, K) of uint8 pictures (N, C, H, W); raises as `EndpointClient.ask` does."""
        return torch.from_numpy(_result(self.actor.ask.remote(images_NCHW.cpu().numpy())).copy())

    @property
    def kind(self) -> Kind | None:
        """What score vectors hold; see `EndpointClient.kind`."""
        kind: Kind | None = self._look("kind")
        return kind

    @property
    def spent(self) -> int:
        """Queries of all runs so far."""
        return int(self._look("spent"))

    @property
    def budget_left(self) -> int | None:
        """Queries that may still be made; None: there is no bound."""
        left: int | None = self._look("budget_left")
        return left

    def status(self) -> str:
        """A line of progress."""
        return str(self._look("status"))

    def _look(self, name: str) -> Any:
        return _result(self.actor.look.remote(name))


def connect_endpoint(
    settings: EndpointSettings,
    names: tuple[str, ...] | None,
    folder: Path,
    answers: Answers = "auto",
) -> EndpointHandle:
    """Start the actor on this node, with the ledger in `folder` and headers from this process's environment.

    Called by the driver; the actor ends with it.

    Raises:
        ConfigError: as `EndpointClient` raises it.
    """
    headers = SecretHeaders.read(settings)
    # Opened here first: what is wrong with it is an error of the driver's then, not of a dead actor's.
    EndpointClient(settings, names, folder, answers, headers).close()
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_restarts": RESTARTS,
        "max_task_retries": RESTARTS,
        "max_concurrency": CALLS,
        "concurrency_groups": {"look": 2},
        "scheduling_strategy": here,
    }
    actor: Any = ray.remote(**options)(EndpointActor)
    return EndpointHandle(actor.remote(settings, names, folder, answers, headers))


def _result(ref: Any) -> Any:
    """The result of a call; an error that the actor raised is raised as itself."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        cause = error.cause
    raise cause
