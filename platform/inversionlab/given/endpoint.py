"""The client of a model behind HTTP: sends pictures, keeps the answers, and never exceeds the budget of queries.

A *query* is one picture in a request that the service did not refuse with 429. A request that is repeated after a
5xx, a time-out or a cut answer counts again, since the service may have worked on it each time. The ledger
(`ledger.py`) holds queries and answers, and says what a kill can cost.
"""

import hashlib
import json
import random
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from inversionlab.core.settings import ConfigError, fingerprint
from inversionlab.given.endpoint_answers import (
    AnswerReader,
    EndpointError,
    Kind,
    shown,
)
from inversionlab.given.endpoint_expression import Expression
from inversionlab.given.endpoint_http import EndpointHttp, Failure
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.given.ledger import LONGEST_PAUSE, BudgetError, Ledger
from inversionlab.given.secret_headers import SecretHeaders
from inversionlab.given.settings import Answers

FIRST_PAUSE, LONGEST_BACK_OFF = 0.5, 30.0
"""Seconds before the first repetition, and at most; each pause is about twice the one before."""
LOOK = 0.05
"""Seconds between two looks at a picture that another process is asking about."""
RATE_OVER = 30.0
"""Seconds over which the rate in `status` is taken."""


class _NotAskedError(Exception):
    """The request was not sent, because another one of the same call failed."""


