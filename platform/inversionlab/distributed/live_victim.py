"""A given victim that no file holds, for all workers: a module from Python, or a connection to an endpoint.

Ray is imported where a victim is shared, because a run with nothing to do needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inversionlab.pipeline.endpoint import LocalEndpoint, endpoint_of
from inversionlab.pipeline.session import Session, with_live

if TYPE_CHECKING:
    from inversionlab.distributed.endpoint_actor import EndpointHandle


@dataclass(frozen=True)
class SharedModule:
    """A module in Ray's object store; it may be sent to any worker of this cluster."""

    refs: tuple[Any, ...]
    """Ray's reference, in a tuple: Ray resolves references that are arguments themselves, not nested ones."""

    def __call__(self) -> Any:
        """The module."""
        import ray

        return ray.get(self.refs[0])


@dataclass(frozen=True)
class SharedEndpoint:
    """The actor that asks an endpoint for all workers."""

    handle: EndpointHandle

    def __call__(self) -> EndpointHandle:
        """The handle."""
        return self.handle


def endpoint_status(session: Session) -> str:
    """A line of progress: the queries so far; empty where no endpoint is asked."""
    live = session.builder.live
    if isinstance(live, LocalEndpoint):
        return live.status()
    return live().status() if isinstance(live, SharedEndpoint) else ""


@contextmanager
def closed_on_error(session: Session) -> Iterator[None]:
    """Close the driver's own connection where the block raises: nothing is sent any more, and nothing waits."""
    try:
        yield
    except BaseException:
        close_own(session)
        raise


def close_own(session: Session) -> None:
    """Close the driver's own connection to an endpoint, if it has one."""
    if isinstance(session.builder.live, LocalEndpoint):
        session.builder.live.close()


def share_live(session: Session) -> Session:
    """The session as workers can open it; the driver's own connection to an endpoint is closed.

    Raises:
        ConfigError: the endpoint's ledger or an environment variable is missing.
    """
    import ray

    from inversionlab.distributed.endpoint_actor import connect_endpoint

    live = session.builder.live
    if live is None:
        return session
    if not isinstance(live, LocalEndpoint):
        return with_live(session, SharedModule((ray.put(live()),)))
    live.close()
    return with_live(session, SharedEndpoint(connect_endpoint(*endpoint_of(session))))
