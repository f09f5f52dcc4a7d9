"""Whose face a search of the archive is for: of a photo, an enrolled person or a group, as templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recognizer.core.errors import InvalidParameter, NoFace, PoorPhoto
from recognizer.core.names import normalise_lookup
from recognizer.core.types import Box
from recognizer.service.archive_service import box_of

if TYPE_CHECKING:
    from recognizer.service import Service


def probes_for(
    service: Service,
    photo: bytes | None = None,
    box: str | list[float] | None = None,
    subject: str | None = None,
    group: int | None = None,
    stranger: str | None = None,
) -> tuple[np.ndarray, list[int]]:
    """Templates to search for, float32 (n, d), and the groups whose faces belong to the result in any case.

    Parameters
    ----------
    photo : bytes, optional
    box : str or list, optional
        Which face of the photo: the one that overlaps this box most; the largest by default.
    subject : str, optional
        Somebody who is enrolled, or has a name in the archive.
    group : int, optional
        Id of a group.
    stranger : str, optional
        Id of a stranger.

    Raises
    ------
    InvalidParameter
        None or several of photo, subject, group and stranger are given.
    ImageError, NoFace, PoorPhoto, Busy
        Of the photo.
    SubjectNotFound, ArchiveGroupNotFound, StrangerNotFound, StrangersOff
    """
    given = [name for name, value in _given(photo, subject, group, stranger) if value is not None]
    if len(given) != 1:
        raise InvalidParameter("expected one of a photo, subject, group and stranger to search for")
    if photo is not None:
        return of_photo(service, photo, None if box is None else box_of(box)), []
    if subject is not None:
        name = normalise_lookup(subject)
        probes, named = service.archive.probes_of_subject(name)
        if not len(probes):
            service.subjects.person(name)  # raises, if nobody has the name
        return probes, named
    if stranger is not None:
        return np.array([each.vector for each in service.strangers.people.get(stranger).pictures], np.float32), []
    assert group is not None
    return service.archive.probes_of_group(group), [group]


def _given(photo: bytes | None, subject: str | None, group: int | None, stranger: str | None) -> list[tuple[str, object]]:
    return [("photo", photo), ("subject", subject), ("group_id", group), ("stranger", stranger)]


def of_photo(service: Service, photo: bytes, box: Box | None) -> np.ndarray:
    """The template of one face of a photo, float32 (1, d).

    Raises
    ------
    NoFace
        There is no face, or none where the box is.
    PoorPhoto
        The face cannot be compared with others.
    ImageError, Busy
    """
    seen = service.recognition.describe(photo)
    if not seen.faces:
        raise NoFace("no face was found in this photo")
    if box is None:
        chosen = max(seen.faces, key=lambda face: face.box.area)
    else:
        chosen = max(seen.faces, key=lambda face: _common(face.box, box))
        if _common(chosen.box, box) <= 0:
            raise NoFace("no face was found at this place of the photo")
    if chosen.comparable is False or chosen.embedding is None:
        raise PoorPhoto("the face is too blurred, dark or turned away to be compared")
    return chosen.embedding[None]


def _common(one: Box, other: Box) -> float:
    """Area that two boxes have in common, as a share of both together."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    common = max(0.0, width) * max(0.0, height)
    return common / (one.area + other.area - common)
