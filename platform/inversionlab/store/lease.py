"""Leases: a run waits for a network that another run is already training, instead of training it twice.

    artifacts/ROLE/ID/lease.json    {"owner": ..., "beat": a counter that the owner raises, "process": ...}

The process that starts a training holds the lease, not its training workers. A waiting run therefore holds no
CPU or GPU, and a restarted training worker finds the lease still its own. No clocks are compared: a waiting run
watches the counter and takes the lease over once it has stood still for `stale` seconds of its own clock, or at
once if the holder was a process of the same machine and has ended. A holder that only slept goes on; both then
train equal networks, and the one that finishes first stays. A bucket cannot create a file atomically, so two runs
may rarely both believe that they hold a lease, with the same result.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile

from inversionlab.store.process import has_ended, this_process
from inversionlab.store.storage import Storage, StorageError


@dataclass(frozen=True)
class Times:
    """How often holders and waiting runs act, in seconds."""

    beat: float = 5.0
    """Between two beats of a holder."""
    stale: float = 30.0
    """Without a beat, until a lease is taken over."""
    look: float = 1.0
    """Between two looks of a waiting run."""
    settle: float = 0.5
    """From writing a lease to reading back whose it is."""


@contextmanager
def single_flight(
    storage: Storage,
    keys: Sequence[str],
    finished: Callable[[str], bool],
    say: Callable[[str], None],
    times: Times | None = None,
) -> Iterator[list[str]]:
    """Wait until some keys are ours to make, or all are made; the leases are held inside the block.

    A run never waits while it holds a lease, so two runs that need the same keys cannot block each other.

    Args:
        storage: where the leases are.
        keys: what is needed, each after the keys that it is made of.
        finished: whether a key is made. It is called about every second, so it must be cheap.
        say: receives one line for each key that is waited for.
        times: how often holders and waiting runs act.

    Yields:
        the first keys that are not made yet and that nobody else is making; empty once all are made.
    """
    times = times or Times()
    run = uuid.uuid4().hex
    leases = {key: Lease(storage, key, f"{run}-{place}") for place, key in enumerate(keys)}
    told: set[str] = set()
    missing = list(keys)
    while missing := [key for key in missing if not finished(key)]:
        mine = _take_first([leases[key] for key in missing], times)
        if mine:
            with _held(mine, times):
                # Another run may have finished a key after the look and before the lease was taken.
                if ours := [lease.key for lease in mine if not finished(lease.key)]:
                    yield ours
                    return
            continue
        if missing[0] not in told:
            told.add(missing[0])
            say(
                f"      another run is training {missing[0].partition('/')[0]}; waiting for it (if it died on "
                f"another machine, this one takes over after {times.stale:g} s)"
            )
        time.sleep(times.look)
    yield []


@dataclass(eq=False)
class Lease:
    """The lease of one key, as one process sees it."""

    storage: Storage
    key: str
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    """All owners of one run have the same part before the hyphen."""
    process: str = field(default_factory=this_process)
    _count: int = 0
    _seen: bytes | None = None
    _since: float = 0.0

    @property
    def _name(self) -> str:
        return f"artifacts/{self.key}/lease.json"

    def free(self, stale: float) -> bool:
        """Whether nobody holds it any more: there is no lease, its process has ended, or its counter has stood
        still for `stale` seconds since we first saw it."""
        content, now = self._read(), time.monotonic()
        if content is None:
            self._seen = None
            return True
        if content != self._seen:
            self._seen, self._since = content, now
        return now - self._since >= stale or has_ended(_process(content))

    @property
    def holder(self) -> bytes | None:
        """Tells whose it was at the last look, the same for all leases of one run; None if nobody held it."""
        return None if self._seen is None else self._seen.partition(b"-")[0]

    def take(self) -> None:
        """Write our name on a free lease. Others may do the same; ask `mine` a moment later.

        Raises:
            StorageError: the storage cannot be written to.
        """
        if self._seen is None:
            self.storage.create_new(self._name, self._content())
        elif self._read() == self._seen:
            self.storage.write(self._name, self._content())

    def mine(self) -> bool:
        """Whether our name is on it."""
        return self.owner.encode() in (self._read() or b"")

    def beat(self) -> None:
        """Raise the counter, unless another process has taken the lease over."""
        content = self._read()
        if content is None or self.owner.encode() in content:
            self._count += 1
            self.storage.write(self._name, self._content())

    def release(self) -> None:
        """Delete it if it is still ours; a lease that cannot be deleted goes stale."""
        with suppress(OSError):
            if self.mine():
                self.storage.delete(self._name)

    def _content(self) -> bytes:
        content = {"owner": self.owner, "beat": self._count, "process": self.process}
        return json.dumps(content).encode()

    def _read(self) -> bytes | None:
        try:
            return self.storage.read(self._name)
        except FileNotFoundError:
            return None


def _process(content: bytes) -> str:
    """The process that a lease names; empty if it names none."""
    with suppress(ValueError):
        lease = json.loads(content)
        return str(lease.get("process", "")) if isinstance(lease, dict) else ""
    return ""


def _take_first(leases: list[Lease], times: Times) -> list[Lease]:
    """Take the leases before the first that another run holds; returns those that are ours."""
    # The leases of a dead holder go stale together, even if its last beats were seen in different looks.
    alive = {lease.holder for lease in leases if not lease.free(times.stale)}
    taken = list(takewhile(lambda lease: lease.holder not in alive, leases))
    if not taken:
        return []
    try:
        for lease in taken:
            lease.take()
    except StorageError:
        for lease in taken:
            lease.release()
        raise
    time.sleep(times.settle)
    mine = list(takewhile(Lease.mine, taken))
    for lease in taken[len(mine) :]:
        lease.release()
    return mine


@contextmanager
def _held(leases: list[Lease], times: Times) -> Iterator[None]:
    """Keep the leases alive from a thread, and release them at the end."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(times.beat):
            for lease in leases:
                # A full disk or an unreachable bucket may have recovered by the next beat.
                with suppress(OSError, StorageError):
                    lease.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for lease in leases:
            lease.release()
