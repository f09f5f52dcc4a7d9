"""Who was there on which day, from the events: first and last seen, and for how long, at all cameras together."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from recognizer.core.times import iso_seconds
from recognizer.events.event_table import cell

#: Two stays with at most so many seconds between them count as one visit.
SAME_VISIT = 60.0
_COLUMNS = ("day", "subject", "first", "last", "seconds", "visits")


@dataclass(frozen=True, slots=True)
class DayPresence:
    """Somebody's presence on one day, on this machine's clock.

    Attributes
    ----------
    day : str
    subject : str
    first, last : str
        When the person was first and last seen on that day.
    seconds : float
        How long the person was seen; several cameras at once count once.
    visits : int
        Stays that are more than `SAME_VISIT` apart.
    """

    day: str
    subject: str
    first: str
    last: str
    seconds: float
    visits: int


def presence(
    events: Iterable[dict[str, Any]], now: float, since: str | None = None, until: str | None = None
) -> list[DayPresence]:
    """Presence by day and person, in this order, from events in the order of their ids.

    Parameters
    ----------
    events : iterable of dict
        `appeared` and `left` of enrolled people.
    now : float
        Seconds since 1970: until when those are present who did not leave.
    since, until : str, optional
        First and last day, both included.
    """
    here: dict[int, tuple[str, float]] = {}
    stays: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    def stayed(subject: str, first: float, last: float) -> None:
        for day, begin, end in _by_day(first, max(first, last)):
            if (since is None or day >= since) and (until is None or day <= until):
                stays[day, subject].append((begin, end))

    for event in events:
        if event["kind"] == "appeared" and event["subject"]:
            here[event["id"]] = event["subject"], iso_seconds(event.get("since") or event["time"])
        elif event["kind"] == "left":
            subject, first = here.pop(event.get("appearance", 0), (event["subject"], None))
            if not event["subject"] or subject is None:
                continue
            begin = first if first is not None else iso_seconds(event.get("since") or event["time"])
            seconds = event.get("seconds")
            stayed(event["subject"], begin, begin + seconds if seconds is not None else iso_seconds(event["time"]))
    for subject, first in here.values():
        stayed(subject, first, now)
    return [_day(day, subject, sorted(times)) for (day, subject), times in sorted(stays.items())]


def _day(day: str, subject: str, times: list[tuple[float, float]]) -> DayPresence:
    total, visits, reached = 0.0, 0, float("-inf")
    for begin, end in times:
        visits += begin > reached + SAME_VISIT
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return DayPresence(day, subject, _clock(times[0][0]), _clock(reached), round(total, 1), visits)


def _by_day(first: float, last: float) -> Iterable[tuple[str, float, float]]:
    """The parts of a stay by the day of this machine's clock."""
    begin = first
    while True:
        local = datetime.fromtimestamp(begin)
        midnight = datetime(local.year, local.month, local.day) + timedelta(days=1)
        end = min(last, midnight.timestamp())
        yield local.date().isoformat(), begin, end
        if last <= midnight.timestamp():
            return
        begin = midnight.timestamp()


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(timespec="seconds")


def as_csv(days: Iterable[DayPresence]) -> str:
    """A table for spreadsheets."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for each in days:
        writer.writerow((each.day, cell(each.subject), each.first, each.last, each.seconds, each.visits))
    return out.getvalue()
