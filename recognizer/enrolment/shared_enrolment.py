"""The enrolment of nodes that share a database: the same operations as on known_faces, with the database as the truth.

The order of every change is photo, database, gallery, reply. A photo without a row is removed by `remove_orphans`; a row
without a photo never exists. Nothing of a person is in memory but the gallery, and the few photos that are forced or copies.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recognizer.core import names
from recognizer.core.consent import Consent
from recognizer.core.errors import Conflict, DatabaseAway, NameTaken, PhotoNotFound, StorageError, SubjectNotFound
from recognizer.core.identity import Identity
from recognizer.core.particulars import Particulars
from recognizer.core.vault import Vault
from recognizer.database.connection import ChangeWriter, Database
from recognizer.enrolment.cache import FORCED, Encoding, FileStamp
from recognizer.enrolment.duplicates import DISTANCE_SHARE, PictureGroups
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.entries import Entry
from recognizer.enrolment.examination import EncodingOptions, Examined
from recognizer.enrolment.folder import Problem
from recognizer.enrolment.photo_encoding import EncodingProgress, EncodingReporter
from recognizer.enrolment.photo_marks import marks
from recognizer.enrolment.photo_store import StoredPhotos
from recognizer.enrolment.renamed_folders import RenameReporter
from recognizer.enrolment.template_file import EXTENSION, is_template
from recognizer.galleries.postgres.gallery import PostgresGallery, rename_subject, subject_number

if TYPE_CHECKING:
    from psycopg import Connection

log = logging.getLogger(__name__)

_THUMBNAIL, _NOTE, _WORK = "shared thumbnail ", "shared consent", "work of a node"
_COLUMNS = (
    "s.name, p.photo, p.face, p.extension, p.size, extract(epoch from p.added)::float8, p.box, p.score, p.width, p.height, "
    "vector_send(t.v), t.sealed"
)
_JOINED = (
    "photo p join subject s on s.id = p.subject "
    "left join template t on t.subject = p.subject and t.photo = p.photo and t.engine = %(engine)s"
)


class SharedEnrolment(Enrolment):
    """The enrolled people of all nodes; see `Enrolment` for what each method does. Safe from any thread.

    `catch_up` brings the gallery in step with what other nodes changed; a thread calls it when they do.

    Parameters
    ----------
    database : Database
    gallery : PostgresGallery
    photos : StoredPhotos
    options : EncodingOptions
    vault : Vault, optional
        Encrypts templates, photos, thumbnails and notes of consent.
    node : str
        The id of this node.
    """

    def __init__(  # none of the parts of `Enrolment` is made: every public method is overridden, which a test checks
        self,
        database: Database,
        gallery: PostgresGallery,
        photos: StoredPhotos,
        options: EncodingOptions,
        vault: Vault | None,
        node: str,
    ):
        self.database, self.gallery, self.photos, self.options, self.node = database, gallery, photos, options, node
        self.shared_gallery = gallery
        self._vault = vault
        self._same_picture = DISTANCE_SHARE * options.engine.info.calibration.threshold
        self._engine = options.engine.info.id
        self._forced: frozenset[str] = frozenset()
        self._copies: dict[tuple[str, str], str] = {}
        self._expired: dict[str, float] = {}
        self._followed = False
        #: Whether the node started while the database was away, and has not been accepted there since; see `joined`.
        self.started_alone = False

    @property
    def vault(self) -> Vault | None:
        return self._vault

    @property
    def revision(self) -> int:
        return self.shared_gallery.generation

    # -- following the other nodes -------------------------------------------------------------------------------

    def sync(
        self, *, settle: bool = False, progress: EncodingReporter | None = None, changed: Collection[str] | None = None
    ) -> bool:
        self.catch_up()
        return False

    def interrupt(self) -> None:
        """Nothing: nothing here takes long."""

    @property
    def encoding(self) -> EncodingProgress | None:
        return None

    def start_alone(self, forced: Collection[str]) -> None:
        """Go on with a snapshot, of which these photos were enrolled by force, until `joined`."""
        self.started_alone, self._forced = True, frozenset(forced)

    def joined(self) -> None:
        """Note that the database is there, and accepts the node."""
        self.started_alone = False

    def save(self) -> bool:
        """Bring the snapshot in step; see `PostgresGallery.save`."""
        return self.shared_gallery.save(self._forced)

    def catch_up(self, *subjects: str) -> bool:
        changed = self.shared_gallery.catch_up()
        if changed or not self._followed:
            self._read_marks()
            self._followed = True
        return changed

    def _read_marks(self) -> None:
        """Read which photos are forced, and which are copies: few are either."""
        forced = self.database.rows("select photo from photo where face like %s", ["%" + FORCED])
        copies = self.database.rows(
            "select s.name, p.photo, p.copy_of from photo p join subject s on s.id = p.subject where p.copy_of is not null"
        )
        self._forced = frozenset(row[0] for row in forced)
        self._copies = {(subject, photo): original for subject, photo, original in copies}

    def others_changed(self) -> bool:
        return bool(self.database.rows("select 1 from change where seq > %s limit 1", [self.shared_gallery.applied]))

    def report_renamed(self, reporter: RenameReporter) -> None:
        """Nothing: nobody renames a person in the database by hand."""

    def learn(self, subject: str) -> None:
        self.catch_up()

    def tidy(self) -> None:
        """Remove the photos that no row needs, and changes that every node has read."""
        self.remove_orphans()
        self.shared_gallery.prune()

    def close(self) -> None:
        self.database.close()

    def sweep(self, subject: str | None = None) -> None:
        """Nothing: interrupted writes leave only photos without a row, see `remove_orphans`."""

    def unreadable(self) -> str | None:
        return None

    # -- what is stored about a person ----------------------------------------------------------------------------

    def _seal(self, data: bytes, purpose: str) -> bytes:
        return data if self._vault is None else self._vault.seal(data, purpose)

    def _open(self, data: bytes, purpose: str) -> bytes:
        return data if self._vault is None else self._vault.open(data, purpose)

    def _entry(self, row: Sequence[Any]) -> Entry:
        subject, photo, face, extension, size, added, box, score, width, height, plain, sealed = row
        vector = None if plain is None and sealed is None else self.shared_gallery.rows.vector(photo, plain, sealed)
        encoding = Encoding(
            photo, self._engine, face, vector, box=None if box is None else tuple(box), score=score, width=width, height=height
        )
        path = f"{subject}/{photo}{marks(face)}.{extension}"
        return Entry(subject, path, FileStamp(size, int(added * 1e9), 0), photo, encoding)

    def _entries(self, condition: str, **values: Any) -> list[Entry]:
        statement = f"select {_COLUMNS} from {_JOINED} where {condition} order by s.name, p.added, p.photo"
        return [self._entry(row) for row in self.database.rows(statement, {"engine": self._engine, **values})]

    def read(self, path: str, max_bytes: int) -> bytes:
        return self.photos.get(path.rpartition("/")[2].partition(".")[0], max_bytes)

    def thumbnail(self, photo: str) -> bytes | None:
        rows = self.database.rows("select thumbnail from photo where photo = %s and thumbnail is not null limit 1", [photo])
        return self._open(rows[0][0], _THUMBNAIL + photo) if rows else None

    # -- consent ------------------------------------------------------------------------------------------------

    def consent(self, subject: str) -> Consent:
        rows = self.database.rows("select note, expires from subject where name = %s", [subject])
        return self._consent(*rows[0]) if rows else Consent()

    def _consent(self, note: bytes | None, expires: str | None) -> Consent:
        return Consent(None if note is None else self._open(note, _NOTE).decode(), expires)

    def set_consent(self, subject: str, consent: Consent) -> None:
        with self.database.write() as changes:
            number = self._number(changes.connection, subject)
            self._write_consent(changes, number, consent)
        self.catch_up()

    def _write_consent(self, changes: ChangeWriter, number: int, consent: Consent) -> None:
        note = None if consent.note is None else self._seal(consent.note.encode(), _NOTE)
        changes.connection.execute(
            "update subject set note = %s, expires = %s, ends = to_timestamp(%s) where id = %s",
            (note, consent.expires, consent.ends, number),
        )
        changes.note("subject", number)

    def particulars(self, subject: str) -> Particulars:
        return Particulars()

    def change_particulars(self, subject: str, change: Callable[[Particulars], Particulars]) -> Particulars:
        changed = change(Particulars())
        if changed:
            raise Conflict("tags, covers and file names are not stored in a database that servers share")
        return changed

    def expired(self, now: float | None = None) -> dict[str, float]:
        try:
            rows = self.database.rows(
                "select name, extract(epoch from ends)::float8 from subject where ends <= coalesce(to_timestamp(%s), now())",
                [now],
            )
        except DatabaseAway:  # reports of the service's health go on with what was last known
            return dict(self._expired)
        self._expired = dict(rows)
        return dict(rows)

    def next_expiry(self) -> float | None:
        return self.shared_gallery.next_expiry()

    # -- changes ------------------------------------------------------------------------------------------------

    def _number(self, connection: Connection[Any], subject: str) -> int:
        found = connection.execute("select id from subject where name = %s", [subject]).fetchone()
        if found is None:
            raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
        return int(found[0])

    def _require_free(self, connection: Connection[Any], name: str) -> None:
        """Refuse a name that readers cannot tell from another one that is there."""
        statement = "select name from subject where folded = %s and name <> %s"
        found = connection.execute(statement, (names.comparison_key(name), name)).fetchone()
        if found is not None:
            raise NameTaken(f"{name!r} cannot be told from {found[0]!r}, who is enrolled", subject=found[0])

    def add(
        self, subject: str, data: bytes, extension: str, examined: Examined, noted: Callable[[], object] = lambda: None
    ) -> tuple[Entry, bool]:
        encoding = examined.encoding
        photo, box = encoding.photo, encoding.box
        if encoding.vector is None or box is None:
            raise ValueError("expected a photo that can be used")
        known = self._entries("s.name = %(name)s and p.photo = %(photo)s", name=subject, photo=photo)
        if known:
            return known[0], False
        kept = False
        try:
            with self.database.write() as changes:
                self._require_free(changes.connection, subject)
                kept = not is_template(data) and self.photos.put(photo, data)
                number = subject_number(changes.connection, subject)
                picture = examined.thumbnail if kept else None
                changes.connection.execute(
                    "insert into photo (subject, photo, face, extension, size, kept, box, score, width, height, thumbnail) "
                    "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    (
                        number,
                        photo,
                        encoding.face,
                        extension if kept else EXTENSION,
                        len(data) if kept else 0,
                        kept,
                        [float(edge) for edge in box],
                        None if encoding.score is None else float(encoding.score),
                        encoding.width,
                        encoding.height,
                        None if picture is None else self._seal(picture, _THUMBNAIL + photo),
                    ),
                )
                changes.connection.execute("delete from orphan where photo = %s", [photo])
                self.shared_gallery.rows.put(changes.connection, [(number, photo, encoding.vector)])
                changes.note("photo", number, photo)
                self._sort_anew(changes, number)
                noted()
        except BaseException:
            if kept:
                self._remove_unused([photo])
            raise
        self.catch_up()
        return self._entries("s.name = %(name)s and p.photo = %(photo)s", name=subject, photo=photo)[0], True

    def _sort_anew(self, changes: ChangeWriter, number: int) -> None:
        """Decide anew which photos of a subject are copies of which, after its photos have changed."""
        rows = changes.connection.execute(
            f"select {_COLUMNS}, p.copy_of from {_JOINED} where p.subject = %(subject)s order by p.added, p.photo",
            {"engine": self._engine, "subject": number},
        ).fetchall()
        if len(rows) < 2 and not any(row[-1] for row in rows):
            return
        found = [self._entry(row[:-1]).encoding for row in rows]
        usable = [each for each in found if each.vector is not None and each.box is not None]
        groups = PictureGroups(self._same_picture)
        groups.note("", usable)
        for row in rows:
            photo, copy_of = row[1], groups.original_of("", row[1])
            if copy_of != row[-1]:
                statement = "update photo set copy_of = %s where subject = %s and photo = %s"
                changes.connection.execute(statement, (copy_of, number, photo))
                changes.note("photo", number, photo)

    def mark_largest(self, subject: str | None = None) -> dict[str, str]:
        """Nothing: photos that cannot be used are never stored here."""
        return {}

    def remove_photo(self, subject: str, photo: str, noted: Callable[[bool], object] = lambda last: None) -> int:
        with self.database.write() as changes:
            number = self._number(changes.connection, subject)
            held = [
                row[0] for row in changes.connection.execute("select photo from photo where subject = %s", [number]).fetchall()
            ]
            if photo not in held:
                raise PhotoNotFound(f"{subject!r} has no photo {photo!r}")
            changes.connection.execute("delete from photo where subject = %s and photo = %s", (number, photo))
            self._note_orphans(changes, [photo])
            last = held == [photo]
            if last:
                changes.connection.execute("delete from subject where id = %s", [number])
                changes.note("subject", number)
            else:
                changes.note("photo", number, photo)
                self._sort_anew(changes, number)
            self._give_work(changes, {"erase_photo": subject, "photos": [photo]})
            noted(last)
        self.catch_up()
        self.remove_orphans()
        return 1

    def remove_unsorted(self, name: str, noted: Callable[[], object] = lambda: None) -> None:
        raise PhotoNotFound(f"no file {name!r} lies in known_faces itself")

    def is_unsorted(self, name: str) -> bool:
        return False

    def remove_subject(self, subject: str) -> list[str]:
        with self.database.write() as changes:
            number = self._number(changes.connection, subject)
            found = self.shared_gallery.rows.stored(changes.connection, number)
            photos = [
                row[0] for row in changes.connection.execute("select photo from photo where subject = %s", [number]).fetchall()
            ]
            changes.connection.execute("delete from subject where id = %s", [number])
            self._note_orphans(changes, photos)
            changes.note("subject", number)
            vectors = np.array(list(found.values()), "<f4")
            work = {"erase": subject, "photos": photos, "templates": base64.b64encode(vectors.tobytes()).decode()}
            self._give_work(changes, work)
        self.catch_up()
        self.remove_orphans()
        return sorted(photos)

    def rename(self, old: str, new: str, merge: bool = False, noted: Callable[[], object] = lambda: None) -> None:
        if old == new:
            self.entries(old)
            return
        with self.database.write() as changes:
            execute = changes.connection.execute
            number = self._number(changes.connection, old)
            taken = execute("select id, note, expires from subject where name = %s", [new]).fetchone()
            if taken is not None and not merge:
                raise NameTaken(f"{new!r} exists already; merge them if both are the same person", subject=new)
            clash = execute(
                "select name from subject where folded = %s and id <> %s and name <> %s",
                (names.comparison_key(new), number, new),
            ).fetchone()
            if clash is not None:
                raise NameTaken(f"{new!r} cannot be told from {clash[0]!r}, who is enrolled", subject=clash[0])
            if taken is not None:
                mine = execute("select note, expires from subject where id = %s", [number]).fetchone()
                assert mine is not None  # it was found above
                joined = self._consent(taken[1], taken[2]).joined(self._consent(*mine))
                rename_subject(changes, old, new, self._engine)
                self._write_consent(changes, taken[0], joined)
                self._sort_anew(changes, taken[0])
            else:
                rename_subject(changes, old, new, self._engine)
            self._give_work(changes, {"rename": old, "to": new})
            noted()
        self.catch_up()

    def make_folder(self, name: str) -> None:
        with self.database.write() as changes:
            self._require_free(changes.connection, name)
            subject_number(changes.connection, name)

    # -- photos without a row -----------------------------------------------------------------------------------

    def _note_orphans(self, changes: ChangeWriter, photos: Sequence[str]) -> None:
        changes.connection.execute(
            "insert into orphan (photo) select each from unnest(%s::text[]) each "
            "where not exists (select 1 from photo where photo = each) on conflict do nothing",
            [list(photos)],
        )

    def remove_orphans(self) -> int:
        """Remove photos that no row needs any longer; how many. What fails is tried again later."""
        removed = 0
        with self.database.hold():
            for (photo,) in self.database.rows("select photo from orphan order by photo limit 1000"):
                try:
                    self.photos.remove(photo)
                except StorageError as error:
                    log.warning("a photo that was erased is still stored: %s", error.message)
                    break
                with self.database.transaction() as connection:
                    connection.execute("delete from orphan where photo = %s", [photo])
                removed += 1
        return removed

    def _remove_unused(self, photos: Sequence[str]) -> None:
        """Remove what a change stored that failed, unless somebody else has it."""
        for photo in photos:
            try:
                if not self.database.rows("select 1 from photo where photo = %s limit 1", [photo]):
                    self.photos.remove(photo)
            except (StorageError, Exception):
                log.warning("a photo whose enrolment failed stays stored until it is swept", exc_info=False)

    def remove_strays(self) -> int:
        """Remove photos that were stored for an enrolment which was interrupted; reads the listing of all photos."""
        store = self.photos.store
        if store is None:
            return 0
        with self.database.hold():
            known = {row[0] for row in self.database.rows("select photo from photo")}
            strays = [photo for photo in store.photos() if photo not in known]
            for photo in strays:
                store.remove(photo)
        return len(strays)

    # -- what the other nodes have to do --------------------------------------------------------------------------

    def _give_work(self, changes: ChangeWriter, work: dict[str, Any]) -> None:
        """Let every other node do the same in what it stores for itself: events, strangers, caches."""
        about = self._seal(json.dumps(work, ensure_ascii=False).encode(), _WORK)
        changes.connection.execute(
            "insert into node_work (node, about) select id, %s from node where id <> %s", (about, self.node)
        )

    def work(self) -> list[tuple[int, dict[str, Any]]]:
        """What other nodes gave this one to do, the oldest first: the number of each, and what it is."""
        rows = self.database.rows("select id, about from node_work where node = %s order by id", [self.node])
        return [(number, json.loads(self._open(about, _WORK))) for number, about in rows]

    def work_done(self, number: int) -> None:
        """Forget a piece of `work`."""
        with self.database.transaction() as connection:
            connection.execute("delete from node_work where id = %s", [number])

    # -- who there is -------------------------------------------------------------------------------------------

    def subjects(self) -> dict[str, list[Entry]]:
        return self._by_subject("true")

    def _by_subject(self, condition: str, **values: Any) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for entry in self._entries(condition, **values):
            found.setdefault(entry.subject, []).append(entry)
        return dict(sorted(found.items(), key=lambda item: names.comparison_key(item[0])))

    def page(self, offset: int, limit: int | None, wanted: str) -> tuple[dict[str, list[Entry]], int]:
        pattern = "%" + wanted.casefold().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        has = "exists (select 1 from photo where subject = s.id)"
        values = {"pattern": pattern, "offset": offset, "limit": limit}
        where = f"from subject s where {has} and (folded like %(pattern)s or lower(name) like %(pattern)s)"
        total = self.database.rows(f"select count(*) {where}", values)[0][0]
        chosen = self.database.rows(f'select id {where} order by folded collate "C" limit %(limit)s offset %(offset)s', values)
        return self._by_subject("p.subject = any(%(numbers)s)", numbers=[row[0] for row in chosen]), total

    def is_enrolled(self, subject: str) -> bool:
        return bool(
            self.database.rows(
                "select 1 from subject s where name = %s and exists (select 1 from photo where subject = s.id)", [subject]
            )
        )

    def has_folder(self, subject: str) -> bool:
        return bool(self.database.rows("select 1 from subject where name = %s", [subject]))

    def has_folder_named(self, subject: str) -> bool:
        return self.has_folder(subject)

    def remove_folder_without_files(self, subject: str) -> bool:
        return not self.has_files(subject)

    def identity(self, subject: str) -> Identity | None:
        return None

    @property
    def place(self) -> str:
        return "the database"

    @property
    def look_seconds(self) -> float:
        return 0.0

    def names(self) -> list[str]:
        return sorted(self.subjects(), key=names.comparison_key)

    def folder_names(self) -> list[str]:
        return [row[0] for row in self.database.rows("select name from subject")]

    def has_files(self, subject: str) -> bool:
        return self.is_enrolled(subject)

    def entries(self, subject: str) -> list[Entry]:
        found = self.entries_so_far(subject)
        if not found:
            raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
        return found

    def is_forced(self, photo: str | None) -> bool:
        return photo in self._forced

    def entries_so_far(self, subject: str) -> list[Entry]:
        return self._entries("s.name = %(name)s", name=subject)

    def original_of(self, subject: str, photo: str) -> str | None:
        return self._copies.get((subject, photo))

    def left_of(self, subject: str, photos: list[str]) -> dict[str, int]:
        stored = self.database.rows(
            "select (select count(*) from orphan where photo = any(%(photos)s)) + "
            "(select count(*) from photo p join subject s on s.id = p.subject where s.name = %(name)s), "
            "(select count(*) from template t join subject s on s.id = t.subject where s.name = %(name)s)",
            {"photos": photos, "name": subject},
        )[0]
        templates = stored[1] + self.gallery.subjects().get(subject, 0)
        return {"files": stored[0], "templates": templates, "cache_rows": 0}

    def entry_of(self, photo: str) -> Entry | None:
        found = self._entries("p.photo = %(photo)s", photo=photo)
        return min(found, key=lambda entry: entry.path, default=None)

    @property
    def problem_count(self) -> int:
        return 0

    def problems(self) -> list[Problem]:
        return []
