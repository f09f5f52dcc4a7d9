"""The audit log in the database that nodes share: the same chain of lines, appended by all nodes.

`recognizer.core.audit` describes the lines. They are stored as bytes, so that `verify` sees what was written. Names are
encrypted where there is a key, in a form that is equal for equal names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recognizer.core.audit import (
    ACTOR,
    BEGINNING,
    AuditLine,
    AuditLog,
    Verified,
    line_bytes,
    new_id,
    parsed_line,
    sealed_line,
    wrong_line,
)
from recognizer.core.errors import NotEmpty, SealBroken
from recognizer.core.times import iso_time
from recognizer.core.vault import Vault
from recognizer.database.connection import AUDIT, Database

_BLOCK = 1000


class AuditTable(AuditLog):
    """The log in tables; see `AuditLog` for what each method does.

    Parameters
    ----------
    database : Database
    vault : Vault, optional
        Encrypts the names.
    """

    def __init__(self, database: Database, vault: Vault | None = None):
        self._database, self._vault = database, vault
        self.folder = Path()  # there is none

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._database.transaction() as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", [AUDIT])
            yield

    # -- names --------------------------------------------------------------------------------------------------

    def _mark(self, name: str) -> bytes:
        return (name if self._vault is None else self._vault.mark(name)).encode()

    def _marks(self, name: str) -> list[bytes]:
        """A name as it may be stored: encrypted with any of the keys."""
        return [name.encode()] if self._vault is None else [self._vault.mark(name, key).encode() for key in self._vault.ids]

    def _unmark(self, mark: bytes) -> str:
        if self._vault is None:
            return mark.decode()
        *others, last = self._vault.ids
        for key in others:
            with suppress(SealBroken):  # it is encrypted with another one
                return self._vault.unmark(mark.decode(), key)
        return self._vault.unmark(mark.decode(), last)

    def _id(self, name: str) -> str | None:
        statement = "select about from audit_name where name = any(%s) order by about limit 1"
        found = self._database.rows(statement, [self._marks(name)])
        return found[0][0] if found else None

    def _name(self, about: str, name: str) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "insert into audit_name (about, name) values (%s, %s) on conflict (about) do update set name = excluded.name",
                (about, self._mark(name)),
            )

    def names(self) -> dict[str, str]:
        return {about: self._unmark(name) for about, name in self._database.rows("select about, name from audit_name")}

    def id_of(self, subject: str) -> str:
        return self._id_of(subject)

    def _id_of(self, subject: str) -> str:
        with self.exclusive():
            about = self._id(subject)
            if about is None:
                about = new_id()
                self._name(about, subject)
            return about

    def known_id(self, subject: str) -> str:
        return self._id(subject) or new_id()

    # -- writing ------------------------------------------------------------------------------------------------

    def _append_now(self, action: str, subject: str | None, details: dict[str, Any]) -> AuditLine:
        with self.exclusive():
            return self._append(action, None if subject is None else self._id_of(subject), details)

    def rename(self, old: str, new: str, *, merge: bool = False) -> None:
        with self.exclusive():
            about, into = self._id_of(old), self._id_of(new) if merge else None
            with self._database.transaction() as connection:
                connection.execute("update audit_name set name = %s where name = any(%s)", (self._mark(new), self._marks(old)))
            self._append("merge" if merge else "rename", about, {} if into is None else {"into": into})

    def forget(self, name: str) -> None:
        self._forget(name)

    def _forget(self, name: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("delete from audit_name where name = any(%s)", [self._marks(name)])

    def erase_photo(self, name: str, *, last: bool) -> None:
        with self.exclusive():
            self._append("delete_photo", self._id_of(name), {})
            if last:
                self._forget(name)

    def _append(self, action: str, about: str | None, details: dict[str, Any]) -> AuditLine:
        head = self.head() or {"seq": 0, "hash": BEGINNING}
        line, data = sealed_line(
            {
                "seq": head["seq"] + 1,
                "time": iso_time(),
                "actor": ACTOR.get(),
                "action": action,
                "subject": about,
                "details": details,
                "previous": head["hash"],
            }
        )
        with self._database.transaction() as connection:
            connection.execute("insert into audit_line (seq, line) values (%s, %s)", (line["seq"], data))
        return line

    def take_in(self, lines: Iterable[AuditLine], names: dict[str, str]) -> None:
        with self.exclusive(), self._database.transaction() as connection:
            if self.head() is not None:
                raise NotEmpty("the audit log has lines already")
            with connection.cursor() as cursor:
                cursor.executemany(
                    "insert into audit_line (seq, line) values (%s, %s)", ((line["seq"], line_bytes(line)) for line in lines)
                )
            for about, name in names.items():
                self._name(about, name)

    def reseal(self, vault: Vault | None) -> None:
        with self.exclusive():
            names, self._vault = self.names(), vault
            for about, name in names.items():
                self._name(about, name)

    # -- reading ------------------------------------------------------------------------------------------------

    def head(self) -> AuditLine | None:
        found = self._database.rows("select line from audit_line order by seq desc limit 1")
        if not found:
            return None
        line = json.loads(found[0][0])
        return {"seq": line["seq"], "hash": line["hash"]}

    def lines(self, after: int = 0) -> Iterator[AuditLine]:
        names = self.names()
        for _, data in self._raw(after):
            line = parsed_line(data)
            if line is not None:
                yield line | {"name": names.get(line.get("subject", ""))}

    def _raw(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        while True:
            rows = self._database.rows("select seq, line from audit_line where seq > %s order by seq limit %s", (after, _BLOCK))
            yield from rows
            if len(rows) < _BLOCK:
                return
            after = rows[-1][0]

    def _newest(self, limit: int, wanted: Callable[[AuditLine], bool], before: int | None) -> list[AuditLine]:
        found: list[AuditLine] = []
        names, below = self.names(), 2**62 if before is None else before
        while len(found) < limit:
            rows = self._database.rows(
                "select seq, line from audit_line where seq < %s order by seq desc limit %s", (below, _BLOCK)
            )
            if not rows:
                break
            below = rows[-1][0]
            for _, data in rows:
                line_or_none = parsed_line(data)
                if line_or_none is None:
                    continue
                line = line_or_none | {"name": names.get(line_or_none.get("subject", ""))}
                if wanted(line) and len(found) < limit:
                    found.insert(0, line)
        return found

    def verify(self, head: tuple[int, str] | None = None) -> Verified:
        found, noted = Verified(), dict([head]) if head else {}
        expected: int | None = None
        for number, data in self._raw():
            where, line = f"row {number}", parsed_line(bytes(data))
            if line is None:
                found.problems.append(f"{where}: this is not a complete line of the log")
                continue
            found.problems += wrong_line(line, bytes(data), where, expected, found.hash)
            if found.lines == 0:
                found.first = line["seq"]
                if line["seq"] != 1 or line.get("previous") != BEGINNING:
                    found.problems.append(f"{where}: the log begins at line {line['seq']}: older lines are missing")
            if line["seq"] in noted and noted.pop(line["seq"]) != line.get("hash"):
                found.problems.append(f"{where}: line {line['seq']} differs from the one that was recorded elsewhere")
            found.lines, found.last, found.hash = found.lines + 1, line["seq"], str(line.get("hash"))
            expected = found.last + 1
        found.problems += [f"line {seq}, which was recorded elsewhere, is missing" for seq in noted]
        return found
