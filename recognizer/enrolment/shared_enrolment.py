"""The enrolment of nodes that share a database: the same operations as on known_faces, with the database as the truth.

The order of every change is photo, database, gallery, reply. A photo without a row is removed by `remove_orphans`; a row
without a photo never exists. Nothing of a person is in memory but the gallery, and the few photos that are forced or copies.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recognizer.core import identity, names
from recognizer.core.consent import Consent
from recognizer.core.errors import (
    DatabaseAway,
    KeyMissing,
    NameTaken,
    PhotoNotFound,
    StorageError,
    SubjectNotFound,
)
from recognizer.core.identity import Identity
from recognizer.core.particulars import Particulars
from recognizer.core.vault import Vault, is_sealed
from recognizer.database.connection import ChangeWriter, Database
from recognizer.enrolment.duplicates import DISTANCE_SHARE, PictureGroups
from recognizer.enrolment.encodings import FORCED, Encoding, FileStamp
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.entries import Entry
from recognizer.enrolment.examination import EncodingOptions, Examined
from recognizer.enrolment.folder_look import Problem
from recognizer.enrolment.photo_encoding import EncodingProgress, EncodingReporter
from recognizer.enrolment.photo_marks import marks
from recognizer.enrolment.photo_store import StoredPhotos
from recognizer.enrolment.renamed_folders import RenameReporter
from recognizer.enrolment.template_file import EXTENSION, is_template
from recognizer.galleries.postgres.gallery import PostgresGallery, find_subject, rename_subject, subject_number

if TYPE_CHECKING:
    from psycopg import Connection

log = logging.getLogger(__name__)

_THUMBNAIL, _NOTE, _WORK, _IDENTITY = "shared thumbnail ", "shared consent", "work of a node", "shared identity"
_ABOUT = "shared about person"
_COLUMNS = (
    "s.name, p.photo, p.face, p.extension, p.size, extract(epoch from p.added)::float8, p.box, p.score, p.width, p.height, "
    "vector_send(t.v), t.sealed"
)
_JOINED = (
    "photo p join subject s on s.id = p.subject "
    "left join template t on t.subject = p.subject and t.photo = p.photo and t.engine = %(engine)s"
)


@dataclass(frozen=True, slots=True)
class StoredNotes:
    """What is stored beside somebody's photos, encrypted where there is a key: two that are equal say the same.

    Attributes
    ----------
    note, about, identity : bytes or None
        The note of consent, the particulars, and the id with what other services' clients stored.
    expires : str or None
        When the consent ends.
    """

    note: bytes | None
    expires: str | None
    about: bytes | None
    identity: bytes | None


class PhotoNotes:
    """Which photos are forced, which are copies, and how many dropped ones cannot be used, of all groups. Safe from any thread.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database):
        self._database = database
        self._read_at = -1  # the change up to which they were read
        self.forced: frozenset[tuple[int, str]] = frozenset()
        self.copies: dict[tuple[int, str, str], str] = {}
        self.problems: dict[int, int] = {}

    def start_alone(self, forced: Collection[tuple[int, str]]) -> None:
        """Go on with what a snapshot has until the database is there."""
        self.forced = frozenset(forced)

    def catch_up(self, applied: int) -> None:
        """Read them if they were read before the change with this number."""
        if self._read_at == applied:
            return
        forced = self._database.rows(
            "select s.people_group, p.photo from photo p join subject s on s.id = p.subject where p.face like %s",
            ["%" + FORCED],
        )
        copies = self._database.rows(
            "select s.people_group, s.name, p.photo, p.copy_of from photo p join subject s on s.id = p.subject "
            "where p.copy_of is not null"
        )
        self.forced = frozenset(forced)
        self.copies = {(group, subject, photo): original for group, subject, photo, original in copies}
        self._read_at = applied

    def count_problems(self) -> None:
        """Count the dropped photos that cannot be used."""
        self.problems = dict(self._database.rows("select people_group, count(*) from dropped group by people_group"))


