"""Lower CPU priority for background work: the only place that changes the priority of a thread or a process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar

#: Unix niceness of work whose results are watched, such as live video: below requests, above background work.
VIDEO = 5
#: Unix niceness of work that nobody waits for, such as encoding photos or processing strangers.
BACKGROUND = 10


def lower_thread_priority(niceness: int = BACKGROUND) -> None:
    """Lower the priority of the calling thread only.

    Only Linux has a priority per thread. Elsewhere the call would apply to the whole process, including requests, so it does
    nothing there.
    """
    if not os.path.exists("/proc/self/task"):
        return
    with contextlib.suppress(OSError):
        usual = os.getpriority(os.PRIO_PROCESS, os.getpid())  # of the main thread: a server that was started with `nice`
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, usual + niceness))


def lower_process_priority(niceness: int = BACKGROUND) -> None:
    """Lower the priority of the calling process, for worker processes. Does nothing on Windows, which has no niceness."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, niceness)


_GIVES_WAY: ContextVar[bool] = ContextVar("gives_way", default=False)


def gives_way() -> bool:
    """Whether this is work for which no request may wait."""
    return _GIVES_WAY.get()


@contextlib.contextmanager
def giving_way() -> Iterator[None]:
    """Within the block, inference stays on the calling thread, with its low priority, and takes no request's place."""
    before = _GIVES_WAY.set(True)
    try:
        yield
    finally:
        _GIVES_WAY.reset(before)
