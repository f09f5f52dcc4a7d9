"""How often somebody may ask. Counted in the memory of this process: with several, each counts for itself."""

from __future__ import annotations

import threading
import time

from .errors import RateLimited


class Rates:
    """Counters per rate and subject. Owns them; safe from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._limiter = None
        self._parsed: dict[str, object] = {}

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
        if rate == "off":
            return
        limiter, item = self._ready(rate)
        if not limiter.hit(item, *subject):
            seconds = max(1.0, limiter.get_window_stats(item, *subject).reset_time - time.time())
            raise RateLimited(f"too many requests: expected at most {rate}", seconds, limit=rate)

    def _ready(self, rate: str):
        with self._lock:
            if self._limiter is None:
                from limits.storage import MemoryStorage
                from limits.strategies import FixedWindowRateLimiter

                self._limiter = FixedWindowRateLimiter(MemoryStorage())
            if rate not in self._parsed:
                from limits import parse

                self._parsed[rate] = parse(rate)
            return self._limiter, self._parsed[rate]
