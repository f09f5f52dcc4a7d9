"""The composition root: puts the parts together and offers what the routes and commands call."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from . import (
    __version__,
    annotate,
    backup,
    clustering,
    encryption,
    geometry,
    images,
    matching,
    models,
    names,
    quality,
    sandbox,
    subject_export,
    template_file,
)
from .adjustments import Adjustments
from .audit import AuditLog
from .changes import Changes
from .closeness import Calibration, CurvePoint, Measurement
from .encodings import EncodingsCache
from .encryption import Presence
from .engines import Engine, largest, make_engine, weights_for
from .enrolment import Enrolment, Entry, Progress
from .errors import (
    Busy,
    EventNotFound,
    EventsOff,
    InvalidParameter,
    InvalidSource,
    LooksLikeAnother,
    ModelError,
    ModelMissing,
    NoFace,
    PhotoNotFound,
    RecognizerError,
    SettingFixed,
    SettingsError,
    StorageError,
    StrangersOff,
    SubjectNotFound,
    UnsupportedImage,
)
from .examination import SIDE_BY_SIDE, TOGETHER, Examined, Rules, examine, thumbnail
from .fetch import Fetcher
from .folder import KnownFaces, Problem
from .galleries.base import Gallery
from .galleries.memory import MemoryGallery
from .inbox import Inbox
from .metrics import CameraSample, Metrics
from .objects import DECODE_SIZE, GRAPH, LEAST_SCORE, WEIGHTS, ObjectDetector, check_labels
from .pool import Pool
from .quality import Quality
from .results import EnrolledPhoto, FoundObject, Person, PersonPhoto, Seen, SeenFace, SeenObjects, Verification
from .retention import Sweep
from .review import Review, Warnings, duplicate_of, looks_like_another, unlike_others
from .settings import CHANGEABLE, DEFAULT, PAGE, PREFIX, SETTINGS, Settings, default_of
from .strangers import Bounds, Shot, Sighting, Stranger, Strangers
from .types import Box, Candidate, Face, Faces, Match
from .vault import Vault, open_vault
from .video.cameras import Cameras
from .video.event_hub import Events
from .video.event_log import EventLog, Retention, read_all, read_thumbnail
from .video.events import Rules as EventRules
from .video.live import Live
from .video.naming import worth
from .video.reach import Reach
from .video.sightings import Rules as SightingRules
from .video.sightings import Sightings, cut
from .video.source import parse_source
from .video.workers import Workers, cores, sensible
from .vision import EngineVision
from .watcher import Watcher

log = logging.getLogger("recognizer")

#: Extensions under which photos are stored, by format.
EXTENSIONS = {"jpeg": "jpg", "tiff": "tif"}
#: Most URLs fetched at once, where half of the threads that answer are not fewer.
MAX_FETCHES = 32
#: Most candidates that one face lists.
MAX_CANDIDATES = 100
#: Stranger rates of which `Service.calibration` tells what they mean.
RATES = tuple(float(f"{digit}e{power}") for power in range(-6, 0) for digit in (1, 2, 5))
#: A stranger is shown to be like somebody who is enrolled where a stranger comes that near to anybody with this chance.
RESEMBLES_RATE = 0.2
#: Pictures of a stranger that enrol them, at most.
ENROLLING_PICTURES = 5
#: Seconds for which a call waits while another one fetches what finds objects, and for which a failure to is believed.
OBJECTS_WAIT, OBJECTS_RETRY = 10.0, 60.0
#: Seconds that another process, which writes the events, is given to take a person out of them.
FORGET_SECONDS = 8.0
#: Share that two boxes have in common from which on they are of one face.
_SAME_FACE = 0.5


class _Clock:
    """Milliseconds of each stage of one call, in the order in which they happen."""

    def __init__(self):
        self.stages: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + (now - self._last) * 1000
        self._last = now

    def total(self) -> dict[str, float]:
        return {**self.stages, "total": (time.perf_counter() - self._start) * 1000}


@dataclass(frozen=True, slots=True)
class _Question:
    """The faces of a photo that are to be described."""

    image: images.Image
    faces: Faces
    clock: _Clock


class _Describing:
    """Describes the faces of several photos in one go; see `pool.Together`."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def __call__(self, questions: list[_Question]) -> list[np.ndarray]:
        for each in questions:
            each.clock.lap("queue")  # while the others were looked at
        return self._engine.describe_all([(each.image, each.faces) for each in questions])

    def enough(self, questions: list[_Question]) -> bool:
        return (
            sum(len(each.faces) for each in questions) >= TOGETHER
            or sum(each.image.pixels.nbytes for each in questions) >= SIDE_BY_SIDE
        )


