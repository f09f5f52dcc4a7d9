"""Which node reads which camera: a lease that its node renews, and that another node takes once it has ended.

Times are those of the database's clock, so the clocks of the nodes do not matter.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from recognizer.database.connection import Database

#: Seconds after which a lease that was not renewed ends: how long a camera of a killed node is not read.
LEASE_SECONDS = 10.0
#: Seconds between two renewals, and after which a camera that is free is noticed.
RENEWAL_SECONDS = 1.0
#: Renewals after which a node takes a camera that is free although it has its share.
PATIENT_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Lease:
    """A camera's lease, which has not ended.

    Attributes
    ----------
    node : str
    url : str or None
        Where the node is reached; None if it does not say.
    state : dict or None
        How the node last saw the camera.
    """

    node: str
    url: str | None
    state: dict[str, Any] | None


class Leases:
    """The leases of one node. Safe from any thread.

    Parameters
    ----------
    database : Database
    node : str
        The node is in the table `node`.
    """

    def __init__(self, database: Database, node: str):
        self._database, self.node = database, node
        self._refused: dict[str, int] = {}  # by camera: rounds in which it was free and not taken

    def all(self) -> dict[str, Lease]:
        """Every lease that has not ended, by camera.

        Raises
        ------
        DatabaseAway, StorageError
        """
        rows = self._database.rows(
            "select camera, node, url, state from camera_lease join node on node.id = camera_lease.node where until > now()"
        )
        return {camera: Lease(*rest) for camera, *rest in rows}

    def take(self, camera: str) -> bool:
        """Take or renew the lease of a camera; False if another node has it.

        Raises
        ------
        DatabaseAway, StorageError
        """
        return camera in self._take([camera])

    def _take(self, cameras: Collection[str]) -> set[str]:
        rows = self._database.rows(
            "insert into camera_lease (camera, node, until) "
            "select each, %(node)s, now() + make_interval(secs => %(seconds)s) from unnest(%(cameras)s::text[]) each "
            "order by each "
            "on conflict (camera) do update set node = excluded.node, until = excluded.until, "
            "state = case when camera_lease.node = excluded.node then camera_lease.state end "
            "where camera_lease.node = excluded.node or camera_lease.until <= now() returning camera",
            {"node": self.node, "seconds": LEASE_SECONDS, "cameras": list(cameras)},
        )
        return {row[0] for row in rows}

    def keep(self, candidates: Collection[str], states: Mapping[str, dict[str, Any]]) -> None:
        """Renew the leases of this node, and take its share of the cameras that are free.

        The share is what each node would have if all nodes that read cameras had as many. A camera that stays free for
        `PATIENT_ROUNDS` calls is taken all the same.

        Parameters
        ----------
        candidates : collection of str
            Cameras that this node can read.
        states : mapping
            How each camera is that this node reads, for the others.

        Raises
        ------
        DatabaseAway, StorageError
        """
        held = self.all()
        mine = {camera for camera, lease in held.items() if lease.node == self.node}
        self.release(mine - set(candidates))
        mine &= set(candidates)
        free = sorted(set(candidates) - held.keys())
        others = {lease.node for lease in held.values()} | {self.node}
        share = -(-(len(held) + len(free)) // max(1, self._readers(others)))
        room = max(0, share - len(mine))
        self._refused = {camera: self._refused.get(camera, 0) + 1 for camera in free}
        wanted = set(free[:room]) | {camera for camera, rounds in self._refused.items() if rounds > PATIENT_ROUNDS}
        if mine or wanted:
            self._take(mine | wanted)
        if states:
            with self._database.transaction() as connection:
                connection.execute(
                    "update camera_lease set state = given.state from unnest(%s::text[], %s::jsonb[]) given(camera, state) "
                    "where camera_lease.camera = given.camera and node = %s",
                    (list(states), [json.dumps(state) for state in states.values()], self.node),
                )

    def _readers(self, at_least: Collection[str]) -> int:
        """How many nodes are there that read cameras: those that said so lately, and those with a lease."""
        rows = self._database.rows(
            "select id from node where reads_cameras and seen > now() - make_interval(secs => %s)", [3 * LEASE_SECONDS]
        )
        return len({row[0] for row in rows} | set(at_least))

    def release(self, cameras: Collection[str] | None = None) -> None:
        """Give up leases of this node, all by default, so that others need not wait for their end.

        Raises
        ------
        DatabaseAway, StorageError
        """
        if cameras is None or cameras:
            with self._database.transaction() as connection:
                connection.execute(
                    "delete from camera_lease where node = %s and (%s::text[] is null or camera = any(%s::text[]))",
                    (self.node, None if cameras is None else list(cameras), None if cameras is None else list(cameras)),
                )
