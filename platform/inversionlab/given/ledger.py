"""The ledger of an endpoint: how many queries were made, and every answer, in one SQLite file.

All runs, workers and processes of a machine that ask the same URL share the file. It keeps four promises, whatever
is killed at whatever moment:

- **The budget is never exceeded.** Queries are counted before they are sent, in a transaction that is on the disk
  by then. Only what the service surely did not work on is taken back: a request that it refused with 429, or to
  which no connection was made. So after a kill the ledger counts what was in flight, answered or not.
- **A picture that was answered is never sent again.** Answers are kept by the SHA-256 of the picture. After a kill
  only pictures whose request was in flight may be sent again: `concurrency` x `batch_size` of them at most.
- **A picture is not sent by two at once.** Whoever sends it claims it first. A claim ends with its owner: each
  owner holds a lock on a file of its own, which the system releases when the process ends.
- **The rate holds for all together.** The ledger hands out the moments at which requests may be sent.

SQLite's write-ahead log needs a local disk. The files are readable by their owner alone.
"""

import fcntl
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from inversionlab.core.settings import ConfigError, fingerprint
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.store.address import is_uri
from inversionlab.store.storage import StorageError

LONGEST_PAUSE = 600.0
"""Seconds that a service may ask to be left alone; where it asks for more, the run ends."""
LAYOUT = 1
"""The layout of the tables, in the file's `user_version`."""
TABLES = """
CREATE TABLE account (one INTEGER PRIMARY KEY CHECK (one = 1), spent INTEGER NOT NULL, next REAL NOT NULL);
INSERT INTO account VALUES (1, 0, 0);
CREATE TABLE answers (form TEXT, digest TEXT, answer TEXT NOT NULL, PRIMARY KEY (form, digest)) WITHOUT ROWID;
CREATE TABLE claims (form TEXT, digest TEXT, owner TEXT NOT NULL, PRIMARY KEY (form, digest)) WITHOUT ROWID;
"""


class BudgetError(RuntimeError):
    """The budget of queries does not suffice for what is asked; what fits it has been asked and kept."""

    exit_code = 3


def ledger_folder(settings: EndpointSettings, storage: str) -> Path:
    """The folder of an endpoint's ledger: one for each URL, below `settings.ledger` or the storage root.

    Raises:
        ConfigError: the storage is a bucket, and the settings name no folder.
    """
    name = fingerprint({"url": settings.url})
    if settings.ledger is not None:
        return settings.ledger / name
    root = storage.removeprefix("file://")
    if is_uri(root):
        raise ConfigError(
            f"victim.endpoint.ledger = null: the storage {storage} is a bucket, and the ledger of queries "
            "needs a local disk; name a folder that stays, such as ~/inversionlab-ledger"
        )
    return Path(root).expanduser().absolute() / "endpoints" / name


@dataclass
class Grant:
    """What may be done about some pictures, by their digests; each is in one of the four."""

    send: list[str] = field(default_factory=list)
    """To be sent now, at `at`; they are claimed and counted."""
    at: float = 0.0
    """When, in seconds of `time.time()`."""
    answers: dict[str, str] = field(default_factory=dict)
    """Answered already."""
    elsewhere: list[str] = field(default_factory=list)
    """In flight in another process."""
    unaffordable: list[str] = field(default_factory=list)
    """Beyond the budget."""


