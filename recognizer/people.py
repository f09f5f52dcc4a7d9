"""The Python interface: `recognizer.open` gives a `People`. Photos are paths, http(s) URLs, bytes or arrays."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from . import sources
from .errors import SettingsError
from .folder import Problem
from .results import EnrolledPhoto, FoundObject, Person, SeenFace, Verification
from .service import Service, make_service
from .settings import SETTINGS, Settings
from .video.watching import watch

if TYPE_CHECKING:
    from .video.results import FrameResult


class People:
    """The people of a folder. A context manager; iterating gives each `Person`, by name.

    A photo is a path, an http(s) URL, the bytes of a file, or an RGB uint8 array (H, W, 3). Every method may be called
    from any thread, and raises errors of `recognizer.errors`.

    Attributes
    ----------
    service : Service
        For what is not offered here.
    """

    def __init__(self, known_faces: str | os.PathLike | None = None, **settings):
        known = {item.name for item in SETTINGS} - {"known_faces"}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise SettingsError(f"no such setting: {', '.join(unknown)}")
        for name in ("state_dir", "models_dir"):
            if settings.get(name) is not None:
                settings[name] = Path(settings[name])
        folder = None if known_faces is None else Path(known_faces)
        self.service: Service = make_service(
            Settings.from_environment(**{"watch": False, **settings}, known_faces=folder)
        )
        try:
            self.service.start()
        except BaseException:
            self.service.close()
            raise

    def __enter__(self) -> People:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """End all threads and close all files."""
        self.service.close()

    def __iter__(self) -> Iterator[Person]:
        return iter(self.service.subjects.all())

    def __len__(self) -> int:
        return len(self.service.subjects.all())

    def recognize(
        self, photo, *, top_k: int = 0, min_face: int | None = None, landmarks: int = 5, threshold: float | None = None
    ) -> tuple[SeenFace, ...]:
        """The faces of a photo, best score first: each has `subject` (None for a stranger), `distance`, `box`, `score`,
        `candidates` and more. Parameters are as for `Recognition.recognize`.

        Raises
        ------
        ImageError, FetchError, InvalidUrl, InvalidParameter, Busy
        """
        seen = self.service.recognition.recognize(
            self._take(photo), top_k=top_k, min_face=min_face, landmarks=landmarks, threshold=threshold
        )
        return seen.faces

    def detect(self, photo, *, min_face: int | None = None, landmarks: int = 5) -> tuple[SeenFace, ...]:
        """As `recognize`, without asking whose the faces are."""
        return self.service.recognition.detect(self._take(photo), min_face=min_face, landmarks=landmarks).faces

    def objects(
        self, photo, *, threshold: float | None = None, labels: Collection[str] | None = None
    ) -> tuple[FoundObject, ...]:
        """The objects of a photo, best score first: each has `label`, `score`, `box`. See `Recognition.objects`.

        Raises
        ------
        ImageError, FetchError, InvalidUrl, InvalidParameter, Busy, ModelMissing
        """
        return self.service.recognition.objects(self._take(photo), threshold=threshold, labels=labels).objects

    def verify(self, photo, other=None, *, subject: str | None = None, threshold: float | None = None) -> Verification:
        """Whether the largest faces of two photos, or of a photo and the enrolled `subject`, are one person's: `same`,
        `distance`, `threshold`, `false_match_rate`.

        Raises
        ------
        NoFace, SubjectNotFound, ImageError, FetchError, InvalidUrl, InvalidParameter, Busy
        """
        second = None if other is None else self._take(other)
        return self.service.recognition.verify(self._take(photo), second, subject, threshold)

    def enroll(self, name: str, photo, *, face: str = "only", force: bool = False) -> EnrolledPhoto:
        """Enrol a photo of a person; it is stored in the folder. An array is stored as PNG. See `Subjects.enrol`."""
        return self.service.subjects.enrol(name, sources.to_store(self._take(photo)), face=face, force=force)

    def watch(
        self,
        source,
        *,
        objects: bool = False,
        landmarks: int = 5,
        detect_every: int | None = None,
        loop: bool = False,
        paced: bool = True,
    ) -> AsyncIterator[FrameResult]:
        """Follow and name the faces before a camera or in a recording; for ``async for``. Parameters are as for
        `video.watching.watch`; all that are watched share the same few threads.

        Raises
        ------
        InvalidSource, InvalidParameter, ModelError
        """
        return watch(
            source, self, objects=objects, landmarks=landmarks, detect_every=detect_every, loop=loop, paced=paced,
            executor=self.service.video.workers,
        )  # fmt: skip

    def rename(self, name: str, to: str, *, merge: bool = False) -> Person:
        """Give a person another name; see `Subjects.rename`."""
        return self.service.subjects.rename(name, to, merge=merge)

    def delete(self, name: str) -> None:
        """Erase a person everywhere; see `Subjects.delete`."""
        self.service.subjects.delete(name)

    def problems(self) -> list[Problem]:
        """What in the folder is not used, and why."""
        return self.service.subjects.problems()

    def _take(self, photo):
        return sources.take(photo, max_bytes=self.service.settings.max_image_bytes, fetch=self.service.fetch)
