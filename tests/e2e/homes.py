"""An installation in which somebody lives: people, a note, events, a camera, strangers and a changed setting."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from recognizer.events.event_log import EventLog

from .serving import Server

#: What a reply to an erasure counts, by place.
NOTHING_LEFT = dict.fromkeys(
    (
        "files",
        "templates",
        "bin",
        "cache_rows",
        "events",
        "present",
        "receivers",
        "waiting_pictures",
        "strangers",
        "visits",
        "archive",
        "jobs",
        "damaged_files",
        "rules",
        "names",
        "leftovers",
    ),
    0,
)
PICTURE = b"\xff\xd8\xff\xe0 a picture \xff\xd9"


def cli(server: Server, *args: str, fails: int = 0, **settings) -> dict:
    """What a command answers, on the files of a server."""
    done = server.cli("--json", *args, **settings)
    assert done.exit_code == fails, done.output
    return json.loads(done.stdout) if done.stdout.strip() else {}


def bytes_by_file(*folders: Path) -> dict[str, bytes]:
    """The relative path and content, one after the other, of all files and folders below folders, by that path."""
    held = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            held[str(name)] = os.fsencode(name)
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                if path.is_file():
                    held[str(name)] += b"\n" + path.read_bytes()
    return held


def every_byte(*folders: Path) -> bytes:
    """The names and contents of all files below folders."""
    return b"\n".join(bytes_by_file(*folders).values())


def event(kind: str = "appeared", subject: str | None = "Ada", days_ago: float = 0, **more) -> dict:
    when = (datetime.now(timezone.utc) - timedelta(days=days_ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": 0, "kind": kind, "camera": "door", "time": when, "subject": subject, "track": 1, "thumbnail": None, **more}


def happened(server: Server, events: list[dict], pictures: list[bytes]) -> int:
    """Have these events been written before the server starts; the id of the last one."""
    log = EventLog(server.state / "events")
    last = log.append(events, pictures)
    log.close()
    return last


def answers(server: Server, faces: dict[str, bytes]) -> list:
    """What a server says about some photos, but for how long that took."""
    found = []
    for name in ("obama2", "biden", "trio", "collins"):
        reply = server.post("/recognize?top_k=5&landmarks=68", data=faces[name]).json()
        found.append([reply["image"], reply["faces"]])
    return found


def people(server: Server) -> dict:
    return {name: {**each, "thumbnail": None} for name, each in server.people().items()}


class Inhabited:
    """A stopped server's folders, to be copied, and what it answered while it ran."""

    def __init__(self, server: Server, faces: dict[str, bytes]):
        self.server = server
        happened(server, [event(subject="Barack")], [PICTURE])
        with server:
            server.enroll("Barack", faces["obama"], faces["obama3"])
            server.put("Joe/dropped.jpg", faces["biden"])
            server.put("Nobody/empty room.jpg", faces["nobody"])
            server.wait_for(lambda: set(server.people()) == {"Barack", "Joe", "Nobody"})
            server.request("PATCH", "/people/Joe", data={"consent": "QUUXNOTE", "expires": "2090-01-01"})
            server.post("/cameras", data={"source": "test:", "name": "yard"})
            server.request("PATCH", "/settings", data={"stranger_rate": 0.02})
            self.answers, self.people = answers(server, faces), people(server)
            server.wait_for(lambda: server.get("/strangers").json()["total"] == 1)
            server.wait_for(lambda: server.get("/health").json()["strangers"]["waiting"] == 0)
            self.strangers = server.get("/strangers").json()["strangers"]


@pytest.fixture(scope="session")
def inhabited(tmp_path_factory, faces) -> Inhabited:
    return Inhabited(Server(tmp_path_factory.mktemp("inhabited"), strangers="all"), faces)


@pytest.fixture
def home(inhabited, tmp_path) -> Iterator[Server]:
    """A server of its own with all that, not started; what runs at the end is stopped."""
    server = inhabited.server.copy(tmp_path / "home")
    yield server
    server.__exit__()
