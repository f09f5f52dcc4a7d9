"""Times as text: the only place that formats and parses ISO 8601, always in UTC and with ``Z`` at the end."""

from __future__ import annotations

import time as _clock
from datetime import datetime, timezone


def iso_time(seconds: float | None = None, timespec: str = "milliseconds") -> str:
    """A time as ISO 8601, such as ``2026-11-29T08:15:30.125Z``.

    Parameters
    ----------
    seconds : float, optional
        Seconds since 1970 (UTC); the current time by default.
    timespec : {"milliseconds", "seconds"}
        The smallest unit in the text.
    """
    moment = datetime.fromtimestamp(_clock.time() if seconds is None else seconds, timezone.utc)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_iso_time(text: str) -> datetime:
    """Parse a time in ISO 8601; the result is in UTC.

    A text without an offset is taken as UTC. Python itself accepts ``Z`` only since version 3.11.

    Raises
    ------
    ValueError
        The text is not a time.
    """
    end = text[-1:]
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if end in ("z", "Z") else text)
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def iso_seconds(text: str) -> float:
    """Parse a time in ISO 8601 into seconds since 1970; see `parse_iso_time`."""
    return parse_iso_time(text).timestamp()
