"""Where jobs are stored: the same tables in a file of the state folder and in the database that nodes share.

A worker takes a photo for `LEASE` seconds and renews that while it works. What a worker that ended took is taken by others when
the lease is over. A photo that was begun `ATTEMPTS` times and never finished fails: perhaps it ends the process.

With a key, everything but times, counts and states is encrypted. Names are encrypted in a form that is equal for equal names,
so that the results about a person are found.
"""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from recognizer.core.errors import SealBroken
from recognizer.core.vault import Vault
from recognizer.jobs.job_model import (
    DONE,
    FAILED,
    LISTING,
    PHOTO_DONE,
    PHOTO_FAILED,
    RUNNING,
    WAITING,
    Job,
    JobPhoto,
    PhotoResult,
    TakenPhoto,
)

#: Seconds for which a worker has a photo without renewing that.
LEASE = 30.0
#: How often a photo is begun.
ATTEMPTS = 3
#: Stands between the name of a group and that of a person.
_SEPARATOR = "/"
_OPTIONS, _SOURCE, _PHOTO, _RESULT = "job", "job source ", "job photo ", "job result "
_JOB = "id, operation, options, state, made, begun, ended, photos, done, failed, error"

#: Runs a statement with ``?`` for its values; the rows.
Run = Callable[..., list[tuple[Any, ...]]]