class Ledger:
    """One owner's connection to the ledger in `folder`, for answers of one `form`; thread-safe.

    `form` names how pictures are sent and answers are read: an answer is found again only in its own form.
    """

    def __init__(self, folder: Path, form: str, budget: int | None, rate: float | None) -> None:
        """Open or make the ledger; `budget` in queries, `rate` in requests a second, None: no bound.

        Raises:
            ConfigError: the folder cannot be made, or the file in it is no ledger of this layout.
        """
        self.file = folder / "ledger.db"
        self._form, self._budget, self._rate = form, budget, rate
        self._owner, self._lock = uuid.uuid4().hex, threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_private(self.file, draft=folder / f".{self._owner}.draft")
            self._mine = _locked(self._lock_file(self._owner))
        except OSError as error:
            raise ConfigError(f"{self.file}: cannot be opened or made: {error}") from error
        assert self._mine is not None, "nobody else knows the owner's name"
        self._db = sqlite3.connect(
            self.file, timeout=60, isolation_level=None, check_same_thread=False
        )
        try:
            # FULL: a count is on the disk before the request is sent, so not even a power cut loses it.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._make_tables()
        except (sqlite3.Error, StorageError) as error:
            self.close()
            raise ConfigError(
                f"{self.file}: cannot be used as a ledger of queries ({error}), and without one no budget "
                "is kept. Restore it, or name another folder as victim.endpoint.ledger"
            ) from error

    def _make_tables(self) -> None:
        with self._transaction():
            (layout,) = self._db.execute("PRAGMA user_version").fetchone()
            if layout == 0:
                for statement in TABLES.strip().splitlines():
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {LAYOUT}")
            elif layout != LAYOUT:
                raise sqlite3.DatabaseError(f"its layout is {layout}, this release knows {LAYOUT}")

    @property
    def spent(self) -> int:
        """Queries of all runs so far, those in flight included."""
        with self._reading():
            (spent,) = self._db.execute("SELECT spent FROM account").fetchone()
        return int(spent)

    def answers(self, digests: Sequence[str]) -> dict[str, str]:
        """The answers that are known, by digest."""
        with self._reading():
            return self._known(digests)

    def grant(self, digests: Sequence[str]) -> Grant:
        """Claim and count what may be sent now of some distinct pictures, at most one request's."""
        with self._transaction():
            given = Grant(answers=self._known(digests))
            for digest in digests:
                if digest not in given.answers:
                    (given.elsewhere if self._claimed(digest) else given.send).append(digest)
            spent, following = self._db.execute("SELECT spent, next FROM account").fetchone()
            if self._budget is not None:
                left = max(0, self._budget - spent)
                given.send, given.unaffordable = given.send[:left], given.send[left:]
            # Nothing is waited for so long, unless the clock was set back.
            now, interval = time.time(), 1 / self._rate if self._rate is not None else 0.0
            given.at = max(
                now, following if following < now + 2 * LONGEST_PAUSE + 4096 * interval else now
            )
            if given.send:
                self._db.execute(
                    "UPDATE account SET spent = spent + ?, next = ?",
                    (len(given.send), given.at + interval),
                )
                self._db.executemany(
                    "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)",
                    [(self._form, digest, self._owner) for digest in given.send],
                )
        return given

    def keep(self, answers: Mapping[str, str]) -> None:
        """Store answers by digest; their claims end."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                [(self._form, digest, answer) for digest, answer in answers.items()],
            )
            self._end_claims(list(answers))

    def give_up(self, digests: Sequence[str], *, refund: bool, pause: float = 0.0) -> None:
        """End the claims without an answer.

        `refund`: the service surely did not work on them. Nobody is granted a request for the next `pause`
        seconds.
        """
        with self._transaction():
            self._end_claims(digests)
            back, until = len(digests) if refund else 0, time.time() + pause if pause else 0.0
            self._db.execute(
                "UPDATE account SET spent = spent - ?, next = max(next, ?)", (back, until)
            )

    def close(self) -> None:
        """Close the file; claims that are still open end. A second call does nothing."""
        with self._lock:
            if self._mine is not None:
                self._db.close()
                self._lock_file(self._owner).unlink(missing_ok=True)
                os.close(self._mine)
                self._mine = None

    def _known(self, digests: Sequence[str]) -> dict[str, str]:
        found = {}
        for digest in digests:
            row = self._db.execute(
                "SELECT answer FROM answers WHERE form = ? AND digest = ?", (self._form, digest)
            ).fetchone()
            if row is not None:
                found[digest] = str(row[0])
        return found

    def _claimed(self, digest: str) -> bool:
        """Whether another living owner has claimed the picture."""
        row = self._db.execute(
            "SELECT owner FROM claims WHERE form = ? AND digest = ?", (self._form, digest)
        ).fetchone()
        return row is not None and row[0] != self._owner and self._lives(row[0])

    def _lives(self, owner: str) -> bool:
        """Whether an owner still holds the lock on its file; a dead one's claims end."""
        file = self._lock_file(owner)
        if file.exists():
            lock = _locked(file)
            if lock is None:
                return True
            file.unlink(missing_ok=True)
            os.close(lock)
        self._db.execute("DELETE FROM claims WHERE owner = ?", (owner,))
        return False

    def _end_claims(self, digests: Sequence[str]) -> None:
        self._db.executemany(
            "DELETE FROM claims WHERE form = ? AND digest = ?", [(self._form, d) for d in digests]
        )

    def _lock_file(self, owner: str) -> Path:
        return self.file.with_name(f"owner-{owner}.lock")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Hold the connection, and explain its errors."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise StorageError(f"{self.file}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, against all other processes; on the disk when this ends."""
        with self._reading():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _make_private(file: Path, draft: Path) -> None:
    """Make an empty file for its owner alone, unless it is there; SQLite gives its further files the same rights.

    The file itself is never opened here: closing it would end the locks of this process's other connections.
    """
    if not file.exists():
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with suppress(FileExistsError):
            os.link(draft, file)
        draft.unlink()


def _locked(file: Path) -> int | None:
    """A descriptor that holds the lock on `file`, or None where another one does."""
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
