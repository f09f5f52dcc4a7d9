"""Imported by every Python that `make check CLOCK=...` starts: sleeping works although the clock is ahead.

libfaketime 0.9.10 subtracts the time by which the clock is ahead from every absolute time that somebody sleeps until, also on a
clock that it leaves alone. From Python 3.11 on, `time.sleep` sleeps until an absolute time of the monotonic clock; what is left
of it is negative, and an error.
"""

import select
import time


def sleep(seconds: float) -> None:
    """What `time.sleep` does, by a wait that has a length instead of an end."""
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


time.sleep = sleep
