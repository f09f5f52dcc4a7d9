"""A bounded pool for inference: so many at work, so many waiting, and the next is turned away at once."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .errors import Busy

Result = TypeVar("Result")


class Pool:
    """Threads that do the work of requests.

    Owns its threads and the count of what waits.

    Parameters
    ----------
    workers : int
        Calls that run at once.
    queue : int
        Calls that may wait beyond those.
    """

    def __init__(self, workers: int, queue: int):
        self.workers, self.queue = workers, queue
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="inference")
        self._places = threading.BoundedSemaphore(workers + queue)
        self._lock = threading.Lock()
        self._inside = 0
        self.refused = 0

    @property
    def inside(self) -> int:
        """Calls that run or wait now."""
        return self._inside

    def run(self, work: Callable[..., Result], *args, **kwargs) -> tuple[Result, float]:
        """Do `work` on a pool thread and wait for it; its result, and the seconds that it waited for its turn.

        Raises
        ------
        Busy
            The queue is full.
        """
        if not self._places.acquire(blocking=False):
            with self._lock:
                self.refused += 1
            raise Busy(f"{self.workers + self.queue} photos are being worked on or waiting already; try again shortly")
        entered = time.perf_counter()
        with self._lock:
            self._inside += 1

        def timed():
            return time.perf_counter() - entered, work(*args, **kwargs)

        try:
            # the logs of the work name the request that it is for
            context = contextvars.copy_context()
            waited, result = self._executor.submit(context.run, timed).result()
            return result, waited
        finally:
            with self._lock:
                self._inside -= 1
            self._places.release()

    def close(self) -> None:
        """Finish what runs and end the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)
