"""Encodes the photos of files, unless the cache has their encodings, and enrols the files batch by batch."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recognizer.core.errors import Busy, DecoderCrashed, DecoderTooSlow, DecoderUnavailable
from recognizer.enrolment.entries import EnrolmentState
from recognizer.enrolment.examination import EncodingOptions, Examined, Work, examine_files
from recognizer.enrolment.face_choice import thumbnail_key
from recognizer.enrolment.folder_look import PhotoFile
from recognizer.enrolment.photo_marks import wanted_face

#: Photos encoded between two writes to the cache, so that an interrupted start goes on where it was.
BATCH = 64
#: From so many photos on, all encodings of the cache are read at once.
MANY = 64
#: Problems that may be the machine's and not the photo's: the next start tries again.
PASSING = {kind.code for kind in (DecoderCrashed, DecoderTooSlow, DecoderUnavailable)}

EncodingReporter = Callable[[int, int], None]
#: Files that have a photo in common, by the photo's id and the face that is wanted.
FilesByPhoto = Mapping[tuple[str, str], Sequence[tuple[PhotoFile, str]]]


@dataclass(frozen=True, slots=True)
class EncodingProgress:
    """How many photos of how many are encoded, and for how many seconds that has taken."""

    done: int
    total: int
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """The estimated time to the end; None before the first photo is done."""
        return self.seconds / self.done * (self.total - self.done) if self.done else None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `/health` shows it."""
        left = self.seconds_left
        return {"done": self.done, "total": self.total, "seconds_left": None if left is None else round(left)}


class PhotoEncoder:
    """Encodes photos for one `sync` at a time.

    Parameters
    ----------
    state : EnrolmentState
    options : EncodingOptions
    keep_photos : bool
        Whether the cache stores a small picture of each face.
    """

    def __init__(self, state: EnrolmentState, options: EncodingOptions, keep_photos: bool):
        self._folder, self._cache, self._table, self._writing = state.folder, state.cache, state.table, state.writing
        self.options, self._keep_photos = options, keep_photos
        self._interrupted = threading.Event()
        self._progress: EncodingProgress | None = None

    @property
    def progress(self) -> EncodingProgress | None:
        """How many photos are encoded; None while none are being encoded."""
        return self._progress

    def interrupt(self) -> None:
        """End the encoding that runs, within a few photos, and let nothing begin any more."""
        self._interrupted.set()

    def check_interrupted(self) -> None:
        """Raise `Busy` after `interrupt`."""
        if self._interrupted.is_set():
            raise Busy("the server is shutting down")

    def encode_and_enrol(self, files: Sequence[tuple[PhotoFile, str]], report: EncodingReporter | None) -> None:
        """Enrol files; photos whose encodings the cache lacks are encoded first.

        Parameters
        ----------
        files : sequence of (PhotoFile, str)
            Each file and the id of its photo.
        report : callable, optional
            Called with the number of photos that are encoded, and of all that are to be encoded.

        Raises
        ------
        Busy
            It was interrupted.
        """
        ids = None if len(files) > MANY else {photo for _, photo in files}
        cached = self._cache.encodings(self.options.engine.info.id, ids)
        missing: dict[tuple[str, str], Work] = {}
        ready: list[tuple[PhotoFile, str]] = []
        users: dict[tuple[str, str], list[tuple[PhotoFile, str]]] = defaultdict(list)
        for file, photo in files:
            key = (photo, wanted_face(file.path))
            if key in cached:
                ready.append((file, photo))
                continue
            users[key].append((file, photo))
            if key not in missing:
                missing[key] = Work(self._folder.file(file.path), *key)
        self._table.enrol(ready, cached)
        if missing:
            self._encode(list(missing.values()), users, report)

    def _encode(self, work: list[Work], users: FilesByPhoto, report: EncodingReporter | None) -> None:
        begin = time.monotonic()
        batch: list[Examined] = []

        def step(count: int) -> None:
            done = count if self._progress is None else self._progress.done + count
            self._progress = EncodingProgress(done, len(work), time.monotonic() - begin)
            if report:
                report(done, len(work))

        step(0)
        results = examine_files(work, self.options, step, self._folder.vault, self._interrupted.is_set)
        try:
            for examined in results:
                batch.append(examined)
                if len(batch) >= BATCH:
                    self._keep(batch, users)
                    batch = []
            self._keep(batch, users)
        finally:
            self._progress = None
        self.check_interrupted()

    def _keep(self, batch: Sequence[Examined], users: FilesByPhoto) -> None:
        """Store the encodings of a batch, and enrol the files that are still as they were."""
        if not batch:
            return
        with self._writing.locked() as writable:
            here: dict[tuple[str, str], Examined] = {}
            gone: list[str] = []
            for each in batch:
                key = each.encoding.photo, each.encoding.face
                left = [file.path for file, _ in users.get(key, ()) if self._folder.stamp(file.path) != file.stamp]
                gone += left
                if len(left) < len(users.get(key, ())):
                    here[key] = each
            shown = here.items() if self._keep_photos else ()
            thumbnails = {thumbnail_key(*key): each.thumbnail for key, each in shown if each.thumbnail is not None}
            encodings = {key: each.encoding for key, each in here.items()}
            lasting = [encoding for encoding in encodings.values() if encoding.problem not in PASSING]
            if writable:
                self._writing.attempt(lambda: self._cache.put(lasting, thumbnails))
            self._table.enrol([pair for key in here for pair in users[key]], encodings)
            if gone and writable:  # erased while they were encoded
                self._writing.attempt(lambda: self._table.erase_rows(gone, {each.encoding.photo for each in batch}))
