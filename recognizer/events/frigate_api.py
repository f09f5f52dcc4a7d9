"""What is asked of Frigate's API about its events: snapshots, whose faces are on them, and sub labels."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from recognizer.core.brief import cut
from recognizer.core.errors import FetchError, FetchFailed, ImageError
from recognizer.events.double_take_topics import NamedFace
from recognizer.events.frigate_login import FrigateRequests
from recognizer.photos.image_headers import read_jpeg

#: Longest sub label that Frigate takes.
_LABEL = 100
#: How long Frigate's sizes of frames are remembered.
_SIZES_SECONDS = 600.0
#: By how much of its size Frigate's box of a person is enlarged: heads stick out of it.
_MARGIN = 0.15


class FrigateApi:
    """What is asked of Frigate's API.

    Parameters
    ----------
    requests : FrigateRequests
    """

    def __init__(self, requests: FrigateRequests):
        self._requests = requests
        self._sizes: dict[str, tuple[float, float]] = {}  # of each camera's frames; replaced
        self._sizes_until = float("-inf")

    def check(self) -> None:
        """Check that Frigate can be reached, lets this server in, and lets it set sub labels, as far as Frigate tells.

        Raises
        ------
        FetchError
        """
        self._requests.get("/version")
        try:
            profile = json.loads(self._requests.get("/profile"))
        except (ValueError, RecursionError):
            return
        except FetchFailed as error:
            if error.details.get("status") == 404:  # before 0.14, which had no users
                return
            raise
        name, role = (profile.get("username"), profile.get("role")) if isinstance(profile, dict) else (None, None)
        if isinstance(role, str) and role != "admin":
            who = f"{cut(str(name))} has the role {cut(role)}"
            raise FetchFailed(f"Frigate lets only the role admin set sub labels, and {who}", status=403)

    def snapshot(self, after: Mapping[str, Any]) -> bytes:
        """The best picture of an event's person so far, a JPEG.

        It is the whole frame without drawings while the event lasts. Of one that has ended, versions before 0.18 have only what
        the camera's settings made of it, perhaps cut, smaller and drawn on; 0.18 makes it as small as these say at any time.

        Raises
        ------
        FetchError
        """
        return self._requests.get(f"{_event(after)}/snapshot.jpg?bbox=0&timestamp=0&crop=0&quality=95")

    def of_person(self, findings: Sequence[NamedFace], after: Mapping[str, Any], snapshot: bytes) -> list[NamedFace]:
        """The faces of the person whom an event follows, on its snapshot: others may be on it as well.

        Parameters
        ----------
        findings : sequence of NamedFace
            The faces on the snapshot, the largest first.
        """
        box, found = _box_of(after), list(findings)
        if box is None or not found:
            return found
        try:
            header = read_jpeg(snapshot)
        except ImageError:
            return inside(found, box)
        width, height = header.width, header.height
        frame = self._frame_size(after["camera"])
        if frame is None:
            return inside(found, box) if box[2] <= width and box[3] <= height else found[:1]
        if abs(width * frame[1] - height * frame[0]) > max(frame):  # more than rounding: it is cut to the person
            return found[:1]
        scale = width / frame[0]
        return inside(found, (box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale))

    def _frame_size(self, camera: str) -> tuple[float, float] | None:
        """Width and height of the frames in which Frigate finds people, which boxes refer to; None if it does not tell."""
        if time.monotonic() > self._sizes_until:
            self._sizes_until = time.monotonic() + _SIZES_SECONDS
            try:
                self._sizes = _sizes_in(json.loads(self._requests.get("/config")))
            except (FetchError, ValueError, RecursionError):
                self._sizes = {}
        return self._sizes.get(camera)

    def set_label(self, after: Mapping[str, Any], named: Sequence[NamedFace]) -> None:
        """Give an event the names of the faces as its sub label.

        Raises
        ------
        FetchError
        """
        names = list(dict.fromkeys(each.name for each in named if each.name is not None))
        while len(names) > 1 and len(", ".join(names)) > _LABEL:
            names.pop()
        score = round(min(each.similarity for each in named), 4)
        body = {"subLabel": ", ".join(names)[:_LABEL], "subLabelScore": score, "camera": after["camera"]}
        self._requests.post(f"{_event(after)}/sub_label", body)


def inside(findings: Sequence[NamedFace], box: tuple[float, float, float, float]) -> list[NamedFace]:
    """The faces in Frigate's box of a person (left, top, right, bottom)."""
    left, top, right, bottom = box
    dx, dy = _MARGIN * (right - left), _MARGIN * (bottom - top)
    centres = [((each.box[0] + each.box[2]) / 2, (each.box[1] + each.box[3]) / 2) for each in findings]
    return [
        each
        for each, (x, y) in zip(findings, centres, strict=True)
        if left - dx <= x <= right + dx and top - dy <= y <= bottom + dy
    ]


def _event(after: Mapping[str, Any]) -> str:
    return f"/events/{quote(after['id'], safe='')}"


def _sizes_in(config: object) -> dict[str, tuple[float, float]]:
    """The sizes of the frames that Frigate detects on, by camera, in its configuration."""
    cameras = config.get("cameras") if isinstance(config, dict) else None
    sizes: dict[str, tuple[float, float]] = {}
    for name, camera in cameras.items() if isinstance(cameras, dict) else ():
        detect = camera.get("detect") if isinstance(camera, dict) else None
        width, height = (detect.get("width"), detect.get("height")) if isinstance(detect, dict) else (None, None)
        if isinstance(width, (int, float)) and isinstance(height, (int, float)) and width > 0 and height > 0:
            sizes[name] = width, height
    return sizes


def _box_of(after: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Where the person is on the snapshot, if Frigate says so."""
    snapshot = after.get("snapshot")
    box = snapshot.get("box") if isinstance(snapshot, dict) else None
    if not isinstance(box, list) or len(box) != 4 or not all(type(edge) in (int, float) for edge in box):
        return None
    return box[0], box[1], box[2], box[3]
