"""The archive in JSON, as the routes and the commands show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recognizer.archive.archive_model import ArchiveFolder, ArchivePerson, shown_path
from recognizer.archive.photo_index import FaceKey
from recognizer.core.times import iso_time
from recognizer.service.archive_service import ArchiveResult, KeptArchive, shown_file, shown_time


def folder(each: ArchiveFolder, name: str) -> dict[str, Any]:
    """A folder of the archive, with a name that does not say where it is on the server."""
    return {
        "id": each.id,
        "name": name,
        "state": each.state,
        "added": iso_time(each.added),
        "seen": None if each.seen is None else iso_time(each.seen),
    }


def face_url(key: FaceKey) -> str:
    """Where the thumbnail of a face is."""
    return f"/archive/photos/{key.photo}/faces/{key.number}/thumbnail.jpg"


def problem(path: str, code: str, message: str, folders: Sequence[ArchiveFolder]) -> dict[str, str]:
    """A file that cannot be used."""
    return {"file": shown_file(path, folders), "code": code, "message": message}


def found(archive: KeptArchive, result: ArchiveResult, *, whole_paths: bool = False) -> dict[str, Any]:
    """A page of a search: faces, nearest first.

    Parameters
    ----------
    whole_paths : bool
        Whether files are shown with where they are, as for whoever may read them; otherwise with their folder's name.
    """
    shown, folders = [], archive.folders()
    for each in result.page.faces:
        face = result.faces.get(each.key)
        if face is None:  # erased since
            continue
        photo = result.photos.get(each.key.photo)
        person = None if face.person is None else result.people.get(face.person)
        shown.append(
            {
                "photo": each.key.photo,
                "number": each.key.number,
                "distance": round(each.distance, 4),
                "false_match_rate": float(f"{archive.rate(each.distance):.3g}"),
                "box": face.box.to_dict(),
                "time_s": None if face.seconds is None else round(face.seconds, 3),
                "quality": round(face.quality, 3),
                "width": None if photo is None else photo.width,
                "height": None if photo is None else photo.height,
                "taken": shown_time(each.taken),
                "clock": None if photo is None else photo.clock,
                "files": [
                    shown_path(path) if whole_paths else shown_file(path, folders)
                    for path in result.paths.get(each.key.photo, [])
                ],
                "group_id": face.person,
                "subject": None if person is None else person.subject,
                "thumbnail": face_url(each.key),
            }
        )
    page = result.page
    return {"faces": shown, "total": page.total, "cursor": page.cursor, "max_distance": round(result.max_distance, 4)}


def person(each: ArchivePerson, faces: int, best: list[FaceKey]) -> dict[str, Any]:
    """A group of faces."""
    return {
        "id": each.id,
        "subject": each.subject,
        "decided": each.decided,
        "rate": None if each.rate is None else float(f"{each.rate:.3g}"),
        "likely": each.likely,
        "likely_rate": None if each.likely_rate is None else float(f"{each.likely_rate:.3g}"),
        "hidden": each.hidden,
        "faces": faces,
        "pictures": [{"photo": key.photo, "number": key.number, "thumbnail": face_url(key)} for key in best],
    }
