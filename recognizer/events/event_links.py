"""Which events are about one person: those with the name, and those that are linked to them; and when the person was there."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from recognizer.events.event_files import seconds

#: Fields of an event that contain the id of another event of the same person.
LINKS = ("replaces", "appearance", "same_as")


def about(subject: str, events: Iterable[dict], also: Iterable[int] = ()) -> set[int]:
    """The ids of all events about a person.

    An event about somebody unknown is about the person, too, if it turned out to show that person, or if it reports the same
    face, followed from the same moment on, as an event with the person's name.

    Parameters
    ----------
    events : iterable of dict
        All events of the log.
    also : iterable of int
        Ids of events that are known to be about the person.
    """
    found: set[int] = set()
    neighbours: dict[int, list[int]] = {}
    waiting = list(also)
    named: set[tuple] = set()
    nameless: dict[tuple, list[int]] = {}
    for event in events:
        track = (event.get("camera"), event.get("track"), event.get("since"))
        if event.get("subject") == subject:
            waiting.append(event["id"])
            named.add(track)
        elif event.get("subject") is None and None not in track:
            nameless.setdefault(track, []).append(event["id"])
        for name in LINKS:
            other = event.get(name)
            if isinstance(other, int):
                neighbours.setdefault(event["id"], []).append(other)
                neighbours.setdefault(other, []).append(event["id"])
    waiting += [number for track in named for number in nameless.get(track, ())]
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += neighbours.get(number, ())
    return found


def stays(theirs: Collection[int], events: Collection[dict]) -> dict[str, list[tuple[float, float]]]:
    """When the people of some events were at each camera: begin and end in seconds since 1970, infinite if they did not leave.

    Parameters
    ----------
    theirs : collection of int
        Ids of the events.
    events : collection of dict
        All events of the log.
    """
    ends = {event["appearance"]: seconds(event.get("time")) for event in events if _ends(event)}
    follows = {event["replaces"]: event["id"] for event in events if event.get("replaces")}
    found: dict[str, list[tuple[float, float]]] = {}
    for event in events:
        if event["id"] not in theirs or event.get("kind") not in ("appeared", "unknown", "left"):
            continue
        begin, end = seconds(event.get("since") or event.get("time")), seconds(event.get("time"))
        if event["kind"] != "left":
            number = event["id"]
            while number in follows and number not in ends:
                number = follows.pop(number)
            end = ends.get(number, float("inf"))
        found.setdefault(event["camera"], []).append((begin, end))
    return found


def _ends(event: dict) -> bool:
    """Whether an event ends the visit that another one began; whoever enters a zone stays."""
    return bool(event.get("appearance")) and event.get("kind") != "entered"
