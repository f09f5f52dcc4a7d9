"""The composition root: puts the parts together and offers what the routes and commands call.

Only `make_service` knows all parts. Each part receives what it needs: `recognition` finds and names faces on photos,
`subjects` changes who is enrolled, `matcher` decides whose face it is, `groups` has all galleries, `tuning` has the settings in
force, `events`, `strangers` and `video` are about cameras, `health` reports the state of everything.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from recognizer import __version__
from recognizer.backup import reseal
from recognizer.backup.reseal import EncryptionPresence
from recognizer.core import names
from recognizer.core.adjustments import Adjustments
from recognizer.core.audit import AuditLog
from recognizer.core.errors import (
    Busy,
    DatabaseAway,
    EngineMismatch,
    InvalidSource,
    RecognizerError,
    SettingsError,
    StorageError,
)
from recognizer.core.holdings import Holding, Holdings
from recognizer.core.lock import WriteLock
from recognizer.core.metrics import Metrics
from recognizer.core.pool import Pool
from recognizer.core.settings import CHANGEABLE, DEFAULT, RECEIVER_SETTINGS, Settings
from recognizer.core.unfinished import Unfinished
from recognizer.core.vault import Vault, open_vault
from recognizer.database import nodes, schema
from recognizer.database.connection import Database
from recognizer.database.local_copy import LocalCopy
from recognizer.database.opening import open_adjustments, open_audit, open_database, open_lock
from recognizer.engines import Engine, make_engine, weights_for
from recognizer.engines.runtime import release_memory
from recognizer.enrolment import bin_folder
from recognizer.enrolment.bin_folder import Bin
from recognizer.enrolment.bin_store import BinStore
from recognizer.enrolment.bin_table import BinTable
from recognizer.enrolment.bulk import BulkSettings
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.closeness import GalleryCalibration, Measurement
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.examination import EncodingOptions, EnrolmentRules
from recognizer.enrolment.folder import KnownFaces
from recognizer.enrolment.identities import Identities, SharedIdentities
from recognizer.enrolment.photo_encoding import EncodingReporter
from recognizer.enrolment.photo_store import StoredPhotos, open_store
from recognizer.enrolment.retention import Sweep
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.enrolment.watcher import Watcher
from recognizer.events.appearances import EventRules
from recognizer.events.event_erasing import Retention
from recognizer.events.event_options import EventOptions
from recognizer.events.receiver_store import RECEIVERS_FILE, ReceiverStore
from recognizer.events.sightings import SightingRules
from recognizer.galleries.contract import Gallery
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.postgres import snapshot
from recognizer.galleries.postgres.feed import Feed
from recognizer.galleries.postgres.gallery import PostgresGallery
from recognizer.photos import sandbox
from recognizer.rules.push_store import PushStore
from recognizer.rules.rule_file import RULES_FILE, RuleFile
from recognizer.rules.rule_reports import SharedReports
from recognizer.rules.rule_table import RuleTable
from recognizer.service import health
from recognizer.service.archive_service import KeptArchive
from recognizer.service.attribute_finder import AttributeFinder
from recognizer.service.bucket_queue import BucketQueue
from recognizer.service.delivering import DeliveryTools, other_nodes, rule_actions
from recognizer.service.detected_faces import FaceStore
from recognizer.service.dlib_descriptions import DlibDescriptions
from recognizer.service.dropped_photos import DroppedHolding, DroppedPhotos
from recognizer.service.erasures import Erasures
from recognizer.service.event_service import KeptEvents
from recognizer.service.face_storage import FaceStorage
from recognizer.service.group_audit import GroupAudit, SharedGroupAudit
from recognizer.service.group_follower import GroupFollower
from recognizer.service.group_vision import GroupVision
from recognizer.service.groups import SEPARATOR, PeopleGroup, PeopleGroups
from recognizer.service.job_service import JobLimits, JobPlace, JobTools, KeptJobs
from recognizer.service.matcher import Identification, Matcher
from recognizer.service.node_work import NodeWork
from recognizer.service.object_finder import ObjectFinder
from recognizer.service.other_servers import OtherServers
from recognizer.service.push_service import KeptPush
from recognizer.service.receivers import Receivers
from recognizer.service.recognition import Recognition
from recognizer.service.rule_service import KeptRules
from recognizer.service.shared_groups import SharedGroups
from recognizer.service.snapshots import SnapshotKeeper
from recognizer.service.stranger_service import KeptStrangers
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
    SnapshotHolding,
    StrangersHolding,
    VisitsHolding,
    WaitingPicturesHolding,
)
from recognizer.service.subjects import ChangeRecords, Subjects
from recognizer.service.tuning import Tuning
from recognizer.service.video_service import CameraObservers, Video
from recognizer.service.visit_service import KeptVisits
from recognizer.video.sources.camera_settings_file import CameraSettingsFile
from recognizer.video.sources.camera_settings_store import CameraSettingsStore
from recognizer.video.sources.camera_settings_table import CameraSettingsTable
from recognizer.video.sources.source import parse_source
from recognizer.video.tracking.vision import EngineVision, NamingLimits
from recognizer.video.tracking.workers import cores
from recognizer.weights import manifest

if TYPE_CHECKING:
    from recognizer.fetching.fetcher import Fetcher
    from recognizer.video.sources.cameras import Cameras

log = logging.getLogger(__name__)

#: Maximum number of URLs that are fetched at once; at most half of the server's threads, if these are fewer.
MAX_FETCHES = 32


class Service:
    """Everything that the server and the command line can do, by its parts. Build it with `make_service`.

    Photos are bytes, and where nothing is stored also `images.Image`; names are as `names.normalise` writes them. Every
    method, of the parts as well, may be called from any thread.
    """

    def __init__(
        self,
        settings: Settings,
        enrolment: Enrolment,
        pool: Pool,
        fetcher: Callable[[], Fetcher],
        audit: AuditLog,
        presence: EncryptionPresence,
        changes: WriteLock,
        metrics: Metrics | None = None,
        adjustments: Adjustments | None = None,
    ):
        self.settings, self.enrolment = settings, enrolment
        engine, rules = enrolment.options.engine, enrolment.options.rules
        self.engine = engine
        self.pool, self.audit = pool, audit
        self.gallery: Gallery = enrolment.gallery
        #: Whether people are in a database that servers share.
        self.is_shared = isinstance(enrolment, SharedEnrolment)
        #: Encrypts the stored data; None if it is stored in plain form.
        self.vault: Vault | None = enrolment.vault
        #: Follows known_faces, and erases what has expired; None until `start`, or if the settings disable it.
        self.watcher: Watcher | Feed | None = None
        self.group_follower: GroupFollower | None = None
        #: Enrols photos that were dropped, where nodes share a database.
        self.dropped: DroppedPhotos | None = None
        self.bucket_queue: BucketQueue | None = None
        #: Stores a copy of the templates, where nodes share a database.
        self.snapshots: SnapshotKeeper | None = None
        self.sweep: Sweep | None = None
        #: True from the end of `start` until `close` begins.
        self.ready = False
        self._started = time.time()
        self._fetcher, self._presence, self._changes = fetcher, presence, changes
        #: Learns what other processes changed in the folder.
        self.others = OtherServers(enrolment, changes)
        self._fetches = threading.BoundedSemaphore(max(2, min(MAX_FETCHES, settings.http_threads // 2)))
        self._backing_up = threading.Lock()
        self._measurement = Measurement(enrolment)

        state, info, font = settings.state_dir, engine.info, manifest.path("font", settings.models_dir)
        self.tuning = Tuning(settings, audit, adjustments or open_adjustments(state, CHANGEABLE, None))
        self.matcher = Matcher(info, self.gallery, settings.threshold, lambda: self.tuning.stranger_rate, self.engine.crowded)
        identification = Identification(engine, self.gallery, self.matcher, rules)
        self.strangers = KeptStrangers(
            FaceStorage(state / "strangers", settings.strangers, lambda: self.tuning.value("strangers_days"), self.vault),
            identification,
        )
        #: Faces that clients of other services ask about by an id.
        self.detected_faces = FaceStore()
        self.archive = KeptArchive(
            state, self._bulk, self.gallery, self.matcher, self.vault, settings.archive_files, settings.archive_video_minutes
        )
        self.finder = ObjectFinder(settings.models_dir, settings.object_threshold)
        self.attribute_finder = AttributeFinder(settings.models_dir, settings.attributes)
        self.recognition = Recognition(
            identification, pool, self.finder, self.attribute_finder, font, metrics, self.strangers.offer
        )
        self.dlib_descriptions = DlibDescriptions(engine, pool, rules, settings.provider)
        shared = enrolment if isinstance(enrolment, SharedEnrolment) else None
        copied_hours = settings.snapshot_hours if settings.watch else 0
        #: What is set for each camera.
        self.camera_settings: CameraSettingsStore = (
            CameraSettingsFile(state / "camera-settings.json")
            if shared is None
            else CameraSettingsTable(
                shared.database, LocalCopy(state / "camera-settings-copy.json", lambda: self.vault, copied_hours)
            )
        )
        self.events = KeptEvents(
            state / "events",
            settings.events,
            _event_rules(settings),
            _retention(settings),
            EventOptions(
                self.vault,
                self._is_enrolled,
                settings.event_scenes,
                lambda camera: self.video.settings_of(camera).unknown_quality,
                None if shared is None else shared.node,
            ),
            announced=lambda: settings.events and self.receivers.in_force().mqtt_url is not None,
        )
        self._other_caches = other_caches = OtherCachesHolding(enrolment, [state / name for name in reseal.CACHES[1:]])
        self.visits = KeptVisits(
            FaceStorage(state, settings.sightings, lambda: self.tuning.value("sightings_days"), self.vault),
            identification,
            self._is_enrolled,
        )
        #: Batches of photos that are worked off in the background.
        self.jobs = KeptJobs(
            JobPlace(state, enrolment.database if isinstance(enrolment, SharedEnrolment) else None, self.vault),
            _job_limits(settings, pool.workers),
            JobTools(lambda: self.groups, self.attribute_finder, pool, fetcher, self.others.learn),
            audit,
        )
        #: The browsers that get notifications.
        self.push = KeptPush(
            PushStore.of(state, None if shared is None else shared.database, self.vault),
            settings.webhook_allow,
            settings.fetch_timeout,
            audit,
        )
        self.strangers.heard = self.push.notify_of_stranger
        #: Where events are sent.
        self.receivers = Receivers(
            settings,
            ReceiverStore.in_file(state / RECEIVERS_FILE, RECEIVER_SETTINGS, self.vault)
            if shared is None
            else ReceiverStore.in_database(shared.database, RECEIVER_SETTINGS, self.vault),
            self.events,
            audit,
            lambda: self.rules.renew_actions(),
        )
        self.tuning.follow(self.receivers)
        #: What happens when people come or go at the cameras.
        self.rules = KeptRules(
            RuleFile(state / RULES_FILE, self.vault) if shared is None else RuleTable(shared.database, self.vault),
            self.events,
            lambda: rule_actions(
                self.receivers.in_force(),
                self._camera_names,
                self.receivers.permits,
                self.push.sender,
                None if shared is None else shared.node,
            ),
            self._camera_names,
            lambda: self.groups,
            audit,
            None if shared is None else SharedReports(shared.database, shared.node),
            lambda camera: self.video.current_settings(camera).zone_names(),
        )
        #: What other nodes erased and renamed, still to be done here; None where there is one server.
        self.node_work: NodeWork | None = None
        if isinstance(enrolment, SharedEnrolment):
            self.node_work = NodeWork(enrolment, self._of_this_node, engine.info.dim)
        deletions = self._bin(state, enrolment)
        #: Every keeper of what is stored about people; see `holdings`.
        self.holdings = Holdings(
            [
                EnrolledHolding(enrolment, rules.max_bytes),
                BinHolding(deletions, rules.max_bytes),
                *self._of_the_nodes(enrolment),
                *self._of_this_node(enrolment),
                RulesHolding(self.rules),
                JobsHolding(self.jobs),
                AuditNamesHolding(audit),
            ]
        )
        unfinished = Unfinished(state / reseal.UNFINISHED, self.vault)
        self.erasures = Erasures(self.holdings, enrolment, audit, unfinished, changes, deletions)
        self.subjects = Subjects(
            enrolment,
            self.recognition,
            self.matcher,
            pool,
            ChangeRecords(changes, audit, self.erasures, other_caches, deletions),
            metrics,
        )
        ids = (
            SharedIdentities(enrolment, changes.hold)
            if isinstance(enrolment, SharedEnrolment)
            else Identities(enrolment.folder, changes.hold)
        )
        default = PeopleGroup(
            names.DEFAULT_GROUP,
            enrolment,
            self.matcher,
            self.recognition,
            self.subjects,
            self.erasures,
            self.holdings,
            ids,
        )
        #: All galleries; what is above is of the default one.
        self.groups = (
            SharedGroups(state, default, enrolment, self._make_shared_group, audit, changes, self.vault)
            if isinstance(enrolment, SharedEnrolment)
            else PeopleGroups(settings.groups_dir, state, default, self._make_group, audit, changes, self.vault)
        )
        self._metrics = metrics
        self.video = Video(
            self._listed_cameras,
            self.vision_of(self.groups.default),
            CameraObservers(
                self.events,
                self.strangers,
                self.visits,
                SightingRules(settings.event_unknown_seconds, rules.min_face),
                frozenset(settings.attributes) if settings.event_attributes else frozenset(),
            ),
            font,
            metrics,
            self._group_vision,
            self.camera_settings,
        )
        if metrics is not None:
            health.show(self, metrics)

    def _of_the_nodes(self, enrolment: Enrolment) -> list[Holding]:
        """The holdings that nodes have together, for the people of a group; none where there is one server."""
        return [DroppedHolding(enrolment, enrolment.photos.store)] if isinstance(enrolment, SharedEnrolment) else []

    def _of_this_node(self, enrolment: Enrolment, prefix: str = "") -> list[Holding]:
        """The holdings that each node has for itself, for the people of a group; `prefix` is before their names."""
        shared = enrolment if isinstance(enrolment, SharedEnrolment) else None
        if shared is not None and shared.group_name is not None:
            prefix = shared.group_name + SEPARATOR
        return [
            self._other_caches,
            *([] if shared is None else [SnapshotHolding(shared)]),
            EventsHolding(self.events, prefix=prefix),
            WaitingPicturesHolding(self.strangers, lambda: self.video.sightings),
            StrangersHolding(self.strangers, lambda: self.matcher.one_to_one),
            DetectedFacesHolding(self.detected_faces, lambda: self.matcher.one_to_one),
            VisitsHolding(self.visits, prefix=prefix),
            ArchiveHolding(self.archive, prefix=prefix),
            DamagedFilesHolding(self.settings.state_dir, self.audit),
            LeftoversHolding(enrolment, self.settings.state_dir),
        ]

    def _make_group(self, name: str, folder: Path, state: Path) -> PeopleGroup:
        """The parts of a group besides the default one: its own where people are kept, the service's where not.

        Raises
        ------
        StorageError, KeyMissing
        """
        enrolment = Enrolment(
            KnownFaces(folder, self.vault),
            EncodingsCache(state / "encodings.sqlite", self.vault, without_disk=True),
            MemoryGallery(self.engine.info.id, self.engine.info.dim),
            self.enrolment.options,
            self.settings.keep_photos,
            self._changes.hold,
        )
        audit = GroupAudit(self.audit.folder, self.vault, name)
        ids = Identities(enrolment.folder, self._changes.hold)
        return self._group_of(name, enrolment, audit, state, ids)

    def _make_shared_group(self, enrolment: SharedEnrolment, state: Path) -> PeopleGroup:
        """The same of a group in a database."""
        name = enrolment.group_name
        assert name is not None, "this is not the default group"
        audit = SharedGroupAudit(enrolment.database, self.vault, name)
        return self._group_of(name, enrolment, audit, state, SharedIdentities(enrolment, self._changes.hold))

    def _group_of(self, name: str, enrolment: Enrolment, audit: AuditLog, state: Path, ids: Identities) -> PeopleGroup:
        settings, most = self.settings, enrolment.options.rules.max_bytes
        deletions = self._bin(state, enrolment)
        rate = lambda: self.tuning.stranger_rate  # noqa: E731
        matcher = Matcher(self.engine.info, enrolment.gallery, settings.threshold, rate, self.engine.crowded)
        recognition = self.recognition.among(enrolment.gallery, matcher)
        holdings = Holdings(
            [
                EnrolledHolding(enrolment, most),
                BinHolding(deletions, most),
                *self._of_the_nodes(enrolment),
                *self._of_this_node(enrolment, name + SEPARATOR),
                RulesHolding(self.rules, prefix=name + SEPARATOR),
                JobsHolding(self.jobs, prefix=name + SEPARATOR),
                AuditNamesHolding(audit),
            ]
        )
        unfinished = Unfinished(state / reseal.UNFINISHED, self.vault)
        erasures = Erasures(holdings, enrolment, audit, unfinished, self._changes, deletions)
        subjects = Subjects(
            enrolment,
            recognition,
            matcher,
            self.pool,
            ChangeRecords(self._changes, audit, erasures, self._other_caches, deletions),
            self._metrics,
        )
        return PeopleGroup(name, enrolment, matcher, recognition, subjects, erasures, holdings, ids)

    def _bin(self, state: Path, enrolment: Enrolment) -> BinStore:
        """The bin of a group: in the folder of what is kept about the group, or in the database."""
        days, grace = lambda: self.tuning.value("bin_days"), self.settings.expiry_grace_days
        if isinstance(enrolment, SharedEnrolment):
            return BinTable(enrolment, days, grace)
        return Bin(state / bin_folder.BIN, days, grace, self.vault, enrolment=enrolment)

    def vision_of(self, group: PeopleGroup) -> EngineVision:
        """What finds and names the people of a group on frames."""
        return EngineVision(
            self.engine,
            group.gallery,
            NamingLimits(group.matcher.threshold_now, group.matcher.threshold_at, group.matcher.live_lowerings),
            objects=self._find_objects,
            reader=self.attribute_finder.reader if self.settings.attributes else None,
            forced=group.enrolment.is_forced,
        )

    def _group_vision(self, name: str) -> GroupVision:
        """What names the people of a group at a camera."""
        known: dict[PeopleGroup, EngineVision] = {}

        def find() -> EngineVision | None:
            try:
                group = self.groups.get(name)
            except RecognizerError:
                return None
            if group not in known:
                known.clear()
                known[group] = self.vision_of(group)
            return known[group]

        return GroupVision(name, self.vision_of(self.groups.default), find)

    def _is_enrolled(self, name: str) -> bool:
        """Whether somebody is enrolled, in a group if the name begins with one."""
        group, separator, person = name.rpartition(SEPARATOR)
        try:
            return bool(self.groups.get(group if separator else None).gallery.templates(person))
        except RecognizerError:
            return False

    def _camera_names(self) -> dict[str, str]:
        return {each.id: each.name or each.id for each in self.video.cameras.all()}

    def _bulk(self) -> BulkSettings:
        """How the photos of the archive are read and described."""
        return BulkSettings(
            self.engine,
            self.enrolment.options.recipe,
            max_bytes=self.settings.max_image_bytes,
            max_pixels=self.settings.max_image_pixels,
            workers=self.pool.workers,
        )

    def _find_objects(self, pixels, threshold: float):
        return self.finder.detector().find(pixels, threshold)

    def _listed_cameras(self) -> Cameras:
        # a command that looks at photos needs none of this
        from recognizer.video.sources.cameras import Cameras
        from recognizer.video.sources.reach import Reach
        from recognizer.video.sources.shared_cameras import SharedCameras

        settings, shared = self.settings, self.enrolment
        options: dict[str, Any] = {
            "default": settings.camera,
            "assumed": settings.source("camera")[0] == DEFAULT,
            "reach": Reach(settings.camera_allow),
            "files": settings.camera_files,
        }
        if isinstance(shared, SharedEnrolment):
            return SharedCameras(shared.database, shared.node, self.vault, settings.node_cameras, **options)
        return Cameras(settings.state_dir / "cameras.json", **options)

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, progress: EncodingReporter | None = None) -> None:
        """Enrol the photos of known_faces, and follow the folder from then on if the settings say so.

        Only a service that follows the folder tidies the cache: a command, perhaps with another folder or engine, must not
        erase what a running server needs.
        """
        alone = isinstance(self.enrolment, SharedEnrolment) and self.enrolment.started_alone
        if alone:
            log.warning("the database cannot be reached: searches use the snapshot, and changes are refused until it is back")
        else:
            self.enrolment.sync(progress=progress, trusting=self.settings.watch)
            if self.settings.watch:
                self.groups.default.sweep_folder(self._changes)
            self.groups.default.finish_changes()
        if self.settings.watch:
            if not alone:
                self.enrolment.tidy(later=True)
            self.groups.start(progress)
            if not self.is_shared:
                self.group_follower = GroupFollower(self.groups, self.settings.watch_poll, self._changes.hold)
            self.watcher = self._follow()
            self.sweep = Sweep(
                self.groups,
                self.groups.erase,
                self._finish_everything,
                self._purge,
                self.settings.expiry_grace_days,
            )
        self.ready = True
        release_memory()

    def _purge(self) -> int:
        """Delete what is old; returns how many events these were. What fails prevents nothing else, and is tried again."""
        purges: list[Callable[[], object]] = [self.detected_faces.purge, self.jobs.purge]
        purges += [group.subjects.empty_bin for group in (self.groups.default, *self.groups.opened())]
        for purge in (*purges, self.visits.purge_if_off, self.strangers.purge_if_off):
            try:
                purge()
            except RecognizerError as error:
                log.warning("what is too old could not be deleted: %s", error.message)
            except Exception:
                log.exception("what is too old could not be deleted")
        return self.events.purge()

    def _follow(self) -> Watcher | Feed:
        """Follow the folder, or the changes of the other nodes."""
        shared, work = self.enrolment, self.node_work
        if not isinstance(shared, SharedEnrolment) or work is None:
            return Watcher(self.enrolment, self.settings.watch_poll, self._changes.hold)
        worked, reported = -1, 0.0

        def catch_up() -> None:
            nonlocal worked, reported
            shared.catch_up()
            applied = shared.shared_gallery.copy.applied
            if applied != worked:  # whoever read the change: this thread, or one that changed something here
                self.groups.follow()
                work.run()
            if applied != worked or time.monotonic() - reported >= nodes.REPORT_SECONDS:
                nodes.report(shared.database, shared.node, applied, self.settings.node_url, self.settings.node_cameras)
                reported = time.monotonic()
            worked = applied

        def back() -> None:
            if shared.started_alone:
                self._join_late(shared)
            shared.shared_gallery.copy.reload_if_behind()
            shared.catch_up()
            work.run()

        if self.settings.snapshot_hours:
            self.snapshots = SnapshotKeeper(shared)
        return Feed(shared.database, catch_up, back)

    def _join_late(self, shared: SharedEnrolment) -> None:
        """Check what a start with the database checks; a node that would be refused ends."""
        info = self.engine.info
        try:
            schema.require_current(shared.database)
            schema.join(shared.database, info.id, info.dim, self.vault)
        except (SettingsError, EngineMismatch) as error:
            log.critical("Recognizer cannot go on: %s", error.message)
            os.kill(os.getpid(), signal.SIGTERM)
            raise
        shared.joined()
        log.info("the database is back: changes are possible")

    def _finish_everything(self) -> int:
        """Finish what earlier changes left, of this node and of the others; how much is finished now."""
        finished = self.groups.finish()
        if self.node_work is not None and isinstance(self.enrolment, SharedEnrolment):
            finished += self.node_work.run()
            self.enrolment.tidy()
        return finished

    def serve(self) -> None:
        """Start what only a server does, not a command: deliver events, process strangers, work off jobs, run the cameras that
        are always on.

        Raises
        ------
        SettingsError, StorageError
        """
        shared, seconds = self.enrolment, self.settings.dropped_seconds
        others = other_nodes(shared.database, self.video.cameras) if isinstance(shared, SharedEnrolment) else None
        permits = self.receivers.permits
        self.receivers.start(
            DeliveryTools(self.events, self.video, self.gallery, self.recognition, self.matcher, permits, others)
        )
        self.rules.start()
        try:
            self.strangers.look_after()
        except StorageError as error:  # recognition works without them
            log.warning("no strangers are kept: %s", error.message)
        try:
            self.visits.start()
        except StorageError as error:
            log.warning("no visits are kept: %s", error.message)
        self.jobs.start()
        if isinstance(shared, SharedEnrolment) and shared.photos.store is not None and seconds:
            store = shared.photos.store
            self.dropped = DroppedPhotos(shared, self.groups, store, self.settings.max_image_bytes, seconds)
            queue = self.settings.dropped_queue
            if queue is not None:
                self.bucket_queue = BucketQueue(queue, self.dropped.wake)
            self.dropped.start()
            if self.bucket_queue is not None:
                self.bucket_queue.start()
        self.video.start()

    def close(self) -> None:
        """Finish running work, end all threads, close all files."""
        self.ready = False
        if self.watcher:
            self.watcher.close()
            self.watcher = None
        if self.snapshots:
            self.snapshots.close()
        if self.group_follower:
            self.group_follower.close()
            self.group_follower = None
        if self.sweep:
            self.sweep.close()
        if self.bucket_queue:
            self.bucket_queue.close()
        if self.dropped:
            self.dropped.close()
        self.jobs.close()
        self.video.end_live()
        self.rules.close()
        self.push.close()
        self.receivers.close()
        self.events.close()  # after the cameras: their people leave now
        self.strangers.close()
        self.visits.close()
        self.archive.close()
        self.video.close()
        self._measurement.close()
        self.pool.close()
        self.video.end_workers()
        sandbox.close()
        self.groups.close()
        self.enrolment.close()
        self._presence.close()

    def wait_for_change(self, number: int, seconds: float) -> None:
        """Wait until searches see the change with this number, which another node made.

        Raises
        ------
        NotCaughtUp
        """
        if isinstance(self.enrolment, SharedEnrolment):
            self.enrolment.shared_gallery.copy.wait_for(number, seconds)

    # -- photos from elsewhere ----------------------------------------------------------------------------------

    def fetch(self, url: str) -> bytes:
        """The bytes behind a URL, guarded; see `fetch`.

        Raises
        ------
        InvalidUrl, FetchError
        Busy
            Too many requests are waiting for other servers already.
        """
        if not self._fetches.acquire(blocking=False):
            raise Busy("too many URLs are being fetched; try again shortly")
        try:
            return self._fetcher().get(url)
        finally:
            self._fetches.release()

    # -- for administrators -------------------------------------------------------------------------------------

    def calibration(self) -> GalleryCalibration:
        """What each stranger rate means in this gallery; distances are measured in the background if that takes long."""
        return self.matcher.calibration(self._measurement)

    def audit_page(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
    ) -> dict:
        """Lines of the audit log, oldest first: those that follow `after`, else the newest, or the newest below `before`.

        Parameters
        ----------
        action : str, optional
            One or several, separated by commas.
        subject : str, optional
            A name, or the id that stands for one.
        """
        actions = None if action is None else {each.strip() for each in action.split(",")}
        wanted = lambda line: (  # noqa: E731
            (actor is None or line["actor"] == actor)
            and (actions is None or line["action"] in actions)
            and (subject is None or subject in (line["subject"], line["name"]))
        )
        return {"lines": self.audit.page(after, limit, wanted, before), "head": self.audit.head()}

    def changing_everything(self) -> AbstractContextManager[None]:
        """Within the block, nobody else changes people, in this process or another one."""
        return self._changes.hold()

    def backup(self) -> BinaryIO:
        """A backup of everything that is stored, as a file without a name, positioned at its beginning; see `backup`.

        Raises
        ------
        Busy
            One is being made already.
        DatabaseAway, StorageError
        """
        if not self._backing_up.acquire(blocking=False):
            raise Busy("a backup is being made already; try again when that is done")
        try:
            from recognizer.backup import backup
            from recognizer.service import node_backup

            places = reseal.Places(self.settings.known_faces, self.settings.state_dir, self.settings.groups_dir)
            with backup.spool(places.state) as file:
                try:
                    if self.is_shared:
                        node_backup.write(self, file)
                    else:
                        backup.write(places, file, self.vault, self._changes, __version__)
                    file.seek(0)
                except BaseException:
                    file.close()
                    raise
            return file
        finally:
            self._backing_up.release()

    # -- how it is ----------------------------------------------------------------------------------------------

    @property
    def uptime(self) -> float:
        """Seconds since this was made."""
        return time.time() - self._started

    def health(self) -> dict:
        """The state of the service, its parts and its counts."""
        return health.report(self)

    def unready(self) -> list[str]:
        """The reasons why no requests should be sent here now; empty if there are none."""
        return health.unready(self)


def _event_rules(settings: Settings) -> EventRules:
    return EventRules(
        settings.event_shown_seconds,
        unknown_seconds=settings.event_unknown_seconds,
        unknown_quality=settings.event_unknown_quality,
        left_seconds=settings.event_left_seconds,
        attributes=settings.event_attributes,
    )


def _job_limits(settings: Settings, workers: int) -> JobLimits:
    return JobLimits(
        settings.job_photos,
        settings.job_bytes,
        settings.job_days,
        max(1, workers // 2) if settings.job_workers is None else settings.job_workers,
        settings.jobs_from,
        settings.max_image_bytes,
    )


def _retention(settings: Settings) -> Retention:
    most = settings.events_max_bytes
    return Retention(most, settings.events_max_days, file_bytes=min(1_000_000, most // 8), unknown_days=settings.unknown_days)


def needed_files(settings: Settings) -> tuple[str, ...]:
    """Keys of the files (see `models`) that the service needs: the engine's weights, and the font of the labels."""
    return (*weights_for(settings.detector, settings.embedder), "font")


