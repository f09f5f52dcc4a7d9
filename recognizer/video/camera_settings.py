"""What is set for one camera: zones, masks, a schedule, and limits that differ from the server's. Pure: no files, no clocks.

Points are fractions of the picture, x to the right and y down, so that settings hold for any resolution.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recognizer.core.brief import brief
from recognizer.core.errors import InvalidParameter
from recognizer.core.types import Faces
from recognizer.video.frames import FrameResult, TrackedFace

#: Monday first, as `time.struct_time.tm_wday` counts.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: Maximum numbers of zones, of masks, of periods, and of the corners of one area.
MOST_AREAS, MOST_PERIODS, MOST_CORNERS = 16, 28, 64
#: Least share of the picture that an area covers; smaller ones are clicks that missed.
LEAST_AREA = 1e-4
#: Limits of the settings that are numbers.
LIMITS: dict[str, tuple[float, float]] = {"min_face": (8, 2000), "stranger_rate": (1e-6, 0.5), "unknown_quality": (0, 1)}
_LONGEST_NAME = 60
_DIGITS = 4
_MINUTES = 24 * 60
_TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])", re.ASCII)

Corners = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Zone:
    """An area of the picture; only faces whose centre lies in a zone give events.

    Attributes
    ----------
    name : str
        Appears in events; empty for a zone without a name.
    points : tuple of (float, float)
        The corners of a polygon, in order.
    """

    name: str
    points: Corners


@dataclass(frozen=True, slots=True)
class WatchPeriod:
    """Hours of some days, on this machine's clock.

    Attributes
    ----------
    days : tuple of str
        Of `DAYS`.
    begin, end : int
        Minutes since midnight, `begin` included. An `end` that is not after `begin` is on the following day.
    """

    days: tuple[str, ...]
    begin: int
    end: int

    def has(self, day: int, minute: int) -> bool:
        """Whether a minute of a day, 0 for Monday, is in the period."""
        if self.begin < self.end:
            return DAYS[day] in self.days and self.begin <= minute < self.end
        return (DAYS[day] in self.days and minute >= self.begin) or (DAYS[day - 1] in self.days and minute < self.end)


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """The settings of one camera.

    Attributes
    ----------
    zones : tuple of Zone
        Empty: the whole picture gives events.
    masks : tuple of tuple of (float, float)
        Polygons that are blackened before anything else is done with a picture.
    schedule : tuple of WatchPeriod
        When the camera gives events; empty for always.
    events : bool
        Whether the camera gives events about people at all.
    min_face : int or None
        Least width and height of a face in pixels of the picture; None for the server's.
    stranger_rate : float or None
        Probability that a stranger gets a name; None for the server's.
    unknown_quality : float or None
        Least quality of an unknown person's best picture; None for the server's.
    """

    zones: tuple[Zone, ...] = ()
    masks: tuple[Corners, ...] = ()
    schedule: tuple[WatchPeriod, ...] = ()
    events: bool = True
    min_face: int | None = None
    stranger_rate: float | None = None
    unknown_quality: float | None = None

    def zones_at(self, x: float, y: float) -> tuple[Zone, ...]:
        """The zones that contain a point, in fractions of the picture."""
        return tuple(zone for zone in self.zones if contains(zone.points, x, y))

    def zone_names(self) -> tuple[str, ...]:
        """The names of the zones that have one."""
        return tuple(zone.name for zone in self.zones if zone.name)

    def watches_at(self, when: float) -> bool:
        """Whether the camera gives events about people at a time, in seconds since the epoch."""
        if not self.events or not self.schedule:
            return self.events
        local = time.localtime(when)
        return any(period.has(local.tm_wday, 60 * local.tm_hour + local.tm_min) for period in self.schedule)

    def noted(self, result: FrameResult) -> FrameResult:
        """What of a result may give events: no face while the camera gives none, else those in zones, which are named."""
        if not self.watches_at(result.frame.time):
            return replace(result, faces=()) if result.faces else result
        if not self.zones or not result.faces:
            return result
        found = [(each, self._in_zones(each, result)) for each in result.faces]
        inside = tuple(face for _, face in found if face is not None)
        return replace(result, faces=inside, outside=tuple(each.box for each, face in found if face is None))

    def _in_zones(self, face: TrackedFace, result: FrameResult) -> TrackedFace | None:
        x, y = face.box.centre
        zones = self.zones_at(x / result.frame.width, y / result.frame.height)
        return replace(face, zones=tuple(zone.name for zone in zones if zone.name)) if zones else None

    def erased(self, pixels: np.ndarray) -> np.ndarray:
        """A picture, RGB uint8 (H, W, 3), with the masks in black: a copy, or the picture itself if there are none."""
        if not self.masks:
            return pixels
        import cv2

        height, width = pixels.shape[:2]
        copy = np.ascontiguousarray(pixels).copy()
        for mask in self.masks:
            cv2.fillPoly(copy, [np.rint(np.array(mask) * (width, height)).astype(np.int32)], (0, 0, 0))
        return copy

    def unmasked(self, faces: Faces, width: int, height: int) -> Faces:
        """The faces of a picture of this size whose centres lie in no mask."""
        if not self.masks or not len(faces):
            return faces
        centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 / (width, height)
        kept = [i for i, (x, y) in enumerate(centres) if not any(contains(mask, float(x), float(y)) for mask in self.masks)]
        return faces if len(kept) == len(faces) else faces.select(kept)


#: What a camera has for which nothing is set.
PLAIN = CameraSettings()
#: What a camera has while nobody can tell what is set: nothing of its picture is shown, recognised or stored.
COVERED = CameraSettings(masks=(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),), events=False)


def renamed_zones(before: CameraSettings, after: CameraSettings) -> dict[str, str]:
    """The zones that got another name: new names by old ones. Their corners are the same, and no zone has the old name."""
    left = {zone.name.casefold() for zone in after.zones}
    now = {zone.points: zone.name for zone in after.zones if zone.name}
    return {
        zone.name: now[zone.points]
        for zone in before.zones
        if zone.name and zone.name.casefold() not in left and zone.points in now
    }


def contains(corners: Corners, x: float, y: float) -> bool:
    """Whether a polygon contains a point; parts that it covers twice are outside, as where they are drawn."""
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            inside = not inside
    return inside


# -- as plain data ----------------------------------------------------------------------------------------------------


def plain_settings(settings: CameraSettings) -> dict[str, Any]:
    """Settings as JSON shows and stores them; `parse_settings` reads it."""
    return {
        "zones": [{"name": zone.name, "points": [list(point) for point in zone.points]} for zone in settings.zones],
        "masks": [{"points": [list(point) for point in mask]} for mask in settings.masks],
        "schedule": [
            {"days": list(each.days), "from": _clock(each.begin), "to": _clock(each.end)} for each in settings.schedule
        ],
        "events": settings.events,
        "min_face": settings.min_face,
        "stranger_rate": settings.stranger_rate,
        "unknown_quality": settings.unknown_quality,
    }


def parse_settings(said: Mapping[str, Any]) -> CameraSettings:
    """Settings from plain data; what is missing has its default.

    Raises
    ------
    InvalidParameter
        It begins with the name of the setting that is wrong.
    """
    unknown = sorted(set(said) - set(plain_settings(PLAIN)))
    if unknown:
        raise InvalidParameter(f"{brief(unknown[0])}: no such setting of a camera")
    events = said.get("events", True)
    if not isinstance(events, bool):
        raise InvalidParameter(f"events: expected true or false, got {brief(events)}")
    zones = tuple(_zone(each) for each in _items(said, "zones", MOST_AREAS))
    names = [zone.name.casefold() for zone in zones if zone.name]
    if len(set(names)) < len(names):
        raise InvalidParameter("zones: expected names that differ")
    masks = tuple(_mask(each) for each in _items(said, "masks", MOST_AREAS))
    schedule = tuple(_period(each) for each in _items(said, "schedule", MOST_PERIODS))
    least_face = _limited("min_face", said.get("min_face"))
    if least_face is not None and least_face != int(least_face):
        raise InvalidParameter(f"min_face: expected a whole number, got {least_face}")
    return CameraSettings(
        zones,
        masks,
        schedule,
        events,
        None if least_face is None else int(least_face),
        _limited("stranger_rate", said.get("stranger_rate")),
        _limited("unknown_quality", said.get("unknown_quality")),
    )


def _items(settings: Mapping[str, Any], what: str, most: int) -> Sequence[Any]:
    said = settings.get(what)
    if said is None:
        return ()
    if not isinstance(said, (list, tuple)):
        raise InvalidParameter(f"{what}: expected a list, got {brief(said)}")
    if len(said) > most:
        raise InvalidParameter(f"{what}: expected at most {most}, got {len(said)}")
    return said


def _fields(what: str, said: Any, required: set[str], others: frozenset[str] = frozenset()) -> dict[str, Any]:
    if not isinstance(said, dict) or not required <= said.keys() <= required | others:
        wanted = ", ".join(sorted(required | others))
        raise InvalidParameter(f"{what}: expected objects with {wanted}, got {brief(said)}")
    return said


def _zone(said: Any) -> Zone:
    fields = _fields("zones", said, {"points"}, frozenset({"name"}))
    name = fields.get("name") or ""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidParameter(f"zones: expected a name of at most {_LONGEST_NAME} printable characters, got {brief(name)}")
    return Zone(" ".join(name.split()), _corners("zones", fields["points"]))


def _mask(said: Any) -> Corners:
    return _corners("masks", _fields("masks", said, {"points"})["points"])


def _corners(what: str, said: Any) -> Corners:
    if not isinstance(said, (list, tuple)) or not 3 <= len(said) <= MOST_CORNERS:
        raise InvalidParameter(f"{what}: expected 3 to {MOST_CORNERS} points, got {brief(said)}")
    points = []
    for each in said:
        if not isinstance(each, (list, tuple)) or len(each) != 2 or not all(_is_fraction(value) for value in each):
            raise InvalidParameter(f"{what}: expected points as two numbers from 0 to 1, got {brief(each)}")
        points.append((round(float(each[0]), _DIGITS), round(float(each[1]), _DIGITS)))
    following = (*points[1:], points[0])
    doubled = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, following, strict=True))
    if abs(doubled) / 2 < LEAST_AREA:
        raise InvalidParameter(f"{what}: expected corners of an area, not of a line or a point")
    return tuple(points)


def _is_number(value: Any) -> bool:
    """Whether this is a number; of integers also one that no float can be."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and (isinstance(value, int) or math.isfinite(value))


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _period(said: Any) -> WatchPeriod:
    fields = _fields("schedule", said, {"days", "from", "to"})
    days = fields["days"]
    if not isinstance(days, (list, tuple)) or not days or not all(isinstance(day, str) and day in DAYS for day in days):
        raise InvalidParameter(f"schedule: expected days of {', '.join(DAYS)}, got {brief(days)}")
    begin, end = _minutes(fields["from"]), _minutes(fields["to"])
    if begin == _MINUTES:
        raise InvalidParameter("schedule: expected a beginning from 00:00 to 23:59, got 24:00")
    return WatchPeriod(tuple(day for day in DAYS if day in days), begin, end)


def _minutes(said: Any) -> int:
    """Minutes since midnight of ``HH:MM``; 24:00 is the end of a day."""
    found = _TIME.fullmatch(said) if isinstance(said, str) else None
    minutes = None if found is None else 60 * int(found[1]) + int(found[2])
    if minutes is None or minutes > _MINUTES:
        raise InvalidParameter(f"schedule: expected times as HH:MM, got {brief(said)}")
    return minutes


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _limited(name: str, said: Any) -> float | None:
    if said is None:
        return None
    least, most = LIMITS[name]
    if not _is_number(said) or not least <= said <= most:
        raise InvalidParameter(f"{name}: expected {least:g} to {most:g}, got {brief(said)}")
    return float(said)
