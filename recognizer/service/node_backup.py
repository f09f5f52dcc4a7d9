"""A backup of what nodes share in a database, in the file that a single server's backup is; see `backup.backup_file`.

People are copied while they are enrolled and erased. Then, with the lock of every write held, everybody whom a change concerned
meanwhile is copied again or dropped, and what is stored beside photos is compared with one reading of all of it. What each node
keeps for itself, such as events, is not part of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from recognizer import __version__
from recognizer.access.access_file import AccessFile
from recognizer.access.access_tables import AccessTables
from recognizer.backup import backup
from recognizer.backup.backup_file import FACES, GROUPS, STATE, Writer
from recognizer.core import consent, identity, names, particulars
from recognizer.core.audit import AuditLog
from recognizer.core.errors import GroupNotFound, StorageError
from recognizer.core.settings import RECEIVER_SETTINGS
from recognizer.core.vault import Vault
from recognizer.enrolment import template_file
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.encodings import Encoding
from recognizer.enrolment.face_choice import thumbnail_key
from recognizer.enrolment.folder import PHOTO
from recognizer.enrolment.photo_marks import marks
from recognizer.enrolment.shared_enrolment import StoredNotes
from recognizer.enrolment.subject_files import CONSENT
from recognizer.events.receiver_store import RECEIVERS_FILE, ReceiverStore
from recognizer.rules.push_store import PUSH_FILE, PushStore
from recognizer.rules.rule_file import RULES_FILE, RuleFile
from recognizer.video.camera_settings import plain_settings
from recognizer.video.sources.cameras import plain_camera

if TYPE_CHECKING:
    from recognizer.service import Service
    from recognizer.service.groups import PeopleGroup

#: What of an installation is not in a node's backup, in words.
PER_NODE = "events, strangers, visits and the photo archive, which each node keeps for itself"
_ENCODINGS = "encodings.sqlite"
#: Encodings that are stored at once.
_BATCH = 500


def write(service: Service, file: BinaryIO, step: Callable[[str], None] = lambda what: None) -> dict:
    """Write a backup into an open file; returns a summary of its contents, as `backup.write` does.

    Parameters
    ----------
    service : Service
        On a database.
    file : binary file
        Empty, open for reading, writing and seeking.
    step : callable
        Called with a description of the next step.

    Raises
    ------
    DatabaseAway, Busy, StorageError
    """
    made = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    service.audit.append("backup")
    try:
        with backup.scratch_folder(service.settings.state_dir) as scratch, Writer(file, service.vault) as writer:
            work = _NodeBackup(service, writer, scratch)
            step("people")
            work.copy_people()
            with service.changing_everything():
                work.settle()
                people, photos = backup.counted(writer.paths)
                step("state")
                head = work.copy_state()
            step("templates")
            work.store_encodings()
            sealer = None if service.vault is None else service.vault.current
            engines = [service.engine.info.id] if photos else []
            about = {"keys": [sealer] if sealer else [], "engines": engines, "people": people, "photos": photos}
            writer.close(__version__, made, {**about, "audit_head": head})
    except OSError as error:
        raise StorageError(f"the backup cannot be written: {(error.strerror or type(error).__name__).lower()}") from error
    return {
        "made": made,
        "people": people,
        "photos": photos,
        "files": len(writer.paths),
        "engines": engines,
        "encrypted_with": sealer,
        "audit_head": head,
        "left_out": sorted({PER_NODE, *work.left_out}),
    }


@dataclass
class _Copied:
    """A person in the backup: group and name then, where in the file, the members, the photos, and the notes as stored."""

    owner: tuple[int, str]
    place: str
    paths: list[str] = field(default_factory=list)
    photos: list[tuple[str, str]] = field(default_factory=list)  # each with the name of its group
    notes: int | None = None


class _Cache:
    """A cache that is being filled."""

    def __init__(self, file: Path, vault: Vault | None):
        self.file, self._cache = file, EncodingsCache(file, vault)
        self._waiting: list[tuple[Encoding, bytes | None]] = []

    def put(self, encoding: Encoding, picture: bytes | None) -> None:
        self._waiting.append((encoding, picture))
        if len(self._waiting) >= _BATCH:
            self._store()

    def _store(self) -> None:
        pictures = {thumbnail_key(each.photo, each.face): picture for each, picture in self._waiting if picture is not None}
        self._cache.put([encoding for encoding, _ in self._waiting], pictures)
        self._waiting = []

    def close(self, gone: Sequence[str]) -> None:
        """Store what waits, without the photos that are gone."""
        self._store()
        self._cache.forget(gone)
        self._cache.close()


class _NodeBackup:
    def __init__(self, service: Service, writer: Writer, scratch: Path):
        assert service.shared is not None
        self._service, self._writer, self._scratch = service, writer, scratch
        self._enrolment = service.shared
        self._database, self._vault = service.shared.database, service.vault
        self._people: dict[int, _Copied] = {}
        self._caches: dict[str, _Cache] = {}  # by group
        self._dropped: set[tuple[str, str]] = set()  # photos of those who were dropped
        self.left_out: set[str] = set()
        self._begun = self._last_change()

    def _last_change(self) -> int:
        return int(self._database.rows("select coalesce(max(seq), 0) from change")[0][0])

    # -- people -------------------------------------------------------------------------------------------------

    def _subjects(self) -> dict[int, tuple[int, str]]:
        """Group and name of everybody, by number."""
        rows = self._database.rows("select id, people_group, name from subject order by id")
        return {number: (group, name) for number, group, name in rows}

    def copy_people(self) -> None:
        """Copy everybody; what changes meanwhile is seen by `settle`."""
        for number, owner in self._subjects().items():
            self._copy(number, owner)

    def settle(self) -> None:
        """Bring the copy in step with the database, in which nobody writes now."""
        self._enrolment.catch_up()
        there = self._subjects()
        rows = self._database.rows("select distinct subject from change where seq > %s", [self._begun])
        changed = {row[0] for row in rows}
        for number, copied in list(self._people.items()):
            if number in changed or there.get(number) != copied.owner:
                self._drop(number)
        for number, owner in there.items():
            if number not in self._people:
                self._copy(number, owner)
        # tags, covers and ids change without the lock and are in no list of changes: all are those of this one statement
        for number, notes in self._enrolment.stored_notes().items():
            if number in self._people:
                self._copy_notes(self._people[number], notes)
        for name in self._service.groups.names():
            known = self._service.groups.known_identity(name)
            if known is not None:
                self._add(_place(name) + identity.GROUP_FILE, self._sealed(known.as_bytes(), identity.GROUP))

    def _group(self, number: int) -> PeopleGroup | None:
        row = self._database.rows("select name from people_group where id = %s", [number])
        try:
            return self._service.groups.get(row[0][0]) if row else None
        except GroupNotFound:  # made, or deleted, a moment ago: settled later
            return None

    def _copy(self, number: int, owner: tuple[int, str]) -> None:
        group, name = self._group(owner[0]), owner[1]
        if group is None:
            return
        place = f"{_place(group.name)}{name}/"
        copied, enrolment = _Copied(owner, place), group.enrolment
        self._people[number] = copied
        for entry in enrolment.entries_so_far(name):
            extension = entry.path.rpartition(".")[2]
            if extension == template_file.EXTENSION:
                data = template_file.written(entry.encoding)
            else:
                try:
                    data = enrolment.read(entry.path, self._service.settings.max_image_bytes)
                except FileNotFoundError:  # erased a moment ago; what is missing although it should be there is reported
                    self.left_out.add(entry.path)
                    continue
            path = f"{place}{entry.photo}{marks(entry.encoding.face)}.{extension}"
            self._add(path, self._sealed(data, PHOTO), entry.stamp.mtime_ns)
            copied.paths.append(path)
            copied.photos.append((group.name, entry.photo))
            self._cache(group.name).put(entry.encoding, enrolment.thumbnail(thumbnail_key(entry.photo, entry.encoding.face)))
        for notes in self._enrolment.stored_notes([number]).values():
            self._copy_notes(copied, notes)

    def _copy_notes(self, copied: _Copied, notes: StoredNotes) -> None:
        """Put what is stored beside somebody's photos into the backup, unless it is there already."""
        found = hash(notes)
        if found == copied.notes:
            return
        copied.notes = found
        agreed, about, person = self._enrolment.opened_notes(notes)
        for file, purpose, data in (
            (consent.FILE, CONSENT, agreed.as_bytes() if agreed else None),
            (particulars.FILE, particulars.PURPOSE, about.as_bytes() if about else None),
            (identity.PERSON_FILE, identity.PERSON, person.as_bytes() if person else None),
        ):
            path = copied.place + file
            if data is not None:
                self._add(path, self._sealed(data, purpose))
                copied.paths.append(path)
            else:
                self._writer.drop(path)

    def _drop(self, number: int) -> None:
        copied = self._people.pop(number)
        for path in copied.paths:
            self._writer.drop(path)
        self._dropped |= set(copied.photos)
        self.left_out -= {each for each in self.left_out if each.startswith(f"{copied.owner[1]}/")}

    def _sealed(self, data: bytes, purpose: str) -> bytes:
        return data if self._vault is None else self._vault.seal(data, purpose)

    def _add(self, path: str, data: bytes, mtime_ns: int = 0) -> None:
        self._writer.add(path, [data], mtime_ns)

    def _cache(self, group: str) -> _Cache:
        """The templates of a group, as a single server's cache has them: then no photo has to be encoded again."""
        if group not in self._caches:
            self._caches[group] = _Cache(self._scratch / f"cache-{len(self._caches)}.sqlite", self._vault)
        return self._caches[group]

    def store_encodings(self) -> None:
        """Copy the caches, which have the templates of everybody in the backup."""
        there = {photo for copied in self._people.values() for photo in copied.photos}
        for group, cache in self._caches.items():
            cache.close([photo for name, photo in self._dropped - there if name == group])
            place = _ENCODINGS if group == names.DEFAULT_GROUP else f"groups/{group}/{_ENCODINGS}"
            if any(name == group for name, _ in there):
                self._copy_file(STATE + place, cache.file)

    # -- the state ----------------------------------------------------------------------------------------------

    def _copy_file(self, path: str, file: Path) -> None:
        with open(file, "rb") as opened:
            self._writer.add(path, backup.chunks(opened), file.stat().st_mtime_ns)

    def copy_state(self) -> dict | None:
        """Copy cameras, rules, receivers of events, browsers, settings, keys and the audit log; the head of that."""
        service, state = self._service, self._scratch / "state"
        state.mkdir(mode=0o700)
        cameras = service.video.cameras
        listed = [plain_camera(each) for each in cameras.all() if not each.fixed]
        self._json("cameras.json", {"cameras": listed, "removed": cameras.removed()})
        self._json("camera-settings.json", {id: plain_settings(each) for id, each in service.camera_settings.all().items()})
        self._json("settings.json", dict(self._database.rows("select name, value from setting")))
        rules = service.rules.store.all()
        if rules:
            RuleFile(state / RULES_FILE, self._vault).take_in(rules)
            self._copy_file(STATE + RULES_FILE, state / RULES_FILE)
        receivers = ReceiverStore.in_file(state / RECEIVERS_FILE, RECEIVER_SETTINGS, self._vault)
        receivers.take_in(service.receivers.store.all())
        PushStore.in_file(state / PUSH_FILE, self._vault).take_in(service.push.store)
        for name in (RECEIVERS_FILE, PUSH_FILE):
            if (state / name).exists():
                self._copy_file(STATE + name, state / name)
        keys, access = AccessTables(self._database).held(fresh=True).keys.values(), AccessFile(state / "access.sqlite")
        for key in keys:
            access.add_key(key)
            if key.revoked is not None:
                access.revoke_key(key.id, key.revoked)
        if keys:
            self._copy_file(f"{STATE}access.sqlite", state / "access.sqlite")
        with service.audit.exclusive():
            copied = AuditLog(state / "audit", self._vault)
            copied.take_in(service.audit.stored_lines(), service.audit.names())
            for file in sorted((state / "audit").iterdir()):
                if file.suffix in (".jsonl", ".json"):
                    self._copy_file(f"{STATE}audit/{file.name}", file)
            return copied.head()

    def _json(self, name: str, content: dict) -> None:
        if any(content.values()):
            self._add(STATE + name, json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")


def _place(group: str) -> str:
    return FACES if group == names.DEFAULT_GROUP else f"{GROUPS}{group}/"
