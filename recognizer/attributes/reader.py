"""Reads attributes of faces in a picture: cuts chips, runs the networks that are needed, and asks the estimators."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from recognizer.attributes.estimators import ESTIMATORS
from recognizer.attributes.networks import NETWORKS, PADDING, load_network
from recognizer.core.answers import ATTRIBUTES, Answer, FaceAttributes
from recognizer.core.types import Faces, check_pixels
from recognizer.engines.dlib.native import shapes, shapes_at

#: Remarks on the picture of a face with which nothing is said. A blurred adult looks like a child to these networks, and the
#: probabilities do not show it (docs/attributes.md).
UNFIT = ("small", "blurred", "flat", "turned", "cut_off", "doubtful", "not_comparable")
#: Evidence of one face by attribute, each (k,).
Evidence = Mapping[str, np.ndarray]


def needed_networks(attributes: Collection[str]) -> tuple[str, ...]:
    """Keys of the networks, which are those of their files, that these attributes need."""
    return tuple(dict.fromkeys(key for name in ATTRIBUTES if name in attributes for key in ESTIMATORS[name].networks))


class AttributeReader:
    """Loaded networks for some attributes. Thread-safe.

    Parameters
    ----------
    attributes : collection of str
        Some of `ATTRIBUTES`.
    models_dir : Path
        Folder of the downloaded weights.

    Raises
    ------
    ModelMissing, ModelCorrupt, StorageError
    """

    def __init__(self, attributes: Collection[str], models_dir: Path):
        self.attributes = tuple(name for name in ATTRIBUTES if name in attributes)
        self._networks = {key: load_network(key, models_dir) for key in needed_networks(self.attributes)}

    def evidence(
        self,
        pixels: np.ndarray,
        faces: Faces,
        attributes: Collection[str] | None = None,
        points: np.ndarray | None = None,
    ) -> list[Evidence]:
        """The evidence of each face about `attributes` (default: all of the reader's).

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB.
        faces : Faces
            In pixels of `pixels`, of any detector.
        points : ndarray, shape (n, 5, 2), optional
            dlib's five landmarks of each face in whole pixels of `pixels`, if the caller has them already: finding them takes a
            fifth of the time.
        """
        wanted = [name for name in self.attributes if attributes is None or name in attributes]
        if not len(faces) or not wanted:
            return [{} for _ in faces]
        sides = {NETWORKS[key].side for key in needed_networks(wanted)}
        chips = cut_chips(np.ascontiguousarray(check_pixels(pixels)), faces, sides, points)
        outputs = {key: self._networks[key].run(chips[NETWORKS[key].side]) for key in needed_networks(wanted)}
        found = {name: ESTIMATORS[name].evidence(outputs) for name in wanted}
        return [{name: rows[index] for name, rows in found.items()} for index in range(len(faces))]

    def read(
        self,
        pixels: np.ndarray,
        faces: Faces,
        remarks: Sequence[Sequence[str]],
        attributes: Collection[str] | None = None,
        points: np.ndarray | None = None,
    ) -> list[FaceAttributes]:
        """The attributes of each face; with `remarks`, codes of what is wrong with its picture, one list for each. The other
        arguments are those of `evidence`."""
        wanted = [name for name in self.attributes if attributes is None or name in attributes]
        unfit = [tuple(code for code in codes if code in UNFIT) for codes in remarks]
        fit = [index for index, codes in enumerate(unfit) if not codes]
        known = None if points is None else points[fit]
        evidence = dict(zip(fit, self.evidence(pixels, faces.select(fit), wanted, known), strict=True))
        return [
            answered(evidence[index], wanted) if index in evidence else unanswered(wanted, unfit[index])
            for index in range(len(faces))
        ]


def answered(evidence: Evidence, attributes: Collection[str]) -> FaceAttributes:
    """What the evidence says about each of `attributes`."""
    answers: dict[str, Answer | None] = {}
    reasons: dict[str, tuple[str, ...]] = {}
    for name in attributes:
        said = ESTIMATORS[name].answer(evidence[name])
        answers[name] = None if isinstance(said, str) else said
        if isinstance(said, str):
            reasons[name] = (said,)
    return FaceAttributes(answers, reasons)


def unanswered(attributes: Collection[str], codes: Sequence[str]) -> FaceAttributes:
    """Nothing about each of `attributes`, for these reasons."""
    return FaceAttributes(dict.fromkeys(attributes), {name: tuple(codes) for name in attributes})


def cut_chips(
    pixels: np.ndarray, faces: Faces, sides: Collection[int], points: np.ndarray | None = None
) -> dict[int, np.ndarray]:
    """Aligned faces as squares of each of `sides`: RGB uint8 (n, side, side, 3), by side.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3), contiguous
        RGB.
    faces : Faces
        In pixels of `pixels`.
    points : ndarray, shape (n, 5, 2), optional
        dlib's five landmarks of each face, if the caller has them already.
    """
    import dlib

    order = sorted(sides)
    # together: dlib makes its reduced copies of a face's surroundings once for all sides
    found = shapes(pixels, faces) if points is None else shapes_at(faces, points)
    details = [[dlib.get_face_chip_details(each, size=side, padding=PADDING) for side in order] for each in found]
    cut = [dlib.extract_image_chips(pixels, each) for each in details]
    return {
        side: np.array([chips[index] for chips in cut], np.uint8).reshape(-1, side, side, 3) for index, side in enumerate(order)
    }
