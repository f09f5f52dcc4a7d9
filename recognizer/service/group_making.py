"""Makes the parts of each group of people: what recognises, changes, erases and exports them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from recognizer.backup import reseal
from recognizer.core.audit import AuditLog
from recognizer.core.holdings import Holding, Holdings
from recognizer.core.lock import WriteLock
from recognizer.core.metrics import Metrics
from recognizer.core.names import DEFAULT_GROUP
from recognizer.core.unfinished import Unfinished
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.folder import KnownFaces
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.galleries.memory import MemoryGallery
from recognizer.service.erasures import Erasures
from recognizer.service.group_audit import GroupAudit, SharedGroupAudit
from recognizer.service.groups import SEPARATOR, PeopleGroup
from recognizer.service.matcher import Matcher
from recognizer.service.recognition import Recognition
from recognizer.service.stores import FolderStores
from recognizer.service.subject_holdings import (
    ArchiveHolding,
    AuditNamesHolding,
    BinHolding,
    DamagedFilesHolding,
    DetectedFacesHolding,
    EnrolledHolding,
    EventsHolding,
    JobsHolding,
    LeftoversHolding,
    OtherCachesHolding,
    RulesHolding,
    StrangersHolding,
    VisitsHolding,
    WaitingPicturesHolding,
)
from recognizer.service.subjects import ChangeRecords, Subjects

if TYPE_CHECKING:
    from recognizer.service.composition import Service


class GroupMaking:
    """Makes groups for a service, of which `groups` and `video` need not be there yet.

    Parameters
    ----------
    service : Service
    stores : FolderStores
    changes : WriteLock
    metrics : Metrics, optional
    """

    def __init__(self, service: Service, stores: FolderStores, changes: WriteLock, metrics: Metrics | None):
        self._service, self._stores, self._changes, self._metrics = service, stores, changes, metrics
        caches = [service.settings.state_dir / name for name in reseal.CACHES[1:]]
        self._other_caches = OtherCachesHolding(service.enrolment, caches)

    def default(self) -> PeopleGroup:
        """The group of those who are in no other one."""
        service = self._service
        return self._group(
            DEFAULT_GROUP, service.enrolment, service.audit, service.settings.state_dir, service.matcher, service.recognition
        )

    def in_folder(self, name: str, folder: Path, state: Path) -> PeopleGroup:
        """Another group of one server.

        Raises
        ------
        StorageError, KeyMissing
        """
        service = self._service
        info, vault = service.engine.info, service.vault
        enrolment = Enrolment(
            KnownFaces(folder, vault),
            EncodingsCache(state / "encodings.sqlite", vault, without_disk=True),
            MemoryGallery(info.id, info.dim),
            service.enrolment.options,
            service.settings.keep_photos,
            self._changes.hold,
        )
        return self._other(name, enrolment, GroupAudit(service.audit.folder, vault, name), state)

    def in_database(self, enrolment: SharedEnrolment, state: Path) -> PeopleGroup:
        """Another group that nodes share."""
        name = enrolment.group_name
        assert name is not None, "this is not the default group"
        return self._other(name, enrolment, SharedGroupAudit(enrolment.database, self._service.vault, name), state)

    def _other(self, name: str, enrolment: Enrolment, audit: AuditLog, state: Path) -> PeopleGroup:
        matcher = self._service.matcher_of(enrolment.gallery)
        recognition = self._service.recognition.among(enrolment.gallery, matcher)

        def require() -> None:
            self._service.groups.require_current(name, enrolment)

        return self._group(name, enrolment, audit, state, matcher, recognition, require)

    def _group(
        self,
        name: str,
        enrolment: Enrolment,
        audit: AuditLog,
        state: Path,
        matcher: Matcher,
        recognition: Recognition,
        require: Callable[[], None] = lambda: None,
    ) -> PeopleGroup:
        service, most = self._service, enrolment.options.rules.max_bytes
        prefix = "" if name == DEFAULT_GROUP else name + SEPARATOR
        deletions = self._stores.bin(enrolment, state, lambda: service.tuning.value("bin_days"))
        holdings = Holdings(
            [
                EnrolledHolding(enrolment, most),
                BinHolding(deletions, most),
                *self._stores.common_holdings(enrolment),
                *self.holdings_of_node(enrolment, prefix),
                RulesHolding(service.rules, prefix=prefix),
                JobsHolding(service.jobs, prefix=prefix),
                AuditNamesHolding(audit),
            ]
        )
        unfinished = Unfinished(state / reseal.UNFINISHED, service.vault)
        erasures = Erasures(holdings, enrolment, audit, unfinished, self._changes, deletions)
        records = ChangeRecords(self._changes, audit, erasures, self._other_caches, deletions, require)
        subjects = Subjects(enrolment, recognition, matcher, service.pool, records, self._metrics)
        ids = self._stores.identities(enrolment)
        return PeopleGroup(name, enrolment, matcher, recognition, subjects, erasures, holdings, ids)

    def holdings_of_node(self, enrolment: Enrolment, prefix: str = "") -> list[Holding]:
        """The holdings that each node has for itself, for the people of a group; `prefix` is before their names."""
        service, state = self._service, self._service.settings.state_dir
        if isinstance(enrolment, SharedEnrolment) and enrolment.group_name is not None:
            prefix = enrolment.group_name + SEPARATOR
        return [
            self._other_caches,
            *self._stores.own_holdings(enrolment),
            EventsHolding(service.events, prefix=prefix),
            WaitingPicturesHolding(service.strangers, lambda: service.video.sightings),
            StrangersHolding(service.strangers, lambda: service.matcher.one_to_one),
            DetectedFacesHolding(service.detected_faces, lambda: service.matcher.one_to_one),
            VisitsHolding(service.visits, prefix=prefix),
            ArchiveHolding(service.archive, prefix=prefix),
            DamagedFilesHolding(state, service.audit),
            LeftoversHolding(enrolment, state),
        ]
