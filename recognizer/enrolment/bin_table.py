"""The bin of nodes that share a database: the rows of what was deleted wait in one row, and the photos stay where they are.

A deletion and its way back are one transaction each. The photos are noted, so that none is removed as one that nobody needs.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recognizer.core.consent import Consent
from recognizer.core.errors import BinItemNotFound, KeyMissing, PhotoNotFound, SealBroken
from recognizer.core.particulars import Particulars
from recognizer.database.connection import ChangeWriter
from recognizer.enrolment.bin_store import NOTE_PURPOSE, PERSON_KIND, PHOTO_KIND, BinItem, BinStore, preview, vectors_of
from recognizer.enrolment.encodings import Encoding
from recognizer.enrolment.entries import Entry
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.enrolment.template_file import EXTENSION, written
from recognizer.galleries.postgres.gallery import subject_number

_CONTENT = "bin content "
_ID = re.compile(r"[0-9a-f]{16}")
_COLUMNS = "face, extension, size, kept, box, score, width, height, extract(epoch from added)::float8, thumbnail"


class BinTable(BinStore):
    """The deletions of one group, in the database; see `BinStore` for what each method does. Any thread may call.

    Parameters
    ----------
    enrolment : SharedEnrolment
        Of the group.
    days, grace_days, now
        See `BinStore`.
    """

    def __init__(
        self,
        enrolment: SharedEnrolment,
        days: Callable[[], float],
        grace_days: float = 0.0,
        now: Callable[[], float] = time.time,
    ):
        super().__init__(days, grace_days, now)
        self._enrolment, self._database, self._vault = enrolment, enrolment.database, enrolment.vault

    def _seal(self, data: bytes, purpose: str) -> bytes:
        return data if self._vault is None else self._vault.seal(data, purpose)

    def _open(self, data: bytes, purpose: str) -> bytes:
        return data if self._vault is None else self._vault.open(data, purpose)

    # -- reading ------------------------------------------------------------------------------------------------

    def all(self) -> list[BinItem]:
        return self._items("true")

    def of(self, subject: str) -> list[BinItem]:
        return self._items("subject = %(value)s", subject)

    def _find(self, id_: str) -> BinItem | None:
        return next(iter(self._items("id = %(value)s", id_)), None) if _ID.fullmatch(id_) else None

    def _items(self, condition: str, value: str = "") -> list[BinItem]:
        rows = self._database.rows(
            "select id, subject, deleted, note from bin "
            f"where people_group = %(group)s and {condition} order by deleted desc, id",
            {"group": self._enrolment.group, "value": value},
        )
        return [item for row in rows if (item := self._item(*row)) is not None]

    def _item(self, id_: str, subject: str, deleted: float, note: bytes) -> BinItem | None:
        try:
            item = BinItem.from_bytes(id_, self._open(bytes(note), f"{NOTE_PURPOSE} {id_}"))
        except (ValueError, KeyError, TypeError, SealBroken, KeyMissing):
            return None
        return replace(item, subject=subject, deleted=deleted)

    def read(self, item: BinItem, name: str, max_bytes: int) -> bytes:
        photo = name.partition(".")[0]
        if not name.endswith(f".{EXTENSION}"):
            return self._enrolment.photos.get(photo, max_bytes)
        vector = item.templates[item.photos.index(photo)]  # all that is enrolled in a database has one
        return written(Encoding(photo, self._enrolment.shared_gallery.engine, "only", vector))

    # -- into the bin -------------------------------------------------------------------------------------------

    def discard(self, name: str, noted: Callable[[], object]) -> BinItem:
        enrolment = self._enrolment
        with self._database.write() as changes:
            number = enrolment.number_of(changes.connection, name)
            entries = enrolment.entries_so_far(name)
            item = self._put(changes, PERSON_KIND, number, name, entries, whole=True)
            changes.connection.execute("delete from subject where id = %s", [number])
            changes.note("subject", number)
            noted()
        enrolment.catch_up()
        return item

    def discard_photo(self, name: str, photo: str, noted: Callable[[], object]) -> BinItem:
        enrolment = self._enrolment
        with self._database.write() as changes:
            execute = changes.connection.execute
            number = enrolment.number_of(changes.connection, name)
            everything = enrolment.entries_so_far(name)
            entries = [entry for entry in everything if entry.photo == photo]
            if not entries:
                raise PhotoNotFound(f"{name!r} has no photo {photo!r}")
            last = len(entries) == len(everything)
            item = self._put(changes, PHOTO_KIND, number, name, entries, whole=last)
            execute("delete from photo where subject = %s and photo = %s", (number, photo))
            if last:  # whom other services' clients know by an id stays, without photos
                execute("delete from subject where id = %s and person is null", [number])
                changes.note("subject", number)
            else:
                changes.note("photo", number, photo)
                enrolment.sort_copies(changes, number)
            noted()
        enrolment.catch_up()
        return item

    def _put(self, changes: ChangeWriter, kind: str, number: int, name: str, entries: Sequence[Entry], whole: bool) -> BinItem:
        """Store a deletion; with what is stored beside photos, if that goes too."""
        enrolment, id_ = self._enrolment, secrets.token_hex(8)
        consent = enrolment.consent(name)
        photos = tuple(dict.fromkeys(entry.photo for entry in entries))
        files = tuple(entry.path.rpartition("/")[2] for entry in entries)
        item = BinItem(
            id_, kind, "", self._now(), files, photos, vectors_of(entries), consent.ends, preview(enrolment, entries)
        )
        rows = changes.connection.execute(
            f"select photo, {_COLUMNS} from photo where subject = %s and photo = any(%s)", (number, list(photos))
        ).fetchall()
        content: dict[str, Any] = {
            "photos": [[row[0], *row[1:-1], _text(row[-1])] for row in rows],
            "templates": {
                entry.photo: _text(np.ascontiguousarray(entry.encoding.vector, "<f4").tobytes())
                for entry in entries
                if entry.encoding.vector is not None
            },
        }
        if whole:
            row = changes.connection.execute("select person, identity from subject where id = %s", [number]).fetchone()
            assert row is not None  # it was found above
            content["consent"] = {"note": consent.note, "expires": consent.expires}
            content["about"] = _text(enrolment.particulars(name).as_bytes())
            if kind == PERSON_KIND:
                content["person"], content["identity"] = row[0], _text(row[1])
        changes.connection.execute(
            "insert into bin (id, people_group, subject, deleted, note, content) values (%s, %s, %s, %s, %s, %s)",
            (
                id_,
                enrolment.group,
                name,
                item.deleted,
                self._seal(item.as_bytes(), f"{NOTE_PURPOSE} {id_}"),
                self._seal(json.dumps(content, ensure_ascii=False).encode(), _CONTENT + id_),
            ),
        )
        with changes.connection.cursor() as cursor:
            cursor.executemany("insert into bin_photo (item, photo) values (%s, %s)", [(id_, photo) for photo in photos])
        return replace(item, subject=name)

    # -- out of it ----------------------------------------------------------------------------------------------

    def take_back(self, item: BinItem, noted: Callable[[], object]) -> Sequence[str] | None:
        enrolment, name = self._enrolment, item.subject
        with self._database.write() as changes:
            execute = changes.connection.execute
            enrolment.require_free(changes.connection, name)
            row = execute("select content from bin where id = %s", [item.id]).fetchone()
            if row is None:
                raise BinItemNotFound("the bin has no such item, or no longer", item=item.id)
            content = json.loads(self._open(bytes(row[0]), _CONTENT + item.id))
            number = subject_number(changes.connection, enrolment.group, name)
            for photo, *columns, added, picture in content["photos"]:
                execute(
                    "insert into photo (subject, photo, face, extension, size, kept, box, score, width, height, added, "
                    "thumbnail) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, to_timestamp(%s), %s) on conflict do nothing",
                    (number, photo, *columns, added, _bytes(picture)),
                )
            vectors = {photo: np.frombuffer(_bytes(text) or b"", "<f4") for photo, text in content["templates"].items()}
            templates = [(number, photo, vector.astype(np.float32)) for photo, vector in vectors.items()]
            enrolment.shared_gallery.copy.rows.put(changes.connection, templates)
            self._take_back_about(changes, number, name, content)
            execute("delete from bin where id = %s", [item.id])
            changes.note("subject", number)
            enrolment.sort_copies(changes, number)
            noted()
        enrolment.catch_up()
        return None

    def _take_back_about(self, changes: ChangeWriter, number: int, name: str, content: dict[str, Any]) -> None:
        """Join what was stored beside photos with what is there by now."""
        enrolment = self._enrolment
        if "consent" in content:
            agreed = enrolment.consent(name).joined(Consent(**content["consent"]))
            enrolment.write_consent(changes, number, agreed)
            about = Particulars.from_bytes(_bytes(content["about"]) or b"{}")
            enrolment.write_particulars(changes.connection, number, enrolment.particulars(name).joined(about))
        if content.get("person") is not None:
            changes.connection.execute(
                "update subject set person = %s, identity = %s where id = %s and person is null "
                "and not exists (select 1 from subject where people_group = %s and person = %s)",
                (content["person"], _bytes(content["identity"]), number, enrolment.group, content["person"]),
            )

    def remove(self, item: BinItem, whole: bool = False) -> None:
        work: dict[str, Any] = {"erase_photo": item.subject, "photos": list(item.photos)}
        if whole:
            vectors = _text(np.ascontiguousarray(item.templates, "<f4").tobytes())
            work = {"erase": item.subject, "photos": list(item.photos), "templates": vectors}
        self._remove([item.id], work)

    def _remove(self, ids: Sequence[str], work: dict[str, Any] | None = None) -> None:
        enrolment = self._enrolment
        with self._database.write() as changes:
            rows = changes.connection.execute("select photo from bin_photo where item = any(%s)", [list(ids)]).fetchall()
            changes.connection.execute("delete from bin where id = any(%s)", [list(ids)])
            enrolment.note_orphans(changes, [row[0] for row in rows])
            if work is not None:
                enrolment.give_work(changes, work)
                changes.note("group", enrolment.group)  # wakes the nodes that have the work to do
        enrolment.catch_up()
        enrolment.remove_orphans()

    def rename(self, old: str, new: str) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "update bin set subject = %s where people_group = %s and subject = %s", (new, self._enrolment.group, old)
            )

    def _unreadable(self) -> list[tuple[str, float]]:
        rows = self._database.rows(
            "select id, subject, deleted, note from bin where people_group = %s", [self._enrolment.group]
        )
        return [(row[0], row[2]) for row in rows if self._item(*row) is None]

    def erase_unreadable(self, age: float = 0.0) -> None:
        ids = [id_ for id_, deleted in self._unreadable() if self._now() - deleted >= age]
        if ids:
            self._remove(ids)

    def purge_leftovers(self) -> None:
        """Nothing: a deletion that is interrupted leaves nothing."""

    def count_unreadable(self) -> int:
        return len(self._unreadable())


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