class EndpointClient:
    """Asks an endpoint about pictures; thread-safe.

    Threads that ask for the same picture at the same time share one request. Clients of several processes share
    the ledger in their folder, and with it the budget, the rate and the answers.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        names: tuple[str, ...] | None,
        folder: Path,
        answers: Answers = "auto",
        headers: SecretHeaders | None = None,
    ) -> None:
        """Open the ledger in `folder` (see `ledger_folder`); nothing is sent yet.

        `names` is the class list, if there is one. `headers`: None reads them from the environment.

        Raises:
            ConfigError: a package, an environment variable or the ledger is missing or wrong, or `answer` is no
                JMESPath expression.
        """
        self.settings = settings
        self._headers = SecretHeaders.read(settings) if headers is None else headers
        self._reader = AnswerReader(settings, answers, names)
        self._http = EndpointHttp(settings, self._headers)
        form = settings.model_dump(include={"request", "field", "encoding", "answer", "version"})
        self._ledger = Ledger(
            folder, fingerprint(form), settings.budget, settings.requests_per_second
        )
        self._pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="endpoint")
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._flying: dict[str, Future[str]] = {}
        """The pictures that some thread is asking about, by digest."""
        self._recent: deque[tuple[float, int]] = deque()
        """When how many answers came, over the last `RATE_OVER` seconds."""
        self._began = time.monotonic()

    def ask(self, images_NCHW: Tensor) -> Tensor:
        """Score vectors float32 (N, K) of uint8 pictures (N, C, H, W); `kind` says what they are.

        Each picture is sent once, however often it is there or was asked for before.

        Raises:
            BudgetError: the budget does not suffice; all that fits it has been asked and kept.
            EndpointError: the service does not answer, or not as it should.
            ConfigError: its answers are not what the settings say.
        """
        images_NCHW = images_NCHW.detach().cpu()
        if images_NCHW.dtype != torch.uint8 or images_NCHW.dim() != 4:
            raise TypeError(
                f"pictures are uint8 (N, C, H, W), not {images_NCHW.dtype} {tuple(images_NCHW.shape)}"
            )
        order = [picture_digest(x_CHW) for x_CHW in images_NCHW]
        pictures = dict(zip(order, images_NCHW, strict=True))
        found = self._ledger.answers(list(pictures))
        while missing := {d: x for d, x in pictures.items() if d not in found}:
            found |= self._fetched(missing)
        with self._lock:
            vectors = {d: self._reader.vector(json.loads(text)) for d, text in found.items()}
        length = self._reader.length or 0
        return torch.tensor([vectors[d] for d in order], dtype=torch.float32).view(
            len(order), length
        )

    @property
    def kind(self) -> Kind | None:
        """What score vectors hold: all scores, the largest alone (`top_k`), or 1 at the label.

        None: `answers` is `auto`, and nothing was asked yet.
        """
        return self._reader.kind

    @property
    def spent(self) -> int:
        """Queries of all runs so far, those in flight included."""
        return self._ledger.spent

    @property
    def budget_left(self) -> int | None:
        """Queries that may still be made; None: there is no bound."""
        budget = self.settings.budget
        return None if budget is None else max(0, budget - self.spent)

    def status(self) -> str:
        """A line of progress: queries so far, of how many, and how many a second of late."""
        with self._lock:
            self._forget_old()
            over = min(RATE_OVER, max(1.0, time.monotonic() - self._began))
            rate = sum(count for _, count in self._recent) / over
        of = "" if self.settings.budget is None else f" of {self.settings.budget:,}"
        return f"queries: {self.spent:,}{of}, {rate:.1f} a second"

    def close(self) -> None:
        """End what waits, let what is in flight end, and close the ledger. A second call does nothing."""
        self._closing.set()
        self._pool.shutdown()
        self._http.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetched(self, missing: Mapping[str, Tensor]) -> dict[str, str]:
        """Answers to pictures that the ledger does not know; those that another call gave up on are missing."""
        stop, size = threading.Event(), self.settings.batch_size
        with self._lock:
            mine = [digest for digest in missing if digest not in self._flying]
            self._flying |= {digest: Future() for digest in mine}
            flights = {digest: self._flying[digest] for digest in missing}
        for first in range(0, len(mine), size):
            batch = {digest: missing[digest] for digest in mine[first : first + size]}
            try:
                self._pool.submit(self._fetch, batch, stop)
            except RuntimeError:
                # The client was closed meanwhile.
                self._fail(batch, _NotAskedError())
        found, errors = {}, list[Exception]()
        try:
            for digest, flight in flights.items():
                try:
                    found[digest] = flight.result()
                except _NotAskedError:
                    continue
                except Exception as error:
                    errors.append(error)
                    # What the budget allows is still asked; any other error would come again.
                    if not isinstance(error, BudgetError):
                        stop.set()
        except BaseException:
            stop.set()
            raise
        if errors:
            raise next((e for e in errors if not isinstance(e, BudgetError)), errors[0])
        if self._closing.is_set() and len(found) < len(missing):
            raise EndpointError(f"{self.settings.address}: the client was closed")
        return found

    def _fetch(self, batch: Mapping[str, Tensor], stop: threading.Event) -> None:
        """Get the answers to one request's pictures, from wherever they come, and settle their flights."""
        left, failures = dict(batch), 0
        try:
            while left:
                if stop.is_set() or self._closing.is_set():
                    raise _NotAskedError
                given = self._ledger.grant(list(left))
                self._land(left, given.answers)
                if given.send:
                    failures += self._attempt(left, given.send, given.at, failures)
                elif given.elsewhere:
                    self._closing.wait(LOOK)
                elif given.unaffordable:
                    raise BudgetError(
                        f"{self.settings.address}: the budget of {self.settings.budget:,} queries is spent "
                        f"(victim.endpoint.budget); {len(given.unaffordable)} or more pictures were not sent. "
                        "Everything answered so far is kept; with a larger budget, the audit continues from there"
                    )
        except BaseException as error:
            self._fail(left, error)

    def _attempt(
        self, left: dict[str, Tensor], digests: list[str], at: float, failures: int
    ) -> bool:
        """Send one request at its moment and settle what it answers; whether it failed and may be repeated."""
        if self._closing.wait(max(0.0, at - time.time())):
            self._ledger.give_up(digests, refund=True)
            raise _NotAskedError
        try:
            came = self._http.send({digest: left[digest] for digest in digests})
            answers = self._read(digests, came) if isinstance(came, str) else came
        except BaseException:
            self._ledger.give_up(digests, refund=False)
            raise
        if not isinstance(answers, Failure):
            self._ledger.keep(answers)
            with self._lock:
                self._recent.append((time.monotonic(), len(answers)))
                self._forget_old()
            self._land(left, answers)
            return False
        pause = answers.pause or 0.0
        self._ledger.give_up(digests, refund=answers.refund, pause=min(pause, LONGEST_PAUSE))
        again = "The answers so far are kept; run the same command again"
        if answers.final:
            raise EndpointError(f"{self.settings.address}: {answers.reason}")
        if failures >= self.settings.retries:
            raise EndpointError(
                f"{self.settings.address}: {answers.reason}, after {failures + 1} attempts. {again}, with fewer "
                "requests_per_second or more retries if that helps"
            )
        if pause > LONGEST_PAUSE:
            raise EndpointError(
                f"{self.settings.address}: {answers.reason}; it asks to wait for {pause:,.0f} s. {again} "
                "after that"
            )
        back_off = min(LONGEST_BACK_OFF, FIRST_PAUSE * 2**failures)
        self._closing.wait(back_off * random.uniform(0.5, 1.0))
        return True

    def _read(self, digests: list[str], body: str) -> dict[str, str] | Failure:
        """The entries of an answer as JSON by digest; a Failure if it is broken. Raises as `ask` does."""
        redacted = self._headers.redacted(body)
        try:
            value = json.loads(body)
            with self._lock:
                entries = self._reader.entries(value, len(digests))
            texts = [json.dumps(entry, separators=(",", ":")) for entry in entries]
        except (ConfigError, EndpointError) as error:
            if redacted == body:
                raise
            raise type(error)(
                "victim.endpoint.answer: does not find what `answers` and `classes` say; what came is not shown, "
                "because it repeats a header"
            ) from None
        except (ValueError, RecursionError):
            return Failure(f"its answer is not JSON, or was cut: {shown(redacted)}")
        return dict(zip(digests, texts, strict=True))

    def _land(self, left: dict[str, Tensor], answers: Mapping[str, str]) -> None:
        """Hand answers to whoever waits for them."""
        for digest, answer in answers.items():
            del left[digest]
            with self._lock:
                flight = self._flying.pop(digest)
            flight.set_result(answer)

    def _fail(self, left: Mapping[str, Tensor], error: BaseException) -> None:
        """Hand an error to whoever waits for these pictures."""
        for digest in left:
            with self._lock:
                flight = self._flying.pop(digest)
            flight.set_exception(error)

    def _forget_old(self) -> None:
        while self._recent and self._recent[0][0] < time.monotonic() - RATE_OVER:
            self._recent.popleft()


def check_endpoint(settings: EndpointSettings) -> None:
    """Raise the ConfigErrors of `EndpointClient` that the settings and the environment alone give rise to."""
    Expression(settings.answer)
    EndpointHttp(settings, SecretHeaders.read(settings)).close()


def picture_digest(x_CHW: Tensor) -> str:
    """The SHA-256 of a uint8 picture's shape (C, H, W) and pixels; it does not depend on an encoder's release."""
    shape = "x".join(map(str, x_CHW.shape))
    return hashlib.sha256(f"{shape}:".encode() + x_CHW.contiguous().numpy().tobytes()).hexdigest()
