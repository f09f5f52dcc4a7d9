"""Every kind of file that is written below the state folder: which module writes it, and which holding erases people from it.

`tests/test_stored_files.py` fails when a module writes other files there.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from recognizer.service.subject_holdings import (
    ArchiveHolding,
    AuditNamesHolding,
    BinHolding,
    DamagedFilesHolding,
    EnrolledHolding,
    EventsHolding,
    JobsHolding,
    LeftoversHolding,
    OtherCachesHolding,
    RulesHolding,
    SnapshotHolding,
    StrangersHolding,
    VisitsHolding,
)

#: Notes of unfinished changes; `erasures.Erasures` removes them when the change is finished.
_NOTES = "unfinished changes"


@dataclass(frozen=True)
class StoredFiles:
    """A kind of file.

    Attributes
    ----------
    pattern : str
        Path below the state folder, as for `fnmatch`.
    module : str
        The module that writes it.
    holding : str or None
        Label of the holding that erases a subject from it; None for files that hold nothing about people.
    """

    pattern: str
    module: str
    holding: str | None = None


STORED_FILES = (
    StoredFiles("*.sqlite.damaged*", "recognizer.core.sealed_sqlite", DamagedFilesHolding.label),
    StoredFiles("encodings.sqlite*", "recognizer.enrolment.cache", EnrolledHolding.label),
    StoredFiles("groups/*/encodings.sqlite*", "recognizer.enrolment.cache", EnrolledHolding.label),
    StoredFiles("groups/*/unfinished/*.json", "recognizer.core.unfinished", _NOTES),
    StoredFiles("evaluation.sqlite*", "recognizer.enrolment.cache", OtherCachesHolding.label),
    StoredFiles("archive.sqlite*", "recognizer.enrolment.cache", OtherCachesHolding.label),
    StoredFiles("bin/*/*", "recognizer.enrolment.bin_folder", BinHolding.label),
    StoredFiles("groups/*/bin/*/*", "recognizer.enrolment.bin_folder", BinHolding.label),
    StoredFiles("visits.sqlite*", "recognizer.events.visit_file", VisitsHolding.label),
    StoredFiles("photos.sqlite*", "recognizer.archive.archive_file", ArchiveHolding.label),
    StoredFiles("jobs.sqlite*", "recognizer.jobs.job_file", JobsHolding.label),
    StoredFiles("photos.lock", "recognizer.archive.updating"),
    StoredFiles("events/*.jsonl", "recognizer.events.event_appending", EventsHolding.label),
    StoredFiles("events/*.jsonl", "recognizer.events.event_sealing", EventsHolding.label),
    StoredFiles("events/*/*.jpg", "recognizer.events.event_sealing", EventsHolding.label),
    StoredFiles("events/*.part", "recognizer.events.event_sealing", EventsHolding.label),
    StoredFiles("events/*.forget", "recognizer.events.event_erasing", EventsHolding.label),
    StoredFiles("events/*.cursor", "recognizer.events.delivery"),
    StoredFiles("events/*.sent", "recognizer.rules.rule_delivery"),
    StoredFiles("rules.json", "recognizer.rules.rule_file", RulesHolding.label),
    StoredFiles("rules.json.lock*", "recognizer.core.fair_lock"),
    StoredFiles("push.json", "recognizer.rules.push_store"),
    StoredFiles("push.json.lock*", "recognizer.core.fair_lock"),
    StoredFiles("receivers.json", "recognizer.events.receiver_store"),
    StoredFiles("receivers.json.lock*", "recognizer.core.fair_lock"),
    StoredFiles("events/mqtt-announced.json", "recognizer.events.mqtt_announced"),
    StoredFiles("events/*.lock", "recognizer.events.event_log"),
    StoredFiles("strangers/*.json", "recognizer.strangers.stranger_files", StrangersHolding.label),
    StoredFiles("strangers/pictures/*.jpg", "recognizer.strangers.stranger_files", StrangersHolding.label),
    StoredFiles("strangers/strangers.lock*", "recognizer.core.fair_lock"),
    StoredFiles("audit/names.json", "recognizer.core.audit", AuditNamesHolding.label),
    StoredFiles("audit/*.jsonl", "recognizer.core.audit"),
    StoredFiles("audit/head.*", "recognizer.core.audit"),
    StoredFiles("audit/audit.lock*", "recognizer.core.fair_lock"),
    StoredFiles("audit.begun", "recognizer.core.audit"),
    StoredFiles("unfinished/*.json", "recognizer.core.unfinished", _NOTES),
    StoredFiles("cameras.json", "recognizer.video.sources.cameras"),
    StoredFiles("cameras.json.lock*", "recognizer.core.fair_lock"),
    StoredFiles("camera-settings.json", "recognizer.video.sources.camera_settings_file"),
    StoredFiles("camera-settings.json.lock*", "recognizer.core.fair_lock"),
    StoredFiles("settings.json", "recognizer.core.adjustments"),
    StoredFiles("access.sqlite*", "recognizer.access.access_file"),
    StoredFiles("signing.json", "recognizer.access.signing"),
    StoredFiles("changes.lock*", "recognizer.core.fair_lock"),
    StoredFiles("node", "recognizer.database.nodes"),
    StoredFiles("snapshot/*.rows", "recognizer.galleries.postgres.snapshot", SnapshotHolding.label),
    StoredFiles("snapshot/list.json", "recognizer.galleries.postgres.snapshot", SnapshotHolding.label),
    StoredFiles("snapshot/owner.lock", "recognizer.galleries.postgres.snapshot"),
    StoredFiles("access-copy.json", "recognizer.database.local_copy"),
    StoredFiles("settings-copy.json", "recognizer.database.local_copy"),
    StoredFiles("camera-settings-copy.json", "recognizer.database.local_copy"),
    StoredFiles("encryption.json", "recognizer.backup.reseal"),
    StoredFiles("encryption.lock", "recognizer.backup.reseal"),
    StoredFiles("running/*.lock", "recognizer.backup.reseal"),
    StoredFiles("restoring.json", "recognizer.backup.restore"),
    StoredFiles(".backup-*", "recognizer.backup.backup", LeftoversHolding.label),
    StoredFiles(".deleted-*", "recognizer.backup.restore", LeftoversHolding.label),
    StoredFiles("*.part-*", "recognizer.core.files", LeftoversHolding.label),
)


def kind_of(path: str) -> StoredFiles | None:
    """The kind of a file, by its path below the state folder; None for one that is not in the table."""
    parts = PurePosixPath(path).parts
    for kind in STORED_FILES:
        wanted = PurePosixPath(kind.pattern).parts
        if kind.holding == LeftoversHolding.label and fnmatchcase(path, kind.pattern + "*"):
            return kind
        if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
            return kind
    return None
