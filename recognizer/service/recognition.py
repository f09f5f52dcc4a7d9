"""A photo looked at: where faces are, whose they are, and what else is on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import annotate, images, matching
from ..engines import Engine, largest
from ..errors import InvalidParameter, NoFace, SubjectNotFound
from ..examination import TOGETHER, Rules, fill_memory
from ..galleries.base import Gallery
from ..metrics import Metrics
from ..names import looked_up
from ..objects import DECODE_SIZE, LEAST_SCORE, ObjectDetector, check_labels
from ..pool import Pool
from ..results import Seen, SeenFace, SeenObjects, Verification
from ..types import Face, Faces
from .matcher import Matcher
from .object_finder import ObjectFinder

#: Most candidates that one face lists.
MAX_CANDIDATES = 100
#: Largest threshold that a request may ask for: no two embeddings are further apart.
MAX_THRESHOLD = 4


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
        return sum(len(each.faces) for each in questions) >= TOGETHER or fill_memory(each.image for each in questions)


class Recognition:
    """Looks at photos, in the pool. Photos are bytes or `images.Image`; every method may be called from any thread.

    Parameters
    ----------
    engine : Engine
    gallery : Gallery
    matcher : Matcher
    pool : Pool
        Where the work is done.
    finder : ObjectFinder
    rules : Rules
        How large a photo may be.
    font : Path
        What labels are written with.
    metrics : Metrics, optional
        Where stages and faces are counted.
    unknown : callable, optional
        Told of everything that was recognised, to keep those whom nobody knows.
    """

    def __init__(
        self,
        engine: Engine,
        gallery: Gallery,
        matcher: Matcher,
        pool: Pool,
        finder: ObjectFinder,
        rules: Rules,
        font: Path,
        metrics: Metrics | None = None,
        unknown: Callable[[Seen], None] | None = None,
    ):
        self._engine, self._gallery, self._matcher, self._pool, self._finder = engine, gallery, matcher, pool, finder
        self._rules, self._font, self._metrics, self._unknown = rules, font, metrics, unknown
        self._describing = _Describing(engine)
        if hasattr(engine.embedder, "idle"):
            engine.embedder.idle = lambda: pool.inside < 2

    def decode(self, photo: bytes | images.Image, long_side: int | None = None) -> images.Image:
        """The photo, as sharp as the engine's first look needs it, or a long side of so many pixels."""
        if isinstance(photo, images.Image):
            return photo
        return images.decode(
            photo,
            max_bytes=self._rules.max_bytes,
            max_pixels=self._rules.max_pixels,
            long_side=long_side or self._engine.decode_size,
        )

    # -- faces --------------------------------------------------------------------------------------------------

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
        return self._counted(self._look_in_pool(photo, min_face, landmarks, False, 0, None), False)

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
            Largest distance at which a face gets a name, instead of `Matcher.threshold_now`.

        Raises
        ------
        ImageError, Busy, InvalidParameter
        """
        _check_range("top_k", top_k, 0, MAX_CANDIDATES)
        if threshold is not None:
            _check_range("threshold", threshold, 0, MAX_THRESHOLD)
        seen = self._look_in_pool(photo, min_face, landmarks, True, top_k, threshold)
        if self._unknown is not None:
            self._unknown(seen)
        return self._counted(seen, True)

    def _in_pool(self, work, *args):
        return self._timed(*self._pool.run(work, *args))

    def _look_in_pool(self, *args) -> Seen:
        return self._timed(*self._pool.run_together(self._look(*args), self._describing))

    def _timed(self, result, waited: float):
        stages, waited = result.timing_ms, waited * 1000
        stages.update(queue=stages.get("queue", 0.0) + waited, total=stages["total"] + waited)
        if self._metrics is not None:
            self._metrics.stages(result.timing_ms)
        return result

    def _counted(self, seen: Seen, compared: bool) -> Seen:
        if self._metrics is not None:
            matched = sum(face.subject is not None for face in seen.faces) if compared else None
            self._metrics.faces(len(seen.faces), matched)
        return seen

    def _look(
        self, photo, min_face, landmarks, compared: bool, top_k, threshold
    ) -> Generator[_Question, np.ndarray, Seen]:
        if landmarks not in (5, 68):
            raise InvalidParameter(f"landmarks: expected 5 or 68, got {landmarks}")
        if min_face is not None:
            _check_range("min_face", min_face, 1, 100_000)
        clock = _Clock()
        image = self.decode(photo)
        clock.lap("decode")
        faces, image = self._engine.look(image, min_face)
        clock.lap("detect")
        if len(faces) and (landmarks == 68 or compared):
            image = self._engine.aligned(image, faces)[0]  # decoded once for all that follows
        points: Sequence = [None] * len(faces)
        if landmarks == 68:
            points = self._engine.landmarks_68(image, faces)
            clock.lap("landmarks")
        matches: Sequence = [None] * len(faces)
        qualities: Sequence = [None] * len(faces)
        if compared:
            vectors = (yield _Question(image, faces, clock)) if len(faces) else self._engine.describe(image, faces)
            clock.lap("embed")
            matches = self._matcher.match(vectors, top_k, threshold)
            clock.lap("match")
            qualities = self._engine.qualities(image, faces)
            clock.lap("quality")
        found = tuple(
            SeenFace(face, point, match, measured)
            for face, point, match, measured in zip(faces, points, matches, qualities, strict=True)
        )
        return Seen(image, found, clock.total())

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
            _check_range("threshold", threshold, 0, MAX_THRESHOLD)
        templates = None
        if subject is not None:
            subject = looked_up(subject)
            held = self._gallery.templates(subject)
            if not held:
                raise SubjectNotFound(f"nobody called {subject!r} is enrolled with a usable photo")
            templates = np.array([template.embedding.require(self._engine.info.id) for template in held])
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
        limit = self._matcher.verification_threshold if threshold is None else threshold
        clock.lap("match")
        rate = self._matcher.curve.told(distance)
        return Verification(distance <= limit, distance, limit, rate, tuple(taken), clock.total())

    def _largest(self, photo: bytes | images.Image, clock: _Clock, which: str) -> tuple[Face, np.ndarray]:
        image = self.decode(photo)
        clock.lap("decode")
        faces, image = self._engine.look(image)
        clock.lap("detect")
        if not len(faces):
            raise NoFace(f"no face was found in {which!r}", photo=which)
        face = faces.select([largest(faces)])
        vector = self._engine.describe(image, face)[0]
        clock.lap("embed")
        return face[0], vector

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
        threshold = self._finder.threshold if threshold is None else threshold
        _check_range("threshold", threshold, LEAST_SCORE, 1)
        wanted = None if labels is None else check_labels(labels)
        return self._in_pool(self._look_for_objects, self._finder.detector(), photo, threshold, wanted)

    def _look_for_objects(self, detector: ObjectDetector, photo, threshold, wanted) -> SeenObjects:
        clock = _Clock()
        image = self.decode(photo, DECODE_SIZE)
        clock.lap("decode")
        found = detector.find(image.pixels, threshold, (image.width, image.height))
        if wanted is not None:
            found = tuple(each for each in found if each.label in wanted)
        clock.lap("detect")
        return SeenObjects(image, found, clock.total())

    # -- drawing ------------------------------------------------------------------------------------------------

    def annotated(self, seen: Seen | SeenObjects) -> bytes:
        """The photo that was looked at, at its full size, with what was found drawn on it: a JPEG."""
        return self._pool.run(self._annotate, seen)[0]

    def _annotate(self, seen: Seen | SeenObjects) -> bytes:
        full = seen.image.sharper(1.0)
        if isinstance(seen, SeenObjects):
            return images.encode_jpeg(annotate.draw(full.pixels, (), self._font, seen.objects))
        return images.encode_jpeg(annotate.draw(full.pixels, seen.faces, self._font))


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidParameter(f"{name}: expected {least} to {most}, got {value}")
