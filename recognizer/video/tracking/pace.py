"""How often detection can run: from the time that it takes, and from the interval of the pictures. Pure."""

from __future__ import annotations

import math

#: The share of the time between two pictures that detection may take; the rest is for other work.
SHARE = 0.8
#: Weight of the newest measurement in the running means.
NEWEST = 0.15
#: Pauses longer than this, in seconds, do not count as intervals between pictures.
LONGEST = 1.0


class Pace:
    """Running means of the seconds between a source's pictures, and of those that detection takes, including the wait for
    a thread: a camera that shares the threads with many gets a slower pace."""

    def __init__(self):
        self.interval: float | None = None
        self.cost: float | None = None
        self._last: tuple[int, float] | None = None

    def came(self, number: int, time: float) -> None:
        """Note the arrival of a picture: its number, and its time in seconds."""
        if self._last is not None and number > self._last[0] and time > self._last[1]:
            self.interval = _mean(self.interval, min(LONGEST, (time - self._last[1]) / (number - self._last[0])))
        self._last = number, time

    def took(self, seconds: float) -> None:
        """Note how long detection took."""
        self.cost = _mean(self.cost, seconds)

    @property
    def budget(self) -> float:
        """Seconds for which a picture may wait for its detections without delaying the next."""
        return SHARE * (1 / 30 if self.interval is None else self.interval)

    @property
    def every(self) -> int:
        """Detection can run on one of so many pictures."""
        return 1 if self.cost is None else max(1, math.ceil(self.cost / self.budget - 1e-9))


def _mean(old: float | None, new: float) -> float:
    return new if old is None else (1 - NEWEST) * old + NEWEST * new
