"""A folder of photos, sorted by who is on them: every face is looked at once, kept, and grouped by person.

What was made of a photo is kept by its content, as `encodings` keeps it, and written every few photos: an interrupted run goes
on where it was, and a later one looks only at what is new. Groups keep their ids from run to run. Vectors are held in memory,
about 1 kB for each face; photos and thumbnails are not.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from . import images
from .clustering import Group, Groups
from .encodings import Encoding, EncodingsCache, FileStamp, photo_id
from .errors import DecoderCrashed, DecoderTooSlow, DecoderUnavailable, ImageError, RecognizerError
from .evaluation.encode import Source, decode, parts
from .examination import thumbnail
from .files import is_special
from .image_headers import sniff
from .quality import remarks
from .types import Box, Match

#: Which face the rows of a photo are about: all, of which there is one row for the photo and one for each face.
ALL = "all"
#: What a face's picture must not have to be grouped: such faces are like one another, whoever they are.
UNFIT = ("small", "blurred", "flat", "cut_off", "doubtful")
#: Names of files that should be photos, whatever is in them.
ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif",
)  # fmt: skip
#: Problems that may be the machine's and not the photo's: the next run tries again.
PASSING = ("unreadable", DecoderCrashed.code, DecoderTooSlow.code, DecoderUnavailable.code)
#: Files whose content is noted at once.
_NOTED = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Key:
    """A face: the id of its photo, and which of the photo's faces it is."""

    photo: str
    number: int

    def __str__(self) -> str:
        return f"{self.photo}/{self.number}"

    @classmethod
    def of(cls, text: str) -> Key:
        photo, number = text.rsplit("/", 1)
        return cls(photo, int(number))


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that could not be used, and why."""

    path: Path
    code: str
    message: str


@dataclass(frozen=True)
class Looked:
    """What is known of all photos of a folder.

    Attributes
    ----------
    paths : dict
        Id of each photo that can be used -> the files that hold it, by path.
    faces : dict
        Face -> its encoding.
    refused : list of Refused
    faceless : list of str
        Ids of the photos without a face.
    other_files : int
        Files that are no photos, and do not pretend to be.
    """

    paths: dict[str, list[Path]]
    faces: dict[Key, Encoding]
    refused: list[Refused]
    faceless: list[str]
    other_files: int

    @property
    def fit(self) -> dict[Key, np.ndarray]:
        """The vectors of the faces that can be told from others."""
        return {key: face.vector for key, face in self.faces.items() if face.problem is None}


@dataclass(frozen=True)
class Person:
    """The faces of one person: groups that show somebody enrolled are one, whatever grouping says.

    Attributes
    ----------
    id : int
        The group's; stays from run to run.
    subject : str or None
        Who it is, if they are enrolled.
    faces : tuple of Key
        Best pictures first.
    """

    id: int
    subject: str | None
    faces: tuple[Key, ...]


class Archive:
    """A folder, and the cache of what was made of its photos.

    Parameters
    ----------
    folder : path
    source : Source
        How photos are looked at.
    cache : EncodingsCache
    """

    def __init__(self, folder: Path, source: Source, cache: EncodingsCache):
        self.folder, self.source, self.cache = Path(folder), source, cache

    def look(self, progress: Progress = lambda *_: None, *, fresh: bool = False) -> Looked:
        """Look at every photo that was not looked at before; with `fresh`, at all.

        Raises
        ------
        StorageError
        """
        paths, refused, other_files = self._identify()
        known = self.cache.encodings(self.source.key, paths)
        missing = [photo for photo in paths if fresh or not _is_whole(photo, known)]
        done = len(paths) - len(missing)
        progress(done, len(paths))
        for made in parts(_look, [(photo, paths[photo][0]) for photo in missing], self.source):
            rows = [replace(row, engine=self.source.key) for encodings, _ in made for row in encodings]
            lasting = [row for row in rows if row.problem not in PASSING]
            self.cache.put(lasting, {key: jpeg for _, jpegs in made for key, jpeg in jpegs.items()})
            known.update(((row.photo, row.face), row) for row in rows)
            done += len(made)
            progress(done, len(paths))
        return _gathered(paths, known, refused, other_files)

    def _identify(self) -> tuple[dict[str, list[Path]], list[Refused], int]:
        """The photos of the folder by their content, files that cannot be read, and how many files are no photos."""
        stamps = self.cache.files()
        paths: dict[str, list[Path]] = {}
        refused, other, noted = [], 0, []
        for path in _files(self.folder):
            try:
                name, stamp = os.fsencode(path.resolve()).decode(errors="backslashreplace"), FileStamp.of(path.stat())
                held = stamps.get(name)
                if held is not None and held[0] == stamp:
                    photo = held[1]
                elif not _is_photo(path):
                    other += 1
                    continue
                else:
                    photo = photo_id(images.read_file(path, max_bytes=self.source.max_bytes))
                    noted.append((name, stamp, photo))
            except (OSError, ImageError) as error:
                code, message = getattr(error, "code", "unreadable"), getattr(error, "message", "the file cannot be read")
                refused.append(Refused(path, code, message))
                continue
            paths.setdefault(photo, []).append(path)
            if len(noted) >= _NOTED:
                self.cache.remember_files(noted)
                noted = []
        self.cache.remember_files(noted)
        return paths, refused, other


def _is_whole(photo: str, known: Mapping) -> bool:
    """Whether there is a row for the photo, and one for each of its faces."""
    whole = known.get((photo, ALL))
    return whole is not None and all((photo, f"{ALL}/{number}") in known for number in range(int(whole.score)))


def _gathered(paths, known: Mapping, refused: list[Refused], other_files: int) -> Looked:
    faces, faceless, usable = {}, [], {}
    for photo, files in paths.items():
        whole = known[photo, ALL]
        if whole.problem is not None:
            refused += [Refused(path, whole.problem, whole.message) for path in files]
            continue
        usable[photo] = files
        count = int(whole.score)
        faces.update({Key(photo, number): known[photo, f"{ALL}/{number}"] for number in range(count)})
        if not count:
            faceless.append(photo)
    return Looked(usable, faces, sorted(refused, key=lambda each: each.path), faceless, other_files)


def _files(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(at, name) for name in sorted(names) if not name.startswith("."))
        yield from (path for path in paths if not is_special(path))


def _is_photo(path: Path) -> bool:
    if path.suffix.lower() in ENDINGS:
        return True
    with path.open("rb") as file:
        return sniff(file.read(64)) is not None


def _look(source: Source, item: tuple[str, Path]) -> tuple[list[Encoding], dict[str, bytes]]:
    """The rows of a photo, and a thumbnail of each face."""
    photo, path = item
    whole = Encoding(photo, "", ALL, score=0.0)
    try:
        image = decode(source, images.read_file(path, max_bytes=source.max_bytes))
        faces, image = source.engine.look(image)
    except OSError:
        return [replace(whole, problem="unreadable", message="the file cannot be read")], {}
    except RecognizerError as error:
        return [replace(whole, problem=error.code, message=error.message)], {}
    whole = replace(whole, width=image.width, height=image.height, score=float(len(faces)))
    if not len(faces):
        return [whole], {}
    image = source.engine.aligned(image, faces)[0]
    rows, jpegs = [whole], {}
    described = zip(faces, source.engine.describe(image, faces), source.engine.qualities(image, faces), strict=True)
    for number, (face, vector, quality) in enumerate(described):
        wrong = [code for code in remarks(quality) if code in UNFIT]
        rows.append(
            replace(
                whole, face=f"{ALL}/{number}", vector=vector, box=tuple(face.box), score=face.score,
                problem=wrong[0] if wrong else None, message=", ".join(wrong) or None,
            )
        )  # fmt: skip
        jpegs[str(Key(photo, number))] = thumbnail(image, face.box)
    return rows, jpegs


# -- by person --------------------------------------------------------------------------------------------------------


def group(faces: Mapping[Key, np.ndarray], before: Mapping[int, Sequence[Key]], limit: Callable[[int], float]) -> Groups:
    """The faces by person; groups that there were `before` grow, and keep their ids.

    Parameters
    ----------
    limit : callable
        Number of faces -> largest distance of neighbours.
    """
    kept = {id_: Group({key: faces[key] for key in keys if key in faces}) for id_, keys in before.items()}
    groups = Groups(limit(len(faces)), {id_: each for id_, each in kept.items() if each.faces})
    placed = {key for each in kept.values() for key in each.faces}
    new = [key for key in faces if key not in placed]
    groups.add(new, np.array([faces[key] for key in new]))
    return groups


def people(groups: Groups, looked: Looked, match: Callable[[np.ndarray], Sequence[Match]]) -> list[Person]:
    """Who is in the folder: those who are enrolled by name, then the others, whoever has most faces first.

    A group is somebody's who is enrolled if at least half of its faces are recognised as them.
    """
    found: dict[object, Person] = {}
    for id_, each in groups.groups().items():
        names = Counter(decided.subject for decided in match(np.array(list(each.faces.values()))))
        del names[None]
        subject, times = names.most_common(1)[0] if names else (None, 0)
        subject = subject if 2 * times >= len(each.faces) else None
        same = found.get(subject) if subject is not None else None
        faces = (*(same.faces if same else ()), *each.faces)
        key = id_ if subject is None else subject
        found[key] = Person(min(id_, same.id) if same else id_, subject, tuple(faces))

    def size(key: Key) -> float:
        face = looked.faces[key]
        return -Box(*face.box).size * face.score

    ordered = [replace(each, faces=tuple(sorted(each.faces, key=size))) for each in found.values()]
    return sorted(ordered, key=lambda each: (each.subject is None, each.subject or "", -len(each.faces), each.id))
