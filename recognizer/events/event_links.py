"""Which events are about one person: those with the name, and those that are linked to them."""

from __future__ import annotations

from collections.abc import Iterable

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
