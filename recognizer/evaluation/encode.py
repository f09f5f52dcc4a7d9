"""Photos -> templates, on all cores, kept as they are made: an interrupted run goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from .. import images
from ..encodings import Encoding, EncodingsCache, photo_id
from ..engines import Engine, central, largest
from ..errors import ImageError, NoFace

SUBJECTS = ("central", "largest")
#: Photos between two writes of the cache, per worker.
_PART = 32
#: Fewer photos than this are worked on in this process: starting others takes longer.
_FEW = 24
_UNREAD = "unread:"


@dataclass(frozen=True)
class Source:
    """How photos are looked at.

    Attributes
    ----------
    engine : Engine
    recipe : mapping
        The keywords for `engines.make_engine` that made `engine`, for the other processes.
    subject : {"central", "largest"}
        Which face of a photo is the one that counts.
    max_bytes, max_pixels : int
    workers : int
    """

    engine: Engine
    recipe: Mapping
    subject: str = "central"
    max_bytes: int = 25_000_000
    max_pixels: int = 50_000_000
    workers: int = 1

    @property
    def provider(self) -> str:
        """What the networks run on."""
        return self.recipe.get("provider", "cpu")

    @property
    def key(self) -> str:
        """The engine's id and whatever else a template depends on, as the cache's key."""
        sizes, id_ = self.engine.sizes, self.engine.info.id
        if self.provider != "cpu" and not id_.endswith(f"@{self.provider}"):
            id_ += f"@{self.provider}"  # templates that may be compared, yet not the same to the last bit
        return f"{id_}@{sizes.first},{sizes.large},{self.engine.min_face}"


@dataclass(frozen=True)
class Vectors:
    """What became of photos, in the order they were given.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n, dim)
        Rows of lost photos are zero.
    found : ndarray of bool, shape (n,)
    photos : tuple of str
        Ids of their content.
    problems : tuple of (int, str, str)
        Of each lost photo: its index, the error's code and its sentence.
    """

    vectors: np.ndarray
    found: np.ndarray
    photos: tuple[str, ...]
    problems: tuple[tuple[int, str, str], ...]


def encode(
    paths: Sequence[Path], source: Source, cache: EncodingsCache, progress: Callable[[int, int], None] = lambda *_: None
) -> Vectors:
    """Describe the face that counts in each photo.

    Parameters
    ----------
    paths : sequence of path
    source : Source
    cache : EncodingsCache
        What is in it for the same content, engine and subject is not made again.
    progress : callable
        Told how many photos are done, and of how many.
    """
    photos = [identify(path, source.max_bytes) for path in paths]
    known = cache.encodings(source.key)
    held = {photo: known[photo, source.subject] for photo in photos if (photo, source.subject) in known}
    missing = {photo: path for photo, path in zip(photos, paths, strict=True) if photo not in held}
    done = len(paths) - len(missing)
    for made in parts(_encode_file, list(missing.items()), source):
        cache.put([replace(one, engine=source.key) for one in made if not unread(one.photo)])
        held.update((one.photo, one) for one in made)
        done += len(made)
        progress(done, len(paths))
    return _vectors([held[photo] for photo in photos], source.engine.info.dim)


def _vectors(encodings: list[Encoding], dim: int) -> Vectors:
    rows = np.zeros((len(encodings), dim), np.float32)
    for row, one in zip(rows, encodings, strict=True):
        if one.vector is not None:
            row[:] = one.vector
    found = np.array([one.vector is not None for one in encodings], bool)
    problems = tuple((i, one.problem, one.message) for i, one in enumerate(encodings) if one.vector is None)
    return Vectors(rows, found, tuple(one.photo for one in encodings), problems)


def identify(path: Path, max_bytes: int) -> str:
    """The id of a photo's content; for one that cannot be read its path, which is kept nowhere."""
    try:
        return photo_id(images.read_file(path, max_bytes=max_bytes))
    except (ImageError, OSError):
        return f"{_UNREAD}{path}"


def unread(photo: str) -> bool:
    return photo.startswith(_UNREAD)


def _encode_file(source: Source, item: tuple[str, Path]) -> Encoding:
    photo, path = item
    empty = Encoding(photo, source.engine.info.id, source.subject)
    try:
        return _describe(source, images.read_file(path, max_bytes=source.max_bytes), empty)
    except OSError:
        return replace(empty, problem="unreadable", message="the file cannot be read")
    except (ImageError, NoFace) as error:
        return replace(empty, problem=error.code, message=error.message)


def _describe(source: Source, data: bytes, empty: Encoding) -> Encoding:
    engine = source.engine
    image = decode(source, data)
    faces, image = engine.look(image)
    if not len(faces):
        raise NoFace("no face was found in this photo")
    chosen = central(faces, image.width, image.height) if source.subject == "central" else largest(faces)
    taken = faces.select([chosen])
    return replace(
        empty, vector=engine.describe(image, taken)[0], box=tuple(float(edge) for edge in taken.boxes[0]),
        score=float(taken.scores[0]), width=image.width, height=image.height,
    )  # fmt: skip


def decode(source: Source, data: bytes) -> images.Image:
    return images.decode(
        data, max_bytes=source.max_bytes, max_pixels=source.max_pixels, long_side=source.engine.decode_size
    )


# -- all cores ------------------------------------------------------------------------------------------------------


def parts(work: Callable, items: Sequence, source: Source) -> Iterator[list]:
    """``work(source, item)`` for all items, in their order, a part at a time as it is done.

    Notes
    -----
    The only place that knows how work is spread: over threads, or over processes (loky's, which need no guard in the
    user's main module) for dlib itself, which holds the interpreter's lock while it computes.
    """
    size = _PART * max(1, source.workers)
    pieces = [items[start : start + size] for start in range(0, len(items), size)]
    if len(items) < _FEW or source.workers < 2:
        yield from ([work(source, item) for item in piece] for piece in pieces)
    elif source.engine.embedder.holds_lock:
        yield from _in_processes(work, pieces, source)
    else:
        with ThreadPoolExecutor(source.workers) as pool:
            for piece in pieces:
                yield list(pool.map(partial(work, source), piece))


def _in_processes(work: Callable, pieces: list, source: Source) -> Iterator[list]:
    import loky

    plain = replace(source, engine=None)
    pool = loky.ProcessPoolExecutor(source.workers, initializer=_start_worker, initargs=(plain,), timeout=60)
    try:
        for piece in pieces:
            yield list(pool.map(_in_worker, [(work, item) for item in piece], chunksize=4))
    except BaseException:
        pool.shutdown(kill_workers=True)
        raise
    pool.shutdown()


_source: Source | None = None


def _start_worker(plain: Source) -> None:
    global _source
    import cv2

    from ..engines import make_engine

    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(5)
    _source = replace(plain, engine=make_engine(**plain.recipe))


def _in_worker(job: tuple[Callable, object]):
    work, item = job
    return work(_source, item)
