"""The templates' rows: read at once into arrays, read for some photos, written, and encrypted where there is a key.

Templates that count are those of this engine, whose photo is not a copy of another, and whose subject's consent has not ended.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from recognizer.core.vault import Vault

if TYPE_CHECKING:
    from psycopg import Connection

#: Conditions under which a template is in the galleries; `%(engine)s` is the engine's id.
COUNTS = "t.engine = %(engine)s and p.copy_of is null and (s.ends is null or s.ends > now())"
JOINED = "template t join photo p using (subject, photo) join subject s on s.id = t.subject"
#: The head of a binary COPY: signature, flags and the length of an extension.
_COPY_HEAD = 19
_PHOTO_LENGTH = 32
_PURPOSE = "template "


@dataclass(frozen=True, slots=True)
class LoadedTemplates:
    """All templates that count; see `MemoryGallery.load`. `subjects` are the numbers of `names`, `groups` their groups."""

    vectors: np.ndarray
    owners: np.ndarray
    names: list[str]
    subjects: list[int]
    groups: list[int]
    photos: list[str]


def as_text(vector: np.ndarray) -> str:
    """A vector as pgvector reads it; every float32 comes back as the same number."""
    return "[" + ",".join(map(repr, vector.astype(float).tolist())) + "]"


def from_binary(data: bytes) -> np.ndarray:
    """A vector from pgvector's binary form: two 16-bit numbers, then big-endian float32."""
    return np.frombuffer(data, ">f4", offset=4).astype(np.float32)


def to_binary(vector: np.ndarray) -> bytes:
    """A vector in pgvector's binary form."""
    return struct.pack(">HH", len(vector), 0) + np.ascontiguousarray(vector, ">f4").tobytes()


