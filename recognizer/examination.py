"""Whether a photo can enrol somebody, and its encoding if it can: one photo, or many on all cores."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import images, quality, template_file
from .encodings import Encoding, photo_id
from .engines import Engine, largest
from .errors import FaceError, FaceTooSmall, ImageError, NoFace, PoorPhoto, RecognizerError, SeveralFaces
from .folder import read_photo
from .types import Box, Faces
from .vault import Vault

THUMBNAIL = 160
#: Fewer photos than this are encoded in this process: starting others takes longer.
FEW = 24
#: Faces that are described together, each of its own photo: more bring nothing.
TOGETHER = 4
#: Bytes of decoded photos from which on no other is decoded beside them, for their faces to be described together.
SIDE_BY_SIDE = 16_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """What a photo must be to enrol somebody.

    Attributes
    ----------
    max_bytes, max_pixels : int
    min_face : int
        Smallest side of the face's box, in pixels of the photo.
    rival : float
        Another face counts as a second person to choose from when its box's side is at least this share of the
        largest's; smaller ones are people in the background.
    """

    max_bytes: int = 25_000_000
    max_pixels: int = 50_000_000
    min_face: int = 40
    rival: float = 0.4


@dataclass(frozen=True, slots=True)
class Examined:
    """A photo that was looked at: its encoding, and a JPEG of its face."""

    encoding: Encoding
    thumbnail: bytes | None = None


def examine(engine: Engine, data: bytes, rules: Rules, face: str = "only") -> Examined:
    """Encode the one face of a photo for enrolment.

    Parameters
    ----------
    face : {"only", "largest"}
        With ``"only"``, several faces of similar size are an error.

    Raises
    ------
    ImageError, NoFace, SeveralFaces, FaceTooSmall, PoorPhoto
    """
    return _described(engine, [_looked(engine, data, rules, face)])[0]


@dataclass(frozen=True, slots=True)
class _Looked:
    """A photo whose one face can enrol somebody, before it is described."""

    photo: str
    face: str
    image: images.Image
    chosen: Faces


def _looked(engine: Engine, data: bytes, rules: Rules, face: str) -> _Looked:
    """All of `examine` but describing."""
    image = images.decode(data, max_bytes=rules.max_bytes, max_pixels=rules.max_pixels, long_side=engine.decode_size)
    faces, image = engine.look(image)
    chosen = faces.select([choose(faces, rules, face)])
    image, near = engine.aligned(image, chosen)
    check_quality(quality.measure(image.pixels, near[0]))
    return _Looked(photo_id(data), face, image, chosen)


def _described(engine: Engine, found: Sequence[_Looked | Examined]) -> list[Examined]:
    """Photos that were looked at, their faces described together; the others as they are."""
    looked = [each for each in found if isinstance(each, _Looked)]
    vectors = iter(engine.describe_all([(each.image, each.chosen) for each in looked]))
    return [_examined(engine, each, next(vectors)[0]) if isinstance(each, _Looked) else each for each in found]


def _examined(engine: Engine, looked: _Looked, vector: np.ndarray) -> Examined:
    image, taken = looked.image, looked.chosen[0]
    encoding = Encoding(
        looked.photo, engine.info.id, looked.face, vector,
        box=tuple(round(edge, 2) for edge in taken.box), score=round(taken.score, 4),
        width=image.width, height=image.height,
    )  # fmt: skip
    return Examined(encoding, thumbnail(image, taken.box))


def choose(faces: Faces, rules: Rules, face: str = "only") -> int:
    """Index of the face that a photo enrols.

    Raises
    ------
    NoFace, SeveralFaces, FaceTooSmall
    """
    if not len(faces):
        raise NoFace("no face was found in this photo")
    best = largest(faces)
    sides = np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])
    if sides[best] < rules.min_face:
        raise FaceTooSmall(
            f"the face is {sides[best]:.0f} pixels wide, expected at least {rules.min_face}",
            pixels=int(sides[best]), least=rules.min_face,
        )  # fmt: skip
    rivals = int((sides >= rules.rival * sides[best]).sum())
    if face == "only" and rivals > 1:
        raise SeveralFaces(f"{rivals} faces were found, expected one: crop the photo or ask for the largest", faces=rivals)
    return best


def check_quality(found: quality.Quality) -> None:
    """Refuse a face that could not be told from others.

    Raises
    ------
    PoorPhoto
    """
    words = {"blurred": "too blurred", "flat": "too dark or too pale"}
    wrong = [code for code in quality.remarks(found) if code in quality.UNFIT_TO_ENROL]
    if wrong:
        message = f"the face is {' and '.join(words[code] for code in wrong)} to be told from others"
        raise PoorPhoto(message, remarks=wrong)


def thumbnail(image: images.Image, box: Box) -> bytes:
    """A small square JPEG of the face in `box`, with some of what is around it."""
    import cv2

    height, width = image.pixels.shape[:2]
    fx, fy = width / image.width, height / image.height
    x, y = box.centre
    half = 0.7 * max(box.width, box.height)
    left, right = int(max(0, (x - half) * fx)), int(min(width, np.ceil((x + half) * fx)))
    top, bottom = int(max(0, (y - half) * fy)), int(min(height, np.ceil((y + half) * fy)))
    crop = image.pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
    factor = THUMBNAIL / max(crop.shape[:2])
    size = (max(1, round(crop.shape[1] * factor)), max(1, round(crop.shape[0] * factor)))
    return images.encode_jpeg(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), quality=85)


def _looked_or_explained(engine: Engine, data: bytes, rules: Rules, face: str) -> _Looked | Examined:
    """A photo that cannot be used gives an encoding that says why, and a template's file the template."""
    try:
        if template_file.is_template(data):
            return Examined(template_file.for_engine(data, engine.info.id, engine.info.dim, face))
        return _looked(engine, data, rules, face)
    except (ImageError, FaceError) as error:
        return Examined(Encoding(photo_id(data), engine.info.id, face, problem=error.code, message=error.message))


