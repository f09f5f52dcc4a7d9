"""The nodes of a database: each has an id in its state folder, and a row from its first start until `database forget`."""

from __future__ import annotations

import platform
import secrets
from dataclasses import dataclass
from pathlib import Path

from recognizer import __version__
from recognizer.core.disk import disk_errors
from recognizer.core.files import own_folder, write_durably
from recognizer.database.connection import Database

FILE = "node"
#: Seconds between two reports of a node that has nothing new to report.
REPORT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Node:
    """A row of the table `node`, and how many pieces of work the others gave it.

    Attributes
    ----------
    id, name, version : str
    seen : float
        When it was last in touch, in seconds since 1970.
    applied : int
        Number of the last change that its searches saw then.
    work : int
    url : str or None
        Where the others reach it.
    cameras : int
        How many cameras it reads.
    """

    id: str
    name: str
    version: str
    seen: float
    applied: int
    work: int
    url: str | None
    cameras: int


def own_id(state: Path) -> str:
    """The id of the node with this state folder; it is made at the first call.

    Raises
    ------
    StorageError
    """
    with disk_errors("the id of this node cannot be stored"):
        own_folder(state)
        path = state / FILE
        if not path.exists():
            write_durably(path, f"n-{secrets.token_hex(8)}\n".encode())
        return path.read_text("ascii").strip()


def report(database: Database, node: str, applied: int, url: str | None = None, reads_cameras: bool = False) -> None:
    """Note that a node is there, what its searches see, where the others reach it, and whether it reads cameras."""
    with database.transaction() as connection:
        connection.execute(
            "insert into node (id, name, version, applied, url, reads_cameras) values (%s, %s, %s, %s, %s, %s) "
            "on conflict (id) do update set name = excluded.name, version = excluded.version, seen = now(), "
            "applied = excluded.applied, url = excluded.url, reads_cameras = excluded.reads_cameras",
            (node, platform.node()[:100], __version__, applied, url, reads_cameras),
        )


def everyone(database: Database) -> list[Node]:
    """All nodes, by id."""
    rows = database.rows(
        "select id, name, version, extract(epoch from seen)::float8, applied, "
        "(select count(*) from node_work where node = node.id), url, "
        "(select count(*) from camera_lease where node = node.id and until > now()) from node order by id"
    )
    return [Node(*row) for row in rows]


def ids(database: Database) -> list[str]:
    """The ids of all nodes."""
    return [id for (id,) in database.rows("select id from node order by id")]


def forget(database: Database, node: str) -> bool:
    """Forget a node that will not come back, and the work that waits for it; whether there was one.

    What it stores for itself, such as events, has to be erased by hand.
    """
    return bool(database.rows("delete from node where id = %s returning id", [node]))
