"""Whether a photo can enrol somebody, and its encoding if it can: one photo, or many on all cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core.errors import FaceError, FaceTooSmall, ImageError, NoFace, PoorPhoto, RecognizerError, SeveralFaces
from recognizer.core.priorities import lower_process_priority, lower_thread_priority
from recognizer.core.types import Box, Faces
from recognizer.core.vault import Vault
from recognizer.engines import Engine, largest
from recognizer.engines.protocols import Described
from recognizer.enrolment import face_choice, template_file
from recognizer.enrolment.encodings import FORCED, Encoding, photo_id
from recognizer.enrolment.folder import read_photo
from recognizer.photos import images, quality
from recognizer.photos.decoding_memory import MAX_PIXELS
from recognizer.photos.remarks import SENTENCES, Comparability

THUMBNAIL = 160
#: Fewer photos than this are encoded in this process: starting others takes longer.
FEW = 24
#: Faces that are described together, each of its own photo: more bring nothing.
TOGETHER = 4
#: Parts of the work that wait for each worker, so that none runs out of work.
AHEAD = 3
#: Bytes of decoded photos from which on no other is decoded beside them, for their faces to be described together.
SIDE_BY_SIDE = 16_000_000


@dataclass(frozen=True, slots=True)
class EnrolmentRules:
    """What a photo must be to enrol somebody.

    Attributes
    ----------
    max_bytes, max_pixels : int
    min_face : int
        Smallest side of the face's box, in pixels of the photo.
    rival : float
        Another face counts as a second person to choose from when its box's side is at least this share of the
        largest's; smaller ones are people in the background.
    strip_metadata : {"off", "location", "all"}
        What is removed from the file before it is stored; see `photos.metadata`.
    """

    max_bytes: int = 25_000_000
    max_pixels: int = MAX_PIXELS
    min_face: int = 40
    rival: float = 0.4
    strip_metadata: str = "off"


@dataclass(frozen=True, slots=True)
class EncodingOptions:
    """How photos of the folder are encoded.

    Attributes
    ----------
    engine : Engine
    recipe : mapping
        Keywords of `engines.make_engine` that made `engine`, for encoding in other processes.
    rules : EnrolmentRules
    workers : int
        Threads or processes for encoding many photos.
    """

    engine: Engine
    recipe: Mapping[str, Any]
    rules: EnrolmentRules
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Examined:
    """A photo that was looked at: its encoding, and a JPEG of its face."""

    encoding: Encoding
    thumbnail: bytes | None = None


def examine(engine: Engine, data: bytes, rules: EnrolmentRules, face: str = "only") -> Examined:
    """Encode the one face of a photo for enrolment.

    Parameters
    ----------
    face : str
        With ``"only"``, several faces of similar size are an error; with ``"largest"``, the largest is taken; with a box
        ``"left,top,right,bottom"`` or a place, the face there (see `face_choice`). With `encodings.FORCED` appended, a face
        that is not comparable is encoded nevertheless.

    Raises
    ------
    ImageError, NoFace, SeveralFaces, FaceTooSmall, PoorPhoto
    """
    looked = _looked(engine, data, rules, face)
    return _examined(engine, looked, engine.described_all([(looked.image, looked.chosen)])[0])


@dataclass(frozen=True, slots=True)
class _Looked:
    """A photo whose one face can enrol somebody, before it is described."""

    photo: str
    face: str
    image: images.Image
    chosen: Faces
    quality: quality.Quality


def _looked(engine: Engine, data: bytes, rules: EnrolmentRules, face: str) -> _Looked:
    """All of `examine` but describing."""
    image = images.decode(data, max_bytes=rules.max_bytes, max_pixels=rules.max_pixels, long_side=engine.decode_size)
    wanted = face_choice.resolve(face.removesuffix(FORCED), image.width, image.height)
    face = wanted + FORCED if face.endswith(FORCED) else wanted
    faces, image = engine.find_with_image(image)
    chosen = faces.select([choose(faces, rules, wanted, (image.width, image.height))])
    image = engine.aligned(image, chosen)[0]
    found = engine.qualities(image, chosen)[0]
    if not face.endswith(FORCED):
        check_quality(found)
    return _Looked(photo_id(data), face, image, chosen, found)


def _described(engine: Engine, found: Sequence[_Looked | Examined]) -> list[Examined]:
    """Photos that were looked at, their faces described together; the others as they are."""
    looked = [each for each in found if isinstance(each, _Looked)]
    described = iter(engine.described_all([(each.image, each.chosen) for each in looked]))
    done: list[Examined] = []
    for each in found:
        if isinstance(each, Examined):
            done.append(each)
            continue
        try:
            done.append(_examined(engine, each, next(described)))
        except PoorPhoto as error:
            done.append(_problem(each.photo, engine, each.face, error))
    return done


def _problem(photo: str, engine: Engine, face: str, error: ImageError | FaceError) -> Examined:
    return Examined(Encoding(photo, engine.info.id, face, problem=error.code, message=error.message))


def _examined(engine: Engine, looked: _Looked, described: Described) -> Examined:
    """The encoding of a face that was described.

    Raises
    ------
    PoorPhoto
        The face is not comparable.
    """
    judged = engine.judged(looked.image, looked.chosen, described, [looked.quality])
    if not looked.face.endswith(FORCED):
        check_comparable(judged.verdicts[0])
    image, taken = looked.image, judged.faces[0]
    left, top, right, bottom = taken.box
    encoding = Encoding(
        looked.photo,
        engine.info.id,
        looked.face,
        judged.vectors[0],
        box=(round(left, 2), round(top, 2), round(right, 2), round(bottom, 2)),
        score=round(taken.score, 4),
        width=image.width,
        height=image.height,
    )
    return Examined(encoding, thumbnail(image, taken.box))


def choose(faces: Faces, rules: EnrolmentRules, face: str = "only", size: tuple[int, int] = (0, 0)) -> int:
    """Index of the face that a photo enrols.

    Parameters
    ----------
    face : str
        ``only``, ``largest`` or a place; see `face_choice`.
    size : tuple of int
        The photo's width and height, for a place.

    Raises
    ------
    NoFace, SeveralFaces, FaceTooSmall
    """
    if not len(faces):
        raise NoFace("no face was found in this photo")
    best = face_choice.at_place(faces, face, *size) if face_choice.is_place(face) else largest(faces)
    sides = np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])
    if sides[best] < rules.min_face:
        raise FaceTooSmall(
            f"the face is {sides[best]:.0f} pixels wide, expected at least {rules.min_face}",
            pixels=int(sides[best]),
            least=rules.min_face,
        )
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
        said = " and ".join(words[code] for code in wrong)
        message = f"the face is {said} to be told from others: use a sharp photo with light on the face"
        raise PoorPhoto(message, remarks=wrong)


def check_comparable(found: Comparability) -> None:
    """Refuse a face that cannot be compared with others.

    Raises
    ------
    PoorPhoto
        Its message says what is wrong and what would help, and ``remarks`` has the codes.
    """
    if not found.comparable:
        said = " ".join(SENTENCES[code] for code in found.remarks)
        raise PoorPhoto(f"the face cannot be told from others: {said}", remarks=list(found.remarks))


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


def _looked_or_explained(engine: Engine, data: bytes, rules: EnrolmentRules, face: str) -> _Looked | Examined:
    """A photo that cannot be used gives an encoding that says why, and a template's file the template."""
    try:
        if template_file.is_template(data):
            return Examined(template_file.for_engine(data, engine.info.id, engine.info.dim, face))
        return _looked(engine, data, rules, face)
    except (ImageError, FaceError) as error:
        return _problem(photo_id(data), engine, face, error)


