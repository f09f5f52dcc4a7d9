"""The index of a folder of photos: all faces on them, with their embeddings.

The result for each photo is cached by the photo's content and written every few photos, so an interrupted run continues where
it stopped and a later run processes only new photos. Embeddings are held in memory, about 1 kB per face; photos and thumbnails
are not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recognizer.archive.photo_faces import find_faces
from recognizer.core.disk import disk_reason
from recognizer.core.errors import DecoderCrashed, DecoderTooSlow, DecoderUnavailable, ImageError, RecognizerError
from recognizer.core.files import is_special
from recognizer.core.types import Box
from recognizer.enrolment.bulk import BulkSettings, in_batches
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.encodings import Encoding, FileStamp, photo_id
from recognizer.enrolment.examination import thumbnail
from recognizer.photos import images
from recognizer.photos.foreign import is_picture
from recognizer.photos.image_headers import sniff
from recognizer.photos.sources import ENDINGS

#: The cache's `face` of the row about a whole photo; the rows of its faces are "all/0", "all/1" and so on.
ALL = "all"
#: Problems that can be caused by the machine instead of the photo: the next run tries again.
TEMPORARY = ("unreadable", DecoderCrashed.code, DecoderTooSlow.code, DecoderUnavailable.code)
#: Number of files whose content is remembered in one transaction.
_REMEMBERED = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class FaceKey:
    """Identifies a face: the id of its photo, and its number on the photo."""

    photo: str
    number: int

    def __str__(self) -> str:
        return f"{self.photo}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> FaceKey:
        """The key whose `str` is `text`.

        Raises
        ------
        ValueError
        """
        photo, number = text.rsplit("/", 1)
        return cls(photo, int(number))


@dataclass(frozen=True, slots=True, eq=False)
class IndexedFace:
    """A face of the folder.

    Attributes
    ----------
    box : Box
        In pixels of the photo.
    score : float
        The detector's.
    vector : ndarray of float32, shape (d,)
    remarks : str or None
        Why the face is not grouped, as codes of `photo_faces.UNFIT`; None for a face that is.
    """

    box: Box
    score: float
    vector: np.ndarray
    remarks: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that cannot be used, and the reason."""

    path: Path
    code: str
    message: str


@dataclass(frozen=True)
class PhotoIndex:
    """All photos of a folder and the faces on them.

    Attributes
    ----------
    paths : dict
        Id of each usable photo -> the files with that content, sorted by path.
    faces : dict
        Key of each face -> the face.
    refused : list of RefusedFile
    faceless : list of str
        Ids of the photos without a face.
    other_files : int
        Number of files that are no pictures, by content and by name.
    """

    paths: dict[str, list[Path]]
    faces: dict[FaceKey, IndexedFace]
    refused: list[RefusedFile]
    faceless: list[str]
    other_files: int

    @property
    def vectors(self) -> dict[FaceKey, np.ndarray]:
        """The embeddings of the faces that can be grouped."""
        return {key: face.vector for key, face in self.faces.items() if face.remarks is None}


class PhotoArchive:
    """A folder of photos, and the cache of the results for its photos.

    Parameters
    ----------
    folder : path
    settings : BulkSettings
    cache : EncodingsCache
    """

    def __init__(self, folder: Path, settings: BulkSettings, cache: EncodingsCache):
        self.folder, self.settings, self.cache = Path(folder), settings, cache

    def index(self, progress: Progress = lambda *_: None, *, fresh: bool = False) -> PhotoIndex:
        """Find and describe the faces of all photos that are not in the cache; with `fresh`, of all photos.

        Raises
        ------
        StorageError
        """
        paths, refused, other_files = self._identify()
        known = self.cache.encodings(self.settings.key, paths)
        missing = [photo for photo in paths if fresh or not _is_complete(photo, known)]
        done = len(paths) - len(missing)
        progress(done, len(paths))
        for batch in in_batches(_process, [(photo, paths[photo][0]) for photo in missing], self.settings):
            rows = [replace(row, engine=self.settings.key) for encodings, _ in batch for row in encodings]
            lasting = [row for row in rows if row.problem not in TEMPORARY]
            self.cache.put(lasting, {key: jpeg for _, jpegs in batch for key, jpeg in jpegs.items()})
            known.update(((row.photo, row.face), row) for row in rows)
            done += len(batch)
            progress(done, len(paths))
        return _index(paths, known, refused, other_files)

    def _identify(self) -> tuple[dict[str, list[Path]], list[RefusedFile], int]:
        """The photos of the folder by content, the files that cannot be read, and the number of files that are not photos."""
        stamps = self.cache.files()
        paths: dict[str, list[Path]] = {}
        refused: list[RefusedFile] = []
        other, new = 0, []
        for path in files_below(self.folder, lambda path, error: refused.append(_unreadable_folder(path, error))):
            if is_special(path):
                if path.suffix.lower() in ENDINGS:
                    refused.append(RefusedFile(path, "unreadable", "it is no ordinary file"))
                continue
            try:
                name, stamp = os.fsencode(path.resolve()).decode(errors="backslashreplace"), FileStamp.of(path.stat())
                known = stamps.get(name)
                if known is not None and known[0] == stamp:
                    photo = known[1]
                elif not is_photo(path):
                    other += 1
                    continue
                else:
                    photo = photo_id(images.read_file(path, max_bytes=self.settings.max_bytes))
                    new.append((name, stamp, photo))
            except (OSError, ImageError) as error:
                code, message = getattr(error, "code", "unreadable"), getattr(error, "message", "the file cannot be read")
                refused.append(RefusedFile(path, code, message))
                continue
            paths.setdefault(photo, []).append(path)
            if len(new) >= _REMEMBERED:
                self.cache.remember_files(new)
                new = []
        self.cache.remember_files(new)
        return paths, refused, other


