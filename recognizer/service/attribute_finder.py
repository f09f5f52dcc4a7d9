"""Which attributes may be asked for, and the one reader of them: fetched and loaded by whoever wants it first."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from pathlib import Path

from recognizer.attributes.reader import AttributeReader, needed_networks
from recognizer.core.answers import ATTRIBUTES
from recognizer.core.errors import AttributesOff, Busy, InvalidParameter, ModelError, ModelMissing, StorageError
from recognizer.weights import manifest

#: Seconds that a call waits while another downloads the weights; seconds for which a failed download is remembered.
ATTRIBUTES_WAIT, ATTRIBUTES_RETRY = 10.0, 60.0


class AttributeFinder:
    """Owns the one `AttributeReader` of a service.

    Parameters
    ----------
    folder : Path
        Where weights are kept.
    enabled : tuple of str
        The attributes that the setting names; no others can be asked for.
    """

    def __init__(self, folder: Path, enabled: tuple[str, ...]):
        self._folder = folder
        self.enabled = tuple(name for name in ATTRIBUTES if name in enabled)
        self._reader: AttributeReader | None = None
        self._lock = threading.Lock()
        self._failed = -float("inf")

    def chosen(self, names: str | Collection[str] | None) -> tuple[str, ...]:
        """The attributes of a list, or of a text such as ``age,gender``; none of None.

        Raises
        ------
        InvalidParameter
            One of them is no attribute.
        AttributesOff
            One of them is not enabled.
        """
        given = names.split(",") if isinstance(names, str) else list(names or ())
        wanted = [word for each in given if (word := str(each).strip())]
        for name in wanted:
            if name not in ATTRIBUTES:
                raise InvalidParameter(f"attributes: expected some of {', '.join(ATTRIBUTES)}; got {name!r}")
        off = [name for name in ATTRIBUTES if name in wanted and name not in self.enabled]
        if off:
            raise AttributesOff(f"{', '.join(off)}: not enabled here; the setting RECOGNIZER_ATTRIBUTES names what is")
        return tuple(name for name in ATTRIBUTES if name in wanted)

    def reader(self, download: manifest.Progress | None = None) -> AttributeReader:
        """The reader of all enabled attributes; the first call takes as long as fetching and loading take.

        Raises
        ------
        ModelMissing
            The weights are missing and could not be fetched.
        Busy
            Another call is fetching them.
        """
        if self._reader is not None:
            return self._reader
        if not self._lock.acquire(timeout=ATTRIBUTES_WAIT):
            raise Busy("the weights of attributes are being fetched; try again shortly")
        try:
            if self._reader is None:
                self._reader = self._load(download)
            return self._reader
        finally:
            self._lock.release()

    def _load(self, download: manifest.Progress | None) -> AttributeReader:
        """Whoever asks again soon after a failure to fetch is not kept waiting for the next one."""
        waiting = time.monotonic() < self._failed + ATTRIBUTES_RETRY
        try:
            if not waiting:
                manifest.fetch(needed_networks(self.enabled), self._folder, download)
            return AttributeReader(self.enabled, self._folder)
        except (ModelError, StorageError) as error:
            if not waiting:
                self._failed = time.monotonic()
            raise ModelMissing(
                "the weights of attributes are missing and could not be fetched: "
                "run `python -m recognizer models fetch attributes` where the server runs"
            ) from error
