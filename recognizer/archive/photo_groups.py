"""The faces of a folder of photos, grouped by person. Groups keep their ids from run to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recognizer.archive.photo_index import FaceKey, PhotoIndex
from recognizer.galleries.clustering import Group, Groups, nothing_lowered


@dataclass(frozen=True)
class PersonGroup:
    """The faces of one person. Groups that show the same enrolled subject are merged, whatever the grouping found.

    Attributes
    ----------
    id : int
        The lowest id of the groups merged; constant from run to run.
    subject : str or None
        The enrolled subject that the group shows.
    faces : tuple of FaceKey
        Best pictures first.
    """

    id: int
    subject: str | None
    faces: tuple[FaceKey, ...]


def group_faces(
    faces: Mapping[FaceKey, np.ndarray],
    before: Mapping[int, Sequence[FaceKey]],
    limit: Callable[[int], float],
    lowered: Callable[[np.ndarray], np.ndarray] = nothing_lowered,
) -> Groups[FaceKey, int]:
    """Group faces by person. The groups of an earlier run grow and keep their ids.

    Parameters
    ----------
    faces : mapping
        Key of each face -> its embedding.
    before : mapping
        Id of each group of the earlier run -> its faces; faces that no longer exist are ignored.
    limit : callable
        Number of faces -> largest distance of neighbours.
    lowered : callable
        By how much that is lowered for each vector; see `clustering.Groups`.
    """
    stored: dict[int, Group[FaceKey, int]] = {
        id_: Group({key: faces[key] for key in keys if key in faces}) for id_, keys in before.items()
    }
    groups = Groups(limit(len(faces)), {id_: each for id_, each in stored.items() if each.faces}, lowered=lowered)
    placed = {key for each in stored.values() for key in each.faces}
    new = [key for key in faces if key not in placed]
    groups.add_faces(new, np.array([faces[key] for key in new]))
    return groups


def name_groups(
    groups: Groups[FaceKey, int], index: PhotoIndex, names: Callable[[Mapping[int, np.ndarray]], Mapping[int, str]]
) -> list[PersonGroup]:
    """The people on the photos: enrolled subjects by name, then the others by number of faces, largest first.

    Parameters
    ----------
    names : callable
        Id of each group -> embeddings of its faces, shape (n, d), to the names of those that have one; see
        `group_names.names_of`.
    """
    found: dict[tuple[str | None, int | None], PersonGroup] = {}
    held = groups.groups()
    named = names({id_: np.array(list(each.faces.values())) for id_, each in held.items()})
    for id_, each in held.items():
        subject = named.get(id_)
        key = (None, id_) if subject is None else (subject, None)
        same = found.get(key)
        if same is None:
            found[key] = PersonGroup(id_, subject, tuple(each.faces))
        else:
            found[key] = PersonGroup(min(id_, same.id), subject, (*same.faces, *each.faces))

    def goodness(key: FaceKey) -> float:
        face = index.faces[key]
        return face.box.size * face.score

    ordered = [replace(each, faces=tuple(sorted(each.faces, key=goodness, reverse=True))) for each in found.values()]
    return sorted(ordered, key=lambda each: (each.subject is None, each.subject or "", -len(each.faces), each.id))
