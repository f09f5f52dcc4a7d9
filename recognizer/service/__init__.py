"""The composition root: puts the parts together and offers what the routes and commands call.

Only `make_service` knows all parts. Each part receives what it needs: `recognition` finds and names faces on photos,
`subjects` changes who is enrolled, `matcher` decides whose face it is, `tuning` has the settings in force, `events`,
`strangers` and `video` are about cameras, `health` reports the state of everything.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from typing import Any, BinaryIO

from recognizer import __version__
from recognizer.backup import backup, reseal
from recognizer.backup.reseal import EncryptionPresence
from recognizer.core.audit import AuditLog
from recognizer.core.errors import Busy, InvalidSource, RecognizerError, SettingsError, StorageError
from recognizer.core.holdings import Holdings
from recognizer.core.lock import WriteLock
from recognizer.core.metrics import Metrics
from recognizer.core.pool import Pool
from recognizer.core.settings import DEFAULT, Settings
from recognizer.core.unfinished import Unfinished
from recognizer.core.vault import Vault, open_vault
from recognizer.engines import make_engine, weights_for
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.closeness import GalleryCalibration, Measurement
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.examination import EncodingOptions, EnrolmentRules
from recognizer.enrolment.folder import KnownFaces
from recognizer.enrolment.photo_encoding import EncodingReporter
from recognizer.enrolment.retention import Sweep
from recognizer.enrolment.watcher import Watcher
from recognizer.events.appearances import EventRules
from recognizer.events.event_erasing import Retention
from recognizer.events.sightings import SightingRules
from recognizer.fetching.fetcher import Fetcher
from recognizer.galleries.contract import Gallery
from recognizer.galleries.memory import MemoryGallery
from recognizer.photos import sandbox
from recognizer.service import health
from recognizer.service.attribute_finder import AttributeFinder
from recognizer.service.delivering import deliver
from recognizer.service.erasures import Erasures
from recognizer.service.event_service import KeptEvents
from recognizer.service.matcher import Matcher
from recognizer.service.object_finder import ObjectFinder
from recognizer.service.other_servers import OtherServers
from recognizer.service.recognition import Recognition
from recognizer.service.stranger_service import KeptStrangers
from recognizer.service.subject_holdings import (
    AuditNamesHolding,
    EnrolledHolding,
    EventsHolding,
    LeftoversHolding,
    OtherCachesHolding,
    StrangersHolding,
    WaitingPicturesHolding,
)
from recognizer.service.subjects import Subjects
from recognizer.service.tuning import Tuning
from recognizer.service.video_service import Video
from recognizer.video.sources.cameras import Cameras
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.source import parse_source
from recognizer.video.tracking.vision import EngineVision
from recognizer.video.tracking.workers import cores
from recognizer.weights import manifest

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
        fetcher: Fetcher,
        audit: AuditLog,
        presence: EncryptionPresence,
        changes: WriteLock,
        metrics: Metrics | None = None,
    ):
        self.settings, self.enrolment = settings, enrolment
        engine, rules = enrolment.options.engine, enrolment.options.rules
        self.engine = engine
        self.pool, self.audit = pool, audit
        self.gallery: Gallery = enrolment.gallery
        #: Encrypts the stored data; None if it is stored in plain form.
        self.vault: Vault | None = enrolment.folder.vault
        #: Follows known_faces, and erases what has expired; None until `start`, or if the settings disable it.
        self.watcher: Watcher | None = None
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
        self.tuning = Tuning(settings, audit)
        self.matcher = Matcher(info, self.gallery, settings.threshold, lambda: self.tuning.stranger_rate)
        self.strangers = KeptStrangers(
            state / "strangers",
            settings.strangers,
            settings.strangers_days,
            engine,
            self.gallery,
            self.matcher,
            rules,
            self.vault,
        )
        self.finder = ObjectFinder(settings.models_dir, settings.object_threshold)
        self.attribute_finder = AttributeFinder(settings.models_dir, settings.attributes)
        self.recognition = Recognition(
            engine,
            self.gallery,
            self.matcher,
            pool,
            self.finder,
            self.attribute_finder,
            rules,
            font,
            metrics,
            self.strangers.offer,
        )
        self.events = KeptEvents(
            state / "events",
            settings.events,
            _event_rules(settings),
            _retention(settings),
            self.vault,
            lambda name: name in self.gallery.subjects(),
            announced=settings.events and settings.mqtt_url is not None,
        )
        other_caches = OtherCachesHolding(enrolment, [state / name for name in reseal.CACHES[1:]])
        #: Every keeper of what is stored about people; see `holdings`.
        self.holdings = Holdings(
            [
                EnrolledHolding(enrolment, rules.max_bytes),
                other_caches,
                EventsHolding(self.events),
                WaitingPicturesHolding(self.strangers, lambda: self.video.sightings),
                StrangersHolding(self.strangers, lambda: self.matcher.one_to_one),
                AuditNamesHolding(audit),
                LeftoversHolding(enrolment.folder, state),
            ]
        )
        self.erasures = Erasures(self.holdings, enrolment, audit, Unfinished(state / reseal.UNFINISHED, self.vault), changes)
        self.subjects = Subjects(
            enrolment,
            self.recognition,
            self.matcher,
            pool,
            self.erasures,
            audit,
            changes,
            other_caches,
            metrics,
        )
        self.video = Video(
            self._listed_cameras,
            EngineVision(
                engine,
                self.gallery,
                self.matcher.threshold_now,
                self._find_objects,
                reader=self.attribute_finder.reader if settings.attributes else None,
                forced=self.enrolment.is_forced,
            ),
            self.events,
            self.strangers,
            SightingRules(settings.event_unknown_seconds, rules.min_face),
            font,
            metrics,
            frozenset(settings.attributes) if settings.event_attributes else frozenset(),
        )
        if metrics is not None:
            health.show(self, metrics)

    def _find_objects(self, pixels, threshold: float):
        return self.finder.detector().find(pixels, threshold)

    def _listed_cameras(self) -> Cameras:
        return Cameras(
            self.settings.state_dir / "cameras.json",
            default=self.settings.camera,
            assumed=self.settings.source("camera")[0] == DEFAULT,
            reach=Reach(self.settings.camera_allow),
            files=self.settings.camera_files,
        )

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, progress: EncodingReporter | None = None) -> None:
        """Enrol the photos of known_faces, and follow the folder from then on if the settings say so.

        Only a service that follows the folder tidies the cache: a command, perhaps with another folder or engine, must not
        erase what a running server needs.
        """
        if self.settings.watch:
            self._sweep_folder()
        self.enrolment.sync(progress=progress)
        self._finish_changes()
        if self.settings.watch:
            self.enrolment.tidy()
            self.watcher = Watcher(self.enrolment, self.settings.watch_poll, self._changes.hold)
            self.sweep = Sweep(
                self.enrolment,
                self.subjects.delete,
                self.erasures.finish,
                self.events.purge,
                self.settings.expiry_grace_days,
            )
        self.ready = True

    def _finish_changes(self) -> None:
        """Finish the erasures and renamings of earlier processes; the retention sweep repeats those that fail now."""
        try:
            self.erasures.finish()
        except RecognizerError as error:
            log.warning("earlier changes cannot be finished for now: %s", error.message)

    def _sweep_folder(self) -> None:
        """Remove what an interrupted write left in known_faces; if that fails, the next start does it."""
        try:
            with self._changes.hold():
                self.enrolment.folder.sweep()
        except (Busy, StorageError) as error:
            log.warning("what interrupted changes left in known_faces stays for now: %s", error.message)

    def serve(self) -> None:
        """Start what only a server does, not a command: deliver events, process strangers, run the cameras that are always
        on.

        Raises
        ------
        SettingsError, StorageError
        """
        deliver(self.settings, self.events, self.video, self.gallery)
        try:
            self.strangers.look_after()
        except StorageError as error:  # recognition works without them
            log.warning("no strangers are kept: %s", error.message)
        self.video.start()

    def close(self) -> None:
        """Finish running work, end all threads, close all files."""
        self.ready = False
        if self.watcher:
            self.watcher.close()
            self.watcher = None
        if self.sweep:
            self.sweep.close()
        self.video.end_live()
        self.events.close()  # after the cameras: their people leave now
        self.strangers.close()
        self.video.close()
        self._measurement.close()
        self.pool.close()
        self.video.end_workers()
        sandbox.close()
        self.enrolment.cache.close()
        self._presence.close()

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
            return self._fetcher.get(url)
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

    def backup(self) -> BinaryIO:
        """A backup of everything that is stored, as a file without a name, positioned at its beginning; see `backup`.

        Raises
        ------
        Busy
            One is being made already.
        StorageError
        """
        if not self._backing_up.acquire(blocking=False):
            raise Busy("a backup is being made already; try again when that is done")
        try:
            places = reseal.Places(self.settings.known_faces, self.settings.state_dir)
            with backup.spool(places.state) as file:
                try:
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
        left_seconds=settings.event_left_seconds,
        attributes=settings.event_attributes,
    )


def _retention(settings: Settings) -> Retention:
    most = settings.events_max_bytes
    return Retention(most, settings.events_max_days, file_bytes=min(1_000_000, most // 8), unknown_days=settings.unknown_days)


def needed_files(settings: Settings) -> tuple[str, ...]:
    """Keys of the files (see `models`) that the service needs: the engine's weights, and the font of the labels."""
    return (*weights_for(settings.detector, settings.embedder), "font")


