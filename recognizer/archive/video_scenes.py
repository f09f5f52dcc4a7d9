"""The faces in a video: of its key scenes, each person once in each take.

A take is what lies between two cuts. It is divided into scenes of a few seconds, and the sharpest frame of each is examined
like a photo. What two frames of one take show of one person is one appearance, of which the best picture is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognizer.archive.photo_faces import PhotoFace, faces_on
from recognizer.archive.photo_regions import overlap
from recognizer.core.errors import BrokenVideo
from recognizer.enrolment.bulk import BulkSettings
from recognizer.enrolment.encodings import PHOTO_ID_LENGTH
from recognizer.enrolment.examination import thumbnail
from recognizer.photos import images
from recognizer.video.sources.recording import frames_of
from recognizer.video.tracking.cuts import Cuts

#: Files that are taken for videos. Not ``.ts``, which may be a program.
ENDINGS = frozenset(
    (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".webm", ".wmv")
)
#: Seconds of a take of which one frame is examined, and least seconds between two frames that are compared for it.
SCENE, STEP = 4.0, 0.5
#: Scenes of a video that are examined at most.
MOST_SCENES = 2000
#: Only key frames are decoded where the first minute of a video has one at least this often. Shorter videos are decoded whole.
KEY_FRAME_GAP, _PROBED = 12.0, 60.0
#: Long side of the copy of a frame whose sharpness is measured.
_MEASURED = 480
#: Share by which the boxes of two faces overlap that are one in two neighbouring frames of a take.
_SAME_PLACE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class SceneFrame:
    """The frame of a scene that is examined.

    Attributes
    ----------
    seconds : float
        From the beginning of the video.
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB.
    cut : bool
        Whether a new take began since the frame before.
    """

    seconds: float
    pixels: np.ndarray
    cut: bool


@dataclass(frozen=True, slots=True, eq=False)
class VideoFace:
    """An appearance in a video: its best picture.

    Attributes
    ----------
    seconds : float
        Of the picture, from the beginning of the video.
    face : PhotoFace
        In pixels of the frame.
    thumbnail : bytes
        A small JPEG.
    """

    seconds: float
    face: PhotoFace
    thumbnail: bytes


@dataclass(frozen=True)
class VideoFaces:
    """What a video shows.

    Attributes
    ----------
    width, height : int
        Of the first frame, upright, in pixels.
    seconds : float
        How much of the video was read.
    faces : list of VideoFace
        In the order of time.
    """

    width: int
    height: int
    seconds: float
    faces: list[VideoFace]


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by its name."""
    return path.suffix.lower() in ENDINGS


def video_id(path: Path, ended: threading.Event) -> str | None:
    """The id of a video's content, as `encodings.photo_id` makes it; None if `ended` came first.

    Raises
    ------
    OSError
    """
    made = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            if ended.is_set():
                return None
            made.update(part)
    return made.hexdigest()[:PHOTO_ID_LENGTH]


def find_video_faces(
    settings: BulkSettings,
    path: Path,
    *,
    most_seconds: float,
    same: float,
    ended: threading.Event,
    going_on: Callable[[float], None] = lambda seconds: None,
) -> VideoFaces | None:
    """The faces in a video; None if `ended` came first.

    Parameters
    ----------
    settings : BulkSettings
    path : Path
    most_seconds : float
        What comes later in the video is not read.
    same : float
        Distance of templates up to which two faces of a take are one person's.
    ended : threading.Event
    going_on : callable
        Called with the seconds of every frame that is read.

    Raises
    ------
    BrokenVideo, DecoderUnavailable, ModelError
    """
    found: list[VideoFace] = []
    take: list[VideoFace] = []
    size, last = (0, 0), 0.0

    def read() -> Iterator[tuple[float, np.ndarray]]:
        nonlocal size, last
        whole = not _has_key_frames(path, ended)
        with contextlib.closing(frames_of(path, every=STEP, key_frames=not whole, ended=ended)) as frames:
            for seconds, pixels in frames:
                if seconds > most_seconds:
                    return
                size, last = size if last else (pixels.shape[1], pixels.shape[0]), seconds
                going_on(seconds)
                yield seconds, pixels

    for number, scene in enumerate(scenes(read())):
        if ended.is_set():
            return None
        if scene.cut:
            found += take
            take = []
        take = with_faces(take, _looked_at(settings, scene), same)
        if number + 1 == MOST_SCENES:
            break
    if ended.is_set():
        return None
    faces = sorted([*found, *take], key=lambda each: (each.seconds, each.face.box.left))
    return VideoFaces(*size, last, faces)


