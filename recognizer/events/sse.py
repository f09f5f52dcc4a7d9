"""Events as Server-Sent Events, an endless stream for a browser's EventSource or curl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator

from recognizer.core.errors import InvalidParameter
from recognizer.events.appearances import KINDS
from recognizer.events.event_files import seconds
from recognizer.events.event_hub import Events

#: Seconds of silence after which a comment shows that the connection is alive, and a lost reader is noticed.
HEARTBEAT = 10.0
#: Seconds after which a browser connects again.
RETRY = 3.0


def selection(
    camera: str | None = None,
    subject: str | None = None,
    kinds: str | None = None,
    since: float | None = None,
    until: float | None = None,
    zone: str | None = None,
) -> Callable[[dict], bool]:
    """Whether an event is wanted: of one camera, of one subject, of some kinds (separated by commas), of a time (seconds since
    1970, both included), of a zone by its name.

    Raises
    ------
    InvalidParameter
        There is no such kind.
    """
    chosen = None if kinds is None else {kind.strip() for kind in kinds.split(",") if kind.strip()}
    unknown = sorted((chosen or set()) - set(KINDS))
    if unknown:
        raise InvalidParameter(f"kind: there is no {unknown[0]!r}; there are {', '.join(KINDS)}")

    place = None if zone is None else " ".join(zone.split()).casefold()

    def wanted(event: dict) -> bool:
        return (
            (camera is None or event["camera"] == camera)
            and (subject is None or event["subject"] == subject)
            and (chosen is None or event["kind"] in chosen)
            and (since is None or seconds(event["time"]) >= since)
            and (until is None or seconds(event["time"]) <= until)
            and (place is None or place in map(str.casefold, event.get("zones") or ()))
        )

    return wanted


def last_event_id(header: str | None, after: int | None) -> int | None:
    """Where to continue: after the last event of a reader that reconnects, or else as the URL says.

    Raises
    ------
    InvalidParameter
    """
    if header is None or not header.strip():
        return after
    text = header.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InvalidParameter("Last-Event-ID: expected the id of an event")
    return int(text)


class EventReader:
    """One reader of events: a file-like object without end, as WSGI servers send it.

    Nothing queues for a reader: each piece is read from the log when the one before is sent.

    Parameters
    ----------
    events : Events
    after : int or None
        The last event that the reader had; None begins with new events.
    wanted : callable
    over : callable returning bool, optional
        Whether the reader is gone, or the server ends; called about once in `pause` seconds.
    """

    def __init__(
        self,
        events: Events,
        after: int | None,
        wanted: Callable[[dict], bool],
        over: Callable[[], bool] | None = None,
        *,
        heartbeat: float = HEARTBEAT,
        pause: float = 0.5,
    ):
        self._pieces = _pieces(events, after, wanted, over or (lambda: False), heartbeat, pause)

    def read(self, size: int = -1) -> bytes:
        """The next piece, whatever `size` is; nothing when the stream ends."""
        return next(self._pieces, b"")

    def close(self) -> None:
        self._pieces.close()


def _pieces(events: Events, after: int | None, wanted, over, heartbeat: float, pause: float) -> Generator[bytes, None, None]:
    yield b"retry: %d\n\n" % (RETRY * 1000)
    said = time.monotonic()
    for item in events.follow(after, wanted, pause=pause):
        if over():
            return
        if isinstance(item, dict):
            said = time.monotonic()
            yield message(item)
        elif item is not None:
            yield b"event: missed\ndata: " + json.dumps({"missed": item}).encode() + b"\n\n"
        elif time.monotonic() - said >= heartbeat:
            said = time.monotonic()
            yield b": still here\n\n"


def message(event: dict) -> bytes:
    """One event; JSON has no line breaks of its own."""
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event['id']}\nevent: {event['kind']}\ndata: {data}\n\n".encode()
