"""The service of a process: all its parts, and what the routes and commands call.

Each part receives what it needs; `Service` alone knows all of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from recognizer import __version__
from recognizer.backup import reseal
from recognizer.backup.reseal import EncryptionPresence
from recognizer.core.adjustments import Adjustments
from recognizer.core.audit import AuditLog
from recognizer.core.errors import Busy, RecognizerError, StorageError
from recognizer.core.lock import WriteLock
from recognizer.core.metrics import Metrics
from recognizer.core.pool import Pool
from recognizer.core.settings import Settings
from recognizer.core.vault import Vault
from recognizer.engines.runtime import release_memory
from recognizer.enrolment.bulk import BulkSettings
from recognizer.enrolment.closeness import GalleryCalibration, Measurement
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.photo_encoding import EncodingReporter
from recognizer.enrolment.retention import Sweep
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.enrolment.watcher import Watcher
from recognizer.events.appearances import EventRules
from recognizer.events.event_erasing import Retention
from recognizer.events.event_options import EventOptions
from recognizer.events.sightings import SightingRules
from recognizer.galleries.contract import Gallery
from recognizer.galleries.postgres.feed import Feed
from recognizer.photos import sandbox
from recognizer.service import health
from recognizer.service.archive_service import KeptArchive
from recognizer.service.attribute_finder import AttributeFinder
from recognizer.service.bucket_queue import BucketQueue
from recognizer.service.delivering import DeliveryTools, other_nodes, rule_actions
from recognizer.service.detected_faces import FaceStore
from recognizer.service.dlib_descriptions import DlibDescriptions
from recognizer.service.dropped_photos import DroppedPhotos
from recognizer.service.event_service import KeptEvents
from recognizer.service.face_storage import FaceStorage
from recognizer.service.group_follower import GroupFollower
from recognizer.service.group_making import GroupMaking
from recognizer.service.group_vision import GroupVision
from recognizer.service.groups import SEPARATOR, PeopleGroup, PeopleGroups
from recognizer.service.job_service import JobLimits, JobPlace, JobTools, KeptJobs
from recognizer.service.matcher import Identification, Matcher
from recognizer.service.node_following import follow_nodes
from recognizer.service.node_work import NodeWork
from recognizer.service.object_finder import ObjectFinder
from recognizer.service.other_servers import OtherServers
from recognizer.service.push_service import KeptPush
from recognizer.service.receivers import Receivers
from recognizer.service.recognition import Recognition
from recognizer.service.rule_service import KeptRules
from recognizer.service.shared_groups import SharedGroups
from recognizer.service.snapshots import SnapshotKeeper
from recognizer.service.stores import DatabaseStores, FolderStores
from recognizer.service.stranger_service import KeptStrangers
from recognizer.service.tuning import Tuning
from recognizer.service.video_service import CameraObservers, Video
from recognizer.service.visit_service import KeptVisits
from recognizer.video.tracking.vision import EngineVision, NamingLimits
from recognizer.weights import manifest

if TYPE_CHECKING:
    from recognizer.fetching.fetcher import Fetcher

log = logging.getLogger("recognizer.service")

#: Maximum number of URLs that are fetched at once; at most half of the server's threads, if these are fewer.
MAX_FETCHES = 32


@dataclass(frozen=True, slots=True)
class Foundation:
    """What a service is built on.

    Attributes
    ----------
    settings : Settings
    enrolment : Enrolment
        Of the default group; a `SharedEnrolment` where nodes share a database.
    pool : Pool
        Runs inference.
    fetcher : callable
        Returns what fetches the photos behind URLs.
    audit : AuditLog
    presence : EncryptionPresence
        Keeps the key of the installation from being changed.
    changes : WriteLock
        Held by every change of people.
    adjustments : Adjustments
        Settings that were changed at run time.
    """

    settings: Settings
    enrolment: Enrolment
    pool: Pool
    fetcher: Callable[[], Fetcher]
    audit: AuditLog
    presence: EncryptionPresence
    changes: WriteLock
    adjustments: Adjustments


class Service:
    """Everything that the server and the command line can do, by its parts. Build it with `make_service`.

    Photos are bytes, and where nothing is stored also `images.Image`; names are as `names.normalise` writes them. Every
    method, of the parts as well, may be called from any thread.
    """

    def __init__(self, foundation: Foundation, metrics: Metrics | None = None):
        settings, enrolment, audit = foundation.settings, foundation.enrolment, foundation.audit
        engine, rules = enrolment.options.engine, enrolment.options.rules
        self.settings, self.enrolment, self.engine = settings, enrolment, engine
        self.pool, self.audit = foundation.pool, audit
        self.gallery: Gallery = enrolment.gallery
        #: The same as `enrolment` where people are in a database that nodes share; else None.
        self.shared = enrolment if isinstance(enrolment, SharedEnrolment) else None
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
        self._fetcher, self._presence, self._changes = foundation.fetcher, foundation.presence, foundation.changes
        #: Learns what other processes changed in the folder.
        self.others = OtherServers(enrolment, self._changes)
        self._fetches = threading.BoundedSemaphore(max(2, min(MAX_FETCHES, settings.http_threads // 2)))
        self._backing_up = threading.Lock()
        self._measurement = Measurement(enrolment)
        self._stores = (
            FolderStores(settings, self.vault, self._changes)
            if self.shared is None
            else DatabaseStores(settings, self.vault, self._changes, self.shared)
        )

        font = manifest.path("font", settings.models_dir)
        self.tuning = Tuning(settings, audit, foundation.adjustments)
        self.matcher = self.matcher_of(self.gallery)
        identification = Identification(engine, self.gallery, self.matcher, rules)
        self._make_stores_of_faces(identification)
        self.finder = ObjectFinder(settings.models_dir, settings.object_threshold)
        self.attribute_finder = AttributeFinder(settings.models_dir, settings.attributes)
        self.recognition = Recognition(
            identification, self.pool, self.finder, self.attribute_finder, font, metrics, self.strangers.offer
        )
        self.dlib_descriptions = DlibDescriptions(engine, self.pool, rules, settings.provider)
        #: Batches of photos that are worked off in the background.
        self.jobs = KeptJobs(
            JobPlace(settings.state_dir, self._stores.database, self.vault),
            _job_limits(settings, self.pool.workers),
            JobTools(lambda: self.groups, self.attribute_finder, self.pool, self._fetcher, self.others.learn),
            audit,
        )
        self._make_what_events_lead_to()
        making = GroupMaking(self, self._stores, self._changes, metrics)
        #: What other nodes erased and renamed, still to be done here; None where there is one server.
        self.node_work = None if self.shared is None else NodeWork(self.shared, making.holdings_of_node, engine.info.dim)
        default = making.default()
        #: Every keeper of what is stored about people; see `holdings`.
        self.holdings = default.holdings
        self.erasures, self.subjects = default.erasures, default.subjects
        #: All galleries; what is above is of the default one.
        self.groups = (
            PeopleGroups(settings.groups_dir, settings.state_dir, default, making.in_folder, audit, self._changes, self.vault)
            if self.shared is None
            else SharedGroups(settings.state_dir, default, self.shared, making.in_database, audit, self._changes, self.vault)
        )
        #: What is set for each camera.
        self.camera_settings = self._stores.camera_settings()
        self.video = Video(
            self._stores.cameras,
            self.vision_of(default),
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

    def _make_stores_of_faces(self, identification: Identification) -> None:
        """What is stored of people besides the enrolled photos: strangers, visits, events, the archive."""
        settings, state = self.settings, self.settings.state_dir
        self.strangers = KeptStrangers(
            FaceStorage(state / "strangers", settings.strangers, lambda: self.tuning.value("strangers_days"), self.vault),
            identification,
        )
        self.visits = KeptVisits(
            FaceStorage(state, settings.sightings, lambda: self.tuning.value("sightings_days"), self.vault),
            identification,
            self._is_enrolled,
        )
        #: Faces that clients of other services ask about by an id.
        self.detected_faces = FaceStore()
        self.archive = KeptArchive(
            state,
            self._bulk,
            self.gallery,
            self.matcher,
            self.vault,
            settings.archive_files,
            settings.archive_video_minutes,
            changing=lambda: self.subjects.changing(),
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
                self._stores.node,
            ),
            announced=lambda: settings.events and self.receivers.in_force().mqtt_url is not None,
        )

    def _make_what_events_lead_to(self) -> None:
        """Who hears of events: browsers, receivers, and whatever rules say."""
        settings, stores = self.settings, self._stores
        #: The browsers that get notifications.
        self.push = KeptPush(stores.push(), settings.webhook_allow, settings.fetch_timeout, self.audit)
        self.strangers.heard = self.push.notify_of_stranger
        #: Where events are sent.
        self.receivers = Receivers(settings, stores.receivers(), self.events, self.audit, lambda: self.rules.renew_actions())
        self.tuning.follow(self.receivers)
        #: What happens when people come or go at the cameras.
        self.rules = KeptRules(
            stores.rules(),
            self.events,
            lambda: rule_actions(
                self.receivers.in_force(), self._camera_names, self.receivers.permits, self.push.sender, stores.node
            ),
            self._camera_names,
            lambda: self.groups,
            self.audit,
            stores.rule_reports(),
            lambda camera: self.video.current_settings(camera).zone_names(),
        )

    @property
    def is_shared(self) -> bool:
        """Whether people are in a database that nodes share."""
        return self.shared is not None

    def matcher_of(self, gallery: Gallery) -> Matcher:
        """Decides who is who in a gallery, by the settings in force."""
        engine, rate = self.engine, lambda: self.tuning.stranger_rate
        return Matcher(engine.info, gallery, self.settings.threshold, rate, engine.crowded)

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

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, progress: EncodingReporter | None = None) -> None:
        """Enrol the photos of known_faces, and follow the folder from then on if the settings say so.

        Only a service that follows the folder tidies the cache: a command, perhaps with another folder or engine, must not
        erase what a running server needs.
        """
        alone = self.shared is not None and self.shared.started_alone
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
            if self.shared is None or self.node_work is None:
                self.group_follower = GroupFollower(self.groups, self.settings.watch_poll, self._changes.hold)
                self.watcher = Watcher(self.enrolment, self.settings.watch_poll, self._changes.hold)
            else:
                self.snapshots = SnapshotKeeper(self.shared) if self.settings.snapshot_hours else None
                self.watcher = follow_nodes(self, self.shared, self.node_work)
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

    def _finish_everything(self) -> int:
        """Finish what earlier changes left, of this node and of the others; how much is finished now."""
        finished = self.groups.finish()
        if self.node_work is not None:
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
        shared, seconds = self.shared, self.settings.dropped_seconds
        others = None if shared is None else other_nodes(shared.database, self.video.cameras)
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
        if shared is not None and shared.photos.store is not None and seconds:
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
        if self.shared is not None:
            self.shared.shared_gallery.copy.wait_for(number, seconds)

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
