"""Azure Face: person groups with persons and their faces, face lists, and training, which takes no time here.

What clients store beside a group, a person or a face (`userData`, a name that no folder can have) is in the group's and the
person's identity file under `azure`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from recognizer.core.errors import (
    GroupNotFound,
    GroupTaken,
    InvalidName,
    InvalidParameter,
    PhotoNotFound,
    SubjectNotFound,
)
from recognizer.core.identity import Identity
from recognizer.core.names import DEFAULT_GROUP, normalise
from recognizer.core.times import iso_time
from recognizer.enrolment.entries import Entry
from recognizer.http.compat.azure_requests import (
    LIST_PREFIX,
    MAX_DATA,
    MAX_NAME,
    RECOGNITION_MODELS,
    AzureRouter,
    choice,
    group_id,
    named_errors,
    one_face,
    page,
    text,
)
from recognizer.http.compat.shared import as_uuid, from_uuid
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.hug_adapter import DialectReply
from recognizer.http.site import Site
from recognizer.service.groups import PeopleGroup, PeopleGroups

#: The one person of a face list.
FACES = "faces"
#: Under which name identity files have what this dialect stores.
KEY = "azure"
#: Most people of one name in a group.
_MOST_OF_A_NAME = 1000


@dataclass(frozen=True)
class GroupKind:
    """A kind of group.

    Attributes
    ----------
    path : str
        Of its routes.
    id_field : str
        What the id is called in replies.
    code : str
        What the codes of errors begin with.
    is_list : bool
        Whether it has faces without persons.
    large : bool
        Whether it lists its faces by pages only.
    """

    path: str
    id_field: str
    code: str
    is_list: bool = False
    large: bool = False

    def group_name(self, id_: str) -> str:
        """The name of the group with an id that a client gives."""
        return (LIST_PREFIX if self.is_list else "") + group_id(id_)


KINDS = (
    GroupKind("persongroups", "personGroupId", "PersonGroup"),
    GroupKind("largepersongroups", "largePersonGroupId", "LargePersonGroup", large=True),
    GroupKind("facelists", "faceListId", "FaceList", is_list=True),
    GroupKind("largefacelists", "largeFaceListId", "LargeFaceList", is_list=True, large=True),
)


def kept(identity: Identity | None) -> Mapping[str, Any]:
    """What this dialect stored in an identity file."""
    found = {} if identity is None else identity.data.get(KEY, {})
    return found if isinstance(found, dict) else {}


def keeping(**changes: Any) -> Callable[[Identity], Identity]:
    """What stores some values in an identity file, and removes those that are None."""

    def change(held: Identity) -> Identity:
        merged = {**kept(held), **changes}
        return held.with_data(**{KEY: {name: value for name, value in merged.items() if value is not None}})

    return change


def require_trained(site: Site, group: PeopleGroup, code: str) -> None:
    """See that a group that a client made was trained; others need no training.

    Raises
    ------
    GroupNotFound
    """
    data = kept(site.service.groups.known_identity(group.name))
    if data.get("kind") and data.get("training", {}).get("status") != "succeeded":
        raise GroupNotFound(f"the group {group.name!r} is not trained", azure=f"{code}NotTrained", status=400)


def add_routes(route: AzureRouter, site: Site) -> None:
    """Add these routes."""
    for kind in KINDS:
        _add_groups(route, site, kind)
        _add_training(route, site, kind)
        if kind.is_list:
            _add_faces(route, site, kind)
        else:
            _add_persons(route, site, kind)
            _add_persisted_faces(route, site, kind)


# -- groups -------------------------------------------------------------------------------------------------------------


def _add_groups(route: AzureRouter, site: Site, kind: GroupKind) -> None:
    def groups() -> PeopleGroups:
        return site.service.groups

    def add(method: str, path: str) -> Callable[[Callable], Callable]:
        return lambda function: route.add(method, f"/{kind.path}{path}")(named_errors(kind.code)(function))

    def shown(name: str, with_model: bool = False, with_faces: bool = False) -> dict:
        data = kept(groups().known_identity(name))
        result = {
            kind.id_field: name.removeprefix(LIST_PREFIX) if kind.is_list else name,
            "name": data.get("name", name),
            "userData": data.get("userData"),
        }
        if with_model:
            result["recognitionModel"] = data.get("recognitionModel", RECOGNITION_MODELS[0])
        if with_faces:
            result["persistedFaces"] = listed_faces(groups().get(name))
        return result

    @add("GET", "")
    def list_groups(asked: DialectRequest) -> list[dict]:
        """The groups of this kind, and those that no client made."""
        found = []
        for name in groups().names():
            if name.startswith(LIST_PREFIX) is not kind.is_list or not _is_id(name.removeprefix(LIST_PREFIX)):
                continue
            if kept(groups().known_identity(name)).get("kind", kind.path) == kind.path:
                found.append(name)
        with_model = asked.switch("returnRecognitionModel")
        return [shown(name, with_model) for name in page(asked, found, lambda name: name.removeprefix(LIST_PREFIX))]

    @add("PUT", "/{group}")
    def create(asked: DialectRequest, group: str) -> dict:
        """Make a group."""
        name = kind.group_name(group)
        model = choice(asked, "recognitionModel", RECOGNITION_MODELS) or RECOGNITION_MODELS[0]
        data = {"kind": kind.path, "name": text(asked, "name", MAX_NAME, True), "recognitionModel": model}
        user_data = text(asked, "userData", MAX_DATA)
        if name == DEFAULT_GROUP:
            raise GroupTaken(f"the group {DEFAULT_GROUP} is there: it has the people of known_faces")
        groups().add(name, **{KEY: data if user_data is None else {**data, "userData": user_data}})
        return {}

    @add("GET", "/{group}")
    def get(asked: DialectRequest, group: str) -> dict:
        """A group."""
        name = groups().get(kind.group_name(group)).name
        return shown(name, asked.switch("returnRecognitionModel"), kind.is_list and not kind.large)

    @add("PATCH", "/{group}")
    def change(asked: DialectRequest, group: str) -> dict:
        """Change the name or the data of a group."""
        name, data = text(asked, "name", MAX_NAME), text(asked, "userData", MAX_DATA)
        changes = {each: value for each, value in (("name", name or None), ("userData", data)) if value is not None}
        if not changes:
            raise InvalidParameter("expected name or userData")
        groups().update(kind.group_name(group), keeping(**changes))
        return {}

    @add("DELETE", "/{group}")
    def delete(asked: DialectRequest, group: str) -> dict:
        """Erase everybody in a group, and the group."""
        groups().delete(kind.group_name(group))
        return {}


def _is_id(name: str) -> bool:
    try:
        return bool(group_id(name))
    except InvalidParameter:
        return False


# -- training -----------------------------------------------------------------------------------------------------------


def _add_training(route: AzureRouter, site: Site, kind: GroupKind) -> None:
    @route.add("POST", f"/{kind.path}/{{group}}/train")
    @named_errors(kind.code)
    def train(asked: DialectRequest, group: str) -> DialectReply:
        """Note that a group was trained: templates are made when photos are added, so there is nothing left to do."""
        found = site.service.groups.get(kind.group_name(group))
        now, succeeded = iso_time(time.time()), len(found.gallery) > 0
        last = kept(site.service.groups.known_identity(found.name)).get("training", {}).get("lastSuccessfulTrainingDateTime")
        status = {"status": "succeeded" if succeeded else "failed", "createdDateTime": now, "lastActionDateTime": now}
        succeeded_at = now if succeeded else last
        if succeeded_at is not None:
            status["lastSuccessfulTrainingDateTime"] = succeeded_at
        if not succeeded:
            status["message"] = "There is no face in this group."
        site.service.groups.update(found.name, keeping(training=status))
        path = asked.environ.get("SCRIPT_NAME", "") + asked.environ.get("PATH_INFO", "").removesuffix("/train") + "/training"
        visit = site.gate.admit(asked.environ)
        host = asked.environ.get("HTTP_HOST", "")
        return DialectReply({}, 202, headers={"Operation-Location": f"{visit.scheme}://{host}{path}" if host else path})

    @route.add("GET", f"/{kind.path}/{{group}}/training")
    @named_errors(kind.code)
    def training(asked: DialectRequest, group: str) -> dict:
        """How the last training ended."""
        found = site.service.groups.get(kind.group_name(group))
        status = kept(site.service.groups.known_identity(found.name)).get("training")
        if status is None:
            message = f"the group {group!r} was never trained"
            raise PhotoNotFound(message, azure=f"{kind.code}NotTrained", status=404)
        failed = {"error": {"code": f"{kind.code}Empty", "message": status.get("message")}}
        return {**status, **(failed if status["status"] == "failed" else {})}


# -- persons ------------------------------------------------------------------------------------------------------------


def _add_persons(route: AzureRouter, site: Site, kind: GroupKind) -> None:
    def add(method: str, path: str) -> Callable[[Callable], Callable]:
        return lambda function: route.add(method, f"/{kind.path}/{{group}}/persons{path}")(named_errors(kind.code)(function))

    def shown(group: PeopleGroup, name: str) -> dict:
        identity = group.ids.of(name)
        data = kept(identity)
        photos = dict.fromkeys(each.photo for each in group.enrolment.entries_so_far(name) if each.photo)
        return {
            "personId": identity.id,
            "name": data.get("name", name),
            "userData": data.get("userData"),
            "persistedFaceIds": [as_uuid(photo) for photo in photos],
        }

    @add("POST", "")
    def create(asked: DialectRequest, group: str) -> dict:
        """Make a person without faces. Of several people of one name, the folders of the later ones have a number."""
        found = site.service.groups.get(kind.group_name(group))
        given, data = text(asked, "name", MAX_NAME, True), text(asked, "userData", MAX_DATA)
        assert given is not None
        name = found.subjects.add_empty(_free_name(found, given))
        changes = {"name": None if given == name else given, "userData": data}
        return {"personId": found.ids.update(name, keeping(**changes)).id}

    @add("GET", "")
    def list_persons(asked: DialectRequest, group: str) -> list[dict]:
        """The people of a group, by their ids."""
        found = site.service.groups.get(kind.group_name(group))
        everybody = [shown(found, name) for name in found.enrolment.folder_names()]
        return page(asked, everybody, lambda each: str(each["personId"]))

    @add("GET", "/{person}")
    def get(asked: DialectRequest, group: str, person: str) -> dict:
        """A person."""
        found = site.service.groups.get(kind.group_name(group))
        return shown(found, found.ids.name_of(person.lower()))

    @add("PATCH", "/{person}")
    def change(asked: DialectRequest, group: str, person: str) -> dict:
        """Rename a person, or change the data."""
        found = site.service.groups.get(kind.group_name(group))
        name, data = found.ids.name_of(person.lower()), text(asked, "userData", MAX_DATA)
        given = text(asked, "name", MAX_NAME)
        changes: dict[str, Any] = {} if data is None else {"userData": data}
        if given and given != kept(found.ids.of(name)).get("name", name):
            new = _free_name(found, given)
            name = found.subjects.rename(name, new).name
            changes["name"] = None if given == name else given
        found.ids.update(name, keeping(**changes))
        return {}

    @add("DELETE", "/{person}")
    def delete(asked: DialectRequest, group: str, person: str) -> dict:
        """Erase a person."""
        found = site.service.groups.get(kind.group_name(group))
        found.subjects.delete(found.ids.name_of(person.lower()))
        return {}


def _free_name(group: PeopleGroup, given: str) -> str:
    """The name for somebody: as given, or with a number where somebody has it.

    Raises
    ------
    InvalidName
        Nobody can have it.
    """
    name = normalise(given)
    for number in range(2, _MOST_OF_A_NAME):
        if group.enrolment.is_free(name):
            return name
        name = normalise(f"{given} ({number})")
    raise InvalidName(f"there are {_MOST_OF_A_NAME} people of this name")


# -- faces of persons -----------------------------------------------------------------------------------------------------


def _add_persisted_faces(route: AzureRouter, site: Site, kind: GroupKind) -> None:
    base = f"/{kind.path}/{{group}}/persons/{{person}}/persistedfaces"

    def holder(group: str, person: str) -> tuple[PeopleGroup, str]:
        found = site.service.groups.get(kind.group_name(group))
        return found, found.ids.name_of(person.lower())

    @route.add("POST", base, photos=True)
    @named_errors(kind.code)
    def add(asked: DialectRequest, group: str, person: str) -> dict:
        """Add a photo of a person."""
        return _add_face(site, asked, *holder(group, person))

    @route.add("GET", base + "/{face}")
    @named_errors(kind.code)
    def get(asked: DialectRequest, group: str, person: str, face: str) -> dict:
        """A face of a person."""
        found, name = holder(group, person)
        return _shown_face(found, name, _entry(found, name, face))

    @route.add("PATCH", base + "/{face}")
    @named_errors(kind.code)
    def change(asked: DialectRequest, group: str, person: str, face: str) -> dict:
        """Change the data of a face."""
        return _change_face(asked, *holder(group, person), face)

    @route.add("DELETE", base + "/{face}")
    @named_errors(kind.code)
    def delete(asked: DialectRequest, group: str, person: str, face: str) -> dict:
        """Erase a face of a person, who stays."""
        return _delete_face(*holder(group, person), face)


def _add_faces(route: AzureRouter, site: Site, kind: GroupKind) -> None:
    base = f"/{kind.path}/{{group}}/persistedfaces"

    def found(group: str) -> PeopleGroup:
        return site.service.groups.get(kind.group_name(group))

    @route.add("POST", base, photos=True)
    @named_errors(kind.code)
    def add(asked: DialectRequest, group: str) -> dict:
        """Add a photo to a face list."""
        return _add_face(site, asked, found(group), FACES)

    @route.add("GET", base)
    @named_errors(kind.code)
    def list_faces(asked: DialectRequest, group: str) -> list[dict]:
        """The faces of a list, by their ids."""
        return page(asked, listed_faces(found(group)), lambda each: str(each["persistedFaceId"]))

    @route.add("GET", base + "/{face}")
    @named_errors(kind.code)
    def get(asked: DialectRequest, group: str, face: str) -> dict:
        """A face of a list."""
        return _shown_face(found(group), FACES, _entry(found(group), FACES, face))

    @route.add("PATCH", base + "/{face}")
    @named_errors(kind.code)
    def change(asked: DialectRequest, group: str, face: str) -> dict:
        """Change the data of a face."""
        return _change_face(asked, found(group), FACES, face)

    @route.add("DELETE", base + "/{face}")
    @named_errors(kind.code)
    def delete(asked: DialectRequest, group: str, face: str) -> dict:
        """Erase a face of a list."""
        return _delete_face(found(group), FACES, face)


def listed_faces(group: PeopleGroup) -> list[dict]:
    """The faces of a face list."""
    entries = {each.photo: each for each in group.enrolment.entries_so_far(FACES) if each.photo}
    return [_shown_face(group, FACES, each) for each in entries.values()]


def _add_face(site: Site, asked: DialectRequest, group: PeopleGroup, name: str) -> dict:
    data = asked.query.get("userData") or None
    if data is not None and len(data) > MAX_DATA:
        raise InvalidParameter(f"userData: expected at most {MAX_DATA} characters")
    photo, which = one_face(site, asked)
    enrolled = group.subjects.enrol(name, photo, face=which)
    if data is not None:
        _set_face_data(group, name, enrolled.encoding.photo, data)
    return {"persistedFaceId": as_uuid(enrolled.encoding.photo)}


def _entry(group: PeopleGroup, name: str, face: str) -> Entry:
    photo = from_uuid(face)
    found = next((each for each in group.enrolment.entries_so_far(name) if each.photo and each.photo == photo), None)
    if found is None:
        raise PhotoNotFound("there is no face with that id")
    return found


def _shown_face(group: PeopleGroup, name: str, entry: Entry) -> dict:
    data = kept(group.ids.known(name)).get("faces", {})
    return {"persistedFaceId": as_uuid(entry.photo), "userData": data.get(entry.photo)}


def _set_face_data(group: PeopleGroup, name: str, photo: str, data: str | None) -> None:
    def change(held: Identity) -> Identity:
        faces = {**kept(held).get("faces", {}), photo: data}
        return keeping(faces={each: value for each, value in faces.items() if value is not None} or None)(held)

    group.ids.update(name, change)


def _change_face(asked: DialectRequest, group: PeopleGroup, name: str, face: str) -> dict:
    data, entry = text(asked, "userData", MAX_DATA), _entry(group, name, face)
    _set_face_data(group, name, entry.photo, data or None)
    return {}


def _delete_face(group: PeopleGroup, name: str, face: str) -> dict:
    entry = _entry(group, name, face)
    group.subjects.delete_photo(name, entry.photo)
    try:
        if entry.photo in kept(group.ids.known(name)).get("faces", {}):
            _set_face_data(group, name, entry.photo, None)
    except SubjectNotFound:  # the list has no face left, and so no folder
        pass
    return {}