@dataclass(frozen=True, slots=True)
class Work:
    """One file to examine, the id that its content had, and which face of it is wanted."""

    path: Path
    photo: str
    face: str


def examine_files(
    work: Sequence[Work],
    options: EncodingOptions,
    step: Callable[[int], None],
    vault: Vault | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Examined]:
    """Examine many files, on all cores where they are many; in the order of `work`.

    Parameters
    ----------
    options : EncodingOptions
    step : callable
        Called after every photo with the number of photos that were completed.
    vault : Vault, optional
        What the files are encrypted with.
    stopped : callable
        Whether to end early, without the rest; asked between photos.

    Notes
    -----
    Threads do it, since the networks let go of the interpreter's lock: as quick as processes, with nothing to start and
    nothing twice in memory. Where dlib itself computes, which holds the lock, processes do; they come from loky, which
    needs no guard in the user's main module. Either give way to everything else (they are niced).
    """
    engine, rules, workers = options.engine, options.rules, options.workers
    if len(work) < FEW or workers < 2:
        for part in _parts(work):
            if stopped():
                return
            for examined in _examine_files(engine, part, rules, vault):
                yield examined
                step(1)
        return
    examine_part: Callable[[Sequence[Work]], list[Examined]]
    if engine.embedder.holds_lock:
        import loky

        arguments = (dict(options.recipe), rules, vault)
        pool = loky.ProcessPoolExecutor(workers, initializer=_start_worker, initargs=arguments, timeout=60)
        examine_part = _examine_in_worker
    else:
        pool = ThreadPoolExecutor(workers, thread_name_prefix="encoding", initializer=lower_thread_priority)
        examine_part = partial(_examine_files, engine, rules=rules, vault=vault)
    try:
        for examined in _in_order(pool, examine_part, _parts(work), workers * AHEAD, stopped):
            yield examined
            step(1)
    finally:
        # interrupted, or left by the caller: what has not begun does not begin any more
        stop = {"kill_workers": True} if engine.embedder.holds_lock else {"cancel_futures": True}
        pool.shutdown(**stop)


