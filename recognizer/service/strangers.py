"""People whom nobody enrolled, as far as they are kept: the inbox, and what comes into it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from .. import clustering, quality
from ..engines import Engine
from ..errors import StrangersOff
from ..examination import Rules
from ..galleries.base import Gallery
from ..inbox import Inbox
from ..results import Seen
from ..strangers import Bounds, Shot, Sighting, Stranger, Strangers
from ..types import Box, Candidate
from ..vault import Vault
from ..video.naming import worth
from ..video.sightings import cut
from .matcher import Matcher

#: A stranger is shown to be like somebody who is enrolled where a stranger comes that near to anybody with this chance.
RESEMBLES_RATE = 0.2
#: Pictures of a stranger that enrol them, at most.
ENROLLING_PICTURES = 5


class KeptStrangers:
    """Owns the one `inbox.Inbox` of a service. Any thread may call.

    Parameters
    ----------
    folder : Path
    kept : {"off", "cameras", "all"}
        Whose faces are kept: nobody's, those before cameras, or also those on the photos of requests.
    days : float
        How long, after somebody was last seen.
    engine : Engine
    gallery : Gallery
    matcher : Matcher
    rules : Rules
        What a picture must be to enrol somebody.
    vault : Vault, optional
        What they are encrypted with.
    """

    def __init__(
        self,
        folder: Path,
        kept: str,
        days: float,
        engine: Engine,
        gallery: Gallery,
        matcher: Matcher,
        rules: Rules,
        vault: Vault | None,
    ):
        self._folder, self._kept, self._days, self._vault = folder, kept, days, vault
        self._engine, self._gallery, self._matcher, self._rules = engine, gallery, matcher, rules
        self._inbox: Inbox | None = None
        self._lock = threading.Lock()

    @property
    def wanted(self) -> bool:
        """Whether any are kept."""
        return self._kept != "off"

    @property
    def inbox(self) -> Inbox:
        """Takes who is not known; made when it is first asked for.

        Raises
        ------
        StrangersOff, StorageError
        """
        if not self.wanted:
            raise StrangersOff("no strangers are kept: the setting RECOGNIZER_STRANGERS is off")
        with self._lock:
            if self._inbox is None:
                self._inbox = Inbox(
                    self._open(), self._engine, self._rules, self._matcher.match, lambda: self._gallery.generation
                )
            return self._inbox

    @property
    def people(self) -> Strangers:
        """Everybody in the inbox, to be joined, split, named and dismissed.

        Raises
        ------
        StrangersOff, StorageError
        """
        return self.inbox.strangers

    def _open(self) -> Strangers:
        def limit(faces: int) -> float:
            return clustering.limit_for(faces, self._matcher.curve.distance)

        return Strangers(self._folder, self._engine.info.id, limit, Bounds(days=self._days), vault=self._vault)

    def look_after(self) -> None:
        """Look after the strangers from now on; where none are kept any longer, forget those whose time is over. Servers do
        this; commands do not."""
        if self.wanted:
            self.inbox  # noqa: B018, made here
        elif self._folder.is_dir():
            self._open().purge()

    def all(self) -> list[Stranger]:
        """Everybody in the inbox, whoever was seen last first; nobody where it is off."""
        return self.people.all() if self.wanted else []

    def resembles(self, strangers: list[Stranger]) -> list[Candidate | None]:
        """Who of those who are enrolled is nearest to each stranger's best picture, if that is nearer than most are."""
        return self._matcher.nearest([each.pictures[0].vector for each in strangers], RESEMBLES_RATE)

    def pictures(self, id_: str) -> list[bytes]:
        """The pictures that enrol a stranger, best first.

        Raises
        ------
        StrangerNotFound, StrangersOff
        """
        held = self.people
        return [held.picture(id_, each.id) for each in held.get(id_).pictures[:ENROLLING_PICTURES]]

    def offer(self, seen: Seen) -> None:
        """Hand the faces that a request's photo shows and nobody knows to the inbox, without waiting for it; where those are
        kept, and once somebody looks after strangers."""
        inbox, now = self._inbox, time.time()
        if inbox is None or self._kept != "all":
            return
        for number, face in enumerate(seen.faces):
            fit = face.box.size >= self._rules.min_face and face.quality is not None and not quality.remarks(face.quality)
            if face.subject is not None or not fit:
                continue
            image = seen.image
            height, width = image.pixels.shape[:2]
            fx, fy = width / image.width, height / image.height
            box = Box(face.box.left * fx, face.box.top * fy, face.box.right * fx, face.box.bottom * fy)
            shot = Shot(cut(image.pixels, box), now, worth(face.quality))
            inbox.offer(Sighting(f"request/{now:.3f}/{number}/{id(seen):x}", None, now, now, (shot,)))

    def counts(self) -> dict[str, int] | None:
        """What became of sightings since the start; None where nobody looked after any."""
        return None if self._inbox is None else self._inbox.counts()

    def close(self) -> None:
        """Finish what waits, end the thread."""
        with self._lock:
            if self._inbox is not None:
                self._inbox.close()
