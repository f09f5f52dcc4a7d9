"""The composition root: puts the parts together and offers what the routes and commands call.

`make_service` is the only one here that knows all of them. Each part is handed what it needs: `recognition` looks at photos,
`subjects` changes who is enrolled, `matcher` decides whose a face is, `tuning` knows the settings in force, `events`,
`strangers` and `video` are about cameras, `health` tells how everything is.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import BinaryIO

from .. import __version__, backup, encryption, models, sandbox
from ..audit import AuditLog
from ..changes import Changes
from ..closeness import Calibration, Measurement
from ..encodings import EncodingsCache
from ..encryption import Presence
from ..engines import Engine, make_engine, weights_for
from ..enrolment import Enrolment, Progress
from ..errors import Busy, InvalidSource, SettingsError
from ..examination import Rules
from ..fetch import Fetcher
from ..folder import KnownFaces
from ..galleries.base import Gallery
from ..galleries.memory import MemoryGallery
from ..metrics import Metrics
from ..pool import Pool
from ..retention import Sweep
from ..settings import Settings
from ..vault import Vault, open_vault
from ..video.cameras import Cameras
from ..video.event_log import Retention
from ..video.events import Rules as EventRules
from ..video.reach import Reach
from ..video.sightings import Rules as SightingRules
from ..video.source import parse_source
from ..video.workers import cores
from ..vision import EngineVision
from ..watcher import Watcher
from . import health
from .delivering import deliver
from .events import KeptEvents
from .matcher import Matcher
from .object_finder import ObjectFinder
from .recognition import Recognition
from .strangers import KeptStrangers
from .subjects import Subjects
from .tuning import Tuning
from .video import Video

#: Most URLs fetched at once, where half of the threads that answer are not fewer.
MAX_FETCHES = 32


class Service:
    """Everything that the server and the command line can do, by its parts. Build it with `make_service`.

    Photos are bytes, and where nothing is stored also `images.Image`; names are as `names.normalise` writes them. Every
    method, of the parts as well, may be called from any thread.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        enrolment: Enrolment,
        pool: Pool,
        fetcher: Fetcher,
        rules: Rules,
        audit: AuditLog,
        presence: Presence,
        changes: Changes,
        metrics: Metrics | None = None,
    ):
        self.settings, self.engine, self.enrolment = settings, engine, enrolment
        self.pool, self.audit = pool, audit
        self.gallery: Gallery = enrolment.gallery
        #: What is kept is encrypted with it; None where nothing is.
        self.vault: Vault | None = enrolment.folder.vault
        #: What follows known_faces, and what purges as time passes; None until `start`, or where nothing is followed.
        self.watcher: Watcher | None = None
        self.sweep: Sweep | None = None
        #: Whether `start` is done and `close` not begun.
        self.ready = False
        self._started = time.time()
        self._fetcher, self._presence, self._changes = fetcher, presence, changes
        self._fetches = threading.BoundedSemaphore(max(2, min(MAX_FETCHES, settings.http_threads // 2)))
        self._backing_up = threading.Lock()
        self._measurement = Measurement(enrolment)

        state, info, font = settings.state_dir, engine.info, models.path("font", settings.models_dir)
        self.tuning = Tuning(settings, audit)
        self.matcher = Matcher(info, self.gallery, settings.threshold, lambda: self.tuning.stranger_rate)
        self.strangers = KeptStrangers(
            state / "strangers", settings.strangers, settings.strangers_days, engine, self.gallery, self.matcher, rules,
            self.vault,
        )  # fmt: skip
        self.finder = ObjectFinder(settings.models_dir, settings.object_threshold)
        self.recognition = Recognition(
            engine, self.gallery, self.matcher, pool, self.finder, rules, font, metrics, self.strangers.offer
        )
        self.events = KeptEvents(
            state / "events", settings.events, _event_rules(settings), _retention(settings), self.vault
        )
        self.subjects = Subjects(
            enrolment, self.recognition, self.matcher, pool, engine, rules, self.events, audit, changes,
            [state / name for name in encryption.CACHES[1:]], metrics,
        )  # fmt: skip
        self.video = Video(
            self._listed_cameras,
            EngineVision(engine, self.gallery, self.matcher.threshold_now, self._find_objects),
            self.events,
            self.strangers,
            SightingRules(settings.event_unknown_seconds, rules.min_face),
            font,
            metrics,
        )
        if metrics is not None:
            health.show(self, metrics)

    def _find_objects(self, pixels, threshold: float):
        return self.finder.detector().find(pixels, threshold)

    def _listed_cameras(self) -> Cameras:
        return Cameras(
            self.settings.state_dir / "cameras.json",
            default=self.settings.camera,
            reach=Reach(self.settings.camera_allow),
            files=self.settings.camera_files,
        )

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, progress: Progress | None = None) -> None:
        """Enrol what is in known_faces, and go on following it if the settings say so.

        Only a service that follows the folder tidies the cache: one that looks in for a moment, perhaps with another
        folder or engine, must not throw away what a server beside it relies on.
        """
        self.enrolment.sync(progress=progress)
        if self.settings.watch:
            self.enrolment.tidy()
            self.watcher = Watcher(self.enrolment, self.settings.watch_poll)
            self.sweep = Sweep(
                self.enrolment, self.subjects.delete, self.events.purge, self.settings.expiry_grace_days
            )
        self.ready = True

    def serve(self) -> None:
        """Send events to whom the settings say, look after strangers, start the cameras that are always on: what a server
        does, and a command that looks in for a moment does not.

        Raises
        ------
        SettingsError, StorageError
        """
        deliver(self.settings, self.events, self.video, self.gallery)
        self.strangers.look_after()
        self.video.start()

    def close(self) -> None:
        """Finish what runs, end all threads, close all files."""
        self.ready = False
        if self.watcher:
            self.watcher.close()
            self.watcher = None
        if self.sweep:
            self.sweep.close()
        self.video.end_live()
        self.events.close()  # after the cameras, whose people leave now
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
            Half of the requests being answered wait for other servers already.
        """
        if not self._fetches.acquire(blocking=False):
            raise Busy("too many URLs are being fetched; try again shortly")
        try:
            return self._fetcher.get(url)
        finally:
            self._fetches.release()

    # -- for administrators -------------------------------------------------------------------------------------

    def calibration(self) -> Calibration:
        """What each stranger rate means in this gallery; distances are measured meanwhile where that takes long."""
        return self.matcher.calibration(self._measurement)

    def audit_page(
        self, *, after: int | None = None, before: int | None = None, limit: int = 100, actor: str | None = None,
        action: str | None = None, subject: str | None = None,
    ) -> dict:  # fmt: skip
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
        """Everything that is kept, in a file without a name that is read from its beginning; see `backup`.

        Raises
        ------
        Busy
            One is being made already.
        StorageError
        """
        if not self._backing_up.acquire(blocking=False):
            raise Busy("a backup is being made already; try again when that is done")
        try:
            places = encryption.Places(self.settings.known_faces, self.settings.state_dir)
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
        """Whether the service works, with what, and what is in it."""
        return health.report(self)

    def unready(self) -> list[str]:
        """Why this should be given no requests now, in words; nothing where it should."""
        return health.unready(self)


def _event_rules(settings: Settings) -> EventRules:
    return EventRules(
        settings.event_shown_seconds, unknown_seconds=settings.event_unknown_seconds, left_seconds=settings.event_left_seconds
    )


def _retention(settings: Settings) -> Retention:
    most = settings.events_max_bytes
    return Retention(
        most, settings.events_max_days, file_bytes=min(1_000_000, most // 8), unknown_days=settings.unknown_days
    )


def needed_files(settings: Settings) -> tuple[str, ...]:
    """Keys of the files (see `models`) that the service needs: the engine's weights, and the font of the labels."""
    return (*weights_for(settings.detector, settings.embedder), "font")


def make_service(
    settings: Settings, download: models.Progress | None = None, metrics: Metrics | None = None
) -> Service:
    """Build the service that `settings` describe; `Service.start` makes it ready.

    Parameters
    ----------
    settings : Settings
    download : callable, optional
        Told how fetching missing weights goes; see `models.ensure`.
    metrics : Metrics, optional
        Where to count what is done.

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
    places = encryption.Places(settings.known_faces, settings.state_dir)
    with ExitStack() as opened:  # what takes no time comes first, so that what is wrong is told at once
        presence = encryption.Presence(places)
        opened.callback(presence.close)
        encryption.check(places, vault)
        folder = KnownFaces(settings.known_faces, vault)
        cache = EncodingsCache(settings.state_dir / "encodings.sqlite", vault)
        opened.callback(cache.close)
        models.ensure(needed_files(settings), settings.models_dir, download)
        made = _assemble(settings, folder, cache, vault, presence, metrics)
        opened.pop_all()
        return made


def _assemble(
    settings: Settings, folder: KnownFaces, cache: EncodingsCache, vault: Vault | None, presence: Presence,
    metrics: Metrics | None,
) -> Service:  # fmt: skip
    recipe = {
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
    rules = Rules(settings.max_image_bytes, settings.max_image_pixels, settings.enroll_min_face)
    workers = settings.workers or cores()
    changes = Changes(settings.state_dir)
    enrolment = Enrolment(
        folder,
        cache,
        MemoryGallery(engine.info.id, engine.info.dim),
        engine,
        recipe,
        rules,
        workers,
        settings.keep_photos,
        changes.one,
    )
    fetcher = Fetcher(
        allow=settings.fetch_allow, timeout=settings.fetch_timeout, max_bytes=settings.max_image_bytes
    )
    audit = AuditLog(settings.state_dir / "audit", vault)
    pool = Pool(workers, settings.queue)
    return Service(settings, engine, enrolment, pool, fetcher, rules, audit, presence, changes, metrics)