class TemplateRows:
    """Reads and writes the templates of one engine.

    Parameters
    ----------
    engine : str
    dim : int
    vault : Vault, optional
        Encrypts the templates; then they cannot be searched in the database.
    """

    def __init__(self, engine: str, dim: int, vault: Vault | None = None):
        self.engine, self.dim, self.vault = engine, dim, vault

    # -- reading ------------------------------------------------------------------------------------------------

    def vector(self, photo: str, plain: bytes | None, sealed: bytes | None) -> np.ndarray:
        """The template of a row.

        Raises
        ------
        KeyMissing, SealBroken
        """
        if plain is not None:
            return from_binary(plain)
        if self.vault is None or sealed is None:
            raise ValueError("an encrypted template needs a key")
        return np.frombuffer(self.vault.open(sealed, _PURPOSE + photo), "<f4").astype(np.float32)

    def of_photos(self, connection: Connection[Any], pairs: Sequence[tuple[int, str]]) -> dict[tuple[int, str], np.ndarray]:
        """The templates that count of some photos, by the number of the subject and the photo."""
        if not pairs:
            return {}
        rows = connection.execute(
            f"select t.subject, t.photo, vector_send(t.v), t.sealed from {JOINED} "
            "join unnest(%(subjects)s::bigint[], %(photos)s::text[]) w(subject, photo) "
            f"on w.subject = t.subject and w.photo = t.photo where {COUNTS}",
            {"engine": self.engine, "subjects": [each[0] for each in pairs], "photos": [each[1] for each in pairs]},
        )
        return {(subject, photo): self.vector(photo, plain, sealed) for subject, photo, plain, sealed in rows}

    def of_subjects(self, connection: Connection[Any], subjects: Sequence[int]) -> dict[int, dict[str, np.ndarray]]:
        """The templates that count of some subjects: number -> photo -> template; nothing for those without."""
        found: dict[int, dict[str, np.ndarray]] = {}
        if not subjects:
            return found
        rows = connection.execute(
            f"select t.subject, t.photo, vector_send(t.v), t.sealed from {JOINED} "
            f"where t.subject = any(%(subjects)s) and {COUNTS} order by p.added, t.photo",
            {"engine": self.engine, "subjects": list(subjects)},
        )
        for subject, photo, plain, sealed in rows:
            found.setdefault(subject, {})[photo] = self.vector(photo, plain, sealed)
        return found

    def stored(self, connection: Connection[Any], subject: int) -> dict[str, np.ndarray]:
        """Every template of a subject, also those that do not count, by photo."""
        rows = connection.execute(
            "select photo, vector_send(v), sealed from template where subject = %s and engine = %s", (subject, self.engine)
        )
        return {photo: self.vector(photo, plain, sealed) for photo, plain, sealed in rows}

    def all(self, connection: Connection[Any]) -> LoadedTemplates:
        """Everything that counts, read by COPY; call it in a transaction of the level ``repeatable read``."""
        rows = connection.execute("select id, people_group, name from subject").fetchall()
        held = {number: (group, name) for number, group, name in rows}
        numbers, photos, vectors = self._copied(connection) if self.vault is None else self._opened(connection)
        unique, owners = np.unique(numbers, return_inverse=True)
        subjects = unique.tolist()
        groups, names = [held[each][0] for each in subjects], [held[each][1] for each in subjects]
        return LoadedTemplates(vectors, owners, names, subjects, groups, photos)

    def _copied(self, connection: Connection[Any]) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Numbers of subjects, photos and vectors."""
        statement = (
            f"copy (select t.subject, t.photo, t.v from {JOINED} where {_literal(COUNTS, self.engine)}) "
            "to stdout (format binary)"
        )
        parts = []
        with connection.cursor() as cursor, cursor.copy(cast(Any, statement)) as copy:
            parts = [bytes(part) for part in copy]
        data = b"".join(parts)
        del parts
        row = np.dtype(
            [
                ("fields", ">i2"),
                ("subject_length", ">i4"),
                ("subject", ">i8"),
                ("photo_length", ">i4"),
                ("photo", f"S{_PHOTO_LENGTH}"),
                ("vector_length", ">i4"),
                ("dim", ">i4"),
                ("vector", ">f4", (self.dim,)),
            ]
        )
        body = len(data) - _COPY_HEAD - 2
        if body % row.itemsize == 0:
            rows = np.frombuffer(data, row, body // row.itemsize, _COPY_HEAD)
            if (rows["photo_length"] == _PHOTO_LENGTH).all() and (rows["vector_length"] == 4 + 4 * self.dim).all():
                photos = rows["photo"].astype(f"U{_PHOTO_LENGTH}").tolist()
                return rows["subject"].astype(np.int64), photos, rows["vector"].astype(np.float32)
        return self._parsed(memoryview(data))

    def _parsed(self, data: memoryview) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Rows whose photos have ids of any length."""
        at, subjects, photos, vectors = _COPY_HEAD, [], [], []
        while struct.unpack_from(">h", data, at)[0] == 3:
            subject, length = struct.unpack_from(">qi", data, at + 6)
            at += 18
            photos.append(bytes(data[at : at + length]).decode())
            at += length
            (size,) = struct.unpack_from(">i", data, at)
            vectors.append(np.frombuffer(data, ">f4", (size - 4) // 4, at + 8))
            at += 4 + size
            subjects.append(subject)
        found = np.array(vectors, np.float32) if vectors else np.empty((0, self.dim), np.float32)
        return np.array(subjects, np.int64), photos, found

    def _opened(self, connection: Connection[Any]) -> tuple[np.ndarray, list[str], np.ndarray]:
        """The same of encrypted templates."""
        rows = connection.execute(
            f"select t.subject, t.photo, vector_send(t.v), t.sealed from {JOINED} where {COUNTS}", {"engine": self.engine}
        ).fetchall()
        vectors = np.empty((len(rows), self.dim), np.float32)
        for i, (_, photo, plain, sealed) in enumerate(rows):
            vectors[i] = self.vector(photo, plain, sealed)
        return np.array([row[0] for row in rows], np.int64), [row[1] for row in rows], vectors

    # -- writing ------------------------------------------------------------------------------------------------

    def put(self, connection: Connection[Any], templates: Iterable[tuple[int, str, np.ndarray]]) -> None:
        """Store templates of photos that are there: subject, photo and vector of each."""
        rows: list[tuple[int, str, str, str | None, bytes | None]] = []
        for subject, photo, vector in templates:
            if self.vault is None:
                rows.append((subject, photo, self.engine, as_text(vector), None))
            else:
                data = np.ascontiguousarray(vector, "<f4").tobytes()
                rows.append((subject, photo, self.engine, None, self.vault.seal(data, _PURPOSE + photo)))
        if rows:
            with connection.cursor() as cursor:
                cursor.executemany(
                    "insert into template (subject, photo, engine, v, sealed) values (%s, %s, %s, %s::text::vector, %s) "
                    "on conflict (subject, photo, engine) do update set v = excluded.v, sealed = excluded.sealed",
                    rows,
                )


def _literal(condition: str, engine: str) -> str:
    """The condition with the engine's id in it: COPY takes no parameters."""
    from psycopg.sql import Literal

    quoted: str = Literal(engine).as_string(None)
    return condition.replace("%(engine)s", quoted)
