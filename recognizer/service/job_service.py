"""Jobs: large batches of photos, worked off in the background with a bounded share of the pool."""

from __future__ import annotations

import logging
import posixpath
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recognizer.core import audit, names, tracing
from recognizer.core.audit import AuditLog, one_act
from recognizer.core.errors import (
    Busy,
    FetchFailed,
    FetchTimeout,
    InvalidName,
    InvalidParameter,
    JobNotFound,
    RecognizerError,
    StorageError,
    TooManyJobs,
)
from recognizer.core.geometry import inside
from recognizer.core.pool import Pool
from recognizer.core.priorities import giving_way, lower_thread_priority
from recognizer.core.sealed_sqlite import remove_old_set_aside
from recognizer.core.vault import Vault
from recognizer.core.wording import plural
from recognizer.database.connection import Database
from recognizer.enrolment.enrolled import EnrolledPhoto
from recognizer.enrolment.face_choice import check as check_face
from recognizer.jobs import job_store
from recognizer.jobs.job_file import JOBS_FILE, JobFile
from recognizer.jobs.job_model import (
    DETECT,
    ENROLL,
    PHOTO_DONE,
    PHOTO_FAILED,
    RECOGNIZE,
    Job,
    JobPhoto,
    PhotoResult,
    TakenPhoto,
)
from recognizer.jobs.job_sources import PrefixFiles
from recognizer.jobs.job_store import JobStore, names_in
from recognizer.jobs.job_tables import JobTables
from recognizer.photos import plain
from recognizer.photos.results import Seen
from recognizer.service.attribute_finder import AttributeFinder
from recognizer.service.recognition import MAX_CANDIDATES, MAX_THRESHOLD

if TYPE_CHECKING:
    from recognizer.fetching.fetcher import Fetcher
    from recognizer.service.groups import PeopleGroup, PeopleGroups

log = logging.getLogger("recognizer.jobs")

#: Maximum number of jobs that are stored at once, finished ones included.
MOST_JOBS = 1000
#: Seconds between two looks for photos that other nodes or processes added.
POLL = 2.0
#: Seconds for which a photo of a job lets requests go first.
PATIENCE = 2.0
#: Threads that fetch photos, beyond those that process one.
_FETCHING = 3
#: How often what may be temporary is tried, and seconds before the second time.
_TRIES, _PAUSE = 3, 0.5
_HOUSEKEEPING, _DAY = 600.0, 86_400.0
_ID = re.compile(r"j[0-9a-f]{16}")
#: Options of each operation, besides the group.
_LOOK = frozenset({"min_face", "landmarks", "attributes"})
OPTIONS = {
    RECOGNIZE: _LOOK | {"top_k", "threshold"},
    DETECT: _LOOK,
    ENROLL: frozenset({"subject", "face", "force"}),
}


class _Gone(Exception):
    """The photo's job was deleted, or its person was erased, while it was processed."""


class _Stopped(Exception):
    """The server is ending."""


@dataclass(frozen=True)
class JobLimits:
    """What the settings say about jobs.

    Attributes
    ----------
    photos : int
        Maximum number of photos of a job.
    uploaded : int
        Maximum number of bytes of uploaded photos that wait, of all jobs.
    days : float
        Days for which a job is kept after its end.
    workers : int
        Maximum number of photos that are processed at once here; 0 works nothing off.
    allowed : tuple of str
        Prefixes that may be read.
    max_bytes : int
        Size of the largest photo.
    """

    photos: int
    uploaded: int
    days: float
    workers: int
    allowed: tuple[str, ...]
    max_bytes: int


@dataclass(frozen=True)
class JobPlace:
    """Where jobs are stored.

    Attributes
    ----------
    state : Path
        The state folder.
    database : Database or None
        Where they are stored instead, with nodes that share it.
    vault : Vault or None
    """

    state: Path
    database: Database | None
    vault: Vault | None