class JobStore(ABC):
    """The tables of the jobs. One transaction per call; safe from several threads and processes.

    Parameters
    ----------
    vault : Vault, optional
    """

    #: Added to statements that choose what nobody else has, that keep a row, and that keep it from being changed.
    _skip_locked = _for_update = _for_share = ""

    def __init__(self, vault: Vault | None = None):
        self._vault = vault

    @abstractmethod
    def _change(self) -> AbstractContextManager[Run]:
        """One transaction."""

    @abstractmethod
    def _now(self, run: Run) -> float:
        """Seconds since 1970, by the clock that all workers share."""

    @abstractmethod
    def _erased(self) -> None:
        """Called after rows with personal data were deleted or changed."""

    @abstractmethod
    def close(self) -> None:
        """Close what was opened."""

    def leave_out_broken(self) -> None:  # noqa: B027, a database has its own ways
        """Delete what cannot be decrypted, whoever it is about, where jobs are in a file."""

    # -- encryption ---------------------------------------------------------------------------------------------

    def _mark(self, name: str | None) -> str | None:
        return name if name is None or self._vault is None else self._vault.mark(name)

    def _unmark(self, mark: str | None) -> str | None:
        return mark if mark is None or self._vault is None else self._vault.unmark(mark)

    def _seal(self, data: bytes | None, purpose: str) -> bytes | None:
        return data if data is None or self._vault is None else self._vault.seal(data, purpose)

    def _open(self, data: bytes | None, purpose: str) -> bytes | None:
        return None if data is None else bytes(data) if self._vault is None else self._vault.open(data, purpose)

    def _write(self, content: Any, purpose: str) -> bytes:
        sealed = self._seal(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), purpose)
        assert sealed is not None
        return sealed

    def _read(self, data: bytes | None, purpose: str) -> Any:
        opened = self._open(data, purpose)
        return None if opened is None else json.loads(opened)

    # -- making -------------------------------------------------------------------------------------------------

    def add(
        self,
        operation: str,
        actor: str,
        photos: Sequence[JobPhoto],
        *,
        group: str | None = None,
        options: dict[str, Any] | None = None,
        prefix: str | None = None,
    ) -> Job:
        """Store a job; it is durable on return. With a prefix, its photos are added later by `listed`.

        Raises
        ------
        StorageError, DatabaseAway
        """
        id_ = f"j{secrets.token_hex(8)}"
        state = RUNNING if prefix is None else LISTING
        content = {"group": group, "options": options or {}, "prefix": prefix, "actor": actor}
        with self._change() as run:
            run(
                "INSERT INTO job (id, operation, options, state, made, photos, done, failed) VALUES (?, ?, ?, ?, ?, 0, 0, 0)",
                (id_, operation, self._write(content, _OPTIONS + id_), state, self._now(run)),
            )
            self._add_photos(run, id_, group, photos)
        found = self.get(id_)
        assert found is not None
        return found

    def _add_photos(self, run: Run, job: str, group: str | None, photos: Iterable[JobPhoto]) -> None:
        count = 0
        for place, each in enumerate(photos):
            mark = self._mark(None if each.subject is None else in_group(group, each.subject))
            run(
                "INSERT INTO job_photo (job, place, state, source, photo, bytes, subject, attempts) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    job,
                    place,
                    WAITING,
                    self._write(each.source, f"{_SOURCE}{job}/{place}"),
                    self._seal(each.photo, f"{_PHOTO}{job}/{place}"),
                    0 if each.photo is None else len(each.photo),
                    mark,
                ),
            )
            count += 1
        run("UPDATE job SET photos = ? WHERE id = ?", (count, job))

    def waiting_bytes(self) -> int:
        """Bytes of the photos that were uploaded and are not processed yet, of all jobs."""
        with self._change() as run:
            return int(run("SELECT coalesce(sum(bytes), 0) FROM job_photo WHERE state = ?", (WAITING,))[0][0])

    # -- reading ------------------------------------------------------------------------------------------------

    def _job(self, row: Sequence[Any]) -> Job:
        id_, operation, options, state, made, begun, ended, photos, done, failed, error = row
        try:
            held = self._read(options, _OPTIONS + id_)
        except SealBroken:  # its photos cannot be processed, and it can be deleted
            held = {"group": None, "options": {}, "prefix": None, "actor": ""}
        return Job(
            id_,
            operation,
            held["group"],
            held["options"],
            held["prefix"],
            held["actor"],
            state,
            made,
            begun,
            ended,
            photos,
            done,
            failed,
            None if error is None else json.loads(error),
        )

    def get(self, id_: str) -> Job | None:
        """One job."""
        with self._change() as run:
            rows = run(f"SELECT {_JOB} FROM job WHERE id = ?", (id_,))
        return self._job(rows[0]) if rows else None

    def all(self) -> list[Job]:
        """All jobs, newest first."""
        with self._change() as run:
            rows = run(f"SELECT {_JOB} FROM job ORDER BY made DESC, id")
        return [self._job(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Jobs by state, and how many of their photos wait."""
        with self._change() as run:
            found: dict[str, int] = dict(run("SELECT state, count(*) FROM job GROUP BY state"))
            waiting = run("SELECT count(*) FROM job_photo WHERE state = ?", (WAITING,))[0][0]
        return {**{state: int(found.get(state, 0)) for state in (LISTING, RUNNING, DONE, FAILED)}, "waiting": int(waiting)}

    def results(self, job: str, after: int = -1, limit: int = 100) -> list[PhotoResult]:
        """What became of the photos with a higher number than `after` that are processed, by number."""
        with self._change() as run:
            rows = run(
                "SELECT place, source, state, result FROM job_photo WHERE job = ? AND place > ? AND state <> ? "
                "ORDER BY place LIMIT ?",
                (job, after, WAITING, limit),
            )
        return [self._result(job, row) for row in rows]

    def _result(self, job: str, row: Sequence[Any]) -> PhotoResult:
        place, source, state, result = row
        try:
            return PhotoResult(
                place,
                self._read(source, f"{_SOURCE}{job}/{place}"),
                state,
                self._read(result, f"{_RESULT}{job}/{place}"),
            )
        except SealBroken as error:
            return PhotoResult(place, {}, PHOTO_FAILED, {"code": error.code, "message": error.message})

    # -- working off --------------------------------------------------------------------------------------------

    def take_listing(self, worker: str) -> Job | None:
        """A job whose photos are still to be listed, for `LEASE` seconds; None if there is none."""
        with self._change() as run:
            now = self._now(run)
            rows = run(
                f"SELECT {_JOB} FROM job WHERE state = ? AND (taken_until IS NULL OR taken_until < ?) "
                "ORDER BY made LIMIT 1" + self._skip_locked,
                (LISTING, now),
            )
            if not rows:
                return None
            run(
                "UPDATE job SET taken_by = ?, taken_until = ?, begun = coalesce(begun, ?) WHERE id = ?",
                (worker, now + LEASE, now, rows[0][0]),
            )
        return self._job(rows[0])

    def listed(self, job: Job, worker: str, photos: Iterable[JobPhoto]) -> None:
        """Store the photos that were listed; nothing happens if the job was deleted or another worker has it."""
        with self._change() as run:
            if run("SELECT id FROM job WHERE id = ? AND state = ? AND taken_by = ?", (job.id, LISTING, worker)):
                self._add_photos(run, job.id, job.group, photos)
                run("UPDATE job SET state = ?, taken_by = NULL, taken_until = NULL WHERE id = ?", (RUNNING, job.id))
                self._end_if_done(run, job.id)

    def fail(self, job: Job, code: str, message: str) -> None:
        """End a job that cannot be worked off."""
        with self._change() as run:
            run(
                "UPDATE job SET state = ?, ended = ?, error = ?, taken_by = NULL, taken_until = NULL WHERE id = ?",
                (FAILED, self._now(run), json.dumps({"code": code, "message": message}), job.id),
            )

    def take(self, worker: str) -> TakenPhoto | None:
        """A photo that waits, for `LEASE` seconds; None if none does.

        The photo with the lowest number in its job comes first, so that a small job does not wait for a large one.
        """
        with self._change() as run:
            now = self._now(run)
            rows = run(
                "SELECT job, place, source, photo, subject, attempts FROM job_photo "
                "WHERE state = ? AND (taken_until IS NULL OR taken_until < ?) ORDER BY place, job LIMIT 1" + self._skip_locked,
                (WAITING, now),
            )
            if not rows:
                return None
            id_, place, source, photo, subject, attempts = rows[0]
            run(
                "UPDATE job_photo SET taken_by = ?, taken_until = ?, attempts = attempts + 1 WHERE job = ? AND place = ?",
                (worker, now + LEASE, id_, place),
            )
            run("UPDATE job SET begun = ? WHERE id = ? AND begun IS NULL", (now, id_))
            edition = run("SELECT number FROM job_edition")[0][0]
            held = run(f"SELECT {_JOB} FROM job WHERE id = ?", (id_,))[0]
        job = self._job(held)
        try:
            whole = self._unmark(subject)
            taken = JobPhoto(
                self._read(source, f"{_SOURCE}{id_}/{place}"),
                self._open(photo, f"{_PHOTO}{id_}/{place}"),
                None if whole is None else _without_group(job.group, whole),
            )
        except SealBroken:
            taken = JobPhoto({})
        return TakenPhoto(job, place, taken, edition, attempts + 1)

    def renew(self, worker: str) -> None:
        """Have for `LEASE` more seconds what this worker took."""
        with self._change() as run:
            until = self._now(run) + LEASE
            run("UPDATE job_photo SET taken_until = ? WHERE taken_by = ? AND state = ?", (until, worker, WAITING))
            run("UPDATE job SET taken_until = ? WHERE taken_by = ?", (until, worker))

    def release(self, worker: str) -> None:
        """Give back what this worker took, as if it had not been begun."""
        with self._change() as run:
            run(
                "UPDATE job_photo SET taken_by = NULL, taken_until = NULL, attempts = attempts - 1 "
                "WHERE taken_by = ? AND state = ?",
                (worker, WAITING),
            )
            run("UPDATE job SET taken_by = NULL, taken_until = NULL WHERE taken_by = ?", (worker,))

    def has(self, taken: TakenPhoto, worker: str) -> bool:
        """Whether a worker still has a photo: its job may have been deleted, or its person erased."""
        with self._change() as run:
            return bool(self._own(run, taken, worker))

    def _own(self, run: Run, taken: TakenPhoto, worker: str) -> list[tuple[Any, ...]]:
        return run(
            "SELECT place FROM job_photo WHERE job = ? AND place = ? AND taken_by = ? AND state = ?" + self._for_update,
            (taken.job.id, taken.place, worker, WAITING),
        )

    def finish(self, taken: TakenPhoto, worker: str, state: str, content: dict[str, Any], names: Iterable[str] = ()) -> bool:
        """Store what became of a photo, and forget its bytes; whether that was done.

        It is not done if the job was deleted, or another worker has the photo. A result with names that was made before
        somebody was erased or renamed is not stored either: the photo waits again.
        """
        job, place, named = taken.job, taken.place, {in_group(taken.job.group, name) for name in names}
        with self._change() as run:
            edition = run("SELECT number FROM job_edition" + self._for_share)[0][0]  # nobody is erased until this is stored
            if not self._own(run, taken, worker):
                return False
            if named and edition != taken.edition:
                run(
                    "UPDATE job_photo SET taken_by = NULL, taken_until = NULL, attempts = attempts - 1 "
                    "WHERE job = ? AND place = ?",
                    (job.id, place),
                )
                return False
            run(
                "UPDATE job_photo SET state = ?, result = ?, photo = NULL, bytes = 0, taken_by = NULL, taken_until = NULL "
                "WHERE job = ? AND place = ?",
                (state, self._write(content, f"{_RESULT}{job.id}/{place}"), job.id, place),
            )
            for name in named:
                run("INSERT INTO job_name (name, job, place) VALUES (?, ?, ?)", (self._mark(name), job.id, place))
            column = "done" if state == PHOTO_DONE else "failed"
            run(f"UPDATE job SET {column} = {column} + 1 WHERE id = ?", (job.id,))
            self._end_if_done(run, job.id)
        return True

    def _end_if_done(self, run: Run, job: str) -> None:
        run(
            "UPDATE job SET state = ?, ended = ? WHERE id = ? AND state = ? AND done + failed >= photos",
            (DONE, self._now(run), job, RUNNING),
        )

    # -- removing -----------------------------------------------------------------------------------------------

    def remove(self, id_: str) -> bool:
        """Delete a job with its photos and results; whether there was one. What a worker has of it is dropped."""
        with self._change() as run:
            there = bool(run("SELECT id FROM job WHERE id = ?", (id_,)))
            self._remove(run, id_)
        if there:
            self._erased()
        return there

    def _remove(self, run: Run, id_: str) -> None:
        for table, column in (("job_name", "job"), ("job_photo", "job"), ("job", "id")):
            run(f"DELETE FROM {table} WHERE {column} = ?", (id_,))

    def purge(self, seconds: float) -> int:
        """Delete the jobs that ended more than so many seconds ago; how many."""
        with self._change() as run:
            gone = run("SELECT id FROM job WHERE ended < ?", (self._now(run) - seconds,))
            for (id_,) in gone:
                self._remove(run, id_)
        if gone:
            self._erased()
        return len(gone)

    # -- one person ---------------------------------------------------------------------------------------------

    def _about(self, run: Run, name: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Job and number of the photos with results that name somebody, and of those that are to enrol somebody or did."""
        mark = self._mark(name)
        named = run("SELECT job, place FROM job_name WHERE name = ?", (mark,))
        return named, run("SELECT job, place FROM job_photo WHERE subject = ?", (mark,))

    def find(self, name: str) -> int:
        """How many photos have a result that names somebody, or are for enrolling somebody."""
        with self._change() as run:
            named, enrolling = self._about(run, name)
        return len({*named, *enrolling})

    def export(self, name: str) -> list[dict[str, Any]]:
        """The results that name somebody, and the photos that are to enrol somebody, as plain data without anybody else."""
        person = name.rpartition(_SEPARATOR)[2]
        found = []
        with self._change() as run:
            named, enrolling = self._about(run, name)
            for job, place in sorted({*named, *enrolling}):
                row = run("SELECT place, source, state, result FROM job_photo WHERE job = ? AND place = ?", (job, place))[0]
                each = self._result(job, row)
                faces = [face for face in (each.content or {}).get("faces", []) if face.get("subject") == person]
                found.append({"job": job, "number": place, "state": each.state, "source": each.source, "faces": faces})
        return found

    def rename(self, old: str, new: str) -> None:
        """Give somebody another name in results and in what is still to be enrolled."""
        was, now = old.rpartition(_SEPARATOR)[2], new.rpartition(_SEPARATOR)[2]

        def renamed(content: dict[str, Any]) -> dict[str, Any]:
            if "code" in content:
                content["message"] = content["message"].replace(was, now)
            for each in _named_parts(content):
                if each.get("subject") == was:
                    each["subject"] = now
            return content

        with self._change() as run:
            self._next_edition(run)
            named, _ = self._about(run, old)
            self._rewrite(run, named, renamed)
            for job, place in named:
                run(
                    "DELETE FROM job_name WHERE name = ? AND job = ? AND place = ?", (self._mark(new), job, place)
                )  # both were on the photo
            run("UPDATE job_name SET name = ? WHERE name = ?", (self._mark(new), self._mark(old)))
            run("UPDATE job_photo SET subject = ? WHERE subject = ?", (self._mark(new), self._mark(old)))
        self._erased()

    def erase(self, name: str) -> None:
        """Take somebody's name out of the results; what was to enrol somebody fails, and its photo is deleted."""
        person = name.rpartition(_SEPARATOR)[2]

        def erased(content: dict[str, Any]) -> dict[str, Any]:
            if "code" in content:  # the message may name somebody whom the face resembled
                return {"code": content["code"], "message": "somebody who was erased is no longer named here"}
            for face in content.get("faces", []):
                if face.get("subject") == person:
                    face.update(subject=None, distance=None, false_match_rate=None)
                if "candidates" in face:
                    face["candidates"] = [each for each in face["candidates"] if each["subject"] != person]
            return content

        with self._change() as run:
            self._next_edition(run)
            named, enrolling = self._about(run, name)
            self._rewrite(run, set(named) - set(enrolling), erased)
            for job, place in enrolling:
                self._erase_enrolment(run, job, place)
            run("DELETE FROM job_name WHERE name = ?", (self._mark(name),))
        self._erased()

    def _erase_enrolment(self, run: Run, job: str, place: int) -> None:
        """Forget whom a photo enrolled or was to enrol, and where it came from: a path or URL may contain the name."""
        ((state,),) = run("SELECT state FROM job_photo WHERE job = ? AND place = ?", (job, place))
        result = {"code": "erased", "message": "the person was erased"} if state != PHOTO_DONE else {"erased": True}
        run(
            "UPDATE job_photo SET state = ?, result = ?, source = ?, photo = NULL, bytes = 0, subject = NULL, "
            "taken_by = NULL, taken_until = NULL WHERE job = ? AND place = ?",
            (
                PHOTO_FAILED if state == WAITING else state,
                self._write(result, f"{_RESULT}{job}/{place}"),
                self._write({}, f"{_SOURCE}{job}/{place}"),
                job,
                place,
            ),
        )
        run("DELETE FROM job_name WHERE job = ? AND place = ?", (job, place))
        if state == WAITING:
            run("UPDATE job SET failed = failed + 1 WHERE id = ?", (job,))
            self._end_if_done(run, job)

    def _next_edition(self, run: Run) -> None:
        run("UPDATE job_edition SET number = number + 1")

    def _rewrite(self, run: Run, places: Iterable[Sequence[Any]], change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        for job, place in places:
            purpose = f"{_RESULT}{job}/{place}"
            ((data,),) = run("SELECT result FROM job_photo WHERE job = ? AND place = ?", (job, place))
            try:
                content = change(self._read(data, purpose))
            except SealBroken:  # nobody can read it any more
                content = {"code": "erased", "message": "the result could not be read"}
            run(
                "UPDATE job_photo SET result = ? WHERE job = ? AND place = ?",
                (self._write(content, purpose), job, place),
            )


def in_group(group: str | None, name: str) -> str:
    """The name under which a person of a group is found."""
    return name if group is None else f"{group}{_SEPARATOR}{name}"


def _without_group(group: str | None, name: str) -> str:
    return name if group is None else name.removeprefix(f"{group}{_SEPARATOR}")


def _named_parts(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every part of a result that may have a name as ``subject``."""
    yield content
    for face in content.get("faces", []):
        yield face
        yield from face.get("candidates", [])


def names_in(content: dict[str, Any]) -> set[str]:
    """Every name in a result."""
    return {each["subject"] for each in _named_parts(content) if each.get("subject") is not None}
