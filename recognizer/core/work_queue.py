"""A short queue whose items a thread works off: offering never waits, what finds no room is dropped and counted."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from recognizer.core.errors import StorageError
from recognizer.core.priorities import lower_thread_priority

log = logging.getLogger("recognizer.queues")

Item = TypeVar("Item")

#: Seconds between two calls of `idle` while nothing is offered.
TICK = 1.0


class WorkQueue(Generic[Item]):
    """The queue and its thread. An error with one item does not end the thread. Any thread may call.

    Parameters
    ----------
    name : str
        Of the thread.
    thing : str
        What an item is called in the log.
    most : int
        Maximum number of items that wait.
    take : callable
        Works off an item, on the thread.
    begin : callable, optional
        Called on the thread before the first item.
    idle : callable, optional
        Called on the thread after each item, and about once a second while there is none.
    offered : callable, optional
        What of an item is queued; called while nothing else is offered or taken.
    counts : sequence of str
        Further counts; ``offered``, ``dropped`` and ``failed`` are always there.
    """

    def __init__(
        self,
        name: str,
        thing: str,
        most: int,
        take: Callable[[Item], object],
        *,
        begin: Callable[[], object] = lambda: None,
        idle: Callable[[], object] = lambda: None,
        offered: Callable[[Item], Item] = lambda item: item,
        counts: Sequence[str] = (),
    ):
        self._thing, self._most, self._take, self._begin, self._idle, self._offered = thing, most, take, begin, idle, offered
        self._counts = dict.fromkeys(("offered", "dropped", *counts, "failed"), 0)
        self._items: deque[Item] = deque()
        self._wake = threading.Condition()
        self._working = self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Work items off from now on; nothing if that has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def offer(self, item: Item) -> bool:
        """Queue an item without waiting; returns whether there was room."""
        with self._wake:
            self._counts["offered"] += 1
            item = self._offered(item)
            if len(self._items) >= self._most or self._closing:
                self._counts["dropped"] += 1
                return False
            self._items.append(item)
            self._wake.notify_all()
            return True

    def count(self, what: str, number: int = 1) -> None:
        """Add to a count."""
        with self._wake:
            self._counts[what] += number

    def counts(self) -> dict[str, int]:
        """The counts since the start, and how many items wait or are worked on."""
        with self._wake:
            return {**self._counts, "waiting": len(self._items) + self._working}

    def waiting(self) -> list[Item]:
        """The items that wait, without the one that is worked on."""
        with self._wake:
            return list(self._items)

    def change(self, changed: Callable[[Item], Item | None], seconds: float = 0.0) -> None:
        """Put others in the place of the items that wait, or none, and wait so long for the one that is worked on."""
        with self._wake:
            self._items = deque(new for each in self._items if (new := changed(each)) is not None)
            self._wake.wait_for(lambda: not self._working, seconds)

    def close(self, seconds: float = 30.0) -> None:
        """Work off what waits, then end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        lower_thread_priority()
        self._guarded(self._begin)
        while True:
            with self._wake:
                if not self._items and not self._closing:
                    self._wake.wait(TICK)
                if not self._items and self._closing:
                    return
                taken = [self._items.popleft()] if self._items else []
                self._working = bool(taken)
            for item in taken:
                self._guarded(self._take, item)
            self._guarded(self._idle)
            with self._wake:
                self._working = False
                self._wake.notify_all()

    def _guarded(self, work: Callable[..., object], *args: Item) -> None:
        try:
            work(*args)
        except StorageError as error:
            self.count("failed")
            log.warning("a %s is lost: %s", self._thing, error.message)
        except Exception:
            self.count("failed")
            log.exception("a %s could not be processed", self._thing)
