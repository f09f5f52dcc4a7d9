"""The same work on several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def at_once(work: Callable[[], Result], threads: int = 4) -> list[Result]:
    """What `work()` returns on each of so many threads, which begin together."""
    together = threading.Barrier(threads)

    def begin(_: int) -> Result:
        together.wait()
        return work()

    with ThreadPoolExecutor(threads) as executor:
        return list(executor.map(begin, range(threads)))
