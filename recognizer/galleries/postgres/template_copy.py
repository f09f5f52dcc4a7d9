"""A node's copy in memory of the templates in the database, by group.

The database is the truth. Whatever changes it, here or on another node, notes the change in the table `change`; every node
reads the changes in their order and brings its copy in step with what the database holds *now* about the subjects and groups
concerned. So it does not matter how often, or how late, a change is read: the copies end alike.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recognizer.core.errors import DatabaseAway, NotCaughtUp, RecognizerError, StorageError
from recognizer.core.types import Embedding, Template
from recognizer.core.vault import Vault
from recognizer.database.connection import Database
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.postgres.owners import Owners
from recognizer.galleries.postgres.snapshot import (
    PER_FILE,
    GroupRow,
    Snapshot,
    SnapshotRows,
    SnapshotState,
    SnapshotSubject,
    age_hours,
)
from recognizer.galleries.postgres.template_rows import TemplateRows

if TYPE_CHECKING:
    from psycopg import Connection

log = logging.getLogger(__name__)

#: Changes that are read at once.
BATCH = 1000
_STAMP = "select extract(epoch from at)::text from change"
#: Days for which changes are stored; a node that was away for longer reads everything anew.
KEPT_DAYS = 7.0


class TemplateCopy:
    """The templates of all groups, each in a gallery in memory, and the list of groups. Safe from any thread.

    Parameters
    ----------
    database : Database
        Its tables are current; see `schema.require_current`.
    engine : str
    dim : int
    vault : Vault, optional
        Encrypts the templates in the database.

    Attributes
    ----------
    applied : int
        Number of the last change that searches see.
    groups : dict of int to GroupRow
        Every group, by its number; replaced, never changed.
    """

    def __init__(self, database: Database, engine: str, dim: int, vault: Vault | None = None):
        self.engine, self.dim = engine, dim
        self.rows = TemplateRows(engine, dim, vault)
        self.applied = -1
        self.groups: dict[int, GroupRow] = {}
        self._database = database
        self._memories: dict[int, MemoryGallery] = {}  # by group; none for a group without templates
        self._empty = MemoryGallery(engine, dim)
        self._generations: dict[int, int] = {}  # of the galleries of a group before this one
        self._names = Owners()  # every subject that has templates here
        self._ends: dict[int, float] = {}  # when the consent of such a subject ends, in seconds since 1970
        self._applying = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._unsaved: set[int] = set()  # files of the snapshot that are behind memory
        self._saving = threading.Lock()
        self._progress = threading.Condition()

    # -- what searches see --------------------------------------------------------------------------------------

    def memory(self, group: int) -> MemoryGallery:
        """The templates of a group, to be searched and not to be changed."""
        return self._memories.get(group, self._empty)

    def generation(self, group: int) -> int:
        """Increases with every change of a group's templates."""
        return self._generations.get(group, 0) + self.memory(group).generation

    def _own_memory(self, group: int) -> MemoryGallery:
        """The templates of a group, to be changed; the caller holds the lock."""
        if group not in self._memories:
            self._memories[group] = MemoryGallery(self.engine, self.dim)
        return self._memories[group]

    def _replace_memories(self, memories: dict[int, MemoryGallery]) -> None:
        """Search others from now on, in one step."""
        for group, memory in self._memories.items():
            self._generations[group] = self._generations.get(group, 0) + memory.generation + 1
        self._memories = memories

    def _read_groups(self, connection: Connection[Any]) -> None:
        """Read the list of groups, and drop the templates of those that are gone."""
        rows = connection.execute("select id, name, identity from people_group").fetchall()
        self.groups = {number: GroupRow(number, name, identity) for number, name, identity in rows}
        for gone in self._memories.keys() - self.groups.keys():
            self._generations[gone] = self.generation(gone) + 1
            del self._memories[gone]

    # -- following the database ---------------------------------------------------------------------------------

    def load(self) -> None:
        """Read everything; searches see it on return.

        Raises
        ------
        DatabaseAway, StorageError
        """
        with self._applying:
            self._load()

    def _load(self) -> None:
        with self._database.transaction() as connection, self._database.errors():
            connection.execute("set transaction isolation level repeatable read")
            last = connection.execute("select coalesce(max(seq), 0) from change").fetchone()
            assert last is not None  # an aggregate has a row
            found = self.rows.all(connection)
            self._read_groups(connection)
            ends = connection.execute("select id, extract(epoch from ends) from subject where ends is not null").fetchall()
        self._names = Owners(dict(zip(found.subjects, zip(found.groups, found.names, strict=True), strict=True)))
        self._ends = {number: float(end) for number, end in ends if number in self._names}
        self._replace_memories(self._sorted_by_group(found.vectors, found.owners, found.groups, found.names, found.photos))
        self._advance(last[0])
        try:
            if self._snapshot is not None and self._snapshot.own():
                self._snapshot.clear()  # it may be of another database
        except StorageError as error:
            log.warning("no snapshot is stored: %s", error.message)
            self._snapshot = None
        self._unsaved = {number // PER_FILE for number in self._names}

    def _sorted_by_group(
        self, vectors: np.ndarray, owners: np.ndarray, groups: Sequence[int], names: Sequence[str], photos: Sequence[str]
    ) -> dict[int, MemoryGallery]:
        """A gallery for each group that has templates. `owners` are indices of `groups` and `names`."""
        made: dict[int, MemoryGallery] = {}
        if not len(owners):
            return made
        of_rows = np.asarray(groups, np.int64)[owners]
        order = np.argsort(of_rows, kind="stable")
        present, begins = np.unique(of_rows[order], return_index=True)
        for group, begin, end in zip(present.tolist(), begins, [*begins[1:], len(order)], strict=True):
            alone = len(present) == 1  # then nothing is copied
            rows = slice(None) if alone else order[begin:end]
            used, own = np.unique(owners[rows], return_inverse=True)  # only those who have a template
            made[group] = MemoryGallery(self.engine, self.dim)
            held = photos if alone else [photos[row] for row in order[begin:end]]
            made[group].load(vectors[rows], own, [names[owner] for owner in used], held)
        return made

    def catch_up(self) -> bool:
        """Read the changes that others committed since; whether there were any.

        Raises
        ------
        DatabaseAway, StorageError
        """
        changed = False
        with self._applying:
            if self.applied < 0 and not self._load_snapshot():
                self._load()
                return True
            while True:
                with self._database.transaction() as connection, self._database.errors():
                    rows = connection.execute(
                        "select seq, kind, subject, photo, other from change where seq > %s order by seq limit %s",
                        (self.applied, BATCH),
                    ).fetchall()
                    if not rows:
                        break
                    self._apply(connection, rows)
                self._advance(rows[-1][0])
                changed = True
                if len(rows) < BATCH:
                    break
        self.expire()
        return changed

    def reload_if_behind(self) -> None:
        """Read everything anew if changes that this node has not read were pruned meanwhile."""
        if self.applied >= 0 and self._database.rows("select pruned from installation where pruned > %s", [self.applied]):
            self.load()

    def prune(self, days: float = KEPT_DAYS) -> int:
        """Delete old changes, which every node has read that is there; how many were deleted.

        The newest one stays: snapshots are compared with it.
        """
        with self._database.write() as changes:
            rows = changes.connection.execute(
                "with gone as (delete from change where at < now() - make_interval(secs => %s) "
                "and seq < (select max(seq) from change) returning seq), "
                "noted as (update installation set pruned = greatest(pruned, (select max(seq) from gone)) "
                "where exists (select 1 from gone)) select count(*) from gone",
                [days * 86_400],
            ).fetchone()
        assert rows is not None  # an aggregate has a row
        return int(rows[0])

    def _advance(self, seq: int) -> None:
        with self._progress:
            self.applied = seq
            self._progress.notify_all()

    def wait_for(self, seq: int, seconds: float) -> None:
        """Wait until searches see the change with this number.

        Raises
        ------
        NotCaughtUp
        """
        with self._progress:
            if not self._progress.wait_for(lambda: self.applied >= seq, seconds):
                raise NotCaughtUp(f"this node has the changes up to {self.applied}, not {seq} yet; try again shortly")

    def expire(self) -> None:
        """Forget the templates of subjects whose consent has ended."""
        now = time.time()
        for number in [number for number, end in list(self._ends.items()) if end <= now]:
            with self._applying:
                if self._ends.get(number, now + 1) <= now:
                    self._drop(number)

    def next_expiry(self) -> float | None:
        """When the next consent ends, in seconds since 1970."""
        return min(self._ends.values(), default=None)

    # -- the snapshot -------------------------------------------------------------------------------------------

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Store a copy with `save` from now on; call it before anything is loaded."""
        self._snapshot = snapshot

    def start_from_snapshot(self, most_hours: float) -> SnapshotState | None:
        """Load the snapshot without the database, unless it is older than that; what it says, or None."""
        state = None if self._snapshot is None else self._snapshot.state()
        if state is None or age_hours(state) > most_hours:
            return None
        with self._applying:
            return state if self._fill(state) else None

    def _load_snapshot(self) -> bool:
        """Load the snapshot if it is of this database and the changes since are there; the caller holds the lock."""
        state = None if self._snapshot is None else self._snapshot.state()
        if state is None:
            return False
        found = self._database.rows(f"{_STAMP} where seq = %s and seq >= (select pruned from installation)", [state.seq])
        return bool(found) and found[0][0] == state.stamp and self._fill(state)

    def _fill(self, state: SnapshotState) -> bool:
        assert self._snapshot is not None  # the state is its
        names: dict[int, tuple[int, str]] = {}
        ends: dict[int, float] = {}
        fresh: dict[int, MemoryGallery] = {}
        now, ended = time.time(), set()
        try:
            for key in self._snapshot.keys():
                rows = self._snapshot.get(key)
                owners = np.repeat(np.arange(len(rows.subjects)), [each.rows for each in rows.subjects])
                groups = np.array([each.group for each in rows.subjects])[owners]
                for group in np.unique(groups).tolist():
                    if group not in fresh:
                        fresh[group] = MemoryGallery(self.engine, self.dim)
                    mine = np.flatnonzero(groups == group)
                    used, own = np.unique(owners[mine], return_inverse=True)
                    held = [rows.subjects[owner].name for owner in used]
                    fresh[group].load(rows.vectors[mine], own, held, [rows.photos[row] for row in mine])
                for each in rows.subjects:
                    names[each.number] = each.group, each.name
                    if each.ends is not None:
                        ends[each.number] = each.ends
                        if each.ends <= now:
                            ended.add(each.number)
        except (ValueError, RecognizerError) as error:
            log.warning("the snapshot cannot be used: %s", error)
            return False
        self._replace_memories(fresh)
        self._names, self._ends, self._unsaved = Owners(names), ends, set()
        self.groups = {each.number: each for each in state.groups}
        for number in ended:
            self._drop(number)
        self._advance(state.seq)
        return True

    def save(self, forced: Collection[tuple[int, str]] = ()) -> bool:
        """Bring the snapshot in step with memory; False if another process writes it, or the database is away.

        Parameters
        ----------
        forced : collection of (int, str)
            Group and photo of those whose enrolment was forced.

        Raises
        ------
        StorageError
        """
        snapshot = self._snapshot
        if snapshot is None or self.applied < 0:
            return False
        with self._saving:
            if not snapshot.own():
                return False
            with self._applying:
                seq, waiting, self._unsaved = self.applied, self._unsaved, set()
                groups = list(self.groups.values())
            try:
                while waiting:
                    key = waiting.pop()
                    try:
                        with self._applying:
                            rows = self._rows_of(key)
                        snapshot.put(key, rows)
                    except BaseException:
                        waiting.add(key)
                        raise
                stamp = self._database.rows(f"{_STAMP} where seq = %s", [seq])
            except DatabaseAway:
                return False
            finally:
                with self._applying:
                    self._unsaved |= waiting
            if stamp:
                snapshot.write_state(SnapshotState(seq, stamp[0][0], time.time(), sorted(forced), groups))
            return True

    @property
    def unsaved(self) -> int:
        """How many files of the snapshot are behind memory."""
        return len(self._unsaved)

    def _rows_of(self, key: int) -> SnapshotRows:
        subjects: list[SnapshotSubject] = []
        photos: list[str] = []
        vectors: list[np.ndarray] = []
        for number in range(key * PER_FILE, (key + 1) * PER_FILE):
            group, name = self._names.get(number) or (0, None)
            held = [] if name is None else self.memory(group).templates(name)
            if name is not None and held:
                subjects.append(SnapshotSubject(number, group, name, self._ends.get(number), len(held)))
                photos += [each.photo for each in held]
                vectors += [each.embedding.vector for each in held]
        return SnapshotRows(subjects, photos, np.array(vectors, np.float32).reshape(-1, self.dim))

    def stale(self, group: int, name: str, photos: Collection[str]) -> int:
        """How many rows of a subject of a group, or of photos, the snapshot has that searches do not see any longer.

        Raises
        ------
        StorageError
        """
        if self._snapshot is None:
            return 0
        held: dict[tuple[int, str], set[str]] = {}
        count = 0
        for owner, photo in self._snapshot.rows_about(group, name, photos):
            if owner not in held:
                held[owner] = {each.photo for each in self.memory(owner[0]).templates(owner[1])}
            count += photo not in held[owner]
        return count

    # -- applying changes; the caller holds the lock ---------------------------------------------------------------

    def _apply(self, connection: Connection[Any], rows: Sequence[tuple[int, str, int, str | None, int | None]]) -> None:
        whole: set[int] = set()
        photos: dict[tuple[int, str], None] = {}  # in the order of the changes
        for _, kind, subject, photo, other in rows:
            if kind == "group":  # read below
                continue
            if kind == "photo" and photo is not None:
                photos[subject, photo] = None
            elif kind == "merge" and other is not None:
                self._merge(subject, other)
                whole |= {subject, other}
            else:
                whole.add(subject)
        touched = list(whole | {subject for subject, _ in photos})
        found = connection.execute(
            "select id, people_group, name, extract(epoch from ends) from subject where id = any(%s)", [touched]
        ).fetchall()
        there = {number: (group, name) for number, group, name, _ in found}
        whole |= self._rename(there)
        for number in touched:
            if number not in there:
                self._drop(number)
        vectors = self.rows.of_photos(connection, [pair for pair in photos if pair[0] in there and pair[0] not in whole])
        everything = self.rows.of_subjects(connection, [number for number in whole if number in there])
        added = [(there[pair[0]], pair[1], vectors[pair]) for pair in photos if pair in vectors]
        removed = [(number, photo) for number, photo in photos if number in there and number not in whole]
        gone = [(there[number], photo) for number, photo in removed if (number, photo) not in vectors]
        for number in whole & there.keys():
            more, less = self._difference(there[number], everything.get(number, {}))
            added += more
            gone += less
        for group in dict.fromkeys(owner[0] for owner, _, _ in added):
            mine = [(owner[1], photo, vector) for owner, photo, vector in added if owner[0] == group]
            self._own_memory(group).add([Template(name, photo, Embedding(vector, self.engine)) for name, photo, vector in mine])
        for (group, name), photo in gone:
            self._own_memory(group).remove(name, photo)
        self._unsaved |= {number // PER_FILE for number in touched}
        for number, owner in there.items():
            self._names.set(number, owner)
        for number, _, _, ends in found:
            if ends is None:
                self._ends.pop(number, None)
            elif float(ends) > time.time():
                self._ends[number] = float(ends)
        if any(row[1] == "group" for row in rows):
            self._read_groups(connection)

    def _difference(
        self, owner: tuple[int, str], wanted: dict[str, np.ndarray]
    ) -> tuple[list[tuple[tuple[int, str], str, np.ndarray]], list[tuple[tuple[int, str], str]]]:
        """What is missing in memory of a subject, and the photos that are too many."""
        held = {each.photo: each.embedding.vector for each in self.memory(owner[0]).templates(owner[1])}
        more = [
            (owner, photo, vector)
            for photo, vector in wanted.items()
            if photo not in held or not np.array_equal(held[photo], vector)
        ]
        return more, [(owner, photo) for photo in held if photo not in wanted]

    def _merge(self, subject: int, other: int) -> None:
        owner, into = self._names.pop(subject), self._names.get(other)
        self._ends.pop(subject, None)
        if owner is not None and into is not None:  # of one group
            self._own_memory(owner[0]).rename(owner[1], into[1])
        elif owner is not None:  # what it was merged into is not known here yet, and is read as a whole
            self._own_memory(owner[0]).remove(owner[1])

    def _rename(self, now: dict[int, tuple[int, str]]) -> set[int]:
        """Give subjects their new names; the numbers of those that have to be read as a whole."""
        again: set[int] = set()
        for number, (group, name) in now.items():
            old, other = self._names.get(number), self._names.number((group, name))
            if old is None or old == (group, name):
                continue
            if other is None or other == number:
                self._own_memory(group).rename(old[1], name)
            else:  # somebody else had this name a moment ago, and is gone or has another one now
                again.add(number)
                self._own_memory(group).remove(old[1])
                if now.get(other) != (group, name):
                    again.add(other)
                    self._own_memory(group).remove(name)
            self._names.set(number, (group, name))
        return again & now.keys()

    def _drop(self, number: int) -> None:
        """Forget a subject's templates, unless somebody else has the name by now."""
        self._unsaved.add(number // PER_FILE)
        owner = self._names.pop(number)
        self._ends.pop(number, None)
        if owner is not None and self._names.number(owner) is None:
            self._own_memory(owner[0]).remove(owner[1])