@dataclass(frozen=True, slots=True)
class Work:
    """One file to examine, the id that its content had, and which face of it is wanted."""

    path: Path
    photo: str
    face: str


def examine_files(
    work: Sequence[Work], engine: Engine, recipe: Mapping, rules: Rules, workers: int, step: Callable[[int], None],
    vault: Vault | None = None,
) -> Iterator[Examined]:  # fmt: skip
    """Examine many files, on all cores where they are many; in the order of `work`.

    Parameters
    ----------
    recipe : mapping
        The keywords for `engines.make_engine` that made `engine`, for the other processes.
    step : callable
        Told after every photo how many were done at once.
    vault : Vault, optional
        What the files are encrypted with.

    Notes
    -----
    Threads do it, since the networks let go of the interpreter's lock: as quick as processes, with nothing to start and
    nothing twice in memory. Where dlib itself computes, which holds the lock, processes do; they come from loky, which
    needs no guard in the user's main module. Either give way to everything else (they are niced).
    """
    if len(work) < FEW or workers < 2:
        for part in _parts(work):
            for examined in _examine_files(engine, part, rules, vault):
                yield examined
                step(1)
        return
    if engine.embedder.holds_lock:
        import loky

        arguments = (dict(recipe), rules, vault)
        pool = loky.ProcessPoolExecutor(workers, initializer=_start_worker, initargs=arguments, timeout=60)
        results = pool.map(_examine_in_worker, work, chunksize=4)
    else:
        pool = ThreadPoolExecutor(workers, thread_name_prefix="encoding", initializer=give_way)
        parts = pool.map(lambda part: _examine_files(engine, part, rules, vault), _parts(work))
        results = (examined for part in parts for examined in part)
    try:
        for examined in results:
            yield examined
            step(1)
    finally:
        # interrupted, or left by who asked: what has not begun is not begun any more
        stop = {"kill_workers": True} if engine.embedder.holds_lock else {"cancel_futures": True}
        pool.shutdown(**stop)


def _parts(work: Sequence[Work]) -> Iterator[Sequence[Work]]:
    return (work[start : start + TOGETHER] for start in range(0, len(work), TOGETHER))


def fill_memory(photos: Iterable[images.Image]) -> bool:
    """Whether decoded photos take so much memory that their faces are to be described before another is decoded."""
    return sum(photo.pixels.nbytes for photo in photos) >= SIDE_BY_SIDE


def _examine_files(engine: Engine, work: Sequence[Work], rules: Rules, vault: Vault | None) -> list[Examined]:
    """Examine some files, and describe their faces together, as many as do not fill the memory with photos."""
    found: list[_Looked | Examined] = []
    done: list[Examined] = []
    for one in work:
        found.append(_look_at_file(engine, one, rules, vault))
        if fill_memory(each.image for each in found if isinstance(each, _Looked)):
            done += _described(engine, found)
            found.clear()
    return done + _described(engine, found)


def _look_at_file(engine: Engine, work: Work, rules: Rules, vault: Vault | None) -> _Looked | Examined:
    try:
        data = read_photo(work.path, rules.max_bytes, vault)
    except (RecognizerError, OSError) as error:
        code, message = getattr(error, "code", "unreadable"), getattr(error, "message", "the file cannot be read")
        return Examined(Encoding(work.photo, engine.info.id, work.face, problem=code, message=message))
    return _looked_or_explained(engine, data, rules, work.face)


def give_way() -> None:
    """Let everything else go first: this thread on Linux, where threads have a priority of their own, else this process."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id() if sys.platform == "linux" else 0, 10)


_worker: tuple[Engine, Rules, Vault | None] | None = None


def _start_worker(recipe: dict, rules: Rules, vault: Vault | None) -> None:
    global _worker
    import cv2

    from .engines import make_engine

    cv2.setNumThreads(1)
    give_way()
    _worker = make_engine(**recipe), rules, vault


def _examine_in_worker(work: Work) -> Examined:
    engine, rules, vault = _worker
    return _examine_files(engine, [work], rules, vault)[0]
