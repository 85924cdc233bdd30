"""A worker that is killed for memory loses nothing: its item goes to another one. Ray is made up here."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError

from inversionlab.distributed import actor_pool
from inversionlab.distributed.actor_pool import TRIES, ActorPool
from tests.distributed.test_actor_pool import Listed

KILLED = (
    OutOfMemoryError("Task was killed due to the node running low on memory."),
    # The kernel's out-of-memory killer sends SIGKILL, of which Ray sees only that the process is gone.
    ActorDiedError(),
)


class FakeRay:
    """Answers at once; kills the worker of item 1 as often as it is told."""

    def __init__(self, error: Exception, kills: int) -> None:
        self.error, self.kills = error, kills
        self.started = 0
        self._answers: dict[int, Callable[[], Any]] = {}

    def start(self) -> Any:
        self.started += 1
        return SimpleNamespace(
            ready=SimpleNamespace(remote=lambda: self._answer(lambda: True)),
            run=SimpleNamespace(remote=lambda item: self._answer(lambda: self._run(item))),
        )

    def _answer(self, answer: Callable[[], Any]) -> int:
        self._answers[len(self._answers)] = answer
        return len(self._answers) - 1

    def _run(self, item: int) -> int:
        if item == 1 and self.kills:
            self.kills -= 1
            raise self.error
        return 10 * item

    def wait(self, refs: list[int], *, num_returns: int, timeout: float) -> Any:
        return refs[:1], refs[1:]

    def get(self, ref: int) -> Any:
        return self._answers[ref]()

    def kill(self, actor: Any) -> None:
        pass


@pytest.mark.parametrize("error", KILLED, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("kills", [1, TRIES - 1, TRIES])
def test_the_item_of_a_killed_worker_is_done_by_another(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kills: int
) -> None:
    fake = FakeRay(error, kills)
    monkeypatch.setattr(actor_pool, "ray", fake)
    done: dict[int, int] = {}
    source = Listed(range(4), done.__setitem__, 4)
    pool: ActorPool[int] = ActorPool(fake.start)
    going = True
    while going:
        pool.resize(2, source.waiting())
        going = pool.work(source, 0.2)
    assert fake.started > kills
    if kills < TRIES:
        assert done == {0: 0, 1: 10, 2: 20, 3: 30}
        assert not source.failures
    else:
        # One that no worker survives is given up, and said, so that the others are done.
        assert done == {0: 0, 2: 20, 3: 30}
        ((item, reason),) = [(f.item, f.reason) for f in source.failures]
        assert item == 1
        assert reason == f"its worker died {TRIES} times: {error}"
