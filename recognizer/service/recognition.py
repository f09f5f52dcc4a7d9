"""Recognition on photos: where faces are, whose they are, and which objects a photo shows."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.attributes.reader import AttributeReader
from recognizer.core import geometry, tracing
from recognizer.core.errors import InvalidParameter, NoFace, SubjectNotFound
from recognizer.core.metrics import Metrics
from recognizer.core.names import normalise_lookup
from recognizer.core.pool import Pool
from recognizer.core.types import Box, Face, Faces
from recognizer.engines import Engine, largest
from recognizer.engines.engine import JudgedFaces
from recognizer.engines.protocols import Described
from recognizer.enrolment.examination import TOGETHER, fill_memory
from recognizer.galleries import matching
from recognizer.galleries.contract import Gallery
from recognizer.photos import annotate, images
from recognizer.photos.objects import DECODE_SIZE, LEAST_SCORE, ObjectDetector, check_labels
from recognizer.photos.quality import Quality, remarks
from recognizer.photos.remarks import Comparability, factor_of_two
from recognizer.photos.results import Seen, SeenFace, SeenObjects, Verification
from recognizer.service.attribute_finder import AttributeFinder
from recognizer.service.matcher import Identification, Matcher
from recognizer.service.object_finder import ObjectFinder

#: Maximum number of candidates of one face.
MAX_CANDIDATES = 100
#: Largest threshold of a request: no two embeddings are further apart.
MAX_THRESHOLD = 4


#: Names of the spans of stages that have another name there.
_SPANS = {"embed": "describe", "match": "search"}


class _Clock:
    """Milliseconds of each stage of one call, in the order in which they happen."""

    def __init__(self):
        self.stages: dict[str, float] = {}
        self._start = self._last = time.perf_counter()
        self._trace = tracing.current()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        tracing.stage(_SPANS.get(stage, stage), now - self._last, self._trace)
        self.stages[stage] = self.stages.get(stage, 0.0) + (now - self._last) * 1000
        self._last = now

    def total(self) -> dict[str, float]:
        return {**self.stages, "total": (time.perf_counter() - self._start) * 1000}


@dataclass(frozen=True, slots=True)
class _Question:
    """The faces of a photo that wait for their embeddings."""

    image: images.Image
    faces: Faces
    clock: _Clock


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of a photo; `Recognition.recognize` explains each."""

    min_face: int | None = None
    landmarks: int = 5
    compared: bool = True
    top_k: int = 0
    threshold: float | None = None
    attributes: tuple[str, ...] = ()