def _is_complete(photo: str, known: Mapping[tuple[str, str], Encoding]) -> bool:
    """Whether there is a row for the photo, and one for each of its faces."""
    whole = known.get((photo, ALL))
    return whole is not None and all((photo, f"{ALL}/{number}") in known for number in range(_face_count(whole)))


def _face_count(whole: Encoding) -> int:
    """Number of faces on a photo: the row about the whole photo stores it as its score."""
    return int(whole.score or 0)


def _index(
    paths: Mapping[str, list[Path]],
    known: Mapping[tuple[str, str], Encoding],
    unreadable: list[RefusedFile],
    other_files: int,
) -> PhotoIndex:
    refused = list(unreadable)
    faces: dict[FaceKey, IndexedFace] = {}
    faceless: list[str] = []
    usable: dict[str, list[Path]] = {}
    for photo, files in paths.items():
        whole = known[photo, ALL]
        if whole.problem is not None:
            refused += [RefusedFile(path, whole.problem, whole.message or whole.problem) for path in files]
            continue
        usable[photo] = files
        count = _face_count(whole)
        for number in range(count):
            row = known[photo, f"{ALL}/{number}"]
            if row.vector is not None and row.box is not None:  # true of every row of a face
                unfit = None if row.problem is None else row.message or row.problem
                faces[FaceKey(photo, number)] = IndexedFace(Box(*row.box), row.score or 0.0, row.vector, unfit)
        if not count:
            faceless.append(photo)
    return PhotoIndex(usable, faces, sorted(refused, key=lambda each: each.path), faceless, other_files)


def _unreadable_folder(path: Path, error: OSError) -> RefusedFile:
    return RefusedFile(path, "unreadable", f"the folder cannot be read: {disk_reason(error)}")


def files_below(folder: Path, failed: Callable[[Path, OSError], None]) -> Iterator[Path]:
    """The files of a folder and of those below; `failed` receives each folder that cannot be read."""
    for at, folders, names in os.walk(folder, onerror=lambda error: failed(Path(error.filename or folder), error)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(at, name) for name in sorted(names) if not name.startswith("."))


def is_photo(path: Path) -> bool:
    if path.suffix.lower() in ENDINGS:
        return True
    with path.open("rb") as file:
        head = file.read(1000)
    return sniff(head) is not None or is_picture(head)


def _process(settings: BulkSettings, item: tuple[str, Path]) -> tuple[list[Encoding], dict[str, bytes]]:
    """The rows of a photo, and a JPEG thumbnail of each face by its key."""
    photo, path = item
    whole = Encoding(photo, "", ALL, score=0.0)
    try:
        image, faces = find_faces(settings, images.read_file(path, max_bytes=settings.max_bytes))
    except OSError:
        return [replace(whole, problem="unreadable", message="the file cannot be read")], {}
    except RecognizerError as error:
        return [replace(whole, problem=error.code, message=error.message)], {}
    whole = replace(whole, width=image.width, height=image.height, score=float(len(faces)))
    rows, jpegs = [whole], {}
    for number, face in enumerate(faces):
        rows.append(
            replace(
                whole,
                face=f"{ALL}/{number}",
                vector=face.vector,
                box=(face.box.left, face.box.top, face.box.right, face.box.bottom),
                score=face.score,
                problem=face.remarks[0] if face.remarks else None,
                message=", ".join(face.remarks) or None,
            )
        )
        jpegs[str(FaceKey(photo, number))] = thumbnail(image, face.box)
    return rows, jpegs
