"""The photo archive: its folders, search by face, and the groups of faces on its photos."""

# Hug reads the annotations of parameters, so they must not be postponed.
from pathlib import Path

import falcon
import hug

from recognizer.archive import decisions
from recognizer.archive.photo_index import FaceKey
from recognizer.core.errors import InvalidParameter
from recognizer.core.names import normalise
from recognizer.http import archive_replies
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import event_id_type, fraction, ids, switch, text
from recognizer.http.photo_requests import enrol_photos, one_photo
from recognizer.http.site import Site
from recognizer.service.archive_search import probes_for
from recognizer.service.archive_service import Wanted, folder_names

#: Pictures of a group in a list, and in the view of one group.
_FEW, _MANY = 4, 200


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    _add_folders(route, site)
    _add_search(route, site)
    _add_people(route, site)
    _add_decisions(route, site)


def _shown(site: Site, person, most: int = _FEW):
    keys = site.service.archive.file.keys_of(person.id)
    return archive_replies.person(person, len(keys), keys[:most])


def _keys(faces: list[str]) -> list[FaceKey]:
    try:
        found = [FaceKey.parse(each) for each in faces]
    except ValueError:
        found = []
    if len(found) != len(faces) or any(not 0 <= each.number < 1_000_000 for each in found):
        raise InvalidParameter("faces: expected ids of faces, as photo/number")
    return found


def _add_folders(route: Router, site: Site) -> None:
    @route.get("/archive")
    def get_archive():
        """The archive: its folders, counts, and the progress of a running update."""
        archive = site.service.archive
        return {
            "folders": [archive_replies.folder(*each) for each in folder_names(archive.folders())],
            "status": archive.status(),
            "addable": site.settings.archive_files is not None,
        }

    @route.get("/archive/problems")
    def list_archive_problems(limit: hug.types.in_range(1, 1001) = 100):
        """Files of the archive that cannot be used, and why."""
        archive = site.service.archive
        found = archive.file.problems(limit) if archive.exists else []
        folders = archive.folders()
        return {"problems": [archive_replies.problem(*each, folders) for each in found]}

    @route.post("/archive/folders")
    def add_archive_folder(response, folder: text):
        """Add a folder to the archive, and begin to read its photos. It must be in the folder that the settings name."""
        added = site.service.archive.add_folder(Path(folder), restricted=True)
        site.service.audit.append("archive_folder_add", folder=added.id)
        site.service.archive.start_update()
        response.status = falcon.HTTP_201
        names = {each.id: name for each, name in folder_names(site.service.archive.folders())}
        return archive_replies.folder(added, names[added.id])

    @route.delete("/archive/folders/{folder_id}")
    def remove_archive_folder(folder_id: event_id_type):
        """Remove a folder from the archive. No photo is changed or deleted."""
        site.service.archive.remove_folder(folder_id)
        site.service.audit.append("archive_folder_remove", folder=folder_id)
        return {"removed": folder_id}

    @route.post("/archive/update")
    def update_archive(response):
        """Begin to read what is new or changed in the folders of the archive."""
        site.service.archive.start_update()
        response.status = falcon.HTTP_202
        return {"status": site.service.archive.status()}


def _add_search(route: Router, site: Site) -> None:
    @route.post("/archive/search")
    def search_archive(
        request,
        image_url: text = None,
        box: text = None,
        subject: text = None,
        group_id: event_id_type = None,
        stranger: text = None,
        since: text = None,
        until: text = None,
        folder: text = None,
        max_distance: fraction = None,
        limit: hug.types.in_range(1, 1001) = 100,
        cursor: text = None,
    ):
        """Everything in the archive that shows somebody: of a photo, enrolled, a group, or a stranger; nearest first."""
        if max_distance is not None and not 0 <= max_distance <= 4:
            raise InvalidParameter("max_distance: expected a number from 0 to 4")
        brought = bool(request.context.body.photos.get("file")) or bool(image_url)
        photo = one_photo(site, request, "file", image_url) if brought else None
        probes, people = probes_for(site.service, photo, box, subject, group_id, stranger)
        wanted = Wanted(since, until, folder, max_distance, limit, cursor)
        return archive_replies.found(site.service.archive, site.service.archive.find(probes, wanted, people))

    @route.get("/archive/photos/{photo_id}")
    def get_archive_photo(response, photo_id: text, time_s: fraction = None):
        """A photo of the archive, or the frame of a video at a time, as a JPEG of at most 1,600 pixels."""
        if time_s is not None and not 0 <= time_s <= 1_000_000:
            raise InvalidParameter("time_s: expected seconds from the beginning of the video")
        response.content_type = "image/jpeg"
        return site.service.archive.shown_photo(photo_id, time_s)

    @route.get("/archive/photos/{photo_id}/faces/{face}/thumbnail.jpg")
    def get_archive_thumbnail(response, photo_id: text, face: event_id_type):
        """A face of the archive as a small JPEG; it is made when it is first asked for."""
        response.content_type = "image/jpeg"
        return site.service.archive.thumbnail(FaceKey(photo_id, face))

    @route.patch("/archive/photos/{photo_id}/faces/{face}")
    def change_archive_face(photo_id: text, face: event_id_type, no_face: switch):
        """Note that a box shows no face, or that it does after all."""
        decisions.mark_no_face(site.service.archive.file, FaceKey(photo_id, face), no_face)
        site.service.audit.append("archive_no_face", photo=photo_id, face=face, no_face=no_face)
        return {"photo": photo_id, "number": face, "no_face": no_face}


