"""Single flight: who needs what another run is making already waits for it instead of making it twice.

    artifacts/ROLE/ID/lease.json    {"owner": ..., "beat": a counter that the owner raises}

The holder is the process that starts a training, not its training workers: one that waits then holds no CPU
or GPU that it does not use, and a training worker that dies and is started again finds the lease its own.
No clocks are compared: who waits watches the counter, and takes the lease over when it has stood still for
`stale` seconds by his own clock. A holder that was only asleep goes on; two equal networks are then made,
and the first that is finished stays. On a bucket, where nothing can be created atomically, two may now and
then both believe that they hold a lease, with the same result.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile

from inversionlab.store.storage import Storage, StorageError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Times:
    """How often the holders and those who wait look, in seconds."""

    beat: float = 5.0
    """Between two beats of a holder."""
    stale: float = 30.0
    """Without a beat, until a lease is taken over."""
    look: float = 1.0
    """Between two looks of who waits."""
    settle: float = 0.5
    """From writing a lease to reading back whose it is."""


@dataclass(eq=False)
class Lease:
    """The lease of one key, as one process sees it."""

    storage: Storage
    key: str
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    _count: int = 0
    _seen: bytes | None = None
    _since: float = 0.0

    @property
    def _name(self) -> str:
        return f"artifacts/{self.key}/lease.json"

    def free(self, stale: float) -> bool:
        """Whether nobody holds it, or its holder has not moved for `stale` seconds of being looked at."""
        content, now = self._read(), time.monotonic()
        if content is None:
            self._seen = None
            return True
        if content != self._seen:
            self._seen, self._since = content, now
        return now - self._since >= stale

    def take(self) -> None:
        """Write our name on a free one; `mine` says a moment later who got it.

        Raises:
            StorageError: the storage cannot be written to.
        """
        if self._seen is None:
            self.storage.create_new(self._name, self._content())
        elif self._read() == self._seen:
            self.storage.write(self._name, self._content())

    def mine(self) -> bool:
        """Whether our name is on it."""
        return self._owner() == self.owner

    def beat(self) -> None:
        """Show that we live, unless another has taken it over."""
        if self._owner() in (self.owner, None):
            self._count += 1
            self.storage.write(self._name, self._content())

    def release(self) -> None:
        """Give it back, if it is still ours."""
        if self.mine():
            self.storage.delete(self._name)

    def _content(self) -> bytes:
        return json.dumps({"owner": self.owner, "beat": self._count}).encode()

    def _read(self) -> bytes | None:
        try:
            return self.storage.read(self._name)
        except FileNotFoundError:
            return None

    def _owner(self) -> str | None:
        """Whose name is on it; "" if it cannot be read, None if there is no lease."""
        content = self._read()
        if content is None:
            return None
        try:
            return str(json.loads(content)["owner"])
        except (ValueError, KeyError, TypeError):
            return ""


@contextmanager
def single_flight(
    storage: Storage,
    keys: Sequence[str],
    finished: Callable[[str], bool],
    say: Say,
    times: Times | None = None,
) -> Iterator[list[str]]:
    """Wait until some of the keys are ours to make, or all are made; leases are held inside the block.

    Two who need the same keys cannot wait for each other for ever: nobody waits while he holds a lease.

    Args:
        storage: where the leases are.
        keys: what is needed, in an order in which each is made of those before it.
        finished: whether a key is made; asked about every second, so cheap for what is not.
        say: told in a line what is waited for.
        times: how often is looked.

    Yields:
        the first keys that are not made yet and that nobody else is making; empty once all are made.
    """
    times = times or Times()
    leases = {key: Lease(storage, key) for key in keys}
    told: set[str] = set()
    left = list(keys)
    while left := [key for key in left if not finished(key)]:
        mine = _take_first([leases[key] for key in left], times)
        if not mine:
            _tell(left[0], told, say, times)
            time.sleep(times.look)
            continue
        with _held(mine, times):
            # Between the look and the taking another may have finished it.
            if ours := [lease.key for lease in mine if not finished(lease.key)]:
                yield ours
                return
    yield []


def _take_first(leases: list[Lease], times: Times) -> list[Lease]:
    """Take the leases up to the first that another holds."""
    # All are looked at, so that those of a dead holder go stale together.
    free = [lease.free(times.stale) for lease in leases]
    taken = [lease for lease, _ in takewhile(lambda pair: pair[1], zip(leases, free, strict=True))]
    if not taken:
        return []
    try:
        for lease in taken:
            lease.take()
    except StorageError:
        _release(taken)
        raise
    time.sleep(times.settle)
    mine = list(takewhile(Lease.mine, taken))
    _release(taken[len(mine) :])
    return mine


def _release(leases: list[Lease]) -> None:
    for lease in leases:
        # A lease that cannot be deleted goes stale.
        with suppress(OSError):
            lease.release()


@contextmanager
def _held(leases: list[Lease], times: Times) -> Iterator[None]:
    """Keep the leases alive by a thread of their own, and release them at the end."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(times.beat):
            for lease in leases:
                # A full disk or a bucket out of reach may be better at the next beat.
                with suppress(OSError, StorageError):
                    lease.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _release(leases)


def _tell(key: str, told: set[str], say: Say, times: Times) -> None:
    if key not in told:
        told.add(key)
        say(
            f"      another run is training {key.partition('/')[0]}; waiting for it (if it died, "
            f"this one takes over after {times.stale:g} s)"
        )
