"""Takes what a single server stores into the database that nodes share: for `database load` and `restore`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recognizer.commands.common import plain, say

if TYPE_CHECKING:
    from recognizer.core.identity import Identity
    from recognizer.core.particulars import Particulars
    from recognizer.database.connection import Database
    from recognizer.rules.rule_model import Rule
    from recognizer.service import Service
    from recognizer.service.groups import PeopleGroup, PeopleGroups


@dataclass
class Loaded:
    """How much was new in the database.

    `problems` are files that cannot be used, `receivers` settings of where events are sent, `browsers` those that get
    notifications.
    """

    people: int = 0
    photos: int = 0
    problems: int = 0
    cameras: int = 0
    rules: int = 0
    receivers: int = 0
    browsers: int = 0


def load_all(source: Service, made: Service, most: int) -> Loaded:
    """Enrol everybody in the database, and add cameras, what is set for them, rules, where events are sent, and the browsers
    that get notifications; what is there already is left out.

    Parameters
    ----------
    source : Service
        On a folder.
    made : Service
        On the database.
    most : int
        Bytes of the largest photo.

    Raises
    ------
    DatabaseAway, StorageError
    """
    found = Loaded()
    for name in source.groups.names():
        group = source.groups.get(name)
        for new in _load_group(group, source.groups, made.groups, most):
            found.people, found.photos = found.people + (new > 0), found.photos + new
        found.problems += group.enrolment.problem_count
    found.cameras, ids = _load_cameras(source.video.cameras.all(), made.video.cameras)
    _load_camera_settings(source.camera_settings, made.camera_settings, ids)
    found.rules = _load_rules(source.rules.store, made.rules.store, ids)
    found.receivers = made.receivers.store.take_in(source.receivers.store.all())
    found.browsers = made.push.store.take_in(source.push.store)
    return found


def load_access(state: Path, made: Service, database: Database) -> None:
    """Store keys, changed settings and the audit log of a state folder in a database that has none of them.

    Raises
    ------
    NotEmpty, DatabaseAway, StorageError
    """
    from recognizer.access.access_file import AccessFile
    from recognizer.access.access_tables import AccessTables
    from recognizer.core.adjustments import Adjustments
    from recognizer.core.audit import AuditLog
    from recognizer.core.settings import CHANGEABLE
    from recognizer.database.shared_state import SharedAdjustments

    log = AuditLog(state / "audit", made.vault)
    made.audit.take_in(log.stored_lines(), log.names())
    tables = AccessTables(database)
    for key in AccessFile(state / "access.sqlite").held(fresh=True).keys.values():
        tables.add_key(key)
        if key.revoked is not None:
            tables.revoke_key(key.id, key.revoked)
    before, after = Adjustments(state / "settings.json", CHANGEABLE), SharedAdjustments(database, CHANGEABLE)
    for name in CHANGEABLE:
        value = before.get(name)
        if value is not None:
            after.set(name, value)


def _load_group(source: PeopleGroup, groups: PeopleGroups, target_groups: PeopleGroups, most: int) -> Iterator[int]:
    """Enrol the people of a group that are not there; yields how many photos of each are new."""
    from recognizer.core.errors import GroupNotFound
    from recognizer.enrolment import template_file
    from recognizer.enrolment.examination import Examined

    try:
        made = target_groups.get(source.name)
    except GroupNotFound:
        made = target_groups.add(source.name)
    known = groups.known_identity(source.name)
    if known is not None and not made.enrolment.folder_names():
        target_groups.update(source.name, lambda held: known)  # clients know the group by this id
    for name in source.enrolment.folder_names():
        new, enrolment = 0, source.enrolment
        identity, consent, about = source.ids.known(name), enrolment.consent(name), enrolment.particulars(name)
        with made.subjects.changing(name):
            for entry in (each for each in enrolment.entries_so_far(name) if each.encoding.vector is not None):
                data = enrolment.read(entry.path, most)
                kept = None if template_file.is_template(data) else enrolment.thumbnail(entry.photo)
                extension = entry.path.rpartition(".")[2]
                new += made.enrolment.add(name, data, extension, Examined(entry.encoding, kept))[1]
            if identity is not None and made.enrolment.is_free(name):  # without photos
                made.enrolment.make_folder(name)
            if new and consent:
                made.enrolment.set_consent(name, consent)
            if about and made.enrolment.has_folder(name):
                made.enrolment.change_particulars(name, _joined(about))
            if identity is not None and made.enrolment.has_folder(name) and made.ids.known(name) is None:
                made.ids.update(name, _always(identity))
        yield new


def _joined(about: Particulars) -> Callable[[Particulars], Particulars]:
    return lambda held: held.joined(about)


def _always(identity: Identity) -> Callable[[Identity | None], Identity]:
    return lambda held: identity


def _load_cameras(found, shared) -> tuple[int, dict[str, str]]:
    """Add cameras whose names are not taken in the database: how many, and the id of each there by its id here."""
    from recognizer.core.errors import NameTaken, RecognizerError
    from recognizer.video.sources.cameras import DEFAULT

    added = 0
    for each in (each for each in found if not each.fixed):
        try:
            shared.add(each.text, each.name, each.always, each.group)
            added += 1
        except NameTaken:
            pass
        except RecognizerError as error:
            say(f"the camera {plain(each.name)} is left out: {error.message}")
    key = lambda entry: unicodedata.normalize("NFKC", entry.name).casefold()  # noqa: E731
    there = {key(each): each.id for each in shared.all() if not each.fixed}
    ids = {each.id: there[key(each)] for each in found if not each.fixed and key(each) in there}
    return added, {**ids, DEFAULT: DEFAULT}


def _load_camera_settings(found, shared, ids: dict[str, str]) -> None:
    """Store what is set for cameras for which nothing is set in the database."""
    there = shared.all()
    for camera, settings in found.all().items():
        if camera in ids and ids[camera] not in there:
            shared.set(ids[camera], settings)


def _load_rules(found, shared, ids: dict[str, str]) -> int:
    """Add rules that are not in the database; how many. Cameras have the ids that they have there."""
    return shared.take_in(_with_cameras(each, ids) for each in found.all())


def _with_cameras(rule: Rule, ids: dict[str, str]) -> Rule:
    """A rule about the same cameras where these have other ids."""
    from recognizer.rules.rule_model import ZONE_SEPARATOR, zone_parts

    zones = ((ids.get(camera, camera), zone) for camera, zone in map(zone_parts, rule.zones))
    named = tuple(f"{camera}{ZONE_SEPARATOR}{zone}" for camera, zone in zones)
    return replace(rule, cameras=tuple(ids.get(id_, id_) for id_ in rule.cameras), zones=named)
