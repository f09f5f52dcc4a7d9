"""What a job is: an operation on many photos, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: What a job does with each photo.
RECOGNIZE, DETECT, ENROLL = OPERATIONS = ("recognize", "detect", "enroll")
#: A job is `LISTING` until the photos of its prefix are known, `RUNNING` until all of its photos are done.
LISTING, RUNNING, DONE, FAILED = STATES = ("listing", "running", "done", "failed")
#: States of a photo; one that is being processed is still waiting, and taken by a worker.
WAITING, PHOTO_DONE, PHOTO_FAILED = "waiting", "done", "failed"


@dataclass(frozen=True, slots=True)
class JobPhoto:
    """A photo of a job.

    Attributes
    ----------
    source : dict
        Where it comes from, as it is reported: ``url``, ``path`` (below the prefix), or ``upload`` (its number); and ``id``,
        if the client gave it one.
    photo : bytes or None
        Its bytes, of an upload that is not processed yet.
    subject : str or None
        Whom it enrols.
    """

    source: dict[str, Any]
    photo: bytes | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job.

    Attributes
    ----------
    id : str
    operation : str
        One of `OPERATIONS`.
    group : str or None
        Whose names are given; None for the default group.
    options : dict
        Of the operation.
    prefix : str or None
        Where its photos are listed.
    actor : str
        Who made it, as the audit log names actors.
    state : str
        One of `STATES`.
    made, begun, ended : float or None
        Seconds since 1970.
    photos, done, failed : int
        All photos, those with a result, those with an error.
    error : dict or None
        Why the job failed as a whole: ``code`` and ``message``.
    """

    id: str
    operation: str
    group: str | None
    options: dict[str, Any]
    prefix: str | None
    actor: str
    state: str = RUNNING
    made: float = 0.0
    begun: float | None = None
    ended: float | None = None
    photos: int = 0
    done: int = 0
    failed: int = 0
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TakenPhoto:
    """A photo that a worker has taken.

    Attributes
    ----------
    job : Job
    place : int
        The photo's number in the job, from 0.
    photo : JobPhoto
    edition : int
        Counts the erasures and renamings so far: a result that was made before one is not stored.
    attempts : int
        How often it was taken, this time included.
    """

    job: Job
    place: int
    photo: JobPhoto
    edition: int
    attempts: int


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """What became of a photo.

    Attributes
    ----------
    place : int
        The photo's number in the job.
    source : dict
        See `JobPhoto`.
    state : str
        `PHOTO_DONE` or `PHOTO_FAILED`.
    content : dict
        The result, or the error with ``code`` and ``message``.
    """

    place: int
    source: dict[str, Any]
    state: str
    content: dict[str, Any] = field(default_factory=dict)