def _has_key_frames(path: Path, ended: threading.Event) -> bool:
    """Whether the first minute of a video has key frames often enough; not of one that is shorter."""
    before = 0.0
    with (
        contextlib.suppress(BrokenVideo),  # no frame of some videos is marked as a key frame
        contextlib.closing(frames_of(path, every=STEP, key_frames=True, ended=ended)) as frames,
    ):
        for seconds, _ in frames:
            if seconds - before > KEY_FRAME_GAP:
                return False
            before = seconds
            if seconds >= _PROBED:
                return True
    return False


def scenes(frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[SceneFrame]:
    """The sharpest frame of each scene: of what lies between two cuts, and of every few seconds of that.

    Parameters
    ----------
    frames : iterable
        Seconds from the beginning of the video, and RGB pixels (H, W, 3).
    """
    cuts = Cuts()
    best: SceneFrame | None = None
    sharpest, begun, cut = -1.0, 0.0, False
    for seconds, pixels in frames:
        now_cut = cuts.is_cut(pixels)
        if best is not None and (now_cut or seconds - begun >= SCENE):
            yield best
            best, cut = None, False
        cut |= now_cut
        if best is None:
            sharpest, begun = -1.0, seconds
        measured = sharpness(pixels)
        if measured > sharpest:
            best, sharpest = SceneFrame(seconds, pixels, cut), measured
    if best is not None:
        yield best


def sharpness(pixels: np.ndarray) -> float:
    """How much detail a frame shows: the variance of the Laplacian of a small grey copy; less for blurred and dark ones."""
    import cv2

    grey = cv2.cvtColor(images.resize(pixels, _MEASURED), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def _looked_at(settings: BulkSettings, scene: SceneFrame) -> list[VideoFace]:
    height, width = scene.pixels.shape[:2]
    image, faces = faces_on(settings, images.Image(scene.pixels, width, height, "array"))
    return [VideoFace(scene.seconds, each, thumbnail(image, each.box)) for each in faces]


def with_faces(take: list[VideoFace], new: list[VideoFace], same: float) -> list[VideoFace]:
    """The appearances of a take with the faces of its next frame: the better picture of each person who was there before.

    A face whose picture is not good enough to tell whose it is belongs to the one that was in its place just before.
    """
    known = list(take)
    latest = max((each.seconds for each in take), default=0.0)
    free = set(range(len(take)))
    for face in sorted(new, key=lambda each: -each.face.quality):
        number = _same_person(face, take, free, same, latest)
        if number is None:
            known.append(face)
            continue
        free.discard(number)
        if _rank(face) > _rank(known[number]):
            known[number] = face
    return known


def _rank(each: VideoFace) -> tuple[bool, float]:
    return not each.face.remarks, each.face.quality


def _same_person(face: VideoFace, take: list[VideoFace], free: set[int], same: float, latest: float) -> int | None:
    """Which of the appearances in `free` a face belongs to: the nearest one, or for a poor picture the one in its place."""
    if face.face.remarks:
        near = [
            (overlap(tuple(face.face.box), tuple(take[number].face.box)), number)
            for number in free
            if take[number].face.remarks or take[number].seconds == latest
        ]
        share, number = max(near, default=(0.0, -1))
        return number if share >= _SAME_PLACE else None
    nearest = [(float(np.linalg.norm(face.face.vector - take[number].face.vector)), number) for number in free]
    distance, number = min(nearest, default=(float("inf"), -1))
    return number if distance <= same else None
