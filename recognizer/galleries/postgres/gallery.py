"""A gallery whose templates are in PostgreSQL and are searched in a copy in memory.

The database is the truth. Whatever changes it, here or on another node, notes the change in the table `change`; every node
reads the changes in their order and brings its copy in step with what the database holds *now* about the subjects concerned. So
it does not matter how often, or how late, a change is read: the copies end alike.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recognizer.core import names
from recognizer.core.errors import DatabaseAway, EngineMismatch, NotCaughtUp, RecognizerError, StorageError
from recognizer.core.types import Candidate, Embedding, Template
from recognizer.core.vault import Vault
from recognizer.database.connection import ChangeWriter, Database
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.postgres.snapshot import PER_FILE, Snapshot, SnapshotRows, SnapshotState, age_hours
from recognizer.galleries.postgres.template_rows import TemplateRows

if TYPE_CHECKING:
    from psycopg import Connection

log = logging.getLogger(__name__)

#: Changes that are read at once.
BATCH = 1000
_STAMP = "select extract(epoch from at)::text from change"
#: Days for which changes are stored; a node that was away for longer reads everything anew.
KEPT_DAYS = 7.0
#: More changed photos of one subject in one call are noted as a change of the whole subject.
MANY_PHOTOS = 50


class PostgresGallery:
    """A gallery in a database, searched in memory; see `contract.Gallery`. What returns is committed, and found by searches.

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
    """

    def __init__(self, database: Database, engine: str, dim: int, vault: Vault | None = None):
        self.engine, self.dim = engine, dim
        self.rows = TemplateRows(engine, dim, vault)
        self.applied = -1
        self._database = database
        self._memory = MemoryGallery(engine, dim)
        self._generations = 0  # of the copies in memory before this one
        self._names: dict[int, str] = {}  # of every subject that has templates here
        self._ends: dict[int, float] = {}  # when the consent of such a subject ends, in seconds since 1970
        self._applying = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._unsaved: set[int] = set()  # files of the snapshot that are behind memory
        self._saving = threading.Lock()
        self._progress = threading.Condition()

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
            ends = connection.execute("select id, extract(epoch from ends) from subject where ends is not null").fetchall()
        self._names = dict(zip(found.subjects, found.names, strict=True))
        self._ends = {number: float(end) for number, end in ends if number in self._names}
        used, owners = np.unique(found.owners, return_inverse=True)  # only those who have a template
        fresh = MemoryGallery(self.engine, self.dim)
        fresh.load(found.vectors, owners, [found.names[owner] for owner in used], found.photos)
        self._generations += self._memory.generation + 1
        self._memory = fresh  # in one step for searches
        self._advance(last[0])
        try:
            if self._snapshot is not None and self._snapshot.own():
                self._snapshot.clear()  # it may be of another database
        except StorageError as error:
            log.warning("no snapshot is stored: %s", error.message)
            self._snapshot = None
        self._unsaved = {number // PER_FILE for number in self._names}

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
        names: dict[int, str] = {}
        ends: dict[int, float] = {}
        fresh, now, ended = MemoryGallery(self.engine, self.dim), time.time(), set()
        try:
            for key in self._snapshot.keys():
                rows = self._snapshot.get(key)
                owners = np.repeat(np.arange(len(rows.subjects)), [count for *_, count in rows.subjects])
                fresh.load(rows.vectors, owners, [name for _, name, _, _ in rows.subjects], rows.photos)
                for number, name, end, _ in rows.subjects:
                    names[number] = name
                    if end is not None:
                        ends[number] = end
                        if end <= now:
                            ended.add(number)
        except (ValueError, RecognizerError) as error:
            log.warning("the snapshot cannot be used: %s", error)
            return False
        self._generations += self._memory.generation + 1
        self._memory, self._names, self._ends, self._unsaved = fresh, names, ends, set()
        for number in ended:
            self._drop(number)
        self._advance(state.seq)
        return True

    def save(self, forced: Collection[str] = ()) -> bool:
        """Bring the snapshot in step with memory; False if another process writes it, or the database is away.

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
                snapshot.write_state(SnapshotState(seq, stamp[0][0], time.time(), sorted(forced)))
            return True

    @property
    def unsaved(self) -> int:
        """How many files of the snapshot are behind memory."""
        return len(self._unsaved)

    def _rows_of(self, key: int) -> SnapshotRows:
        subjects: list[tuple[int, str, float | None, int]] = []
        photos: list[str] = []
        vectors: list[np.ndarray] = []
        for number in range(key * PER_FILE, (key + 1) * PER_FILE):
            name = self._names.get(number)
            held = [] if name is None else self._memory.templates(name)
            if name is not None and held:
                subjects.append((number, name, self._ends.get(number), len(held)))
                photos += [each.photo for each in held]
                vectors += [each.embedding.vector for each in held]
        return SnapshotRows(subjects, photos, np.array(vectors, np.float32).reshape(-1, self.dim))

    def stale(self, name: str, photos: Collection[str]) -> int:
        """How many rows of a subject or of photos the snapshot has that searches do not see any longer.

        Raises
        ------
        StorageError
        """
        if self._snapshot is None:
            return 0
        held: dict[str, set[str]] = {}
        count = 0
        for owner, photo in self._snapshot.rows_about(name, photos):
            if owner not in held:
                held[owner] = {each.photo for each in self._memory.templates(owner)}
            count += photo not in held[owner]
        return count

    # -- applying changes; the caller holds the lock ---------------------------------------------------------------

    def _apply(self, connection: Connection[Any], rows: Sequence[tuple[int, str, int, str | None, int | None]]) -> None:
        whole: set[int] = set()
        photos: dict[tuple[int, str], None] = {}  # in the order of the changes
        for _, kind, subject, photo, other in rows:
            if kind == "photo" and photo is not None:
                photos[subject, photo] = None
            elif kind == "merge" and other is not None:
                self._merge(subject, other)
                whole |= {subject, other}
            else:
                whole.add(subject)
        touched = list(whole | {subject for subject, _ in photos})
        found = connection.execute(
            "select id, name, extract(epoch from ends) from subject where id = any(%s)", [touched]
        ).fetchall()
        there = {number: (name, None if ends is None else float(ends)) for number, name, ends in found}
        whole |= self._rename({number: name for number, (name, _) in there.items()})
        for number in touched:
            if number not in there:
                self._drop(number)
        vectors = self.rows.of_photos(connection, [pair for pair in photos if pair[0] in there and pair[0] not in whole])
        everything = self.rows.of_subjects(connection, [number for number in whole if number in there])
        added = [self._template(there[pair[0]][0], pair[1], vectors[pair]) for pair in photos if pair in vectors]
        removed = [(number, photo) for number, photo in photos if number in there and number not in whole]
        gone = [(there[number][0], photo) for number, photo in removed if (number, photo) not in vectors]
        for number in whole & there.keys():
            more, less = self._difference(there[number][0], everything.get(number, {}))
            added += more
            gone += less
        if added:
            self._memory.add(added)
        for name, photo in gone:
            self._memory.remove(name, photo)
        self._unsaved |= {number // PER_FILE for number in touched}
        for number, (name, ends) in there.items():
            self._names[number] = name
            if ends is None:
                self._ends.pop(number, None)
            elif ends > time.time():
                self._ends[number] = ends

    def _template(self, name: str, photo: str, vector: np.ndarray) -> Template:
        return Template(name, photo, Embedding(vector, self.engine))

    def _difference(self, name: str, wanted: dict[str, np.ndarray]) -> tuple[list[Template], list[tuple[str, str]]]:
        """What is missing in memory of a subject, and the photos that are too many."""
        held = {each.photo: each.embedding.vector for each in self._memory.templates(name)}
        more = [
            self._template(name, photo, vector)
            for photo, vector in wanted.items()
            if photo not in held or not np.array_equal(held[photo], vector)
        ]
        return more, [(name, photo) for photo in held if photo not in wanted]

    def _merge(self, subject: int, other: int) -> None:
        name, into = self._names.pop(subject, None), self._names.get(other)
        self._ends.pop(subject, None)
        if name is not None and into is not None:
            self._memory.rename(name, into)
        elif name is not None:  # what it was merged into is not known here yet, and is read as a whole
            self._memory.remove(name)

    def _rename(self, now: dict[int, str]) -> set[int]:
        """Give subjects their new names; the numbers of those that have to be read as a whole."""
        renamed = {number: name for number, name in now.items() if self._names.get(number, name) != name}
        owners = {name: number for number, name in self._names.items()} if renamed else {}
        again: set[int] = set()
        for number, name in renamed.items():
            old = self._names[number]
            if owners.get(name, number) == number:
                self._memory.rename(old, name)
            else:  # somebody else had this name a moment ago, and is gone or has another one now
                again.add(number)
                self._memory.remove(old)
                other = owners[name]
                if now.get(other) != name:
                    again.add(other)
                    self._memory.remove(name)
            owners.pop(old, None)
            owners[name] = number
            self._names[number] = name
        return again & now.keys()

    def _drop(self, number: int) -> None:
        """Forget a subject's templates, unless somebody else has the name by now."""
        self._unsaved.add(number // PER_FILE)
        name = self._names.pop(number, None)
        self._ends.pop(number, None)
        if name is not None and name not in self._names.values():
            self._memory.remove(name)

    # -- changes: the interface of galleries --------------------------------------------------------------------

    def add(self, templates: Sequence[Template]) -> None:
        wanted = {(each.subject, each.photo): each for each in templates}  # of two in one call the later one
        for template in templates:
            values = template.embedding.require(self.engine)
            if values.shape != (self.dim,):
                raise EngineMismatch(f"expected a template of length {self.dim}, got {values.shape}")
        if not wanted:
            return
        with self._database.write() as changes:
            numbers = {name: subject_number(changes.connection, name) for name in {subject for subject, _ in wanted}}
            rows = [(numbers[each.subject], each.photo, each.embedding.vector) for each in wanted.values()]
            with changes.connection.cursor() as cursor:
                cursor.executemany(
                    "insert into photo (subject, photo) values (%s, %s) "
                    "on conflict (subject, photo) do update set copy_of = null",
                    [row[:2] for row in rows],
                )
            self.rows.put(changes.connection, rows)
            note_photos(changes, [row[:2] for row in rows])
        self.catch_up()

    def remove(self, subject: str, photo: str | None = None) -> int:
        with self._database.write() as changes:
            found = changes.connection.execute("select id from subject where name = %s", [subject]).fetchone()
            if found is None:
                return 0
            removed = self._remove(changes, found[0], photo)
        self.catch_up()
        return removed

    def _remove(self, changes: ChangeWriter, number: int, photo: str | None) -> int:
        execute = changes.connection.execute
        counted = execute(
            "select count(*) from template where subject = %s and engine = %s and photo = coalesce(%s, photo)",
            (number, self.engine, photo),
        ).fetchone()
        assert counted is not None  # an aggregate has a row
        execute("delete from photo where subject = %s and photo = coalesce(%s, photo)", (number, photo))
        execute("delete from subject where id = %s and not exists (select 1 from photo where subject = %s)", (number, number))
        if counted[0] or photo is None:
            changes.note("subject" if photo is None else "photo", number, photo)
        return int(counted[0])

    def rename(self, old: str, new: str) -> int:
        if old == new:
            return 0
        with self._database.write() as changes:
            count = rename_subject(changes, old, new, self.engine)
        self.catch_up()
        return count

    # -- queries: of the copy -----------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        return self._generations + self._memory.generation

    def search(self, probes: np.ndarray, k: int = 1) -> list[list[Candidate]]:
        return self._memory.search(probes, k)

    def cohort(self, probes: np.ndarray) -> np.ndarray:
        return self._memory.cohort(probes)

    def templates(self, subject: str) -> list[Template]:
        return self._memory.templates(subject)

    def subjects(self) -> dict[str, int]:
        return self._memory.subjects()

    def __len__(self) -> int:
        return len(self._memory)

    def settle(self) -> None:
        """Wait until no sketch is being computed."""
        self._memory.settle()


def subject_number(connection: Connection[Any], name: str) -> int:
    """The number of a subject; a new one if there is nobody of this name.

    Raises
    ------
    psycopg.errors.UniqueViolation
        Somebody has a name that readers cannot tell from it.
    """
    found = connection.execute("select id from subject where name = %s", [name]).fetchone()
    if found is None:
        statement = "insert into subject (name, folded) values (%s, %s) returning id"
        found = connection.execute(statement, (name, names.comparison_key(name))).fetchone()
    assert found is not None  # an insert returns its row
    return int(found[0])


def note_photos(changes: ChangeWriter, pairs: Sequence[tuple[int, str]]) -> None:
    """Note that photos changed: each, or their whole subject where they are many."""
    by_subject: dict[int, list[str]] = {}
    for subject, photo in pairs:
        by_subject.setdefault(subject, []).append(photo)
    for subject, photos in by_subject.items():
        if len(photos) > MANY_PHOTOS:
            changes.note("subject", subject)
            continue
        for photo in photos:
            changes.note("photo", subject, photo)


def rename_subject(changes: ChangeWriter, old: str, new: str, engine: str) -> int:
    """Give a subject another name or, where somebody has it, its photos to them; how many templates were moved."""
    execute = changes.connection.execute
    found = dict(execute("select name, id from subject where name in (%s, %s)", (old, new)).fetchall())
    if old not in found:
        return 0
    number = found[old]
    counted = execute("select count(*) from template where subject = %s and engine = %s", (number, engine)).fetchone()
    assert counted is not None  # an aggregate has a row
    if new not in found:
        execute("update subject set name = %s, folded = %s where id = %s", (new, names.comparison_key(new), number))
        changes.note("subject", number)
    else:
        into = found[new]
        execute(
            "delete from photo where subject = %s and photo in (select photo from photo where subject = %s)", (into, number)
        )
        execute("update photo set subject = %s where subject = %s", (into, number))
        execute("delete from subject where id = %s", [number])
        changes.note("merge", number, other=into)
    return int(counted[0])
