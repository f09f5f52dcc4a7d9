"""What people decide about the groups of an archive, and how each decision is undone.

Every function is one transaction, and stores what is needed to take it back. Undoing restores the groups and faces that were
changed as they were, if nothing else changed them since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from recognizer.archive import group_names
from recognizer.archive.archive_file import ArchiveFile
from recognizer.archive.archive_model import ArchivePerson
from recognizer.archive.photo_index import FaceKey
from recognizer.core.errors import ArchiveGroupNotFound, InvalidParameter, NothingToUndo, PictureNotFound


def get_person(file: ArchiveFile, id_: int) -> ArchivePerson:
    """One group.

    Raises
    ------
    ArchiveGroupNotFound
    """
    found = file.people([id_]).get(id_)
    if found is None:
        raise ArchiveGroupNotFound(f"there is no group {id_} in the archive, or no longer", group=id_)
    return found


def name_person(file: ArchiveFile, id_: int, subject: str | None) -> ArchivePerson:
    """Give a group a name for good, or none.

    Raises
    ------
    ArchiveGroupNotFound
    """
    with _undoable(file, "name", [id_]):
        before = get_person(file, id_)
        refused = before.refused
        if subject is None and before.subject is not None:
            refused |= {before.subject}
        decided = replace(
            before,
            subject=subject,
            decided=subject is not None,
            rate=None,
            likely=None,
            likely_rate=None,
            refused=frozenset(refused - {subject} if subject else refused),
        )
        file.put_people([decided])
    return decided


def accept(file: ArchiveFile, id_: int) -> ArchivePerson:
    """Accept the suggested or recognised name of a group.

    Raises
    ------
    ArchiveGroupNotFound
    InvalidParameter
        Nothing is suggested.
    """
    with file.change():  # nobody is renamed or erased between the two
        person = get_person(file, id_)
        subject = person.likely or person.subject
        if subject is None:
            raise InvalidParameter(f"no name is suggested for group {id_}")
        return name_person(file, id_, subject)


def refuse(file: ArchiveFile, id_: int, subject: str | None = None) -> ArchivePerson:
    """Refuse a name for a group, for good; by default the one that is suggested or recognised.

    Raises
    ------
    ArchiveGroupNotFound
    InvalidParameter
        Nothing is suggested.
    """
    with _undoable(file, "refuse", [id_]):
        person = get_person(file, id_)
        refused = subject or person.likely or person.subject
        if refused is None:
            raise InvalidParameter(f"no name is suggested for group {id_}")
        cleared: dict[str, Any] = {"refused": person.refused | {refused}}
        if person.likely == refused:
            cleared |= {"likely": None, "likely_rate": None}
        if person.subject == refused:
            cleared |= {"subject": None, "decided": False, "rate": None}
        decided = replace(person, **cleared)
        file.put_people([decided])
    return decided


def hide(file: ArchiveFile, id_: int, hidden: bool) -> ArchivePerson:
    """Leave a group out of lists, or show it again.

    Raises
    ------
    ArchiveGroupNotFound
    """
    with _undoable(file, "hide", [id_]):
        decided = replace(get_person(file, id_), hidden=hidden)
        file.put_people([decided])
    return decided


def join(file: ArchiveFile, id_: int, other: int) -> ArchivePerson:
    """Merge the group `other` into `id_`; grouping does not separate them again.

    Raises
    ------
    ArchiveGroupNotFound
    InvalidParameter
        Both are the same group.
    """
    if id_ == other:
        raise InvalidParameter("other: expected another group")
    with _undoable(file, "join", [id_, other]):
        one, two = get_person(file, id_), get_person(file, other)
        named = one if one.decided or not two.decided else two
        joined = replace(
            named,
            id=id_,
            fixed=True,
            hidden=one.hidden and two.hidden,
            apart=(one.apart | two.apart) - {id_, other},
            refused=(one.refused | two.refused) - {named.subject or ""},
        )
        file.set_faces(id_, file.keys_of(other))
        file.tidy_people()
        file.put_people([joined])
    return joined


def keep_apart(file: ArchiveFile, id_: int, other: int) -> ArchivePerson:
    """Note that two groups show two people: grouping never makes one of them, and they do not get one name.

    Raises
    ------
    ArchiveGroupNotFound
    InvalidParameter
        Both are the same group, or have the same name.
    """
    if id_ == other:
        raise InvalidParameter("other: expected another group")
    with _undoable(file, "apart", [id_, other]):
        one, two = get_person(file, id_), get_person(file, other)
        if one.subject is not None and one.subject == two.subject and one.decided and two.decided:
            raise InvalidParameter("both groups have the same name; take it away from one of them first")
        weaker = _weaker(one, two)
        if weaker is not None:  # a name that was recognised for both
            person = one if weaker == one.id else two
            lost = replace(
                person,
                subject=None,
                rate=None,
                likely=None,
                likely_rate=None,
                refused=person.refused | {person.subject or person.likely or ""},
            )
            one, two = (lost, two) if weaker == one.id else (one, lost)
        kept = replace(one, fixed=True, apart=one.apart | {other})
        file.put_people([replace(two, fixed=True, apart=two.apart | {id_}), kept])
    return kept


def _weaker(one: ArchivePerson, two: ArchivePerson) -> int | None:
    """Of two groups with the same name or suggestion, the one that is less certain; None if there is none."""
    if (one.subject or one.likely) is None or (one.subject or one.likely) != (two.subject or two.likely):
        return None
    return max((one, two), key=group_names.doubt).id


def move(file: ArchiveFile, keys: Collection[FaceKey], to: int | None) -> ArchivePerson:
    """Move faces to another group, or to a new one; grouping does not move them back, and without a name of its own it does not
    get that of a group that it came from.

    Raises
    ------
    ArchiveGroupNotFound
    PictureNotFound
        A face does not exist.
    InvalidParameter
        There are no faces.
    """
    if not keys:
        raise InvalidParameter("faces: expected some")
    held = {key: file.face(key) for key in keys}
    for key, face in held.items():
        if face is None:
            raise PictureNotFound("the archive has no such face", face=str(key))
    sources = {face.person for face in held.values() if face is not None and face.person is not None} - {to}
    involved = [*sources, *([] if to is None else [to])]
    with _undoable(file, "move", involved, keys):
        target = ArchivePerson(file.next_person()) if to is None else get_person(file, to)
        people = file.people(sources)
        file.set_faces(target.id, keys)
        refused = target.refused
        if target.subject is None:
            refused |= {name for each in people.values() for name in (each.subject, each.likely) if name is not None}
        cleared: dict[str, Any] = {"likely": None, "likely_rate": None} if target.likely in refused else {}
        moved = replace(target, fixed=True, apart=target.apart | sources, refused=refused, **cleared)
        file.tidy_people()
        left = file.people(sources)
        file.put_people(replace(people[id_], fixed=True) for id_ in left)
        file.put_people([replace(moved, apart=frozenset(moved.apart & left.keys() | target.apart))])
    return moved


def mark_no_face(file: ArchiveFile, key: FaceKey, no_face: bool = True) -> None:
    """Note that a box shows no face: it is neither shown nor found any more.

    Raises
    ------
    PictureNotFound
    """
    if no_face and file.face(key) is None:
        raise PictureNotFound("the archive has no such face", face=str(key))
    with _undoable(file, "no_face", [], [key]):
        file.set_no_face(key, no_face)


def undo(file: ArchiveFile) -> str:
    """Take the newest decision back; which kind it was.

    Raises
    ------
    NothingToUndo
        There is none, or what it changed was changed again since, by an update or somebody's erasure.
    """
    with file.change():
        newest = file.newest_change()
        if newest is None:
            raise NothingToUndo("no decision about the archive can be undone")
        id_, content = newest
        file.drop_change(id_)
        now = _faces_now(file, [FaceKey.parse(each) for each in content["faces_after"]])
        if now != content["faces_after"] or _people_now(file, content["people_after"]) != content["people_after"]:
            stale = True
        else:
            stale = False
            for text, (person, no_face) in content["faces"].items():
                key = FaceKey.parse(text)
                file.set_faces(person, [key])
                file.set_no_face(key, no_face)
            file.put_people(_person(each) for each in content["people"].values())
            file.tidy_people()
    if stale:
        raise NothingToUndo("what the decision was about has changed since")
    return str(content["kind"])


@contextmanager
def _undoable(file: ArchiveFile, kind: str, people: Collection[int], keys: Collection[FaceKey] = ()) -> Iterator[None]:
    """One transaction that can be undone. `people` are the groups that change, `keys` faces that move besides theirs."""
    with file.change():
        concerned = list(dict.fromkeys([*keys, *(key for id_ in people for key in file.keys_of(id_))]))
        before, groups = _faces_now(file, concerned), _people_now(file, people)
        yield
        after = _faces_now(file, concerned)
        new = {person for person, _ in after.values() if person is not None} | set(people)
        file.push_change(
            {
                "kind": kind,
                "people": groups,
                "people_after": _people_now(file, new),
                "faces": {key: value for key, value in before.items() if after[key] != value},
                "faces_after": {key: value for key, value in after.items() if before[key] != value},
            }
        )


def _faces_now(file: ArchiveFile, keys: Collection[FaceKey]) -> dict[str, list]:
    """Key of each face -> its group, and whether it is none."""
    return {str(key): list(file.place_of(key)) for key in keys}


def _people_now(file: ArchiveFile, ids: Collection[int | str]) -> dict[str, dict[str, Any]]:
    found = file.people([int(id_) for id_ in ids])
    return {str(id_): {**_plain(person)} for id_, person in sorted(found.items())}


def _plain(person: ArchivePerson) -> dict[str, Any]:
    values = {name: getattr(person, name) for name in person.__slots__}
    return {**values, "apart": sorted(person.apart), "refused": sorted(person.refused)}


def _person(values: dict[str, Any]) -> ArchivePerson:
    return ArchivePerson(**{**values, "apart": frozenset(values["apart"]), "refused": frozenset(values["refused"])})