def make_service(
    settings: Settings,
    download: manifest.Progress | None = None,
    metrics: Metrics | None = None,
    database: Database | None = None,
    make: Callable[..., Engine] | None = None,
) -> Service:
    """Build the service that `settings` describe; `Service.start` makes it ready.

    Parameters
    ----------
    settings : Settings
    download : callable, optional
        Called with the progress of fetching missing weights; see `manifest.fetch`.
    metrics : Metrics, optional
        Counts work and results.
    database : Database, optional
        The one of the settings, if it is open already.
    make : callable, optional
        Makes the engine instead of `make_engine`: one that began before, see `engines.engine_ahead`.

    Raises
    ------
    ModelError
        Weights are missing and could not be fetched.
    StorageError
        A folder cannot be used.
    SettingsError
        The setting `camera` names nothing that can be read, or the database cannot be used as it is.
    EngineMismatch
        The database has templates of another engine.
    DatabaseAway
    """
    try:
        parse_source(settings.camera)
    except InvalidSource as error:
        raise SettingsError(f"RECOGNIZER_CAMERA: {error.message}") from None
    vault = open_vault(settings.encryption_key, settings.encryption_key_file)
    places = reseal.Places(settings.known_faces, settings.state_dir, settings.groups_dir)
    with ExitStack() as opened:  # quick checks come first, so that errors are reported at once
        presence = reseal.EncryptionPresence(places)
        opened.callback(presence.close)
        reseal.check(places, vault)
        database = database or open_database(settings.database_url)
        if database is not None:
            try:
                schema.require_current(database)
            except DatabaseAway:
                if not settings.watch:  # a command
                    raise
        folder = KnownFaces(settings.known_faces, vault)
        cache = EncodingsCache(settings.state_dir / "encodings.sqlite", vault, without_disk=True)
        opened.callback(cache.close)
        manifest.fetch(needed_files(settings), settings.models_dir, download)
        made = _assemble(settings, folder, cache, vault, presence, metrics, database, make)
        opened.pop_all()
        return made


