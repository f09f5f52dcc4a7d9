"""The Python interface: `recognizer.open` returns a `People`, which recognises, verifies, enrols and watches."""

from __future__ import annotations

import copy
import os
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from recognizer.core.errors import GroupNotFound, InvalidName, SettingsError, SubjectNotFound
from recognizer.core.settings import SETTINGS, Settings
from recognizer.enrolment.enrolled import EnrolledPhoto, Person
from recognizer.enrolment.folder_look import Problem
from recognizer.photos import annotate, images, sources
from recognizer.photos.results import FoundObject, SeenFace, Verification
from recognizer.service import Service, make_service
from recognizer.service.groups import PeopleGroup
from recognizer.weights import manifest

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

    from recognizer.video.frames import FrameResult
    from recognizer.video.tracking.vision import EngineVision

    #: What every method takes as a photo.
    Photo = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | np.ndarray | PIL.Image.Image | images.Image


class People:
    """The enrolled people of a folder. A context manager; iteration yields each `Person`, sorted by name.

    A photo is a path, an http(s) URL, the bytes of a file, a file object opened in binary mode, an RGB uint8 array
    (H, W, 3), or a PIL image, which is turned upright by its EXIF orientation. Every method may be called from any thread,
    and raises errors of `recognizer.errors`.

    Parameters
    ----------
    known_faces : path, optional
        One folder per person; the setting's by default.
    **settings
        Fields of `recognizer.core.settings.Settings`; they override the environment.

    Attributes
    ----------
    service : Service
        For what is not offered here.

    Raises
    ------
    SettingsError, ModelError, StorageError
    """

    def __init__(self, known_faces: str | os.PathLike[str] | None = None, **settings: Any):
        known = {item.name for item in SETTINGS} - {"known_faces"}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise SettingsError(f"no such setting: {', '.join(unknown)}")
        if isinstance(settings.get("attributes"), str):
            settings["attributes"] = tuple(filter(None, map(str.strip, settings["attributes"].split(","))))
        for name in ("state_dir", "models_dir"):
            if settings.get(name) is not None:
                settings[name] = Path(settings[name])
        folder = None if known_faces is None else Path(known_faces)
        self.service: Service = make_service(Settings.from_environment(**{"watch": False, **settings}, known_faces=folder))
        self._group: PeopleGroup = self.service.groups.default
        try:
            self.service.start()
        except BaseException:
            self.service.close()
            raise

    def __enter__(self) -> People:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        engine = self.service.engine.info.id
        return f"<People: {len(self)} enrolled in {self._group.enrolment.place!r}, engine {engine}>"

    def close(self) -> None:
        """End all threads and close all files."""
        self.service.close()

    def groups(self) -> list[str]:
        """The names of all groups; the first, `default`, is the folder itself."""
        return self.service.groups.names()

    def group(self, name: str, *, create: bool = False) -> People:
        """The people of a group. What is returned shares everything with this object, and is closed with it.

        Parameters
        ----------
        name : str
        create : bool
            Make the group if there is none.

        Raises
        ------
        GroupNotFound, InvalidGroup, StorageError
        """
        made = copy.copy(self)
        try:
            made._group = self.service.groups.get(name)
        except GroupNotFound:
            if not create:
                raise
            made._group = self.service.groups.add(name)
        return made

    def delete_group(self, name: str) -> None:
        """Erase everybody in a group, and the group.

        Raises
        ------
        GroupNotFound, InvalidGroup, StorageError
        """
        self.service.groups.delete(name)

    @property
    def vision(self) -> EngineVision:
        """Finds and names this group's people on frames; see `video.watching.watch`."""
        return self.service.vision_of(self._group)

    def names(self) -> list[str]:
        """The names of everybody with a folder, sorted."""
        return [person.name for person in self]

    def __contains__(self, name: object) -> bool:
        """Whether somebody of this name has a folder; two spellings that folders cannot tell apart are one name."""
        try:
            self._group.subjects.person(str(name))
        except (SubjectNotFound, InvalidName):
            return False
        return isinstance(name, str)

    def __iter__(self) -> Iterator[Person]:
        return iter(self._group.subjects.all())

    def __len__(self) -> int:
        return len(self._group.subjects.all())

    def recognize(
        self,
        photo: Photo,
        *,
        top_k: int = 0,
        min_face: int | None = None,
        landmarks: int = 5,
        threshold: float | None = None,
        attributes: str | Collection[str] | None = None,
    ) -> tuple[SeenFace, ...]:
        """The faces of a photo, best score first: each has `subject` (None for a stranger), `distance`, `box`, `score`,
        `candidates` and more. Parameters are as for `Recognition.recognize`.

        With `attributes`, such as ``"age,gender"``, each has `attributes` with `age`, `gender` and `expression`; the setting
        of that name has to enable them: ``recognizer.open(attributes=("age", "gender"))``.

        Raises
        ------
        ImageError, FetchError, InvalidUrl, InvalidParameter, AttributesOff, ModelMissing, Busy
        """
        seen = self._group.recognition.recognize(
            self._take(photo),
            top_k=top_k,
            min_face=min_face,
            landmarks=landmarks,
            threshold=threshold,
            attributes=attributes,
        )
        return seen.faces

    def detect(
        self,
        photo: Photo,
        *,
        min_face: int | None = None,
        landmarks: int = 5,
        attributes: str | Collection[str] | None = None,
    ) -> tuple[SeenFace, ...]:
        """As `recognize`, without names."""
        seen = self.service.recognition.detect(self._take(photo), min_face=min_face, landmarks=landmarks, attributes=attributes)
        return seen.faces

    def objects(
        self, photo: Photo, *, threshold: float | None = None, labels: Collection[str] | None = None
    ) -> tuple[FoundObject, ...]:
        """The objects of a photo, best score first: each has `label`, `score`, `box`. See `Recognition.objects`.

        Raises
        ------
        ImageError, FetchError, InvalidUrl, InvalidParameter, Busy, ModelMissing
        """
        return self.service.recognition.objects(self._take(photo), threshold=threshold, labels=labels).objects

    def draw(
        self, photo: Photo, faces: Sequence[SeenFace] | None = None, objects: Sequence[FoundObject] = ()
    ) -> PIL.Image.Image:
        """A copy of a photo with boxes and names drawn on it, upright; in full size up to 70 megapixels, or else in half.

        Parameters
        ----------
        faces : sequence of SeenFace, optional
            What `recognize` or `detect` returned for this photo; by default the photo is recognised first.
        objects : sequence of FoundObject
            What `objects` returned for this photo.

        Raises
        ------
        ImageError, FetchError, InvalidUrl, Busy
        """
        from PIL import Image

        taken = self._take(photo)
        if faces is None:
            faces = self._group.recognition.recognize(taken).faces
        image = self.service.recognition.decode(taken)
        font = manifest.path("font", self.service.settings.models_dir)
        return Image.fromarray(annotate.draw_on(image, faces, font, objects))

    def verify(
        self, photo: Photo, other: Photo | None = None, *, subject: str | None = None, threshold: float | None = None
    ) -> Verification:
        """Whether the largest faces of two photos, or of a photo and the enrolled `subject`, are one person's: `same`,
        `distance`, `threshold`, `false_match_rate`.

        Raises
        ------
        NoFace, SubjectNotFound, ImageError, FetchError, InvalidUrl, InvalidParameter, Busy
        """
        second = None if other is None else self._take(other)
        return self._group.recognition.verify(self._take(photo), second, subject, threshold)

    def enroll(self, name: str, photo: Photo, *, face: str = "only", force: bool = False) -> EnrolledPhoto:
        """Enrol a photo of a person; it is stored in the folder. An array is stored as PNG. See `Subjects.enrol`."""
        return self._group.subjects.enrol(name, sources.to_bytes(self._take(photo)), face=face, force=force)

    def watch(
        self,
        source: int | str | os.PathLike[str],
        *,
        objects: bool = False,
        landmarks: int = 5,
        attributes: str | Collection[str] | None = None,
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
        from recognizer.video.output.watching import watch

        return watch(
            source,
            self,
            objects=objects,
            landmarks=landmarks,
            attributes=attributes,
            detect_every=detect_every,
            loop=loop,
            paced=paced,
            executor=self.service.video.workers,
        )

    def rename(self, name: str, to: str, *, merge: bool = False) -> Person:
        """Give a person another name; see `Subjects.rename`."""
        return self._group.subjects.rename(name, to, merge=merge)

    def delete(self, name: str) -> None:
        """Erase a person everywhere; see `Subjects.delete`."""
        self._group.subjects.delete(name)

    def problems(self) -> list[Problem]:
        """The files in the folder that are not used, and the reasons."""
        return self._group.subjects.problems()

    def _take(self, photo: Photo) -> bytes | images.Image:
        taken: bytes | images.Image = sources.load_photo(
            photo, max_bytes=self.service.settings.max_image_bytes, fetch=self.service.fetch
        )
        return taken