def make_service(settings: Settings, download: manifest.Progress | None = None, metrics: Metrics | None = None) -> Service:
    """Build the service that `settings` describe; `Service.start` makes it ready.

    Parameters
    ----------
    settings : Settings
    download : callable, optional
        Called with the progress of fetching missing weights; see `manifest.fetch`.
    metrics : Metrics, optional
        Counts work and results.

    Raises
    ------
    ModelError
        Weights are missing and could not be fetched.
    StorageError
        A folder cannot be used.
    SettingsError
        The setting `camera` names nothing that can be read.
    """
    try:
        parse_source(settings.camera)
    except InvalidSource as error:
        raise SettingsError(f"RECOGNIZER_CAMERA: {error.message}") from None
    vault = open_vault(settings.encryption_key, settings.encryption_key_file)
    places = reseal.Places(settings.known_faces, settings.state_dir)
    with ExitStack() as opened:  # quick checks come first, so that errors are reported at once
        presence = reseal.EncryptionPresence(places)
        opened.callback(presence.close)
        reseal.check(places, vault)
        folder = KnownFaces(settings.known_faces, vault)
        cache = EncodingsCache(settings.state_dir / "encodings.sqlite", vault, without_disk=True)
        opened.callback(cache.close)
        manifest.fetch(needed_files(settings), settings.models_dir, download)
        made = _assemble(settings, folder, cache, vault, presence, metrics)
        opened.pop_all()
        return made