class SharedEnrolment(Enrolment):
    """The enrolled people of a group, of all nodes; see `Enrolment` for what each method does. Safe from any thread.

    `catch_up` brings the galleries of all groups in step with what other nodes changed; a thread calls it when they do.

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
    group_name : str, optional
        The name of the group of `gallery`; None for the default one.
    notes : PhotoNotes, optional
        Those of the default group's enrolment.
    """

    def __init__(  # none of the parts of `Enrolment` is made: every public method is overridden, which a test checks
        self,
        database: Database,
        gallery: PostgresGallery,
        photos: StoredPhotos,
        options: EncodingOptions,
        vault: Vault | None,
        node: str,
        group_name: str | None = None,
        notes: PhotoNotes | None = None,
    ):
        self.database, self.gallery, self.photos, self.options, self.node = database, gallery, photos, options, node
        self.shared_gallery, self.group, self.group_name = gallery, gallery.group, group_name
        self._vault = vault
        self._same_picture = DISTANCE_SHARE * options.engine.info.calibration.threshold
        self._engine = options.engine.info.id
        self.notes = notes or PhotoNotes(database)
        self._expired: dict[str, float] = {}
        #: Whether the node started while the database was away, and has not been accepted there since; see `joined`.
        self.started_alone = False

    def of_group(self, group: int, name: str | None) -> SharedEnrolment:
        """The enrolment of another group; the default one's is the one to be closed."""
        gallery = self.shared_gallery.of_group(group)
        return SharedEnrolment(
            self.database, gallery, self.photos, self.options, self._vault, self.node, name, notes=self.notes
        )

    @property
    def vault(self) -> Vault | None:
        return self._vault

    @property
    def revision(self) -> int:
        return self.shared_gallery.generation

    # -- following the other nodes -------------------------------------------------------------------------------

    def sync(
        self,
        *,
        settle: bool = False,
        progress: EncodingReporter | None = None,
        changed: Collection[str] | None = None,
        trusting: bool = False,
    ) -> bool:
        self.catch_up()
        return False

    def interrupt(self) -> None:
        """Nothing: nothing here takes long."""

    @property
    def encoding(self) -> EncodingProgress | None:
        return None

    def start_alone(self, forced: Collection[tuple[int, str]]) -> None:
        """Go on with a snapshot, of which these photos, by their group, were enrolled by force, until `joined`."""
        self.started_alone = True
        self.notes.start_alone(forced)

    def joined(self) -> None:
        """Note that the database is there, and accepts the node."""
        self.started_alone = False

    def save(self) -> bool:
        """Bring the snapshot in step; see `TemplateCopy.save`."""
        return self.shared_gallery.copy.save(self.notes.forced)

    def catch_up(self, *subjects: str) -> bool:
        copy = self.shared_gallery.copy
        changed = copy.catch_up()
        self.notes.catch_up(copy.applied)
        return changed

    def others_changed(self) -> bool:
        return bool(self.database.rows("select 1 from change where seq > %s limit 1", [self.shared_gallery.copy.applied]))

    def report_renamed(self, reporter: RenameReporter) -> None:
        """Nothing: nobody renames a person in the database by hand."""

    def learn(self, subject: str) -> None:
        self.catch_up()

    def tidy(self, later: bool = False) -> None:
        """Remove the photos that no row needs, and changes that every node has read."""
        self.remove_orphans()
        self.shared_gallery.copy.prune()

    def close(self) -> None:
        if self.group_name is None:  # the others use the same connections
            self.database.close()

    def sweep(self, subject: str | None = None) -> None:
        """Nothing: interrupted writes leave only photos without a row, see `remove_orphans`."""

    def sweep_left_over(self) -> None:
        """Nothing, like `sweep`."""

    def folders_of(self, subject: str) -> int:
        return 0

    def left_over(self) -> int:
        return 0

    def unreadable(self) -> str | None:
        return None

    # -- what is stored about a person ----------------------------------------------------------------------------

    def _seal(self, data: bytes, purpose: str) -> bytes:
        return data if self._vault is None else self._vault.seal(data, purpose)

    def _open(self, data: bytes, purpose: str) -> bytes:
        return data if self._vault is None else self._vault.open(data, purpose)

    def _entry(self, row: Sequence[Any]) -> Entry:
        subject, photo, face, extension, size, added, box, score, width, height, plain, sealed = row
        vector = None if plain is None and sealed is None else self.shared_gallery.copy.rows.vector(photo, plain, sealed)
        encoding = Encoding(
            photo, self._engine, face, vector, box=None if box is None else tuple(box), score=score, width=width, height=height
        )
        path = f"{subject}/{photo}{marks(face)}.{extension}"
        return Entry(subject, path, FileStamp(size, int(added * 1e9), 0), photo, encoding)

    def _entries(self, condition: str, **values: Any) -> list[Entry]:
        where = f"where s.people_group = %(group)s and {condition}"
        statement = f"select {_COLUMNS} from {_JOINED} {where} order by s.name, p.added, p.photo"
        found = self.database.rows(statement, {"engine": self._engine, "group": self.group, **values})
        return [self._entry(row) for row in found]

    def read(self, path: str, max_bytes: int) -> bytes:
        return self.photos.get(path.rpartition("/")[2].partition(".")[0], max_bytes)

    def thumbnail(self, photo: str) -> bytes | None:
        rows = self.database.rows(
            "select thumbnail from photo join subject on id = subject "
            "where people_group = %s and photo = %s and thumbnail is not null limit 1",
            (self.group, photo),
        )
        return self._open(rows[0][0], _THUMBNAIL + photo) if rows else None

    # -- consent ------------------------------------------------------------------------------------------------

    def consent(self, subject: str) -> Consent:
        rows = self._about("note, expires", subject)
        return self._consent(*rows[0]) if rows else Consent()

    def _about(self, columns: str, subject: str) -> list[tuple[Any, ...]]:
        """Columns of a subject's row; nothing if there is nobody of this name in the group."""
        return self.database.rows(f"select {columns} from subject where people_group = %s and name = %s", (self.group, subject))

    def _consent(self, note: bytes | None, expires: str | None) -> Consent:
        return Consent(None if note is None else self._open(note, _NOTE).decode(), expires)

    def set_consent(self, subject: str, consent: Consent) -> None:
        with self.database.write() as changes:
            number = self.number_of(changes.connection, subject)
            self.write_consent(changes, number, consent)
        self.catch_up()

    def write_consent(self, changes: ChangeWriter, number: int, consent: Consent) -> None:
        """Store the consent of a subject, by its number, within a transaction."""
        note = None if consent.note is None else self._seal(consent.note.encode(), _NOTE)
        changes.connection.execute(
            "update subject set note = %s, expires = %s, ends = to_timestamp(%s) where id = %s",
            (note, consent.expires, consent.ends, number),
        )
        changes.note("subject", number)

    def particulars(self, subject: str) -> Particulars:
        rows = self._about("about", subject)
        return self._opened_particulars(rows[0][0]) if rows else Particulars()

    def _opened_particulars(self, data: bytes | None) -> Particulars:
        return Particulars() if data is None else Particulars.from_bytes(self._open(data, _ABOUT))

    def change_particulars(self, subject: str, change: Callable[[Particulars], Particulars]) -> Particulars:
        with self.database.transaction() as connection:
            number = self.number_of(connection, subject)
            row = connection.execute("select about from subject where id = %s for update", [number]).fetchone()
            held = self._opened_particulars(None if row is None else row[0])
            changed = change(held)
            if changed != held:
                self.write_particulars(connection, number, changed)
        return changed

    def write_particulars(self, connection: Connection[Any], number: int, about: Particulars) -> None:
        """Store what is known about a subject besides photos, by its number, within a transaction."""
        data = self._seal(about.as_bytes(), _ABOUT) if about else None
        connection.execute("update subject set about = %s where id = %s", (data, number))

    def about_all(self, subjects: Collection[str]) -> dict[str, tuple[Consent, Particulars]]:
        rows = self.database.rows(
            "select name, note, expires, about from subject where people_group = %s and name = any(%s)",
            (self.group, list(subjects)),
        )
        return {name: (self._consent(note, expires), self._opened_particulars(about)) for name, note, expires, about in rows}

    def stored_notes(self, numbers: Collection[int] | None = None) -> dict[int, StoredNotes]:
        """What is stored beside the photos of subjects of all groups, as it is at one moment; of everybody by default."""
        some = "" if numbers is None else "where id = any(%s)"
        columns = "id, note, expires, about, identity"
        rows = self.database.rows(f"select {columns} from subject {some}", () if numbers is None else (list(numbers),))
        return {number: StoredNotes(*notes) for number, *notes in rows}

    def opened_notes(self, stored: StoredNotes) -> tuple[Consent, Particulars, Identity | None]:
        """What `stored_notes` returned for somebody, decrypted."""
        person = None if stored.identity is None else open_identity(stored.identity, self._vault)
        return self._consent(stored.note, stored.expires), self._opened_particulars(stored.about), person

    def expired(self, now: float | None = None) -> dict[str, float]:
        try:
            rows = self.database.rows(
                "select name, extract(epoch from ends)::float8 from subject "
                "where people_group = %s and ends <= coalesce(to_timestamp(%s), now())",
                (self.group, now),
            )
        except DatabaseAway:  # reports of the service's health go on with what was last known
            return dict(self._expired)
        self._expired = dict(rows)
        return dict(rows)

    def next_expiry(self) -> float | None:
        return self.shared_gallery.copy.next_expiry()

    # -- changes ------------------------------------------------------------------------------------------------

    def number_of(self, connection: Connection[Any], subject: str) -> int:
        """The number of a subject of this group.

        Raises
        ------
        SubjectNotFound
        """
        found = find_subject(connection, self.group, subject)
        if found is None:
            raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
        return found

    def require_free(self, connection: Connection[Any], name: str) -> None:
        """Refuse a name that readers cannot tell from another one that is there."""
        statement = "select name from subject where people_group = %s and folded = %s and name <> %s"
        found = connection.execute(statement, (self.group, names.comparison_key(name), name)).fetchone()
        if found is not None:
            raise NameTaken(f"{name!r} cannot be told from {found[0]!r}, who is enrolled", subject=found[0])

    def add(
        self, subject: str, data: bytes, extension: str, examined: Examined, noted: Callable[[], object] = lambda: None
    ) -> tuple[Entry, bool]:
        encoding = examined.encoding
        photo, box = encoding.photo, encoding.box
        if encoding.vector is None or box is None:
            raise ValueError("expected a photo that can be used")
        kept = False
        try:
            with self.database.write() as changes:
                known = self._entries("s.name = %(name)s and p.photo = %(photo)s", name=subject, photo=photo)
                if known:
                    return known[0], False
                self.require_free(changes.connection, subject)
                number = subject_number(changes.connection, self.group, subject)
                kept = not is_template(data) and self.photos.put(photo, data)
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
                self.shared_gallery.copy.rows.put(changes.connection, [(number, photo, encoding.vector)])
                changes.note("photo", number, photo)
                self.sort_copies(changes, number)
                noted()
        except BaseException:
            if kept:
                self._remove_unused([photo])
            raise
        self.catch_up()
        return self._entries("s.name = %(name)s and p.photo = %(photo)s", name=subject, photo=photo)[0], True

    def sort_copies(self, changes: ChangeWriter, number: int) -> None:
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
            number = self.number_of(changes.connection, subject)
            held = [
                row[0] for row in changes.connection.execute("select photo from photo where subject = %s", [number]).fetchall()
            ]
            if photo not in held:
                raise PhotoNotFound(f"{subject!r} has no photo {photo!r}")
            changes.connection.execute("delete from photo where subject = %s and photo = %s", (number, photo))
            self.note_orphans(changes, [photo])
            last = held == [photo]
            if last:  # whom other services' clients know by an id stays, without photos
                changes.connection.execute("delete from subject where id = %s and person is null", [number])
                changes.note("subject", number)
            else:
                changes.note("photo", number, photo)
                self.sort_copies(changes, number)
            self.give_work(changes, {"erase_photo": subject, "photos": [photo]})
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
            number = self.number_of(changes.connection, subject)
            found = self.shared_gallery.copy.rows.stored(changes.connection, number)
            photos = [
                row[0] for row in changes.connection.execute("select photo from photo where subject = %s", [number]).fetchall()
            ]
            changes.connection.execute("delete from subject where id = %s", [number])
            self.note_orphans(changes, photos)
            changes.note("subject", number)
            vectors = np.array(list(found.values()), "<f4")
            work = {"erase": subject, "photos": photos, "templates": base64.b64encode(vectors.tobytes()).decode()}
            self.give_work(changes, work)
        self.catch_up()
        self.remove_orphans()
        return sorted(photos)

    def rename(self, old: str, new: str, merge: bool = False, noted: Callable[[], object] = lambda: None) -> None:
        if old == new:
            self.entries(old)
            return
        with self.database.write() as changes:
            execute = changes.connection.execute
            number = self.number_of(changes.connection, old)
            statement = "select id, note, expires, about from subject where people_group = %s and name = %s"
            taken = execute(statement, (self.group, new)).fetchone()
            if taken is not None and not merge:
                raise NameTaken(f"{new!r} exists already; merge them if both are the same person", subject=new)
            clash = execute(
                "select name from subject where people_group = %s and folded = %s and id <> %s and name <> %s",
                (self.group, names.comparison_key(new), number, new),
            ).fetchone()
            if clash is not None:
                raise NameTaken(f"{new!r} cannot be told from {clash[0]!r}, who is enrolled", subject=clash[0])
            if taken is not None:
                mine = execute("select note, expires, about from subject where id = %s", [number]).fetchone()
                assert mine is not None  # it was found above
                joined = self._consent(taken[1], taken[2]).joined(self._consent(*mine[:2]))
                about = self._opened_particulars(taken[3]).joined(self._opened_particulars(mine[2]))
                rename_subject(changes, self.group, old, new, self._engine)
                self.write_consent(changes, taken[0], joined)
                self.write_particulars(changes.connection, taken[0], about)
                self.sort_copies(changes, taken[0])
            else:
                rename_subject(changes, self.group, old, new, self._engine)
            self.give_work(changes, {"rename": old, "to": new})
            noted()
        self.catch_up()

    def make_folder(self, name: str) -> None:
        with self.database.write() as changes:
            self.require_free(changes.connection, name)
            subject_number(changes.connection, self.group, name)

    # -- photos without a row -----------------------------------------------------------------------------------

    def note_orphans(self, changes: ChangeWriter, photos: Sequence[str]) -> None:
        """Note which of these photos no row needs any longer, within a transaction."""
        changes.connection.execute(
            "insert into orphan (photo) select each from unnest(%s::text[]) each "
            "where not exists (select 1 from photo where photo = each) "
            "and not exists (select 1 from bin_photo where photo = each) on conflict do nothing",
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
                if not self.database.rows(
                    "select 1 from photo where photo = %s union all select 1 from bin_photo where photo = %s limit 1",
                    (photo, photo),
                ):
                    self.photos.remove(photo)
            except (StorageError, Exception):
                log.warning("a photo whose enrolment failed stays stored until it is swept", exc_info=False)

    def remove_strays(self) -> int:
        """Remove photos that were stored for an enrolment which was interrupted; reads the listing of all photos."""
        store = self.photos.store
        if store is None:
            return 0
        with self.database.hold():
            known = {row[0] for row in self.database.rows("select photo from photo union select photo from bin_photo")}
            strays = [photo for photo in store.photos() if photo not in known]
            for photo in strays:
                store.remove(photo)
        return len(strays)

    # -- what the other nodes have to do --------------------------------------------------------------------------

    def give_work(self, changes: ChangeWriter, work: dict[str, Any]) -> None:
        """Within a transaction, let every other node do the same in what it stores for itself: events, strangers, caches."""
        if self.group_name is not None:
            work = {**work, "group": self.group_name, "number": self.group}
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
        values = {"pattern": pattern, "offset": offset, "limit": limit, "group": self.group}
        like = "(folded like %(pattern)s or lower(name) like %(pattern)s)"
        where = f"from subject s where people_group = %(group)s and {has} and {like}"
        total = self.database.rows(f"select count(*) {where}", values)[0][0]
        chosen = self.database.rows(f'select id {where} order by folded collate "C" limit %(limit)s offset %(offset)s', values)
        return self._by_subject("p.subject = any(%(numbers)s)", numbers=[row[0] for row in chosen]), total

    def is_enrolled(self, subject: str) -> bool:
        return bool(
            self.database.rows(
                "select 1 from subject s where people_group = %s and name = %s "
                "and exists (select 1 from photo where subject = s.id)",
                (self.group, subject),
            )
        )

    def has_folder(self, subject: str) -> bool:
        return bool(self._about("1", subject))

    def has_folder_named(self, subject: str) -> bool:
        return self.has_folder(subject)

    def remove_folder_without_files(self, subject: str) -> bool:
        return not self.has_files(subject)

    def is_free(self, name: str) -> bool:
        key = names.comparison_key(name)
        return not self.database.rows("select 1 from subject where people_group = %s and folded = %s", (self.group, key))

    def identity(self, subject: str) -> Identity | None:
        rows = self._about("identity", subject)
        return None if not rows or rows[0][0] is None else open_identity(rows[0][0], self._vault)

    def set_identity(self, subject: str, held: Identity) -> None:
        """Store the id of a subject, with what clients of other services stored about it; durable on return.

        Raises
        ------
        SubjectNotFound, DatabaseAway, StorageError
        """
        data = seal_identity(held, self._vault)
        with self.database.transaction() as connection:
            number = self.number_of(connection, subject)
            connection.execute("update subject set person = %s, identity = %s where id = %s", (held.id, data, number))

    def name_of(self, id_: str) -> str | None:
        """The name of the subject with an id; None if there is none."""
        rows = self.database.rows("select name from subject where people_group = %s and person = %s", (self.group, id_))
        return rows[0][0] if rows else None

    @property
    def place(self) -> str:
        return "the database"

    @property
    def look_seconds(self) -> float:
        return 0.0

    def names(self) -> list[str]:
        rows = self.database.rows(
            "select name from subject s where people_group = %s and exists (select 1 from photo where subject = s.id)",
            [self.group],
        )
        return sorted((row[0] for row in rows), key=names.comparison_key)

    def folder_names(self) -> list[str]:
        return [row[0] for row in self.database.rows("select name from subject where people_group = %s", [self.group])]

    def has_files(self, subject: str) -> bool:
        return self.is_enrolled(subject)

    def entries(self, subject: str) -> list[Entry]:
        found = self.entries_so_far(subject)
        if not found:
            raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
        return found

    def is_forced(self, photo: str | None) -> bool:
        return (self.group, photo) in self.notes.forced

    def entries_so_far(self, subject: str) -> list[Entry]:
        return self._entries("s.name = %(name)s", name=subject)

    def original_of(self, subject: str, photo: str) -> str | None:
        return self.notes.copies.get((self.group, subject, photo))

    def left_of(self, subject: str, photos: list[str]) -> dict[str, int]:
        stored = self.database.rows(
            "select (select count(*) from orphan where photo = any(%(photos)s)) + "
            "(select count(*) from photo p join subject s on s.id = p.subject "
            "where s.people_group = %(group)s and s.name = %(name)s), "
            "(select count(*) from template t join subject s on s.id = t.subject "
            "where s.people_group = %(group)s and s.name = %(name)s)",
            {"photos": photos, "group": self.group, "name": subject},
        )[0]
        templates = stored[1] + self.gallery.subjects().get(subject, 0)
        return {"files": stored[0], "templates": templates, "cache_rows": 0}

    def entry_of(self, photo: str) -> Entry | None:
        found = self._entries("p.photo = %(photo)s", photo=photo)
        return min(found, key=lambda entry: entry.path, default=None)

    @property
    def problem_count(self) -> int:
        return self.notes.problems.get(self.group, 0)

    def problems(self) -> list[Problem]:
        statement = "select subject, place, code, message from dropped where people_group = %s order by place"
        return [Problem(*row) for row in self.database.rows(statement, [self.group])]


def seal_identity(held: Identity, vault: Vault | None) -> bytes:
    """The id of a person or a group as it is stored in the database.

    Raises
    ------
    StorageError
        It is too large.
    """
    data = held.as_bytes() if vault is None else vault.seal(held.as_bytes(), _IDENTITY)
    if len(data) > identity.MAX_BYTES:
        raise StorageError("what is stored beside an id is too large")
    return data


def open_identity(data: bytes, vault: Vault | None) -> Identity:
    """What `seal_identity` made.

    Raises
    ------
    SealBroken, KeyMissing
    """
    if vault is None and is_sealed(data):
        raise KeyMissing("this id is encrypted, and there is no key")
    return Identity.from_bytes(data if vault is None else vault.open(data, _IDENTITY))
