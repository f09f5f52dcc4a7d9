"""How many requests are allowed in a time. Counted in the memory of this process: with several, each counts by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from recognizer.core.errors import RateLimited

#: Counters that are kept before those whose window is over are removed.
_MOST = 10_000


@dataclass
class _Window:
    """What was counted, and when the window ends."""

    ends: float
    count: int = 0


class Rates:
    """Counters per rate and subject, in windows that begin with the first request. Safe from several threads.

    Parameters
    ----------
    clock : callable, optional
        A monotonic clock, in seconds; changes of the machine's time do not affect it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, ...], _Window] = {}

    def hit(self, rate: str, *subject: str) -> None:
        """Count one request of a subject.

        Parameters
        ----------
        rate : str
            Such as ``"600/minute"``, or ``"off"``.
        subject : str
            What is counted together, for example ``"key"`` and its id.

        Raises
        ------
        RateLimited
            This one is too many.
        """
        self._use(rate, subject, 1)

    def check(self, rate: str, *subject: str) -> None:
        """Raise what `hit` would, without counting."""
        self._use(rate, subject, 0)

    def _use(self, rate: str, subject: tuple[str, ...], count: int) -> None:
        if rate == "off":
            return
        amount, seconds = _parsed(rate)
        now, name = self._clock(), (rate, *subject)
        with self._lock:
            window = self._windows.get(name)
            if window is None or window.ends <= now:
                if len(self._windows) >= _MOST:
                    self._windows = {key: each for key, each in self._windows.items() if each.ends > now}
                window = self._windows[name] = _Window(now + seconds)
            if window.count >= amount:
                raise RateLimited(f"too many requests: expected at most {rate}", max(1.0, window.ends - now), limit=rate)
            window.count += count


@lru_cache(maxsize=100)
def _parsed(rate: str) -> tuple[int, int]:
    """How many, and in how many seconds."""
    from limits import parse

    item = parse(rate)
    return item.amount, item.get_expiry()