class Service:
    """Everything that the server and the command line can do. Build it with `make_service`.

    Photos are bytes, and where nothing is stored also `images.Image`; names are as `names.normalise` writes them. Every
    method may be called from any thread.
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
        self.metrics = metrics
        self.pool, self.fetcher, self.rules = pool, fetcher, rules
        self._describing = _Describing(engine)
        points = engine.info.calibration
        self._curve = matching.Curve(points.distances, points.rates)
        if hasattr(engine.embedder, "idle"):
            engine.embedder.idle = lambda: pool.inside < 2
        self._fetches = threading.BoundedSemaphore(max(2, min(MAX_FETCHES, settings.http_threads // 2)))
        self._font = models.path("font", settings.models_dir)
        self._adjustments = Adjustments(settings.state_dir / "settings.json", CHANGEABLE)
        self._measurement = Measurement(enrolment)
        self._review = Review(enrolment, points.threshold, self.threshold_now)
        self._objects: ObjectDetector | None = None
        self._objects_lock = threading.Lock()
        self._objects_failed = -float("inf")
        self._watcher: Watcher | None = None
        self._sweep: Sweep | None = None
        self.audit, self._presence = audit, presence
        self._changes = changes
        self._backing_up = threading.Lock()
        self._events: Events | None = None
        self._events_lock = threading.Lock()
        self._video_workers: Workers | None = None
        self._live: Live | None = None
        self._video_lock = threading.RLock()
        self._cameras: Cameras | None = None
        self._cameras_lock = threading.Lock()
        self._inbox: Inbox | None = None
        self._inbox_lock = threading.Lock()
        self._started = time.time()
        self._ready = False

    @property
    def gallery(self) -> Gallery:
        return self.enrolment.gallery

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, progress: Progress | None = None) -> None:
        """Enrol what is in known_faces, and go on following it if the settings say so.

        Only a service that follows the folder tidies the cache: one that looks in for a moment, perhaps with another
        folder or engine, must not throw away what a server beside it relies on.
        """
        self.enrolment.sync(progress=progress)
        if self.settings.watch:
            self.enrolment.tidy()
            self._watcher = Watcher(self.enrolment, self.settings.watch_poll)
            self._sweep = Sweep(
                self.enrolment, self.delete_person, self.purge_events, self.settings.expiry_grace_days
            )
        self._ready = True

    def deliver_events(self) -> None:
        """Send events to the webhooks and the MQTT broker of the settings from now on. Servers do this; commands do not.

        Raises
        ------
        SettingsError, StorageError
        """
        from .video.mqtt import Mqtt, parse_broker
        from .video.webhooks import Webhook, WebhookRules, key_of

        wanted = self.settings
        if not (wanted.webhooks or wanted.mqtt_url) or not wanted.events:
            return
        sinks = []
        secret = _secret(wanted.webhook_secret, wanted.webhook_secret_file, "webhook_secret")
        rules = WebhookRules(key_of(secret) if secret else None, wanted.webhook_retry_hours * 3600)
        fetcher = Fetcher(allow=wanted.webhook_allow, timeout=wanted.fetch_timeout)
        for number, url in enumerate(wanted.webhooks, 1):
            try:
                sinks.append(Webhook(self.events.log, url, fetcher, rules))
            except RecognizerError as error:
                raise SettingsError(f"webhooks: URL {number} cannot be used: {error.message}") from None
        if wanted.mqtt_url:
            password = _secret(None, wanted.mqtt_password_file, "mqtt_password")
            broker = parse_broker(wanted.mqtt_url, password, wanted.mqtt_ca_file and str(wanted.mqtt_ca_file))
            sinks.append(
                Mqtt(
                    self.events, broker, prefix=wanted.mqtt_prefix,
                    discovery="" if wanted.mqtt_discovery == "none" else wanted.mqtt_discovery,
                    cameras=self._named_cameras, people=self.gallery.subjects, version=__version__,
                )
            )  # fmt: skip
        self.events.deliver_to(sinks)

    def _named_cameras(self) -> list[tuple[str, str]]:
        return [(each.id, each.name or each.id) for each in self.cameras.all()]

    def close(self) -> None:
        """Finish what runs, end all threads, close all files."""
        self._ready = False
        if self._watcher:
            self._watcher.close()
            self._watcher = None
        if self._sweep:
            self._sweep.close()
        with self._video_lock:
            if self._live is not None:
                self._live.close()
        with self._events_lock:  # after the cameras, whose people leave now
            if self._events is not None:
                self._events.close()
        with self._inbox_lock:
            if self._inbox is not None:
                self._inbox.close()
        with self._cameras_lock:
            cameras, self._cameras = self._cameras, None
        if cameras is not None:
            cameras.close()
        self._measurement.close()
        self.pool.close()
        with self._video_lock:
            if self._video_workers is not None:
                self._video_workers.shutdown(wait=True, cancel_futures=True)
        sandbox.close()
        self.enrolment.cache.close()
        self._presence.close()

    # -- photos in ----------------------------------------------------------------------------------------------

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
            return self.fetcher.get(url)
        finally:
            self._fetches.release()

    def _decode(self, photo: bytes | images.Image, long_side: int | None = None) -> images.Image:
        if isinstance(photo, images.Image):
            return photo
        return images.decode(
            photo,
            max_bytes=self.settings.max_image_bytes,
            max_pixels=self.settings.max_image_pixels,
            long_side=long_side or self.engine.decode_size,
        )

    # -- looking ------------------------------------------------------------------------------------------------

    def detect(self, photo: bytes | images.Image, *, min_face: int | None = None, landmarks: int = 5) -> Seen:
        """Find the faces of a photo.

        Parameters
        ----------
        photo : bytes or images.Image
        min_face : int, optional
            Instead of the setting of that name.
        landmarks : {5, 68}

        Raises
        ------
        ImageError, Busy, InvalidParameter
        """
        return self._counted(self._look_in_pool(photo, min_face, landmarks, None, 0, None), False)

    def recognize(
        self,
        photo: bytes | images.Image,
        *,
        top_k: int = 0,
        min_face: int | None = None,
        landmarks: int = 5,
        threshold: float | None = None,
    ) -> Seen:
        """Find the faces of a photo and name those who are enrolled.

        Parameters
        ----------
        photo : bytes or images.Image
        top_k : int
            How many candidates each face lists.
        min_face, landmarks
            As for `detect`.
        threshold : float, optional
            Largest distance at which a face gets a name, instead of `threshold_now`.

        Raises
        ------
        ImageError, Busy, InvalidParameter
        """
        _check_range("top_k", top_k, 0, MAX_CANDIDATES)
        if threshold is not None:
            _check_range("threshold", threshold, 0, 4)
        seen = self._look_in_pool(photo, min_face, landmarks, self.gallery, top_k, threshold)
        if self._inbox is not None and self.settings.strangers == "all":
            self._offer_strangers(self._inbox, seen)
        return self._counted(seen, True)

    def _in_pool(self, work, *args):
        return self._timed(*self.pool.run(work, *args))

    def _look_in_pool(self, *args) -> Seen:
        return self._timed(*self.pool.run_together(self._look(*args), self._describing))

    def _timed(self, result, waited: float):
        stages, waited = result.timing_ms, waited * 1000
        stages.update(queue=stages.get("queue", 0.0) + waited, total=stages["total"] + waited)
        if self.metrics is not None:
            self.metrics.stages(result.timing_ms)
        return result

    def _counted(self, seen: Seen, compared: bool) -> Seen:
        if self.metrics is not None:
            matched = sum(face.subject is not None for face in seen.faces) if compared else None
            self.metrics.faces(len(seen.faces), matched)
        return seen

    def _look(
        self, photo, min_face, landmarks, gallery: Gallery | None, top_k, threshold
    ) -> Generator[_Question, np.ndarray, Seen]:
        if landmarks not in (5, 68):
            raise InvalidParameter(f"landmarks: expected 5 or 68, got {landmarks}")
        if min_face is not None:
            _check_range("min_face", min_face, 1, 100_000)
        clock = _Clock()
        image = self._decode(photo)
        clock.lap("decode")
        faces, image = self.engine.look(image, min_face)
        clock.lap("detect")
        if len(faces) and (landmarks == 68 or gallery is not None):
            image = self.engine.aligned(image, faces)[0]  # decoded once for all that follows
        points: Sequence = [None] * len(faces)
        if landmarks == 68:
            points = self.engine.landmarks_68(image, faces)
            clock.lap("landmarks")
        matches: Sequence = [None] * len(faces)
        qualities: Sequence = [None] * len(faces)
        if gallery is not None:
            vectors = (yield _Question(image, faces, clock)) if len(faces) else self.engine.describe(image, faces)
            clock.lap("embed")
            matches = self.match(vectors, top_k, threshold)
            clock.lap("match")
            qualities = self.engine.qualities(image, faces)
            clock.lap("quality")
        found = tuple(
            SeenFace(face, point, match, measured)
            for face, point, match, measured in zip(faces, points, matches, qualities, strict=True)
        )
        return Seen(image, found, clock.total())

    def annotated(self, seen: Seen | SeenObjects) -> bytes:
        """The photo that was looked at, at its full size, with what was found drawn on it: a JPEG."""
        return self.pool.run(self._annotate, seen)[0]

    def _annotate(self, seen: Seen | SeenObjects) -> bytes:
        full = seen.image.sharper(1.0)
        if isinstance(seen, SeenObjects):
            return images.encode_jpeg(annotate.draw(full.pixels, (), self._font, seen.objects))
        return images.encode_jpeg(annotate.draw(full.pixels, seen.faces, self._font))

    # -- objects ------------------------------------------------------------------------------------------------

    def objects(
        self, photo: bytes | images.Image, *, threshold: float | None = None, labels: Collection[str] | None = None
    ) -> SeenObjects:
        """Find the objects of a photo. The first call fetches what is needed for it, and loads it.

        Parameters
        ----------
        photo : bytes or images.Image
        threshold : float, optional
            Least score, instead of the setting `object_threshold`.
        labels : collection of str, optional
            Only objects with one of these labels; see `objects.LABELS`.

        Raises
        ------
        ImageError, Busy, InvalidParameter
        ModelMissing
            The weights are not there and could not be fetched.
        """
        threshold = self.settings.object_threshold if threshold is None else threshold
        _check_range("threshold", threshold, LEAST_SCORE, 1)
        wanted = None if labels is None else check_labels(labels)
        return self._in_pool(self._look_for_objects, self.object_detector(), photo, threshold, wanted)

    def _look_for_objects(self, detector: ObjectDetector, photo, threshold, wanted) -> SeenObjects:
        clock = _Clock()
        image = self._decode(photo, DECODE_SIZE)
        clock.lap("decode")
        found = detector.find(image.pixels, threshold, (image.width, image.height))
        if wanted is not None:
            found = tuple(each for each in found if each.label in wanted)
        clock.lap("detect")
        return SeenObjects(image, found, clock.total())

    def object_detector(self, download: models.Progress | None = None) -> ObjectDetector:
        """What finds objects: fetched and loaded when it is first wanted, which takes as long as it takes. Its `find` may
        be called from any thread, outside the pool as well.

        Parameters
        ----------
        download : callable, optional
            Told how fetching goes.

        Raises
        ------
        ModelMissing, ModelCorrupt
        Busy
            Another call is fetching it.
        """
        if self._objects is not None:
            return self._objects
        if not self._objects_lock.acquire(timeout=OBJECTS_WAIT):
            raise Busy("what finds objects is being fetched; try again shortly")
        try:
            if self._objects is None:
                self._objects = self._load_objects(download)
            return self._objects
        finally:
            self._objects_lock.release()

    def _load_objects(self, download: models.Progress | None) -> ObjectDetector:
        """Whoever asks again soon after a failure to fetch is not kept waiting for the next one."""
        folder = self.settings.models_dir
        waiting = time.monotonic() < self._objects_failed + OBJECTS_RETRY
        try:
            if waiting:
                files = [models.path(key, folder) for key in (WEIGHTS, GRAPH)]
            else:
                files = models.ensure((WEIGHTS, GRAPH), folder, download)
        except (ModelError, StorageError) as error:
            if not waiting:
                self._objects_failed = time.monotonic()
            raise ModelMissing(
                "what finds objects is not there and could not be fetched: "
                "run `python -m recognizer models fetch objects` where the server runs"
            ) from error
        return ObjectDetector(*files)

    def threshold_now(self, comparisons: int | None = None) -> float:
        """The largest distance at which a face gets a name: fixed by a setting, or such that a stranger gets any of the
        names in the gallery with the probability that the settings allow."""
        if self.settings.threshold is not None:
            return self.settings.threshold
        return self._threshold_at(self.stranger_rate, len(self.gallery) if comparisons is None else comparisons)

    def _threshold_at(self, rate: float, comparisons: int) -> float:
        return self._curve.distance(matching.rate_per_comparison(rate, comparisons))

    def match(self, vectors: np.ndarray, top_k: int = 0, threshold: float | None = None) -> list[Match]:
        """Whom each embedding, float32 (n, dim), belongs to."""
        if not len(vectors):
            return []
        limit = self.threshold_now() if threshold is None else threshold
        margin = matching.AMBIGUOUS_SHARE * self.engine.info.calibration.threshold
        found = self.gallery.search(vectors, max(2, top_k))
        return [matching.decide(candidates, limit, self._curve, top_k, margin) for candidates in found]

    def vision(self) -> EngineVision:
        """What live video asks of this service."""
        return EngineVision(self.engine, self.gallery, self.threshold_now, self._find_objects_live)

    def _find_objects_live(self, pixels: np.ndarray, threshold: float) -> Sequence[FoundObject]:
        return self.object_detector().find(pixels, threshold)

    @property
    def video_workers(self) -> Workers:
        """The threads that all cameras share; made when they are first asked for."""
        with self._video_lock:
            if self._video_workers is None:
                self._video_workers = Workers(sensible(cores()))
            return self._video_workers

    def start_cameras(self) -> None:
        """Start the cameras that are kept on always, now and when one is added: for a server, not for whoever looks in for
        a moment."""
        self.live.start()

    @property
    def live(self) -> Live:
        """The server's video, made when it is first asked for."""
        with self._video_lock:
            if self._live is None:
                timed = {} if self.metrics is None else {"timed": self.metrics.video_stage}
                self._live = Live(
                    self.cameras, self.vision(), executor=self.video_workers, font=self._font, encoders=max(2, cores() // 2),
                    observers=self._observers(), **timed,
                )  # fmt: skip
            return self._live

    # -- verification -------------------------------------------------------------------------------------------

    def verify(
        self,
        photo: bytes | images.Image,
        other: bytes | images.Image | None = None,
        subject: str | None = None,
        threshold: float | None = None,
    ) -> Verification:
        """Whether a photo's largest face is the same person as another photo's, or as an enrolled subject.

        The threshold is the engine's for comparing one with one (see docs/accuracy.md), unless one is given or fixed by
        a setting.

        Raises
        ------
        ImageError, NoFace, SubjectNotFound, Busy, InvalidParameter
        """
        if (other is None) == (subject is None):
            raise InvalidParameter("expected a second photo or a subject, and not both")
        if threshold is not None:
            _check_range("threshold", threshold, 0, 4)
        templates = None
        if subject is not None:
            subject = self._name(subject)
            held = self.gallery.templates(subject)
            if not held:
                raise SubjectNotFound(f"nobody called {subject!r} is enrolled with a usable photo")
            templates = np.array([template.embedding.require(self.engine.info.id) for template in held])
        return self._in_pool(self._verify, photo, other, templates, threshold)

    def _verify(self, photo, other, templates, threshold) -> Verification:
        clock = _Clock()
        face, vector = self._largest(photo, clock, "photo")
        taken = [face]
        if templates is None:
            face, second = self._largest(other, clock, "other")
            taken.append(face)
            templates = second[None]
        distance = float(matching.distances(vector.astype(np.float64), templates).min())
        limit = threshold if threshold is not None else self.settings.threshold
        if limit is None:
            limit = self.engine.info.calibration.threshold
        clock.lap("match")
        rate = self._curve.rate(distance)
        return Verification(distance <= limit, distance, limit, rate, tuple(taken), clock.total())

    def _largest(self, photo: bytes | images.Image, clock: _Clock, which: str) -> tuple[Face, np.ndarray]:
        image = self._decode(photo)
        clock.lap("decode")
        faces, image = self.engine.look(image)
        clock.lap("detect")
        if not len(faces):
            raise NoFace(f"no face was found in {which!r}", photo=which)
        face = faces.select([largest(faces)])
        vector = self.engine.describe(image, face)[0]
        clock.lap("embed")
        return face[0], vector

    # -- enrolment ----------------------------------------------------------------------------------------------

    def enrol(self, subject: str, photo: bytes, *, face: str = "only", force: bool = False) -> EnrolledPhoto:
        """Enrol a photo of `subject`; what returns is on the disk and in the gallery.

        Parameters
        ----------
        face : {"only", "largest"}
            What to do with a photo of several people: refuse it, or take the largest face.
        force : bool
            Enrol even if the face looks like another subject's.

        Raises
        ------
        InvalidName, NameTaken, ImageError, FaceError, LooksLikeAnother, Busy, StorageError
        """
        subject = names.normalise(subject)
        if face not in ("only", "largest"):
            raise InvalidParameter(f"face: expected only or largest, got {face!r}")
        extension = images.sniff(photo) or "photo"
        examined, _ = self.pool.run(examine, self.engine, photo, self.rules, face)
        warnings = self._compare_with_enrolled(subject, examined, force)
        with self._changes.one():
            entry, new = self.enrolment.add(subject, photo, EXTENSIONS.get(extension, extension), examined)
            if new:
                self.audit.append("enroll", subject, **({"force": True} if force else {}))
        original = self.enrolment.original_of(subject, entry.photo)
        if original is not None:
            warnings.append(duplicate_of(original))
        if new and self.metrics is not None:
            self.metrics.enrolled()
        return EnrolledPhoto(subject, entry.encoding, new, tuple(warnings))

    def _compare_with_enrolled(self, subject: str, examined: Examined, force: bool) -> list[dict]:
        vector, limit = examined.encoding.vector, self.threshold_now()
        warnings = []
        other = self._nearest_other(subject, vector)
        if other is not None and other.distance <= limit:
            warning = looks_like_another(other.subject, other.distance, limit)
            if not force:
                about = {key: value for key, value in warning.items() if key not in ("code", "message")}
                raise LooksLikeAnother(warning["message"] + "; enrol it with force if it is not", **about)
            warnings.append(warning)
        own = self.gallery.templates(subject)
        if own:
            nearest = float(matching.distances(vector, np.array([each.embedding.vector for each in own])).min())
            if nearest > self.engine.info.calibration.threshold:
                warnings.append(unlike_others(subject, nearest, self.engine.info.calibration.threshold))
        return warnings

    def _nearest_other(self, subject: str, vector: np.ndarray) -> Candidate | None:
        found = self.gallery.search(vector[None], 2)[0]
        return next((candidate for candidate in found if candidate.subject != subject), None)

    # -- people -------------------------------------------------------------------------------------------------

    def people(self) -> list[Person]:
        """Everybody with a folder, by name; what is odd about photos is not looked at (see `odd_photos` and `person`)."""
        return [self._person(name, entries) for name, entries in self.enrolment.subjects().items()]

    def people_page(self, offset: int = 0, limit: int | None = None, search: str = "") -> tuple[list[Person], int]:
        """Some of `people`: of those with `search` in their name, so many from the given one on; and how many they are."""
        wanted = search.casefold()
        found = [each for each in self.enrolment.subjects().items() if wanted in each[0].casefold()]
        chosen = found[offset:] if limit is None else found[offset : offset + limit]
        return [self._person(name, entries) for name, entries in chosen], len(found)

    def odd_photos(self) -> dict[str, int] | None:
        """How many photos of each subject are odd among the others (see `review`); those with none are left out.

        None where so many are enrolled that it would take long.
        """
        found = self._review.of_all()
        return None if found is None else {subject: len(photos) for subject, photos in found.items() if photos}

    def person(self, name: str) -> Person:
        """One subject.

        Raises
        ------
        SubjectNotFound
        """
        name = self._name(name)
        entries = self.enrolment.entries(name)
        return self._person(name, entries, self._review.of(name))

    def _person(self, name: str, entries: Sequence[Entry], odd: Warnings | None = None) -> Person:
        originals = {entry.photo: self.enrolment.original_of(name, entry.photo) for entry in entries}
        photos = []
        for entry in entries:
            warnings = (odd or {}).get(entry.photo, [])
            original = originals[entry.photo] if entry.encoding.vector is not None else None
            if original is not None:
                warnings = [duplicate_of(original), *warnings]
            file = PurePosixPath(entry.path).name
            photos.append(PersonPhoto(entry.photo or None, file, entry.stamp.size, entry.encoding, tuple(warnings)))
        used = {photo.id for photo in photos if photo.encoding.vector is not None and originals[photo.id] is None}
        return Person(name, len(used), tuple(photos), self.enrolment.consent(name))

    def problems(self) -> list[Problem]:
        """What in known_faces is not used, and why."""
        return self.enrolment.problems()

    def rename(self, name: str, to: str, *, merge: bool = False) -> Person:
        """Give a subject another name; with `merge`, join it with one who has that name.

        Raises
        ------
        SubjectNotFound, InvalidName, NameTaken, StorageError
        """
        to, name = names.normalise(to), self._name(name)
        with self._changes.one():
            joined = to != name and to in self.enrolment.subjects()
            self.enrolment.rename(name, to, merge)
            if to != name:
                self.audit.rename(name, to, merge=joined)
        return self.person(to)

    def set_consent(self, name: str, note: str | None = None, expires: str | None = None) -> Person:
        """Keep what a subject agreed to, and until when; what is None stays, ``none`` takes it away.

        From the expiry on nobody is matched with them, and after the grace of the settings they are erased.

        Raises
        ------
        SubjectNotFound, InvalidParameter, StorageError
        """
        name = self._name(name)
        self.enrolment.entries(name)
        with self._changes.one():
            held = self.enrolment.consent(name).changed(note, expires)
            self.enrolment.set_consent(name, held)
            self.audit.append("consent", name, expires=held.expires, note=held.note is not None)
        return self.person(name)

    def export_person(self, name: str, to: Path) -> dict[str, int]:
        """Write everything that is held about a subject into a ZIP file; how many of each are in it.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        name = self._name(name)
        entries = self.enrolment.entries(name)
        self.audit.append("export", name)
        events = self._events_about(name)
        holding = subject_export.Holding(
            name,
            photos=(
                (PurePosixPath(entry.path).name, self.enrolment.folder.read(entry.path, self.settings.max_image_bytes))
                for entry in entries
            ),
            thumbnails=self._kept_thumbnails(entries),
            event_pictures=self._event_pictures(events),
            templates=[_plain_template(entry) for entry in entries],
            events=events,
            audit=self.audit.about(name),
            consent={"consent": self.enrolment.consent(name).note, "expires": self.enrolment.consent(name).expires},
        )
        return subject_export.write(holding, to)

    def _kept_thumbnails(self, entries: Sequence[Entry]) -> Iterator[tuple[str, bytes]]:
        for photo in dict.fromkeys(entry.photo for entry in entries if entry.photo):
            kept = self.enrolment.cache.thumbnail(photo)
            if kept is not None:
                yield f"{photo}.jpg", kept

    def delete_person(self, name: str) -> dict:
        """Erase a subject everywhere, look whether anything is left, and say what was done.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        with self._changes.one():
            return self._delete_person(self._name(name))

    def _delete_person(self, name: str) -> dict:
        try:
            photos = self.enrolment.remove_subject(name)
        except SubjectNotFound:  # the folder may have been deleted by hand: then the rest goes now
            if not self._events_about(name) and name not in self.audit.names().values():
                raise
            photos = []
        elsewhere = self._forget_elsewhere(photos)
        self._forget_events(name)
        self.audit.erase(name)
        left = self.enrolment.left_of(name, photos)
        left |= {
            "cache_rows": left["cache_rows"] + elsewhere,
            "events": self._wait_for_events(name), "names": sum(each == name for each in self.audit.names().values())
        }  # fmt: skip
        if any(left.values()):
            raise StorageError(f"not everything about {name!r} could be erased", left=left)
        return {"deleted": name, "photos": len(photos), "left": left}

    def _forget_elsewhere(self, photos: list[str]) -> int:
        """Erase what `evaluate` and `group` keep about photos; how many rows of it are left."""
        left = 0
        for name in encryption.CACHES[1:]:
            file = self.settings.state_dir / name
            if photos and file.exists():
                with closing(EncodingsCache(file, self.vault)) as cache:
                    cache.forget(photos)
                    left += cache.rows_about(photos)
        return left

    def delete_photo(self, name: str, photo: str) -> dict:
        """Erase one photo of a subject; see `delete_person`."""
        name = self._name(name)
        with self._changes.one():
            files = self.enrolment.remove_photo(name, photo)
            self._forget_elsewhere([photo])
            self.audit.append("delete_photo", name)
            if name not in self.enrolment.subjects():
                self.audit.forget(name)
        return {"deleted": photo, "of": name, "files": files}

    def unsorted(self, file: str) -> bytes:
        """A picture that lies in known_faces itself, where it is nobody's.

        Raises
        ------
        PhotoNotFound, UnsupportedImage, ImageTooLarge, SealBroken, KeyMissing
        """
        missing = PhotoNotFound(f"no file {file!r} lies in known_faces itself")
        if not self.enrolment.folder.is_unsorted(file):
            raise missing
        try:
            data = self.enrolment.folder.read(file, self.settings.max_image_bytes)
        except OSError:
            raise missing from None
        if images.sniff(data) is None:
            raise UnsupportedImage("this file is not a photo")
        return data

    def delete_unsorted(self, file: str) -> dict:
        """Erase a file that lies in known_faces itself."""
        with self._changes.one():
            self.enrolment.remove_unsorted(file)
            self.audit.append("delete_file")  # without its name, which may be a person's
        return {"deleted": file}

    def photo(self, name: str, photo: str) -> bytes:
        """A subject's photo, as it was received.

        Raises
        ------
        SubjectNotFound, PhotoNotFound
        """
        entry = self._entry(name, photo)
        try:
            data = self.enrolment.folder.read(entry.path, self.settings.max_image_bytes)
            if template_file.is_template(data):
                raise PhotoNotFound(f"photo {photo!r} was not kept: only its template is")
            return data
        except OSError:
            raise PhotoNotFound(f"{entry.subject!r} has no photo {photo!r}") from None

    def photo_thumbnail(self, name: str, photo: str) -> bytes:
        """A small JPEG of the face in a subject's photo.

        Raises
        ------
        SubjectNotFound, PhotoNotFound
        """
        entry = self._entry(name, photo)
        kept = self.enrolment.cache.thumbnail(photo)
        if kept is not None:
            return kept
        if entry.encoding.box is None:
            raise PhotoNotFound(f"photo {photo!r} has no face to show")
        data = self.photo(name, photo)
        return self.pool.run(lambda: thumbnail(self._decode(data), Box(*entry.encoding.box)))[0]

    def photo_quality(self, name: str, photo: str) -> Quality | None:
        """How good the picture is that a photo has of its subject's face; None where the face is not found again.

        Raises
        ------
        SubjectNotFound, PhotoNotFound, ImageError, Busy
        """
        entry = self._entry(name, photo)
        if entry.encoding.box is None:
            raise PhotoNotFound(f"photo {photo!r} has no face that is used")
        return self.pool.run(self._quality_of, self.photo(name, photo), entry.encoding.box)[0]

    def _quality_of(self, photo: bytes, box: Sequence[float]) -> Quality | None:
        faces, image = self.engine.look(self._decode(photo))
        if not len(faces):
            return None
        shared = geometry.iou(np.array(box), faces.boxes)
        nearest = int(shared.argmax())
        return self.engine.qualities(image, faces.select([nearest]))[0] if shared[nearest] > _SAME_FACE else None

    def _entry(self, name: str, photo: str) -> Entry:
        name = self._name(name)
        for entry in self.enrolment.entries(name):
            if entry.photo == photo:
                return entry
        raise PhotoNotFound(f"{name!r} has no photo {photo!r}")

    def _name(self, name: str) -> str:
        """A name that is only looked up: one that could not be enrolled is simply not there."""
        try:
            return names.normalise(name)
        except RecognizerError:
            raise SubjectNotFound("nobody of that name is enrolled") from None

    # -- who did what -------------------------------------------------------------------------------------------

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
                    backup.write(places, file, self.enrolment.folder.vault, self._changes, __version__)
                    file.seek(0)
                except BaseException:
                    file.close()
                    raise
            return file
        finally:
            self._backing_up.release()

    # -- events -------------------------------------------------------------------------------------------------

    @property
    def events(self) -> Events:
        """What happened at the cameras; an observer for `video.live`. Made when it is first asked for.

        Raises
        ------
        EventsOff, StorageError
        """
        if not self.settings.events:
            raise EventsOff("no events are kept: the setting RECOGNIZER_EVENTS is off")
        with self._events_lock:
            if self._events is None:
                wanted = self.settings
                rules = EventRules(
                    wanted.event_shown_seconds, unknown_seconds=wanted.event_unknown_seconds,
                    left_seconds=wanted.event_left_seconds,
                )  # fmt: skip
                self._events = Events(self._events_folder, rules, self._retention, vault=self.vault)
            return self._events

    def event(self, number: int) -> dict:
        """One event.

        Raises
        ------
        EventNotFound, EventsOff
        """
        found = self.events.log.get(number)
        if found is None:
            raise EventNotFound(f"there is no event {number}, or no longer", event=number)
        return found

    def _observers(self) -> tuple[Callable, ...]:
        """The events and the strangers, if there are any: video goes on where their folder cannot be used."""
        found: list[Callable] = []
        try:
            if self.settings.events:
                found.append(self.events)
        except StorageError as error:
            log.warning("no events are kept: %s", error.message)
        try:
            if self.settings.strangers != "off":
                rules = SightingRules(self.settings.event_unknown_seconds, self.rules.min_face)
                found.append(Sightings(self.inbox.offer, rules))
        except StorageError as error:
            log.warning("no strangers are kept: %s", error.message)
        return tuple(found)

    @property
    def vault(self) -> Vault | None:
        """What is kept is encrypted with it; None where nothing is."""
        return self.enrolment.folder.vault

    @property
    def _events_folder(self) -> Path:
        return self.settings.state_dir / "events"

    @property
    def _retention(self) -> Retention:
        most = self.settings.events_max_bytes
        return Retention(
            most, self.settings.events_max_days, file_bytes=min(1_000_000, most // 8),
            unknown_days=self.settings.unknown_days,
        )  # fmt: skip

    def _events_about(self, name: str) -> list[dict]:
        """Every event that names a subject, or that another one of theirs replaces, read from the disk."""
        everything = read_all(self._events_folder, self.vault)
        theirs = {event["id"] for event in everything if event.get("subject") == name}
        theirs |= {event.get("replaces") for event in everything if event["id"] in theirs}
        return [event for event in everything if event["id"] in theirs]

    def _event_pictures(self, events: Sequence[dict]) -> Iterator[tuple[str, bytes]]:
        for event in events:
            picture = read_thumbnail(self._events_folder, event["id"], self.vault)
            if picture is not None:
                yield f"{event['id']}.jpg", picture

    def _wait_for_events(self, name: str) -> int:
        """How many events on the disk name a subject; another process that writes them is given a moment to forget."""
        until = time.monotonic() + FORGET_SECONDS
        while (left := len(self._events_about(name))) and time.monotonic() < until:
            time.sleep(0.1)
        return left

    def purge_events(self) -> int:
        """Delete old events that are kept no longer where none are made any more; how many. Who makes events purges them."""
        with self._events_lock:
            if self.settings.events or not self._events_folder.is_dir():
                return 0
            held = EventLog(self._events_folder, self._retention, vault=self.vault)
            try:
                held.purge()
                return held.counts["purged"]
            finally:
                held.close()

    def _forget_events(self, name: str) -> None:
        """Take a person who is erased out of the events, also where another process writes them."""
        if self._events is not None:
            self._events.forget(name)
        elif self._events_folder.is_dir():
            held = EventLog(self._events_folder, self._retention, vault=self.vault)
            try:
                held.forget(name)
            finally:
                held.close()

    # -- strangers ----------------------------------------------------------------------------------------------

    @property
    def inbox(self) -> Inbox:
        """Takes who is not known; made when it is first asked for.

        Raises
        ------
        StrangersOff, StorageError
        """
        if self.settings.strangers == "off":
            raise StrangersOff("no strangers are kept: the setting RECOGNIZER_STRANGERS is off")
        with self._inbox_lock:
            if self._inbox is None:
                self._inbox = Inbox(
                    self._strangers(), self.engine, self.rules, self.match, lambda: self.gallery.generation
                )
            return self._inbox

    def _strangers(self) -> Strangers:
        def limit(faces: int) -> float:
            return clustering.limit_for(faces, self._curve.distance)

        bounds = Bounds(days=self.settings.strangers_days)
        return Strangers(self.settings.state_dir / "strangers", self.engine.info.id, limit, bounds, vault=self.vault)

    def keep_strangers(self) -> None:
        """Look after the strangers from now on; where none are kept any longer, forget those whose time is over. Servers do
        this; commands do not."""
        if self.settings.strangers != "off":
            self.inbox  # noqa: B018, made here
        elif (self.settings.state_dir / "strangers").is_dir():
            self._strangers().purge()

    def strangers(self) -> list[Stranger]:
        """Everybody in the inbox, whoever was seen last first; nobody where it is off."""
        return [] if self.settings.strangers == "off" else self.inbox.strangers.all()

    def resembles(self, strangers: Sequence[Stranger]) -> list[Candidate | None]:
        """Who of those who are enrolled is nearest to each stranger's best picture, if that is nearer than most are."""
        if not strangers:
            return []
        found = self.gallery.search(np.array([each.pictures[0].vector for each in strangers]), 1)
        limit = self._curve.distance(matching.rate_per_comparison(RESEMBLES_RATE, len(self.gallery)))
        near = max(limit, self.threshold_now())
        return [each[0] if each and each[0].distance <= near else None for each in found]

    def stranger_pictures(self, id_: str) -> list[bytes]:
        """The pictures that enrol a stranger, best first.

        Raises
        ------
        StrangerNotFound, StrangersOff
        """
        held = self.inbox.strangers
        return [held.picture(id_, each.id) for each in held.get(id_).pictures[:ENROLLING_PICTURES]]

    def _offer_strangers(self, inbox: Inbox, seen: Seen) -> None:
        """Hand the faces that a request's photo shows and nobody knows to the inbox, without waiting for it."""
        now = time.time()
        for number, face in enumerate(seen.faces):
            fit = face.box.size >= self.rules.min_face and face.quality is not None and not quality.remarks(face.quality)
            if face.subject is not None or not fit:
                continue
            image = seen.image
            height, width = image.pixels.shape[:2]
            fx, fy = width / image.width, height / image.height
            box = Box(face.box.left * fx, face.box.top * fy, face.box.right * fx, face.box.bottom * fy)
            shot = Shot(cut(image.pixels, box), now, worth(face.quality))
            inbox.offer(Sighting(f"request/{now:.3f}/{number}/{id(seen):x}", None, now, now, (shot,)))

    # -- cameras ------------------------------------------------------------------------------------------------

    @property
    def cameras(self) -> Cameras:
        """The list of cameras, read when it is first asked for."""
        with self._cameras_lock:
            if self._cameras is None:
                self._cameras = Cameras(
                    self.settings.state_dir / "cameras.json",
                    default=self.settings.camera,
                    reach=Reach(self.settings.camera_allow),
                    files=self.settings.camera_files,
                )
            return self._cameras

    # -- settings -----------------------------------------------------------------------------------------------

    @property
    def stranger_rate(self) -> float:
        """The setting of that name, or what it was changed to."""
        changed = self._adjustments.get("stranger_rate") if self._fixed_by("stranger_rate") is None else None
        try:
            return self.settings.stranger_rate if changed is None else self._checked("stranger_rate", changed)
        except InvalidParameter:  # somebody wrote the file by hand
            return self.settings.stranger_rate

    def setting_values(self) -> list[dict]:
        """Every setting: its value, where that comes from, and whether `change_setting` takes it. No secrets."""
        return [self.setting(item.name) for item in SETTINGS]

    def setting(self, name: str) -> dict:
        """One of `setting_values`."""
        rule = next(item.metadata for item in SETTINGS if item.name == name)
        source, label = self.settings.source(name)
        fixed = self._fixed_by(name) if name in CHANGEABLE else None
        value = self.settings.shown(name)
        if name == "camera":
            value = parse_source(self.settings.camera).shown
        if name in CHANGEABLE and fixed is None and self._adjustments.get(name) is not None:
            value, source = getattr(self, name), PAGE
        return {
            "name": name, "variable": PREFIX + name.upper(), "value": value, "secret": rule["secret"], "source": source,
            "label": label, "changeable": name in CHANGEABLE and fixed is None, "fixed_by": fixed, "help": rule["help"],
        }  # fmt: skip

    def change_setting(self, name: str, value: float) -> dict:
        """Change one of `CHANGEABLE` from now on, also after a restart; its default is as if it had never been changed.

        Raises
        ------
        InvalidParameter, SettingFixed, StorageError
        """
        value = self._checked(name, value)
        fixed = self._fixed_by(name)
        if fixed is not None:
            raise SettingFixed(f"{name} is set by {fixed}, and can only be changed there", setting=fixed)
        self._adjustments.set(name, None if value == default_of(name) else value)
        self.audit.append("setting_change", setting=name, value=value)
        log.info("%s was changed to %s", name, value)
        return self.setting(name)

    def _checked(self, name: str, value: float):
        try:
            return getattr(self.settings.replace(**{name: value}), name)
        except SettingsError as error:
            raise InvalidParameter(error.message) from None

    def _fixed_by(self, name: str) -> str | None:
        """What keeps a changeable setting from being changed: where it, or one that stands in its place, is said."""
        for each in ("threshold", name) if name == "stranger_rate" else (name,):
            source, label = self.settings.source(each)
            if source != DEFAULT:
                return label
        return None

    def calibration(self) -> Calibration:
        """What each stranger rate means in this gallery; distances are measured meanwhile where that takes long."""
        count = len(self.gallery)
        measured, current = self._measurement.latest()
        points = []
        for rate in sorted({*RATES, self.stranger_rate}):
            threshold = self._threshold_at(rate, count)
            shares = (None, None) if measured is None else (measured.accepted(threshold), measured.mistaken(threshold))
            points.append(CurvePoint(rate, threshold, matching.rate_per_comparison(rate, count), *shares))
        rate = self.stranger_rate if self.settings.threshold is None else None
        return Calibration(rate, self.threshold_now(), count, tuple(points), measured, current)

    # -- health -------------------------------------------------------------------------------------------------

    def health(self) -> dict:
        """Whether the service works, with what, and what is in it."""
        info, subjects = self.engine.info, self.gallery.subjects()
        points = asdict(info.calibration)
        return {
            "live": True,
            "ready": self._ready,
            "engine": {
                "id": info.id,
                "detector": self.engine.detector.name,
                "embedder": self.engine.embedder.name,
                "dim": info.dim,
                "calibration": {key: points[key] for key in ("threshold", "false_match_rate", "data_set", "date")},
            },
            "threshold": round(self.threshold_now(), 4),
            "stranger_rate": self.stranger_rate if self.settings.threshold is None else None,
            "counts": {
                "subjects": len(subjects), "templates": sum(subjects.values()), "problems": self.enrolment.problem_count,
            },  # fmt: skip
            "queue": {"inside": self.pool.inside, "workers": self.pool.workers, "waiting_at_most": self.pool.queue},
            "video": self._live.summary() if self._live else {"viewers": 0, "running": []},
            "uptime_s": round(time.time() - self._started, 1),
            "events": None if self._events is None else self._events.counts(),
            "retention": None if self._sweep is None else self._sweep.counts(),
            "strangers": None if self._inbox is None else self._inbox.counts(),
        }

    def unready(self) -> list[str]:
        """Why this should be given no requests now, in words; nothing where it should."""
        reasons = []
        if not self._ready:
            reasons.append("the service is starting or ending")
        elif self._watcher is not None and not self._watcher.alive:
            reasons.append("known_faces is not followed any longer")
        if not os.access(self.enrolment.folder.root, os.R_OK | os.X_OK):
            reasons.append("known_faces cannot be read")
        return reasons

    def _show(self, metrics: Metrics) -> None:
        """Let `metrics` read what is asked for now and then."""
        folders = {"known_faces": self.enrolment.folder.root, "state": self.settings.state_dir}
        built = (__version__, platform.python_version(), self.engine.detector.name, self.engine.embedder.name)
        sources = {
            "recognizer_queue_inside": lambda: self.pool.inside,
            "recognizer_queue_workers": lambda: self.pool.workers,
            "recognizer_queue_capacity": lambda: self.pool.workers + self.pool.queue,
            "recognizer_queue_refused_total": lambda: self.pool.refused,
            "recognizer_gallery_subjects": lambda: len(self.gallery.subjects()),
            "recognizer_gallery_templates": lambda: len(self.gallery),
            "recognizer_gallery_problems": lambda: self.enrolment.problem_count,
            "recognizer_match_threshold": self.threshold_now,
            "recognizer_disk_free_bytes": lambda: {(kind,): _free(folder) for kind, folder in folders.items()},
            "recognizer_build_info": lambda: {built: 1.0},
        }
        for name, read in sources.items():
            metrics.watch(name, read)
        metrics.watch_cameras(self._camera_samples)
        metrics.watch("recognizer_events_total", lambda: self._event_counts()[0])
        metrics.watch("recognizer_events_dropped_total", lambda: self._event_counts()[1])
        metrics.watch("recognizer_strangers_dropped_total", self._strangers_dropped)

    def _strangers_dropped(self) -> int:
        counts = {} if self._inbox is None else self._inbox.counts()
        return sum(counts.get(name, 0) for name in ("dropped", "failed", "dropped_strangers", "dropped_pictures"))

    def _event_counts(self) -> tuple[int, int]:
        """Events that were written since the start, and what was dropped on the way in, to the disk, or to a receiver."""
        if self._events is None:
            return 0, 0
        counts = self._events.counts()
        dropped = sum(counts[name] for name in ("failed", "dropped_results", "dropped_states", "dropped_events"))
        return counts["written"], dropped + sum(sink["dropped"] for sink in counts["sinks"])

    def _camera_samples(self) -> list[CameraSample]:
        samples = []
        for entry in self.cameras.all():
            camera, counts = entry.camera, entry.camera.counts
            numbers = (counts[name] for name in ("read", "dropped", "connects"))
            viewers = 0 if self._live is None else self._live.viewers(entry.id)
            samples.append(CameraSample(entry.id, camera.state.name, camera.fps, *numbers, viewers))
        return samples


def _free(folder: Path) -> float:
    """Free bytes where `folder` lies; not a number where it is gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return float("nan")


def _plain_template(entry: Entry) -> dict:
    """What the engine made of a photo, as plain data."""
    held = entry.encoding
    return {
        "file": PurePosixPath(entry.path).name, "photo": entry.photo, "engine": held.engine, "face": held.face,
        "vector": None if held.vector is None else [float(value) for value in held.vector],
        "problem": held.problem, "box": held.box, "score": held.score, "width": held.width, "height": held.height,
    }  # fmt: skip


def _secret(value: str | None, file: Path | None, name: str) -> str | None:
    """A secret from its setting, or from the file that a setting names.

    Raises
    ------
    SettingsError
        Both are given, or the file cannot be read or is empty.
    """
    if file is None:
        return value
    if value is not None:
        raise SettingsError(f"{name}: expected it as a setting or in a file, got both")
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, ValueError):
        text = ""
    if not text:
        raise SettingsError(f"{name}_file: the file is missing, cannot be read, or is empty")
    return text


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidParameter(f"{name}: expected {least} to {most}, got {value}")


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
    made = Service(settings, engine, enrolment, pool, fetcher, rules, audit, presence, changes, metrics)
    if metrics is not None:
        made._show(metrics)
    return made
