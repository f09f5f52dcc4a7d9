"""Work on many photos with all cores: how photos are read, and how the work is distributed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from recognizer.core.priorities import lower_process_priority
from recognizer.engines import Engine, make_engine
from recognizer.engines.engine import JudgedFaces
from recognizer.photos import images
from recognizer.photos.decoding_memory import MAX_PIXELS

#: Photos per worker between two writes of the cache.
_BATCH = 32
#: Fewer photos than this are processed in this process and thread: starting workers takes longer.
_FEW = 24

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class BulkSettings:
    """How photos are read and described.

    Attributes
    ----------
    engine : Engine
    recipe : mapping
        The keywords of `engines.make_engine` that made `engine`; worker processes make their own engine from it.
    subject : {"central", "largest"}
        Which face of a photo is the subject's.
    max_bytes, max_pixels : int
        Limits of the size of a photo.
    workers : int
        Number of threads or processes.
    """

    engine: Engine
    recipe: Mapping[str, Any]
    subject: str = "central"
    max_bytes: int = 25_000_000
    max_pixels: int = MAX_PIXELS
    workers: int = 1

    @property
    def provider(self) -> str:
        """What the networks run on; see `runtime.PROVIDERS`."""
        return str(self.recipe.get("provider", "cpu"))

    @property
    def key(self) -> str:
        """The cache's key: the engine's id and everything else that a template depends on."""
        sizes, id_ = self.engine.sizes, self.engine.info.id
        if self.provider != "cpu" and not id_.endswith(f"@{self.provider}"):
            id_ += f"@{self.provider}"  # such templates can be compared with the others, but are not identical to the last bit
        return f"{id_}@{sizes.first},{sizes.large},{self.engine.min_face}"


def decode(settings: BulkSettings, data: bytes) -> images.Image:
    """Decode a photo as sharply as the detector needs.

    Raises
    ------
    ImageError
    """
    return images.decode(
        data, max_bytes=settings.max_bytes, max_pixels=settings.max_pixels, long_side=settings.engine.decode_size
    )


def judged_faces(settings: BulkSettings, data: bytes) -> tuple[images.Image, JudgedFaces | None]:
    """The photo as it was decoded for its faces, and all of these with their embeddings; None where there is no face.

    Raises
    ------
    ImageError, ModelError
    """
    return judged_on(settings, decode(settings, data))


def judged_on(settings: BulkSettings, image: images.Image) -> tuple[images.Image, JudgedFaces | None]:
    """The same of a photo that is decoded.

    Raises
    ------
    ModelError
    """
    engine = settings.engine
    faces, image = engine.find_with_image(image)
    if not len(faces):
        return image, None
    image = engine.aligned(image, faces)[0]
    described = engine.described_all([(image, faces)])[0]
    return image, engine.judged(image, faces, described)


def in_batches(
    work: Callable[[BulkSettings, ItemT], ResultT], items: Sequence[ItemT], settings: BulkSettings
) -> Iterator[list[ResultT]]:
    """Yield the results of ``work(settings, item)`` for all items in order, one batch at a time.

    Notes
    -----
    The only place that decides how work is distributed: over threads; or, for dlib itself, which holds the interpreter's lock
    while it computes, over processes (loky's, which need no guard in the user's main module).
    """
    size = _BATCH * max(1, settings.workers)
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    if len(items) < _FEW or settings.workers < 2:
        yield from ([work(settings, item) for item in batch] for batch in batches)
    elif settings.engine.embedder.holds_lock:
        yield from in_processes(work, batches, settings)
    else:
        with ThreadPoolExecutor(settings.workers) as pool:
            for batch in batches:
                yield list(pool.map(partial(work, settings), batch))


def in_processes(
    work: Callable[[BulkSettings, ItemT], ResultT], batches: Sequence[Sequence[ItemT]], settings: BulkSettings
) -> Iterator[list[ResultT]]:
    import loky

    # an engine cannot be sent to another process: each worker makes its own
    values = {name: getattr(settings, name) for name in ("recipe", "subject", "max_bytes", "max_pixels", "workers")}
    pool = loky.ProcessPoolExecutor(settings.workers, initializer=_start_worker, initargs=(values,), timeout=60)
    try:
        for batch in batches:
            yield list(pool.map(_in_worker, [(work, item) for item in batch], chunksize=4))
    except BaseException:
        pool.shutdown(kill_workers=True)
        raise
    pool.shutdown()


_settings: BulkSettings  # of a worker process


def _start_worker(values: dict[str, Any]) -> None:
    global _settings
    import cv2

    cv2.setNumThreads(1)
    lower_process_priority()
    _settings = BulkSettings(engine=make_engine(**values["recipe"]), **values)


def _in_worker(job: tuple[Callable[[BulkSettings, ItemT], ResultT], ItemT]) -> ResultT:
    work, item = job
    return work(_settings, item)
