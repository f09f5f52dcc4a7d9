"""What the dialects share: enrolling, similarities, boxes and certainties as their clients expect them, ids as UUIDs."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from recognizer.core.audit import one_act
from recognizer.core.errors import Conflict, FaceError, ImageError, RecognizerError
from recognizer.core.types import Box
from recognizer.galleries.similarity import similarity
from recognizer.http.site import Site
from recognizer.photos.results import Seen, SeenFace, SeenObjects, Verification

_HEX = re.compile(r"[0-9a-f]{32}")
#: The least that a detector's score is shown as: clients drop faces below 0.8, and a face that is reported is taken for one.
_CERTAIN = 0.8


def enrol_largest(site: Site, name: str, photos: Sequence[bytes]) -> int:
    """Enrol the largest face of each photo; returns how many were enrolled. Photos without a usable face are passed over.

    Raises
    ------
    ImageError, FaceError, Conflict
        Of the first photo, if none was enrolled.
    Busy, StorageError
    """
    refused: list[RecognizerError] = []
    with one_act():
        for photo in photos:
            try:
                site.service.subjects.enrol(name, photo, face="largest")
            except (ImageError, FaceError, Conflict) as error:
                refused.append(error)
    if len(refused) == len(photos):
        raise refused[0]
    return len(photos) - len(refused)


def alike(site: Site, distance: float, threshold: float) -> float:
    """The similarity of two faces at a distance, 0 to 1; see `recognizer.galleries.similarity`."""
    return similarity(distance, threshold, site.service.matcher.curve)


def likeness(site: Site, seen: SeenFace) -> float:
    """The similarity of a face and the person nearest to it; 0 where nobody is enrolled or the face is not comparable."""
    match = seen.match
    return (
        0.0
        if match is None or match.distance is None or seen.comparable is False
        else alike(site, match.distance, match.threshold)
    )


def verified(site: Site, found: Verification) -> float:
    """The similarity of two faces that were compared with each other; 0 if one of them is not comparable."""
    return 0.0 if not found.comparable else alike(site, found.distance, found.threshold)


def certainty(score: float) -> float:
    """A detector's score as the probability that clients expect: 0.8 to 1, rising with the score. It is not calibrated."""
    return round(_CERTAIN + (1 - _CERTAIN) * min(1.0, max(0.0, score)), 5)


def corners(box: Box, seen: Seen | SeenObjects) -> dict[str, int]:
    """A box as corners in whole pixels, within the photo."""
    width, height = seen.image.width, seen.image.height
    return {
        "x_min": max(0, round(box.left)),
        "y_min": max(0, round(box.top)),
        "x_max": min(width, round(box.right)),
        "y_max": min(height, round(box.bottom)),
    }


def largest_first(faces: Iterable[SeenFace]) -> list[SeenFace]:
    return sorted(faces, key=lambda face: -face.box.area)


def as_uuid(photo: str) -> str:
    """A photo's id as a UUID: the same digits with hyphens."""
    return str(uuid.UUID(photo))


def from_uuid(text: Any) -> str | None:
    """The photo's id that a UUID stands for; None where the text is none."""
    digits = text.replace("-", "").lower() if isinstance(text, str) else ""
    return digits if _HEX.fullmatch(digits) else None