def _assemble(
    settings: Settings,
    folder: KnownFaces,
    cache: EncodingsCache,
    vault: Vault | None,
    presence: EncryptionPresence,
    metrics: Metrics | None,
    database: Database | None,
    make: Callable[..., Engine] | None,
) -> Service:
    recipe = settings.engine_recipe
    engine = (make or make_engine)(**recipe)
    rules = EnrolmentRules(
        settings.max_image_bytes,
        settings.max_image_pixels,
        settings.enroll_min_face,
        strip_metadata=settings.strip_metadata,
    )
    workers = settings.workers or cores()
    changes = open_lock(settings.state_dir, database)
    options = EncodingOptions(engine, recipe, rules, workers)
    enrolment: Enrolment
    if database is None:
        if settings.watch and (settings.state_dir / snapshot.FOLDER).exists():  # of a database that is not used any longer
            snapshot.remove_snapshot(settings.state_dir / snapshot.FOLDER)
        # a file of vectors in plain form is no place for what is to be encrypted
        gallery = MemoryGallery(engine.info.id, engine.info.dim, folder=settings.state_dir if vault is None else None)
        enrolment = Enrolment(folder, cache, gallery, options, settings.keep_photos, changes.hold)
    else:
        cache.close()
        enrolment = _shared_enrolment(settings, database, options, vault)

    @functools.cache
    def fetcher() -> Fetcher:  # what it imports, such as TLS, a command without URLs does not need
        from recognizer.fetching.fetcher import Fetcher

        return Fetcher(allow=settings.fetch_allow, timeout=settings.fetch_timeout, max_bytes=settings.max_image_bytes)

    audit = open_audit(settings.state_dir, vault, database)
    copy = LocalCopy(settings.state_dir / "settings-copy.json", lambda: vault, settings.snapshot_hours if settings.watch else 0)
    adjustments = open_adjustments(settings.state_dir, CHANGEABLE, database, copy)
    pool = Pool(workers, settings.queue)
    return Service(settings, enrolment, pool, fetcher, audit, presence, changes, metrics, adjustments)


def _shared_enrolment(settings: Settings, database: Database, options: EncodingOptions, vault: Vault | None) -> SharedEnrolment:
    """The enrolment of a node; the node is known to the others on return."""
    info = options.engine.info
    node = nodes.own_id(settings.state_dir)
    gallery = PostgresGallery(database, info.id, info.dim, vault)
    folder = settings.state_dir / snapshot.FOLDER
    if settings.watch and settings.snapshot_hours:
        gallery.copy.keep_snapshot(snapshot.Snapshot(folder, info.id, info.dim, vault))
    elif settings.watch and folder.exists():
        snapshot.remove_snapshot(folder)
    state = None
    try:
        schema.join(database, info.id, info.dim, vault)
        nodes.report(database, node, 0, settings.node_url, settings.node_cameras)
    except DatabaseAway:
        state = gallery.copy.start_from_snapshot(settings.snapshot_hours)
        if state is None:
            raise
    store = open_store(settings.photos) if settings.keep_photos and settings.photos is not None else None
    made = SharedEnrolment(database, gallery, StoredPhotos(store, vault), options, vault, node)
    if state is not None:
        made.start_alone(state.forced)
    return made
