"""The threads on which all cameras' pictures are looked at: few, and of a lower priority than requests."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from recognizer.core.priorities import VIDEO, lower_thread_priority


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sensible(cores: int) -> int:
    """How many threads video takes of that many cores: half, so that requests find one."""
    return max(1, cores // 2)


class Workers(ThreadPoolExecutor):
    """Threads that take jobs in the order in which they come.

    A pipeline hands in one job at a time of each kind, so that the cameras which share these threads take turns.
    """

    def __init__(self, threads: int):
        super().__init__(threads, thread_name_prefix="video", initializer=lower_thread_priority, initargs=(VIDEO,))
        self.threads = threads
