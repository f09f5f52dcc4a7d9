"""A gallery whose templates are in PostgreSQL, those of one group, and are searched in this node's copy in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recognizer.core import names
from recognizer.core.errors import EngineMismatch, GroupNotFound
from recognizer.core.types import Candidate, Template
from recognizer.core.vault import Vault
from recognizer.database.connection import ChangeWriter, Database
from recognizer.galleries.postgres.template_copy import TemplateCopy

if TYPE_CHECKING:
    from psycopg import Connection

#: Number of the default group.
DEFAULT = 0
#: More changed photos of one subject in one call are noted as a change of the whole subject.
MANY_PHOTOS = 50


class PostgresGallery:
    """A gallery in a database, searched in memory; see `contract.Gallery`. What returns is committed, and found by searches.

    Parameters
    ----------
    database : Database
        Its tables are current; see `schema.require_current`.
    engine : str
    dim : int
    vault : Vault, optional
        Encrypts the templates in the database.
    group : int
        The group whose people it has.
    copy : TemplateCopy, optional
        The copy in memory of all groups; made if there is none yet.

    Attributes
    ----------
    copy : TemplateCopy
    group : int
    """

    def __init__(
        self,
        database: Database,
        engine: str,
        dim: int,
        vault: Vault | None = None,
        *,
        group: int = DEFAULT,
        copy: TemplateCopy | None = None,
    ):
        self.engine, self.dim, self.group = engine, dim, group
        self.copy = copy or TemplateCopy(database, engine, dim, vault)
        self._database, self._vault = database, vault

    def of_group(self, group: int) -> PostgresGallery:
        """The gallery of another group, in the same copy."""
        return PostgresGallery(self._database, self.engine, self.dim, self._vault, group=group, copy=self.copy)

    # -- changes ------------------------------------------------------------------------------------------------

    def add(self, templates: Sequence[Template]) -> None:
        wanted = {(each.subject, each.photo): each for each in templates}  # of two in one call the later one
        for template in templates:
            values = template.embedding.require(self.engine)
            if values.shape != (self.dim,):
                raise EngineMismatch(f"expected a template of length {self.dim}, got {values.shape}")
        if not wanted:
            return
        with self._database.write() as changes:
            subjects = {subject for subject, _ in wanted}
            numbers = {name: subject_number(changes.connection, self.group, name) for name in subjects}
            rows = [(numbers[each.subject], each.photo, each.embedding.vector) for each in wanted.values()]
            with changes.connection.cursor() as cursor:
                cursor.executemany(
                    "insert into photo (subject, photo) values (%s, %s) "
                    "on conflict (subject, photo) do update set copy_of = null",
                    [row[:2] for row in rows],
                )
            self.copy.rows.put(changes.connection, rows)
            note_photos(changes, [row[:2] for row in rows])
        self.copy.catch_up()

    def remove(self, subject: str, photo: str | None = None) -> int:
        with self._database.write() as changes:
            found = find_subject(changes.connection, self.group, subject)
            if found is None:
                return 0
            removed = self._remove(changes, found, photo)
        self.copy.catch_up()
        return removed

    def _remove(self, changes: ChangeWriter, number: int, photo: str | None) -> int:
        execute = changes.connection.execute
        counted = execute(
            "select count(*) from template where subject = %s and engine = %s and photo = coalesce(%s, photo)",
            (number, self.engine, photo),
        ).fetchone()
        assert counted is not None  # an aggregate has a row
        execute("delete from photo where subject = %s and photo = coalesce(%s, photo)", (number, photo))
        execute("delete from subject where id = %s and not exists (select 1 from photo where subject = %s)", (number, number))
        if counted[0] or photo is None:
            changes.note("subject" if photo is None else "photo", number, photo)
        return int(counted[0])

    def rename(self, old: str, new: str) -> int:
        if old == new:
            return 0
        with self._database.write() as changes:
            count = rename_subject(changes, self.group, old, new, self.engine)
        self.copy.catch_up()
        return count

    # -- queries: of the copy -----------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        return self.copy.generation(self.group)

    def search(self, probes: np.ndarray, k: int = 1) -> list[list[Candidate]]:
        return self.copy.memory(self.group).search(probes, k)

    def cohort(self, probes: np.ndarray) -> np.ndarray:
        return self.copy.memory(self.group).cohort(probes)

    def templates(self, subject: str) -> list[Template]:
        return self.copy.memory(self.group).templates(subject)

    def templates_of(self, subjects: Iterable[str]) -> dict[str, list[Template]]:
        return self.copy.memory(self.group).templates_of(subjects)

    def subjects(self) -> dict[str, int]:
        return self.copy.memory(self.group).subjects()

    def __len__(self) -> int:
        return len(self.copy.memory(self.group))

    def settle(self) -> None:
        """Wait until no sketch is being computed."""
        self.copy.memory(self.group).settle()


def find_subject(connection: Connection[Any], group: int, name: str) -> int | None:
    """The number of a subject; None if there is nobody of this name in the group."""
    found = connection.execute("select id from subject where people_group = %s and name = %s", (group, name)).fetchone()
    return None if found is None else int(found[0])


def subject_number(connection: Connection[Any], group: int, name: str) -> int:
    """The number of a subject; a new one if there is nobody of this name in the group.

    Raises
    ------
    GroupNotFound
        The group was deleted.
    psycopg.errors.UniqueViolation
        Somebody has a name that readers cannot tell from it.
    """
    found = find_subject(connection, group, name)
    if found is not None:
        return found
    if connection.execute("select 1 from people_group where id = %s", [group]).fetchone() is None:
        raise GroupNotFound("the group was deleted")
    statement = "insert into subject (people_group, name, folded) values (%s, %s, %s) returning id"
    made = connection.execute(statement, (group, name, names.comparison_key(name))).fetchone()
    assert made is not None  # an insert returns its row
    return int(made[0])


def note_photos(changes: ChangeWriter, pairs: Sequence[tuple[int, str]]) -> None:
    """Note that photos changed: each, or their whole subject where they are many."""
    by_subject: dict[int, list[str]] = {}
    for subject, photo in pairs:
        by_subject.setdefault(subject, []).append(photo)
    for subject, photos in by_subject.items():
        if len(photos) > MANY_PHOTOS:
            changes.note("subject", subject)
            continue
        for photo in photos:
            changes.note("photo", subject, photo)


def rename_subject(changes: ChangeWriter, group: int, old: str, new: str, engine: str) -> int:
    """Give a subject another name or, where somebody of the group has it, its photos to them; how many templates were moved.

    Whoever it is joined with keeps their id, or gets the other's if they have none.
    """
    execute = changes.connection.execute
    statement = "select name, id from subject where people_group = %s and name in (%s, %s)"
    found = dict(execute(statement, (group, old, new)).fetchall())
    if old not in found:
        return 0
    number = found[old]
    counted = execute("select count(*) from template where subject = %s and engine = %s", (number, engine)).fetchone()
    assert counted is not None  # an aggregate has a row
    if new not in found:
        execute("update subject set name = %s, folded = %s where id = %s", (new, names.comparison_key(new), number))
        changes.note("subject", number)
    else:
        into = found[new]
        execute(
            "delete from photo where subject = %s and photo in (select photo from photo where subject = %s)", (into, number)
        )
        execute("update photo set subject = %s where subject = %s", (into, number))
        gone = execute("delete from subject where id = %s returning person, identity", [number]).fetchone()
        assert gone is not None  # it was found above
        execute("update subject set person = %s, identity = %s where id = %s and person is null", (*gone, into))
        changes.note("merge", number, other=into)
    return int(counted[0])
