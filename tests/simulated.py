"""Simulated time for asyncio: it passes only while everything waits, so a busy machine changes nothing.

Work in `Threads` takes as long as it calls `spend` for, and is done in the order in which it was submitted.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_spent: ContextVar[list[float]] = ContextVar("spent")


class _Selector(selectors.SelectSelector):
    """Instead of waiting for a time to come, it sets the clock to that time."""

    now = 1000.0

    def select(self, timeout: float | None = None):
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits, and nothing will happen"
            self.now += max(0.0, timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = _Selector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, in simulated time."""
    loop = _Loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def spend(seconds: float) -> None:
    """The work that calls this takes so much longer."""
    _spent.get().append(seconds)


class Threads(Executor):
    """So many threads in simulated time. For use inside `run`."""

    def __init__(self, count: int):
        self._idle, self._waiting = count, deque()

    def submit(self, work: Callable, /, *args, **named) -> Future:
        done: Future = Future()
        self._waiting.append((done, partial(work, *args, **named)))
        self._begin()
        return done

    def _begin(self) -> None:
        while self._idle and self._waiting:
            done, work = self._waiting.popleft()
            if not done.set_running_or_notify_cancel():
                continue
            self._idle -= 1
            token = _spent.set([])
            try:
                end = partial(done.set_result, work())
            except Exception as error:
                end = partial(done.set_exception, error)
            finally:
                seconds = sum(_spent.get())
                _spent.reset(token)
            asyncio.get_running_loop().call_later(seconds, self._end, end)

    def _end(self, end: Callable[[], None]) -> None:
        self._idle += 1
        end()
        self._begin()
