"""Which face a photo enrols, as its file's name says: what stands in it before the extension."""

from __future__ import annotations

import posixpath

from recognizer.enrolment import face_choice
from recognizer.enrolment.encodings import FORCED

#: A photo whose name ends so (before its extension) enrols its largest face, however many there are.
LARGEST_MARK = ".largest"
#: What a photo's name has before the place of the face that it enrols, as in `x.at-512-340.jpg`; see `face_choice`.
PLACE_MARK = ".at-"
#: A photo whose name ends so (after another of these, if it has both) is used although its face is not comparable.
FORCED_MARK = ".forced"


def wanted_face(path: str) -> str:
    """Which face the photo at this path enrols, by its name; see `Encoding.face`."""
    if LARGEST_MARK not in path and PLACE_MARK not in path and FORCED_MARK not in path:
        return "only"  # hundreds of thousands of paths are asked about at a start
    stem = posixpath.splitext(posixpath.basename(path))[0]
    forced = stem.endswith(FORCED_MARK)
    rest = stem.removesuffix(FORCED_MARK)
    face = "largest" if rest.endswith(LARGEST_MARK) else "only"
    if PLACE_MARK in rest and face_choice.is_place(place := rest[rest.rindex(PLACE_MARK) + 1 :]):
        face = place
    return face + FORCED if forced else face


def marks(face: str) -> str:
    """The end of the name of a photo that enrols this face; see `wanted_face`."""
    base = face.removesuffix(FORCED)
    chosen = LARGEST_MARK if base == "largest" else f".{base}" if face_choice.is_place(base) else ""
    return chosen + (FORCED_MARK if face.endswith(FORCED) else "")
