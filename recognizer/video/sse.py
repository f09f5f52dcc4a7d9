"""Events as Server-Sent Events: what a browser's EventSource, or curl, reads for as long as it likes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from ..errors import InvalidParameter
from .event_hub import Events
from .events import KINDS

#: Seconds of silence after which a comment shows that the connection is alive, and a reader that is gone is noticed.
HEARTBEAT = 10.0
#: Seconds after which a browser connects again.
RETRY = 3.0


def selection(camera: str | None = None, subject: str | None = None, kinds: str | None = None) -> Callable[[dict], bool]:
    """Whether an event is wanted: of one camera, of one subject, of some kinds (separated by commas).

    Raises
    ------
    InvalidParameter
        There is no such kind.
    """
    chosen = None if kinds is None else {kind.strip() for kind in kinds.split(",") if kind.strip()}
    unknown = sorted((chosen or set()) - set(KINDS))
    if unknown:
        raise InvalidParameter(f"kind: there is no {unknown[0]!r}; there are {', '.join(KINDS)}")

    def wanted(event: dict) -> bool:
        return (
            (camera is None or event["camera"] == camera)
            and (subject is None or event["subject"] == subject)
            and (chosen is None or event["kind"] in chosen)
        )

    return wanted


def last_event_id(header: str | None, after: int | None) -> int | None:
    """Where to go on: after what a reader that comes back says it had last, or else where the URL says.

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


def stream(
    events: Events, after: int | None, wanted: Callable[[dict], bool], *, heartbeat: float = HEARTBEAT, pause: float = 1.0
) -> Iterator[bytes]:
    """The reply, piece by piece. Empty pieces, about one in `pause` seconds, let the server look whether it should end."""
    yield b"retry: %d\n\n" % (RETRY * 1000)
    said = time.monotonic()
    for item in events.follow(after, wanted, pause=pause):
        if isinstance(item, dict):
            said = time.monotonic()
            yield message(item)
        elif item is not None:
            yield b"event: missed\ndata: " + json.dumps({"missed": item}).encode() + b"\n\n"
        elif time.monotonic() - said >= heartbeat:
            said = time.monotonic()
            yield b": still here\n\n"
        else:
            yield b""


def message(event: dict) -> bytes:
    """One event; JSON has no line breaks of its own."""
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event['id']}\nevent: {event['kind']}\ndata: {data}\n\n".encode()