def _assemble(
    settings: Settings,
    folder: KnownFaces,
    cache: EncodingsCache,
    vault: Vault | None,
    presence: EncryptionPresence,
    metrics: Metrics | None,
) -> Service:
    recipe: dict[str, Any] = {
        "detector": settings.detector,
        "embedder": settings.embedder,
        "models_dir": settings.models_dir,
        "detect_size": settings.detect_size,
        "detect_size_large": settings.detect_size_large,
        "min_face": settings.min_face,
        "hog_upsample": settings.hog_upsample,
        "provider": settings.provider,
    }
    engine = make_engine(**recipe)
    rules = EnrolmentRules(
        settings.max_image_bytes,
        settings.max_image_pixels,
        settings.enroll_min_face,
        strip_metadata=settings.strip_metadata,
    )
    workers = settings.workers or cores()
    changes = WriteLock(settings.state_dir)
    enrolment = Enrolment(
        folder,
        cache,
        MemoryGallery(engine.info.id, engine.info.dim),
        EncodingOptions(engine, recipe, rules, workers),
        settings.keep_photos,
        changes.hold,
    )
    fetcher = Fetcher(allow=settings.fetch_allow, timeout=settings.fetch_timeout, max_bytes=settings.max_image_bytes)
    audit = AuditLog(settings.state_dir / "audit", vault)
    pool = Pool(workers, settings.queue)
    return Service(settings, enrolment, pool, fetcher, audit, presence, changes, metrics)