def _add_people(route: Router, site: Site) -> None:
    @route.get("/archive/people", examples="named=true&limit=20")
    def list_archive_people(
        offset: hug.types.in_range(0, 1_000_000_000) = 0,
        limit: hug.types.in_range(1, 1001) = 100,
        named: switch = None,
        suggested: switch = None,
        hidden: switch = False,
        subject: text = None,
    ):
        """Groups of faces, largest first."""
        archive = site.service.archive
        if not archive.exists:
            return {"total": 0, "people": []}
        sizes, people = archive.file.sizes(), archive.file.people()
        chosen = [
            each
            for each in people.values()
            if each.hidden == hidden
            and sizes.get(each.id)
            and (named is None or (each.subject is not None) == named)
            and (suggested is None or (each.likely is not None) == suggested)
            and (subject is None or each.subject == subject)
        ]
        chosen.sort(key=lambda each: (-sizes[each.id], each.id))
        return {"total": len(chosen), "people": [_shown(site, each) for each in chosen[offset : offset + limit]]}

    @route.get("/archive/people/{group_id}")
    def get_archive_person(group_id: event_id_type):
        """One group of faces, with its pictures."""
        return _shown(site, decisions.get_person(site.service.archive.file, group_id), _MANY)


def _add_decisions(route: Router, site: Site) -> None:
    def noted(action: str, person, subject: str | None = None, **details):
        site.service.audit.append(action, subject, group=person.id, **details)
        return _shown(site, person)

    @route.patch("/archive/people/{group_id}")
    def change_archive_person(group_id: event_id_type, subject: text = None, unnamed: switch = False, hidden: switch = None):
        """Name a group or take its name away, hide it from lists or show it again."""
        file = site.service.archive.file
        if (subject is not None) + unnamed + (hidden is not None) != 1:
            raise InvalidParameter("expected one of subject, unnamed and hidden")
        if hidden is not None:
            return noted("archive_hide", decisions.hide(file, group_id, hidden), hidden=hidden)
        name = None if unnamed else normalise(subject)
        return noted("archive_name", decisions.name_person(file, group_id, name), name)

    @route.post("/archive/people/{group_id}/accept")
    def accept_archive_name(group_id: event_id_type):
        """Accept the name that is suggested for a group."""
        person = decisions.accept(site.service.archive.file, group_id)
        return noted("archive_name", person, person.subject)

    @route.post("/archive/people/{group_id}/refuse")
    def refuse_archive_name(group_id: event_id_type):
        """Refuse the name that is suggested for a group or was recognised; it is not suggested again."""
        return noted("archive_refuse", decisions.refuse(site.service.archive.file, group_id))

    @route.post("/archive/people/{group_id}/join")
    def join_archive_people(group_id: event_id_type, other_group_id: event_id_type):
        """Merge two groups that show one person; grouping does not separate them again."""
        return noted("archive_join", decisions.join(site.service.archive.file, group_id, other_group_id), other=other_group_id)

    @route.post("/archive/people/{group_id}/apart")
    def keep_archive_people_apart(group_id: event_id_type, other_group_id: event_id_type):
        """Note that two groups show two people; grouping never merges them."""
        kept = decisions.keep_apart(site.service.archive.file, group_id, other_group_id)
        return noted("archive_apart", kept, other=other_group_id)

    @route.post("/archive/move")
    def move_archive_faces(faces: ids, group_id: event_id_type = None):
        """Move faces to another group, or to a new one; grouping does not move them back."""
        moved = decisions.move(site.service.archive.file, _keys(faces), group_id)
        return noted("archive_move", moved, faces=len(faces))

    @route.post("/archive/undo")
    def undo_archive_decision():
        """Take back the newest decision about groups and faces."""
        kind = decisions.undo(site.service.archive.file)
        site.service.audit.append("archive_undo", kind=kind)
        return {"undone": kind}

    @route.post("/archive/people/{group_id}/enroll")
    def enrol_archive_person(request, response, group_id: event_id_type, subject: text, force: switch = False):
        """Enrol a group: its best pictures enrol that person, new or known, and the group gets the name."""
        archive = site.service.archive
        given = archive.enrolling_pictures(group_id)
        details = {"group": group_id}
        answer = enrol_photos(site, request, response, subject, given, "largest", force, as_one=True, details=details)
        if "error" not in answer:
            archive.name_enrolled(group_id, answer["subject"])
        return answer