class _Describing:
    """Describes the faces of several photos together; see `pool.BatchFunction`."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def __call__(self, questions: list[_Question]) -> list[Described]:
        for each in questions:
            each.clock.lap("queue")  # while the others waited
        return self._engine.described_all([(each.image, each.faces) for each in questions])

    def enough(self, questions: list[_Question]) -> bool:
        return sum(len(each.faces) for each in questions) >= TOGETHER or fill_memory(each.image for each in questions)


class Recognition:
    """Finds and names faces, in the pool. Photos are bytes or `images.Image`; every method may be called from any thread.

    Parameters
    ----------
    identification : Identification
    pool : Pool
        Runs the work.
    finder : ObjectFinder
    attribute_finder : AttributeFinder
    font : Path
        For labels.
    metrics : Metrics, optional
        Counts stages and faces.
    unknown : callable, optional
        Called with each result, so that unknown people can be stored.
    """

    def __init__(
        self,
        identification: Identification,
        pool: Pool,
        finder: ObjectFinder,
        attribute_finder: AttributeFinder,
        font: Path,
        metrics: Metrics | None = None,
        unknown: Callable[[Seen], None] | None = None,
    ):
        self._engine = engine = identification.engine
        self._gallery, self._matcher, self._rules = identification.gallery, identification.matcher, identification.rules
        self._pool, self._finder, self._attribute_finder = pool, finder, attribute_finder
        self._font, self._metrics, self._unknown = font, metrics, unknown
        self._describing = _Describing(engine)
        if hasattr(engine.embedder, "idle"):
            engine.embedder.idle = lambda: pool.inside < 2

    def among(self, gallery: Gallery, matcher: Matcher) -> Recognition:
        """The same for another gallery: in the same pool, so that photos of all of them are described together. Unknown people
        are not stored."""
        made = copy.copy(self)
        made._gallery, made._matcher, made._unknown = gallery, matcher, None
        return made

    def decode(self, photo: bytes | images.Image, long_side: int | None = None) -> images.Image:
        """The photo, decoded as sharply as the engine's first detection pass needs it, or to a long side of so many pixels."""
        if isinstance(photo, images.Image):
            return photo
        return images.decode(
            photo,
            max_bytes=self._rules.max_bytes,
            max_pixels=self._rules.max_pixels,
            long_side=long_side or self._engine.decode_size,
        )

    # -- faces --------------------------------------------------------------------------------------------------

    def detect(
        self,
        photo: bytes | images.Image,
        *,
        min_face: int | None = None,
        landmarks: int = 5,
        attributes: str | Collection[str] | None = None,
    ) -> Seen:
        """Find the faces of a photo.

        Parameters
        ----------
        photo : bytes or images.Image
        min_face : int, optional
            Replaces the setting of that name.
        landmarks : {5, 68}
        attributes : str or collection of str, optional
            What to say of each face: some of ``age``, ``gender`` and ``expression``, such as ``"age,gender"``. With any, the
            quality of each face is measured as well. The first call fetches what is needed for it, and loads it.

        Raises
        ------
        ImageError, Busy, InvalidParameter, AttributesOff
        ModelMissing
            The weights of attributes are missing and could not be fetched.
        """
        wanted = self._attribute_finder.chosen(attributes)
        asked = _Wanted(min_face, landmarks, compared=False, attributes=wanted)
        return self._counted(self._look_in_pool(photo, asked), False)

    def recognize(
        self,
        photo: bytes | images.Image,
        *,
        top_k: int = 0,
        min_face: int | None = None,
        landmarks: int = 5,
        threshold: float | None = None,
        attributes: str | Collection[str] | None = None,
    ) -> Seen:
        """Find the faces of a photo and name those who are enrolled.

        Parameters
        ----------
        photo : bytes or images.Image
        top_k : int
            Number of candidates for each face.
        min_face, landmarks, attributes
            As for `detect`.
        threshold : float, optional
            Largest distance at which a face gets a name, instead of `Matcher.threshold_now`.

        Raises
        ------
        ImageError, Busy, InvalidParameter, AttributesOff, ModelMissing
        """
        wanted = self._attribute_finder.chosen(attributes)
        _check_range("top_k", top_k, 0, MAX_CANDIDATES)
        if threshold is not None:
            _check_range("threshold", threshold, 0, MAX_THRESHOLD)
        asked = _Wanted(min_face, landmarks, True, top_k, threshold, wanted)
        seen = self._look_in_pool(photo, asked)
        if self._unknown is not None:
            self._unknown(seen)
        return self._counted(seen, True)

    def describe(
        self, photo: bytes | images.Image, *, landmarks: int = 5, attributes: str | Collection[str] | None = None
    ) -> Seen:
        """Find the faces of a photo with their embeddings and qualities. As `recognize`, but nothing of strangers is kept.

        Raises
        ------
        ImageError, Busy, InvalidParameter, AttributesOff, ModelMissing
        """
        wanted = self._attribute_finder.chosen(attributes)
        return self._counted(self._look_in_pool(photo, _Wanted(landmarks=landmarks, attributes=wanted)), False)

    def _in_pool(self, work, *args):
        return self._timed(*self._pool.run_inference(work, *args))

    def _look_in_pool(self, photo: bytes | images.Image, asked: _Wanted) -> Seen:
        reader = self._attribute_finder.reader() if asked.attributes else None  # it may have to be fetched: not in the pool
        return self._timed(*self._pool.run_batched(self._look(photo, asked, reader), self._describing))

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
        self, photo: bytes | images.Image, asked: _Wanted, reader: AttributeReader | None
    ) -> Generator[_Question, Described, Seen]:
        if asked.landmarks not in (5, 68):
            raise InvalidParameter(f"landmarks: expected 5 or 68, got {asked.landmarks}")
        if asked.min_face is not None:
            _check_range("min_face", asked.min_face, 1, 100_000)
        clock = _Clock()
        image = self.decode(photo)
        clock.lap("decode")
        faces, image = self._engine.find_with_image(image, asked.min_face)
        clock.lap("detect")
        if len(faces) and (asked.landmarks == 68 or asked.compared or reader is not None):
            image = self._engine.aligned(image, faces)[0]  # decoded once for all steps
        matches: Sequence = [None] * len(faces)
        qualities: Sequence = [None] * len(faces)
        verdicts: Sequence = [None] * len(faces)
        vectors: Sequence | np.ndarray = [None] * len(faces)
        judged: JudgedFaces | None = None
        if asked.compared:
            described = (
                (yield _Question(image, faces, clock)) if len(faces) else self._engine.described_all([(image, faces)])[0]
            )
            clock.lap("embed")
            judged = self._engine.judged(image, faces, described)
            faces, qualities, verdicts, vectors = judged.faces, judged.qualities, judged.verdicts, judged.vectors
            clock.lap("quality")
            matches = self._matcher.match(judged.vectors, asked.top_k, asked.threshold, verdicts)
            clock.lap("match")
        elif reader is not None:
            qualities = self._engine.qualities(image, faces)
            clock.lap("quality")
        points: Sequence[Any] | np.ndarray = [None] * len(faces)
        if asked.landmarks == 68:
            points = self._engine.landmarks_68(image, faces)
            clock.lap("landmarks")
        read: Sequence = [None] * len(faces)
        if reader is not None and len(faces):
            near, scaled = self._engine.aligned(image, faces)
            codes = [_unfit(*each) for each in zip(qualities, verdicts, strict=True)]
            aligned_by = None if judged is None else judged.points_on(near)
            read = reader.read(near.pixels, scaled, codes, asked.attributes, aligned_by)
            clock.lap("attributes")
        shown = [_inside(face, image) for face in faces]
        found = tuple(SeenFace(*each) for each in zip(shown, points, matches, qualities, vectors, read, verdicts, strict=True))
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

        The threshold is the engine's for one-to-one comparison (see docs/accuracy.md), unless one is given or fixed by
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
            subject = normalise_lookup(subject)
            held = self._gallery.templates(subject)
            if not held:
                raise SubjectNotFound(f"nobody called {subject!r} is enrolled with a usable photo")
            templates = np.array([template.embedding.require(self._engine.info.id) for template in held])
        return self._in_pool(self._verify, photo, other, templates, threshold)

    def _verify(self, photo, other, templates, threshold) -> Verification:
        clock = _Clock()
        face, vector, verdict = self._largest(photo, clock, "photo")
        taken, verdicts = [face], [verdict]
        if templates is None:
            face, second, verdict = self._largest(other, clock, "other")
            taken.append(face)
            verdicts.append(verdict)
            templates = second[None]
        distance = float(matching.distances(vector.astype(np.float64), templates).min())
        limit = self._matcher.verification_limit(verdicts) if threshold is None else threshold
        clock.lap("match")
        comparable = all(each.comparable for each in verdicts)
        rate = self._matcher.curve.reported_rate(distance, factor_of_two(verdicts)) if comparable else None
        same = comparable and distance <= limit
        return Verification(same, distance, limit, rate, tuple(taken), clock.total(), tuple(verdicts))

    def _largest(self, photo: bytes | images.Image, clock: _Clock, which: str) -> tuple[Face, np.ndarray, Comparability]:
        image = self.decode(photo)
        clock.lap("decode")
        faces, image = self._engine.find_with_image(image)
        clock.lap("detect")
        if not len(faces):
            raise NoFace(f"no face was found in {which!r}", photo=which)
        face = faces.select([largest(faces)])
        described = self._engine.described_all([(image, face)])[0]
        clock.lap("embed")
        judged = self._engine.judged(image, face, described)
        clock.lap("quality")
        return _inside(judged.faces[0], image), judged.vectors[0], judged.verdicts[0]

    # -- objects ------------------------------------------------------------------------------------------------

    def objects(
        self, photo: bytes | images.Image, *, threshold: float | None = None, labels: Collection[str] | None = None
    ) -> SeenObjects:
        """Find the objects of a photo. The first call fetches and loads the detector.

        Parameters
        ----------
        photo : bytes or images.Image
        threshold : float, optional
            Minimum score; replaces the setting `object_threshold`.
        labels : collection of str, optional
            Only objects with one of these labels; see `objects.LABELS`.

        Raises
        ------
        ImageError, Busy, InvalidParameter
        ModelMissing
            The weights are missing and could not be fetched.
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
        """The annotated photo as a JPEG, at full size or as large as memory allows."""
        return self._pool.run_inference(self._annotate, seen)[0]

    def _annotate(self, seen: Seen | SeenObjects) -> bytes:
        if isinstance(seen, SeenObjects):
            return images.encode_jpeg(annotate.draw_on(seen.image, (), self._font, seen.objects))
        return images.encode_jpeg(annotate.draw_on(seen.image, seen.faces, self._font))


def _unfit(quality: Quality, verdict: Comparability | None) -> list[str]:
    """Codes of why attributes of a face may not be said."""
    return remarks(quality) + ([] if verdict is None or verdict.comparable else ["not_comparable"])


def _inside(face: Face, image: images.Image) -> Face:
    """The face with the part of its box inside the photo: what is computed from the whole box was computed before."""
    return replace(face, box=Box(*geometry.inside(face.box, image.width, image.height)))


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidParameter(f"{name}: expected {least} to {most}, got {value}")