def _in_order(
    pool: Executor,
    examine_part: Callable[[Sequence[Work]], list[Examined]],
    parts: Iterator[Sequence[Work]],
    most: int,
    stopped: Callable[[], bool],
) -> Iterator[Examined]:
    """The results of all parts in their order. At most so many wait at a time: a process that ends finishes those first."""
    waiting: deque[Future[list[Examined]]] = deque()
    for part in parts:
        if stopped():
            return
        waiting.append(pool.submit(examine_part, part))
        if len(waiting) >= most:
            yield from waiting.popleft().result()
    while waiting and not stopped():
        yield from waiting.popleft().result()


def _parts(work: Sequence[Work]) -> Iterator[Sequence[Work]]:
    return (work[start : start + TOGETHER] for start in range(0, len(work), TOGETHER))


def fill_memory(photos: Iterable[images.Image]) -> bool:
    """Whether decoded photos take so much memory that their faces are to be described before another is decoded."""
    return sum(photo.pixels.nbytes for photo in photos) >= SIDE_BY_SIDE


def _examine_files(engine: Engine, work: Sequence[Work], rules: EnrolmentRules, vault: Vault | None) -> list[Examined]:
    """Examine some files, and describe their faces together, as many as do not fill the memory with photos."""
    found: list[_Looked | Examined] = []
    done: list[Examined] = []
    for one in work:
        found.append(_look_at_file(engine, one, rules, vault))
        if fill_memory(each.image for each in found if isinstance(each, _Looked)):
            done += _described(engine, found)
            found.clear()
    return done + _described(engine, found)


def _look_at_file(engine: Engine, work: Work, rules: EnrolmentRules, vault: Vault | None) -> _Looked | Examined:
    try:
        data = read_photo(work.path, rules.max_bytes, vault)
    except (RecognizerError, OSError) as error:
        code, message = getattr(error, "code", "unreadable"), getattr(error, "message", "the file cannot be read")
        return Examined(Encoding(work.photo, engine.info.id, work.face, problem=code, message=message))
    return _looked_or_explained(engine, data, rules, work.face)


_worker: tuple[Engine, EnrolmentRules, Vault | None] | None = None


def _start_worker(recipe: dict[str, Any], rules: EnrolmentRules, vault: Vault | None) -> None:
    global _worker
    import cv2

    from recognizer.engines import make_engine

    cv2.setNumThreads(1)
    lower_process_priority()
    _worker = make_engine(**recipe), rules, vault


def _examine_in_worker(work: Sequence[Work]) -> list[Examined]:
    assert _worker is not None, "`_start_worker` ran in this process"
    engine, rules, vault = _worker
    return _examine_files(engine, work, rules, vault)
