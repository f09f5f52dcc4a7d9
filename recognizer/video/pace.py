"""How often a camera's pictures can be looked at: from what looking takes, and how quickly pictures come. Pure."""

from __future__ import annotations

import math

#: Of the time between two pictures, the share that looking at them may take: the rest is for what else has to be done.
SHARE = 0.8
#: Weight of the newest measurement in the running means.
NEWEST = 0.15
#: Pauses longer than this, in seconds, are not what a source usually takes from one picture to the next.
LONGEST = 1.0


class Pace:
    """Running means of the seconds between a source's pictures, and of those that looking at one takes, the wait for a
    thread included: so whoever shares the threads with many gets a slower pace."""

    def __init__(self):
        self.interval: float | None = None
        self.cost: float | None = None
        self._last: tuple[int, float] | None = None

    def came(self, number: int, time: float) -> None:
        """A picture came, with this number, at this time in seconds."""
        if self._last is not None and number > self._last[0] and time > self._last[1]:
            self.interval = _mean(self.interval, min(LONGEST, (time - self._last[1]) / (number - self._last[0])))
        self._last = number, time

    def took(self, seconds: float) -> None:
        """Looking at a picture took so long."""
        self.cost = _mean(self.cost, seconds)

    @property
    def budget(self) -> float:
        """Seconds for which a picture may wait for what is found in it without holding up the next."""
        return SHARE * (1 / 30 if self.interval is None else self.interval)

    @property
    def every(self) -> int:
        """Of how many pictures one can be looked at."""
        return 1 if self.cost is None else max(1, math.ceil(self.cost / self.budget - 1e-9))


def _mean(old: float | None, new: float) -> float:
    return new if old is None else (1 - NEWEST) * old + NEWEST * new