@dataclass(frozen=True)
class JobTools:
    """What works jobs off.

    Attributes
    ----------
    groups : callable
        Returns the groups.
    attribute_finder : AttributeFinder
    pool : Pool
    fetcher : callable
        Returns the `Fetcher` for URLs.
    learn : callable
        Called before a photo is processed: learns what other processes changed.
    """

    groups: Callable[[], PeopleGroups]
    attribute_finder: AttributeFinder
    pool: Pool
    fetcher: Callable[[], Fetcher]
    learn: Callable[[], object]


class KeptJobs:
    """Owns the jobs of an installation, and the threads that work them off. Any thread may call.

    Parameters
    ----------
    place : JobPlace
    limits : JobLimits
    tools : JobTools
    audit_log : AuditLog
    """

    def __init__(self, place: JobPlace, limits: JobLimits, tools: JobTools, audit_log: AuditLog):
        self._path, self._database, self._vault = place.state / JOBS_FILE, place.database, place.vault
        self._groups, self._attribute_finder, self._pool = tools.groups, tools.attribute_finder, tools.pool
        self._fetcher, self._learn = tools.fetcher, tools.learn
        self.limits, self._audit = limits, audit_log
        self._worker = f"w-{secrets.token_hex(8)}"
        self._lock, self._wake, self._stop = threading.Lock(), threading.Condition(), threading.Event()
        self._share = threading.BoundedSemaphore(max(1, limits.workers))
        self._store: JobStore | None = None
        self._threads: list[threading.Thread] = []
        self._folders: dict[str, PrefixFiles] = {}
        self._tidy_at = 0.0
        self._outcomes: Counter[str] = Counter()

    # -- the store ----------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether there may be jobs."""
        return self._database is not None or self._store is not None or self._path.exists()

    @property
    def store(self) -> JobStore:
        """Where jobs are stored; made when it is first used.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._lock:
            if self._store is None:
                stored = JobFile(self._path, self._vault) if self._database is None else None
                self._store = stored or JobTables(self._database, self._vault)  # type: ignore[arg-type]
            return self._store

    # -- what is asked ------------------------------------------------------------------------------------------

    def add(
        self,
        operation: str,
        photos: Sequence[JobPhoto] = (),
        *,
        prefix: str | None = None,
        group: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> Job:
        """Store a job, which is worked off from now on. It is durable on return.

        Parameters
        ----------
        operation : {"recognize", "detect", "enroll"}
        photos : sequence of JobPhoto
            With a URL as source, or with bytes. For ``enroll`` each needs a subject, or the options have one.
        prefix : str, optional
            Where more photos are, instead of `photos`. Without a subject, each enrols the person whose name its folder has.
        group : str, optional
        options : dict, optional
            As for the operation itself; see `OPTIONS`.

        Raises
        ------
        InvalidParameter, InvalidName, InvalidUrl, GroupNotFound, AttributesOff
        TooManyJobs
            There are `MOST_JOBS`, or too many uploaded photos wait.
        StorageError, DatabaseAway
        """
        chosen = {name: value for name, value in (options or {}).items() if value is not None}
        self._check_options(operation, chosen)
        held = self._groups().get(group)
        subject = chosen.pop("subject", None)
        if prefix is not None:
            if photos:
                raise InvalidParameter("expected photos or a prefix, got both")
            PrefixFiles(prefix, self.limits.allowed)
        elif not photos:
            raise InvalidParameter("expected photos: image_urls, uploaded files, or a prefix")
        if len(photos) > self.limits.photos:
            raise InvalidParameter(f"expected at most {plural(self.limits.photos, 'photo')} in a job, got {len(photos)}")
        if operation == ENROLL:
            subject = None if subject is None else names.normalise(subject)
            photos = [_enrolling(each, subject) for each in photos]
            if prefix is not None and subject is not None:
                chosen["subject"] = subject
        elif any(each.subject is not None for each in photos):
            raise InvalidParameter(f"subject: only for the operation {ENROLL}")
        for each in photos:
            if "url" in each.source:
                self._fetcher().check(each.source["url"])
        self._check_room(sum(len(each.photo) for each in photos if each.photo is not None))
        made = self.store.add(
            operation,
            audit.ACTOR.get(),
            photos,
            group=None if held.is_default else held.name,
            options=chosen,
            prefix=prefix,
        )
        self._audit.append("job_add", job=made.id, operation=operation, photos=made.photos)
        with self._wake:
            self._wake.notify_all()
        return made

    def _check_options(self, operation: str, options: dict[str, Any]) -> None:
        unknown = sorted(set(options) - OPTIONS[operation])
        if unknown:
            raise InvalidParameter(f"{unknown[0]}: not for the operation {operation}")
        for name, least, most in (("min_face", 1, 100_000), ("top_k", 0, MAX_CANDIDATES), ("threshold", 0, MAX_THRESHOLD)):
            if name in options and not least <= options[name] <= most:
                raise InvalidParameter(f"{name}: expected a number from {least} to {most}, got {options[name]}")
        if "attributes" in options:
            self._attribute_finder.chosen(options["attributes"])
        if "face" in options:
            check_face(options["face"])

    def _check_room(self, uploaded: int) -> None:
        counts = self.store.counts()
        if sum(counts.values()) - counts["waiting"] >= MOST_JOBS:
            raise TooManyJobs(f"there are {MOST_JOBS} jobs: delete some that are finished")
        if uploaded and self.store.waiting_bytes() + uploaded > self.limits.uploaded:
            raise TooManyJobs(
                f"more than {self.limits.uploaded} bytes of uploaded photos would wait: add them when others are processed"
            )

    def get(self, id_: str) -> Job:
        """One job.

        Raises
        ------
        JobNotFound, StorageError, DatabaseAway
        """
        found = self.store.get(id_) if self.exists and _ID.fullmatch(id_) else None
        if found is None:
            raise JobNotFound("there is no such job, or no longer", job=id_[:40])
        return found

    def all(self) -> list[Job]:
        """All jobs, newest first."""
        return self.store.all() if self.exists else []

    def results(self, id_: str, after: int = -1, limit: int = 100) -> list[PhotoResult]:
        """What became of the photos of a job that are processed; see `JobStore.results`."""
        return self.store.results(id_, after, limit)

    def remove(self, id_: str) -> None:
        """Cancel a job and delete it with its photos and results.

        Raises
        ------
        JobNotFound, StorageError, DatabaseAway
        """
        self.get(id_)
        if self.store.remove(id_):
            self._audit.append("job_delete", job=id_)

    def counts(self) -> dict[str, int] | None:
        """Jobs by state, photos that wait, and photos that were processed here since the start; None if there are no jobs.

        Raises
        ------
        StorageError, DatabaseAway
        """
        if not self.exists:
            return None
        return {**self.store.counts(), **{f"photos_{name}": self._outcomes[name] for name in (PHOTO_DONE, PHOTO_FAILED)}}

    def outcomes(self) -> dict[tuple[str, ...], float]:
        """How many photos were processed here since the start, by outcome."""
        return {(name,): float(self._outcomes[name]) for name in (PHOTO_DONE, PHOTO_FAILED)}

    def purge(self) -> int:
        """Delete the jobs that ended long ago; how many."""
        remove_old_set_aside(self._path, self.limits.days * _DAY)
        return self.store.purge(self.limits.days * _DAY) if self.exists else 0

    # -- the work -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Work jobs off from now on."""
        if self._threads:
            return
        self._threads.append(threading.Thread(target=self._look_after, name="jobs", daemon=True))
        if self.limits.workers:
            for number in range(self.limits.workers + _FETCHING):
                self._threads.append(threading.Thread(target=self._run, name=f"jobs-{number}", daemon=True))
        for each in self._threads:
            each.start()

    def close(self, seconds: float = 5.0) -> None:
        """End the work after the current photos, give back those that are not finished, and close the store."""
        self._stop.set()
        with self._wake:
            self._wake.notify_all()
        until = time.monotonic() + seconds
        for each in self._threads:
            each.join(max(0.0, until - time.monotonic()))
        with self._lock:
            store, self._store = self._store, None
        if store is not None:
            with suppress(RecognizerError):
                store.release(self._worker)
            store.close()

    def _look_after(self) -> None:
        """Renew what the workers have, wake them, delete what is old."""
        while not self._stop.wait(min(POLL, job_store.LEASE / 3)):
            if not self.exists:
                continue
            try:
                self.store.renew(self._worker)
                if time.monotonic() >= self._tidy_at:
                    self._tidy_at = time.monotonic() + _HOUSEKEEPING
                    self.purge()
            except RecognizerError as error:
                log.debug("jobs are not looked after: %s", error.message)
            except Exception:
                log.exception("jobs are not looked after")
            with self._wake:
                self._wake.notify_all()

    def _run(self) -> None:
        lower_thread_priority()
        while not self._stop.is_set():
            try:
                worked = self.exists and (self._list_one() or self._work_one())
            except _Stopped:
                return
            except RecognizerError as error:  # the disk is full, or the database is away
                log.warning("a job waits: %s", error.message)
                worked = False
            except Exception:
                log.exception("a photo of a job could not be processed")
                worked = False
            if not worked:
                with self._wake:
                    if not self._stop.is_set():
                        self._wake.wait(POLL)

    def _list_one(self) -> bool:
        """List the photos of a job with a prefix; whether there was one."""
        job = self.store.take_listing(self._worker)
        if job is None:
            return False
        try:
            paths = self._files(job).paths(self.limits.photos)
            if len(paths) > self.limits.photos:
                raise InvalidParameter(f"expected at most {plural(self.limits.photos, 'photo')} below the prefix, got more")
        except RecognizerError as error:
            self.store.fail(job, error.code, error.message)
            return True
        subject = job.options.get("subject")
        self.store.listed(job, self._worker, (_of_prefix(job, path, subject) for path in paths))
        return True

    def _files(self, job: Job) -> PrefixFiles:
        assert job.prefix is not None
        held = self._folders.get(job.prefix)
        if held is None:
            if len(self._folders) > 8:
                self._folders.clear()
            held = self._folders[job.prefix] = PrefixFiles(job.prefix, self.limits.allowed)
        return held

    def _work_one(self) -> bool:
        """Process one photo; whether there was one."""
        taken = self.store.take(self._worker)
        if taken is None:
            return False
        try:
            with tracing.span("job photo", job_operation=taken.job.operation):
                state, content = self._processed(taken)
        except _Gone:
            return True
        named = names_in(content)
        if self.store.finish(taken, self._worker, state, content, named):
            self._outcomes[state] += 1
        return True

    def _processed(self, taken: TakenPhoto) -> tuple[str, dict[str, Any]]:
        if taken.attempts > job_store.ATTEMPTS:
            message = f"processing the photo was interrupted {job_store.ATTEMPTS} times"
            return PHOTO_FAILED, {"code": "interrupted", "message": message}
        try:
            return PHOTO_DONE, self._patiently(lambda: self._result(taken))
        except RecognizerError as error:
            named = {name: error.details[name] for name in ("subject",) if isinstance(error.details.get(name), str)}
            return PHOTO_FAILED, {"code": error.code, "message": error.message, **named}
        except (_Gone, _Stopped):
            raise
        except Exception:
            log.exception("a photo of a job could not be processed")
            return PHOTO_FAILED, {"code": "internal", "message": "unexpected error; see the log"}

    def _patiently(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do what may fail for a moment, several times if it does; while the pool is full or the database away, as long as
        that takes."""
        failures = 0
        while True:
            try:
                return work()
            except Busy as error:
                self._pause(error.retry_after or _PAUSE)
            except (FetchTimeout, FetchFailed, StorageError) as error:
                failures += 1
                status = error.details.get("status")
                if failures >= _TRIES or (isinstance(status, int) and status < 500 and status != 429):
                    raise
                self._pause(max(min(error.retry_after or 0.0, 30.0), _PAUSE * 2**failures))

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _result(self, taken: TakenPhoto) -> dict[str, Any]:
        job, data = taken.job, self._bytes(taken)
        with self._turn():
            group = self._groups().get(job.group)
            self._learn()
            if job.operation == ENROLL:
                return self._enrol(taken, group, data)
            options = job.options
            look: dict[str, Any] = {name: options[name] for name in ("min_face", "attributes") if name in options}
            look["landmarks"] = int(options.get("landmarks", 5))
            if job.operation == DETECT:
                seen = group.recognition.detect(data, **look)
            else:
                look |= {name: options[name] for name in ("top_k", "threshold") if name in options}
                seen = group.recognition.recognize(data, **look)
            return _seen(seen, candidates=options.get("top_k", 0) > 0, landmarks="landmarks" in options)

    @contextmanager
    def _turn(self):
        """Within the block, a photo may be processed: no more of them at once than the share of jobs, and requests first."""
        while not self._share.acquire(timeout=0.5):
            self._pause(0)
        try:
            until = time.monotonic() + PATIENCE
            while self._pool.inside >= self._pool.workers and time.monotonic() < until:
                self._pause(0.005)
            with giving_way():
                yield
        finally:
            self._share.release()

    def _bytes(self, taken: TakenPhoto) -> bytes:
        photo = taken.photo
        if photo.photo is not None:
            return photo.photo
        if "url" in photo.source:
            return self._fetcher().get(photo.source["url"])
        if "path" in photo.source and taken.job.prefix is not None:
            return self._files(taken.job).read(photo.source["path"], self.limits.max_bytes)
        raise StorageError("the photo is not there any longer, or cannot be decrypted")

    def _enrol(self, taken: TakenPhoto, group: PeopleGroup, data: bytes) -> dict[str, Any]:
        subject, options = taken.photo.subject, taken.job.options
        if subject is None:
            raise InvalidName("subject: expected a folder with the name of a person, which may be one")

        def confirm() -> None:
            """Called while nobody can be erased."""
            if not self.store.has(taken, self._worker):
                raise _Gone

        before = audit.ACTOR.set(taken.job.actor)
        try:
            with one_act(job=taken.job.id):
                made = group.subjects.enrol(
                    subject,
                    data,
                    face=options.get("face", "only"),
                    force=bool(options.get("force")),
                    confirm=confirm,
                )
        finally:
            audit.ACTOR.reset(before)
        return _enrolled(made)


def _enrolling(photo: JobPhoto, subject: str | None) -> JobPhoto:
    """A photo with the name of whom it enrols."""
    if photo.subject is None and subject is None:
        raise InvalidParameter("subject: expected a name, for all photos or for each")
    return JobPhoto(photo.source, photo.photo, subject if photo.subject is None else names.normalise(photo.subject))


def _of_prefix(job: Job, path: str, subject: str | None) -> JobPhoto:
    """A photo that was listed; without a subject for all, its folder names the person."""
    if job.operation == ENROLL and subject is None:
        with suppress(InvalidName):
            subject = names.normalise(posixpath.basename(posixpath.dirname(path)))
    return JobPhoto({"path": path}, subject=subject if job.operation == ENROLL else None)


def _seen(seen: Seen, *, candidates: bool, landmarks: bool) -> dict[str, Any]:
    """A result as the routes show it, without times."""
    faces = [plain.seen_face(each, candidates) for each in seen.faces]
    if not landmarks:
        for each in faces:
            del each["landmarks"]
    return {"image": {"width": seen.image.width, "height": seen.image.height}, "faces": faces}


def _enrolled(made: EnrolledPhoto) -> dict[str, Any]:
    """An enrolled photo; warnings by their codes, since their details name others."""
    held = made.encoding
    assert held.box is not None and held.width is not None and held.height is not None
    return {
        "subject": made.subject,
        "photo": held.photo,
        "status": "added" if made.new else "known",
        "box": plain.box(inside(held.box, held.width, held.height)),
        "score": held.score,
        "warnings": _codes(made.warnings),
    }


def _codes(warnings: Iterable[dict]) -> list[str]:
    return [each["code"] for each in warnings]
