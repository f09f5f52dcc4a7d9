"""All faces on a photo of an archive: where they are, whose they may be, and whether their pictures are good enough to tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recognizer.core.types import Box
from recognizer.enrolment.bulk import BulkSettings, decode, judged_on
from recognizer.photos.images import Image
from recognizer.photos.quality import picture_value, remarks

#: Remarks that exclude a face from grouping: such faces resemble each other whoever they show.
UNFIT = ("small", "blurred", "flat", "cut_off", "doubtful")


@dataclass(frozen=True, slots=True, eq=False)
class PhotoFace:
    """A face on a photo.

    Attributes
    ----------
    box : Box
        In pixels of the upright photo.
    score : float
        The detector's.
    vector : ndarray of float32, shape (d,)
    quality : float
        What the picture says about whose face it is, 0.01 to 1.
    remarks : tuple of str
        Why the face is not grouped, as codes of `UNFIT` and of `photos.remarks`; empty for a face that is.
    """

    box: Box
    score: float
    vector: np.ndarray
    quality: float
    remarks: tuple[str, ...]


def find_faces(settings: BulkSettings, data: bytes) -> tuple[Image, list[PhotoFace]]:
    """The photo as it was decoded, and all faces on it in the detector's order.

    Raises
    ------
    ImageError, ModelError
    """
    return faces_on(settings, decode(settings, data))


def faces_on(settings: BulkSettings, image: Image) -> tuple[Image, list[PhotoFace]]:
    """The same of a photo that is decoded.

    Raises
    ------
    ModelError
    """
    image, judged = judged_on(settings, image)
    if judged is None:
        return image, []
    found = []
    for face, vector, quality, verdict in zip(judged.faces, judged.vectors, judged.qualities, judged.verdicts, strict=True):
        wrong = [code for code in remarks(quality) if code in UNFIT]
        if not verdict.comparable:
            wrong = list(dict.fromkeys([*wrong, *verdict.remarks]))
        found.append(PhotoFace(face.box, face.score, vector, picture_value(quality), tuple(wrong)))
    return image, found
