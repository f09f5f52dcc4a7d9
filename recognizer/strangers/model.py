"""What is seen and stored of strangers: sightings, pictures, strangers, and the limits of storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

#: How many visits of a stranger are remembered, so that their events can be named later.
MOST_VISITS = 200


@dataclass(frozen=True, slots=True, eq=False)
class StrangerShot:
    """A face: pixels around it (RGB), the time, and the quality of the picture, 0 to 1."""

    pixels: np.ndarray
    time: float
    worth: float


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """An unknown person who was seen; reported again with the same `visit` while the person stays.

    Attributes
    ----------
    visit : str
        The same for the same stay.
    camera : str or None
        None for a photo of a request.
    first, last : float
        Seconds since the epoch.
    shots : tuple of StrangerShot
        Those since the last report of this visit; may be empty.
    named : bool
        The person was identified.
    """

    visit: str
    camera: str | None
    first: float
    last: float
    shots: tuple[StrangerShot, ...] = ()
    named: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Fresh:
    """A picture that may be stored: a JPEG and its embedding."""

    jpeg: bytes
    vector: np.ndarray
    time: float
    quality: float


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A stored picture; `vector` is its template."""

    id: str
    time: float
    camera: str | None
    quality: float
    visit: str
    vector: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Stranger:
    """A person whom nobody enrolled.

    Attributes
    ----------
    sightings : int
        Number of visits.
    first_seen, last_seen : float
        Seconds since the epoch.
    at : dict
        Camera (None: photos of requests) -> when last seen there.
    pictures : tuple of Picture
        Best first.
    visits : tuple of str
        The visits (see `Sighting`), the last `MOST_VISITS` of them.
    never : bool
        Dismissed for ever: only templates are stored.
    fixed : bool
    apart : frozenset
        See `clustering.Group`.
    """

    id: str
    sightings: int
    first_seen: float
    last_seen: float
    at: Mapping[str | None, float]
    pictures: tuple[Picture, ...]
    visits: tuple[str, ...] = ()
    never: bool = False
    fixed: bool = False
    apart: frozenset = frozenset()

    @property
    def cameras(self) -> list[str]:
        """Where they were seen, the latest first."""
        return sorted((camera for camera in self.at if camera is not None), key=lambda camera: -self.at[camera])

    def dismissed(self) -> Stranger:
        """The same person, dismissed for ever: the templates, and the time of the last sighting."""
        pictures = tuple(replace(each, time=0.0, camera=None, visit="") for each in self.pictures)
        last = self.last_seen
        return replace(self, sightings=0, first_seen=last, at={}, pictures=pictures, visits=(), never=True)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of storage; the oldest strangers and the worst pictures are deleted first.

    Attributes
    ----------
    strangers, never, pictures : int
        Strangers, people who were dismissed for ever, and pictures of each.
    days : float
        Strangers are deleted after so many days without a sighting, dismissed or not.
    """

    strangers: int = 300
    never: int = 1000
    pictures: int = 8
    days: float = 30.0


def joined_visits(*visits: Sequence[str]) -> tuple[str, ...]:
    """All visits, each once; the last `MOST_VISITS`."""
    return tuple(dict.fromkeys(each for some in visits for each in some))[-MOST_VISITS:]
