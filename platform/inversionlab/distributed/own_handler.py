"""The handler for SIGTERM stays this process's own while Ray starts in it, and while Ray ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private import utils, worker


@contextmanager
def handler_kept() -> Iterator[None]:
    """Within the block, in which Ray starts, and when it ends, the handler that is there stays.

    Ray's in Python exits by an exception, which its compiled code swallows or takes for a fault: the process would
    go on, or abort. Its compiled handler prints frames and aborts. When that code ends it leaves none at all, and
    the processes of this Ray are ended only after it, for a second or more.
    """
    theirs = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs
        _put_back()
        _put_back_at_the_end(worker._global_node)


def _put_back() -> None:
    """Set Python's own handler again: Python does not know what compiled code has done to it."""
    before = signal.getsignal(signal.SIGTERM)
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _put_back_at_the_end(node: Any) -> None:
    """Do so before this process's Ray ends its other processes; `node` is None where Ray did not start."""
    if node is None:
        return
    end = node.kill_all_processes

    def ended(*args: Any, **options: Any) -> None:
        _put_back()
        end(*args, **options)

    node.kill_all_processes = ended
