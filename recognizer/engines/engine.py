"""An engine: one detector and one embedder, applied to photos of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recognizer.core import geometry
from recognizer.core.types import Face, Faces
from recognizer.engines import tiling, turning
from recognizer.engines.comparability import judge
from recognizer.engines.crowding import crowding
from recognizer.engines.protocols import Described, Detector, Embedder, EngineInfo
from recognizer.photos import images, quality
from recognizer.photos.quality import Quality
from recognizer.photos.remarks import MOST_FACTOR, Comparability

#: Side of a face's box, in pixels, above which a sharper photo does not change the input of an embedder: dlib scales a box to
#: 100 px, SFace to less.
ENOUGH_FOR_CHIP = 120
#: If a detection pass found no face, or a face smaller than this in the reduced copy, another pass on a larger copy follows
#: (benchmarks/detection.py prints its cost and benefit).
SMALL_IN_COPY = 32


@dataclass(frozen=True, slots=True)
class DetectionSizes:
    """Long sides, in pixels, of the reduced copies for the two detection passes; with `large` 0 there is no second pass."""

    first: int
    large: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class JudgedFaces:
    """Faces of a photo with their embeddings, (n, dim), qualities, and verdicts whether they can be compared.

    `points` are dlib's five landmarks of each face in pixels of the original photo, float64, (n, 5, 2), where they were found
    for the embedding; else None.
    """

    faces: Faces
    vectors: np.ndarray
    qualities: tuple[Quality, ...]
    verdicts: tuple[Comparability, ...]
    points: np.ndarray | None = None

    def replaced(self, which: int, other: JudgedFaces) -> JudgedFaces:
        """The same with the only face of `other` in the place of one."""
        boxes, scores, points = self.faces.boxes.copy(), self.faces.scores.copy(), self.faces.landmarks.copy()
        boxes[which], scores[which], points[which] = other.faces.boxes[0], other.faces.scores[0], other.faces.landmarks[0]
        vectors, qualities, verdicts = self.vectors.copy(), list(self.qualities), list(self.verdicts)
        vectors[which], qualities[which], verdicts[which] = other.vectors[0], other.qualities[0], other.verdicts[0]
        faces = Faces(boxes, scores, points, self.faces.scheme)
        if self.points is None or other.points is None:
            return JudgedFaces(faces, vectors, tuple(qualities), tuple(verdicts))
        dlibs = self.points.copy()
        dlibs[which] = other.points[0]
        return JudgedFaces(faces, vectors, tuple(qualities), tuple(verdicts), dlibs)

    def points_on(self, near: images.Image) -> np.ndarray | None:
        """`points` as dlib gives them, in whole pixels of a decoded photo."""
        if self.points is None:
            return None
        return np.rint(self.points * (near.scale_x, near.scale_y))


class Engine:
    """Finds and describes the faces of photos.

    Parameters
    ----------
    detector : Detector
    embedder : Embedder
    info : EngineInfo
    sizes : DetectionSizes
    min_face : int
        Faces whose box has a side below this many pixels of the photo are ignored.
    """

    def __init__(self, detector: Detector, embedder: Embedder, info: EngineInfo, sizes: DetectionSizes, min_face: int = 20):
        self.detector, self.embedder, self.info = detector, embedder, info
        self.sizes, self.min_face = sizes, min_face

    def prepare(self) -> None:
        """Do once what the first photo would have to wait for: packages and files that are loaded when they are first used, and
        memory that grows to its size. It looks at a drawn face."""
        from recognizer.engines.dlib.onnx import drawn_face

        pixels = np.full((480, 640, 3), 96, np.uint8)
        pixels[120:360, 200:440] = drawn_face(240)
        image = images.decode(images.encode_jpeg(pixels), long_side=self.decode_size)
        scheme = self.find_in_one_pass(image).scheme
        points = geometry.REFERENCE_POINTS[scheme][None] * (140 / 112) + (250, 170)
        faces = Faces(np.array([[250.0, 160.0, 390.0, 340.0]]), np.array([0.95]), points.astype(np.float32), scheme)
        self.judged(image, faces, self.described_all([(image, faces)])[0], again=False)

    @property
    def decode_size(self) -> int:
        """Long side to which a large JPEG may be decoded before `find`."""
        return self.sizes.first

    def find(self, image: images.Image, min_face: int | None = None) -> Faces:
        """Find faces.

        Parameters
        ----------
        image : Image
        min_face : int, optional
            Smallest side of a box, in pixels of the original photo; default: the engine's.

        Returns
        -------
        Faces
            Boxes and landmarks in pixels of the original photo, best score first.
        """
        return self.find_with_image(image, min_face)[0]

    def find_with_image(self, image: images.Image, min_face: int | None = None) -> tuple[Faces, images.Image]:
        """Like `find`; also return the photo as detection decoded it, so that later steps need not decode it again."""
        least = self.min_face if min_face is None else min_face
        faces, image = self._detect(image, self.sizes.first)
        if self._larger_copy_pays(image, faces, least, self.sizes.first, self.sizes.large):
            faces, image = self._detect(image, self.sizes.large)
            faces, image = self._in_tiles(image, faces, least)
        return _of_size(self._turned(image, faces), least), image

    def find_in_one_pass(self, image: images.Image, min_face: int | None = None) -> Faces:
        """Like `find`, without further passes, and upright faces only.

        For live video: a face that is missed is soon larger, and frames without faces must not cost more than others.
        """
        return _of_size(self._detect(image, self.sizes.first)[0], self.min_face if min_face is None else min_face)

    def _detect(self, image: images.Image, size: int) -> tuple[Faces, images.Image]:
        image = image.sharper(min(1.0, size / max(image.width, image.height)))
        copy = images.resize(image.pixels, size)
        height, width = copy.shape[:2]
        return self.detector.detect(copy).scaled(image.width / width, image.height / height), image

    def _turned(self, image: images.Image, faces: Faces) -> Faces:
        """The faces, with those that are turned in the plane as they are on turned copies; see `turning`."""
        if not len(faces):
            copy = images.resize(image.pixels, self.sizes.first)
            found = turning.found_on_turned_copies(self.detector, copy)
            return found.scaled(image.width / copy.shape[1], image.height / copy.shape[0]) if len(found) else faces
        height, width = image.pixels.shape[:2]
        near = faces.scaled(width / image.width, height / image.height)
        corrected = turning.corrected(self.detector, image.pixels, near)
        return faces if corrected is near else corrected.scaled(image.width / width, image.height / height)

    def _in_tiles(self, image: images.Image, faces: Faces, least: int) -> tuple[Faces, images.Image]:
        """The faces with those of a third pass, on tiles of a copy that is too large to be searched at once."""
        size = tiling.copy_size(image.width, image.height)
        tiled = getattr(self.detector, "finds_in_tiles", False)
        if not tiled or not self._larger_copy_pays(image, faces, least, self.sizes.large, size):
            return faces, image
        image = image.sharper(min(1.0, size / max(image.width, image.height)))
        copy = images.resize(image.pixels, size)
        height, width = copy.shape[:2]
        found = tiling.detect(self.detector, copy).scaled(image.width / width, image.height / height)
        return tiling.joined(faces, found), image

    def _larger_copy_pays(self, image: images.Image, faces: Faces, least: int, size: int, larger: int) -> bool:
        """Whether what was found on a copy of one size leaves doubt that there are no more faces on a larger copy."""
        long_side = max(image.width, image.height)
        if larger <= size or long_side <= size:
            return False
        scale = size / long_side
        if least * scale >= SMALL_IN_COPY:
            return False  # any further face on a larger copy is smaller than `least`
        if not len(faces):
            return True
        return float((faces.boxes[:, 3] - faces.boxes[:, 1]).min()) * scale < SMALL_IN_COPY

    def describe(self, image: images.Image, faces: Faces) -> np.ndarray:
        """The embeddings of faces that `find` found in `image`; float32, shape (len(faces), info.dim)."""
        return self.describe_all([(image, faces)])[0]

    def describe_all(self, photos: Sequence[tuple[images.Image, Faces]]) -> list[np.ndarray]:
        """`describe` for each of several photos, in one batch where that is faster."""
        return [described.vectors for described in self.described_all(photos)]

    def described_all(self, photos: Sequence[tuple[images.Image, Faces]]) -> list[Described]:
        """`describe_all` with what `judged` needs."""
        with_faces = [self.aligned(image, faces) for image, faces in photos if len(faces)]
        given = [(image.pixels, faces) for image, faces in with_faces]
        found: Iterator[Described] = iter(())
        if given and hasattr(self.embedder, "describe_all"):
            found = iter(self.embedder.describe_all(given))
        elif given:
            found = (Described(each, np.zeros(len(each), np.float32)) for each in self.embedder.embed_all(given))
        nothing = Described(np.zeros((0, self.info.dim), np.float32), np.zeros(0, np.float32))
        return [next(found) if len(faces) else nothing for _, faces in photos]

    def aligned(self, image: images.Image, faces: Faces) -> tuple[images.Image, Faces]:
        """The photo decoded sharply enough for its smallest face, and the faces in pixels of that decoded photo."""
        smallest = float(np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1]).min())
        image = image.sharper(min(1.0, ENOUGH_FOR_CHIP / max(smallest, 1.0)))
        height, width = image.pixels.shape[:2]
        return image, faces.scaled(width / image.width, height / image.height)

    def qualities(self, image: images.Image, faces: Faces) -> list[Quality]:
        """The picture quality of each face; sizes in pixels of the original photo."""
        if not len(faces):
            return []
        near, scaled = self.aligned(image, faces)
        return _measured(near, scaled, faces, [None] * len(faces))

    def judged(
        self,
        image: images.Image,
        faces: Faces,
        described: Described,
        qualities: Sequence[Quality] | None = None,
        *,
        again: bool = True,
    ) -> JudgedFaces:
        """Whether each face can be compared with others.

        Parameters
        ----------
        image : Image
        faces : Faces
            Found in `image`.
        described : Described
            What `described_all` made of them.
        qualities : sequence of Quality, optional
            What `qualities` made of them, if the caller has that. Measured here, they cost less.
        again : bool
            Whether a face in doubt is looked for on turned copies, and described again where it is found there: one that is not
            comparable, or of a kind on which strangers are alike `remarks.MOST_FACTOR` times as often as on plain photos.
        """
        if not len(faces):
            return JudgedFaces(faces, described.vectors, (), ())
        near, scaled = self.aligned(image, faces)
        judge_of = judge(faces.scheme, self.embedder.name)
        aligned = [quality.align(near.pixels, face) for face in scaled]
        if qualities is None:
            qualities = _measured(near, scaled, faces, aligned)
        crowded = crowding(self.embedder.name).rate_factors(described.vectors)
        verdicts = [
            judge_of.judge(near.pixels, face, evidence, found, chip, float(factor))
            for face, evidence, found, chip, factor in zip(scaled, described.each(), qualities, aligned, crowded, strict=True)
        ]
        points = None
        if described.points is not None and faces.scheme != "dlib5":  # else they may be those of a smaller copy
            points = described.points.astype(np.float64) / (near.scale_x, near.scale_y)
        judged = JudgedFaces(faces, described.vectors, tuple(qualities), tuple(verdicts), points)
        doubtful = [i for i, each in enumerate(verdicts) if not each.comparable or each.picture_factor >= MOST_FACTOR]
        if again and doubtful and faces.scheme == "yunet5":
            for i in sorted(doubtful, key=lambda i: -faces[i].box.area)[: turning.MOST]:
                judged = self._judged_turned(image, near, scaled[i], judged, i)
        return judged

    def _judged_turned(
        self, image: images.Image, near: images.Image, face: Face, judged: JudgedFaces, which: int
    ) -> JudgedFaces:
        """The same with one face as it is on a turned copy, if it is comparable there; `face` is in the pixels of `near`."""
        found = turning.found_turned(self.detector, near.pixels, face)
        if found is None:
            return judged
        height, width = near.pixels.shape[:2]
        one = Faces(np.array([tuple(found.box)]), np.array([found.score]), found.landmarks[None], found.scheme)
        one = one.scaled(near.width / width, near.height / height)
        described = self.described_all([(image, one)])[0]
        again = self.judged(image, one, described, again=False)
        verdict = again.verdicts[0]
        return judged.replaced(which, again) if verdict.comparable and verdict.doubt < judged.verdicts[which].doubt else judged

    def crowded(self, vectors: np.ndarray) -> np.ndarray:
        """By how much the threshold of each embedding, float32 (m, dim), is lowered because strangers are expected to be near:
        float64, shape (m,); see `Crowding.lowerings`."""
        return crowding(self.embedder.name).lowerings(vectors)

    def landmarks_68(self, image: images.Image, faces: Faces) -> np.ndarray:
        """68 landmarks of each face, in pixels of the original photo; float32, shape (n, 68, 2); see `dlib.native`."""
        from recognizer.engines.dlib.native import landmarks_68

        if not len(faces):
            return np.zeros((0, 68, 2), np.float32)
        near, scaled = self.aligned(image, faces)
        height, width = near.pixels.shape[:2]
        points = landmarks_68(near.pixels, scaled) * np.array([image.width / width, image.height / height], np.float32)
        return points.astype(np.float32, copy=False)


def _measured(near: images.Image, scaled: Faces, faces: Faces, aligned: Sequence[quality.AlignedFace | None]) -> list[Quality]:
    """The qualities of `scaled`, faces in pixels of `near`, with the sizes that they have in the original photo."""
    return [
        replace(quality.measure(near.pixels, face, chip), size=original.box.size)
        for face, original, chip in zip(scaled, faces, aligned, strict=True)
    ]


def _of_size(faces: Faces, least: int) -> Faces:
    """The faces whose box has no side shorter than `least` pixels."""
    sides = np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])
    return faces.select(sides >= least)


def largest(faces: Faces) -> int:
    """Index of the face with the largest box."""
    return int(np.argmax((faces.boxes[:, 2] - faces.boxes[:, 0]) * (faces.boxes[:, 3] - faces.boxes[:, 1])))


def central(faces: Faces, width: float, height: float) -> int:
    """Index of the face whose box's centre is nearest to the centre of a photo of that size."""
    x, y = (faces.boxes[:, 0] + faces.boxes[:, 2]) / 2, (faces.boxes[:, 1] + faces.boxes[:, 3]) / 2
    return int(np.argmin((x - width / 2) ** 2 + (y - height / 2) ** 2))
