"""The audit log: who did what, to which subject and when, as JSON Lines that are chained by hashes.

::

    audit/
      audit.lock              the lock file of appending
      000000000001.jsonl      named after the number of its first line; lines are appended to the newest file
      head.json               number and hash of the last line
      names.json              the name for each subject id, until the subject is erased
    audit.begun               says that there is a log: an emptied folder is noticed

A line is ``{"seq": 7, "time": ..., "actor": ..., "action": ..., "subject": "s-...", "details": {...}, "previous": ..., "hash":
...}``: `hash` is the SHA-256 of the line without `hash`, `previous` is the hash of the line before. Lines can never be changed,
so they never contain a name: a subject is a random id, and erasing a subject removes the id from names.json.

`verify` finds every changed, missing, added or reordered line. Lines that were removed from the end are detected with
`head.json`. Anyone who can write to the folder can also forge `head.json`, or recompute the whole chain; only a head that was
recorded elsewhere reveals that.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias

from recognizer.core.disk import disk_errors, storage_error
from recognizer.core.errors import AuditBroken, NotEmpty, StorageError
from recognizer.core.fair_lock import FairLock
from recognizer.core.files import new_file, own_folder, remove_parts, sync_folder, write_durably
from recognizer.core.times import iso_time
from recognizer.core.vault import Vault

#: A line of the log, parsed.
AuditLine: TypeAlias = "dict[str, Any]"
#: The actor in this context: the id of an API key, `cli:` and a user name, `retention`, `folder` for what follows from a folder
#: that was renamed by hand, or `local` if no keys are required.
ACTOR: ContextVar[str] = ContextVar("actor", default="local")
_ACT: ContextVar[_Act | None] = ContextVar("act", default=None)
#: The `previous` of the first line.
BEGINNING = "0" * 64
#: Size at which a new file is started.
FILE_BYTES = 4_000_000
#: The purpose of the encrypted names file; see `vault`.
NAMES = "audit names"
_LOCK_TIMEOUT = 10.0
_UNREADABLE = "the audit log cannot be read"


@contextmanager
def acting(actor: str) -> Iterator[None]:
    """Within the block, `actor` is recorded as the actor."""
    token = ACTOR.set(actor)
    try:
        yield
    finally:
        ACTOR.reset(token)


@contextmanager
def one_act(**details: Any) -> Iterator[None]:
    """Within the block, lines of the same action about the same subject are one line, to which `details` are added."""
    token = _ACT.set(_Act(details))
    try:
        yield
    finally:
        _ACT.reset(token)


def command_line_actor() -> str:
    """The actor of the command line: `cli:` and the user name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError, ImportError):  # a user without a name
        return f"cli:{os.getuid() if hasattr(os, 'getuid') else 'unknown'}"


@dataclass
class _Act:
    """What `one_act` adds to lines, and the lines that were written within it."""

    details: dict[str, Any]
    lines: dict[tuple[str, str | None], AuditLine] = field(default_factory=dict)


@dataclass
class Verified:
    """The result of a verification.

    Attributes
    ----------
    lines : int
        Number of lines that were read.
    first, last : int
        Numbers of the first and the last line.
    hash : str
        Hash of the last line.
    problems : list of str
        Sentences; empty if the log is intact.
    """

    lines: int = 0
    first: int = 0
    last: int = 0
    hash: str = BEGINNING
    problems: list[str] = field(default_factory=list)


class AuditLog:
    """The log in a folder. Several processes may append to it.

    Parameters
    ----------
    folder : path
        Created when the first line is written.
    vault : Vault, optional
        Encrypts the names file.
    file_bytes : int
        Size at which a new file is started.
    """

    def __init__(
        self,
        folder: Path,
        vault: Vault | None = None,
        *,
        file_bytes: int = FILE_BYTES,
    ):
        self.folder, self._vault, self._file_bytes = Path(folder), vault, file_bytes
        self._begun = self.folder.with_name(f"{self.folder.name}.begun")
        self._lock = threading.RLock()

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, action: str, subject: str | None = None, **details: Any) -> AuditLine:
        """Append a line durably; returns the line.

        Parameters
        ----------
        action : str
        subject : str, optional
            Name of the subject concerned; the line contains the subject's id.
        **details
            Plain data. Subjects must be given by their id, see `id_of`.

        See `one_act` for what is written once.

        Raises
        ------
        StorageError
        """
        act = _ACT.get()
        if act is None:
            return self._append_now(action, subject, details)
        if (action, subject) not in act.lines:
            act.lines[action, subject] = self._append_now(action, subject, {**details, **act.details})
        return act.lines[action, subject]

    def _append_now(self, action: str, subject: str | None, details: dict[str, Any]) -> AuditLine:
        with self.exclusive():
            names = {} if subject is None else self._names()  # without a subject, no key is needed to read them
            return self._append_with_names(action, subject, details, names)

    def append_about(self, about: str, action: str, **details: Any) -> AuditLine:
        """Append a line about the subject with an id; see `append` and `known_id`.

        Raises
        ------
        StorageError
        """
        with self.exclusive():
            return self._append(action, about, details)

    def rename(self, old: str, new: str, *, merge: bool = False) -> None:
        """Record that a subject was renamed or, with `merge`, merged into another subject. Ids do not change."""
        with self.exclusive():
            names = self._names()
            about, into = _id_in(names, old), _id_in(names, new) if merge else None
            after = {each: new if name == old else name for each, name in {**names, about: old}.items()}
            if into is not None:
                after[into] = new
            details = {} if into is None else {"into": into}
            with self._names_replaced(after):
                self._append("merge" if merge else "rename", about, details)

    def forget(self, name: str) -> None:
        """Remove the ids of an erased subject from the names file, without a line in the log."""
        with self.exclusive():
            self._store_names({each: other for each, other in self._names().items() if other != name})

    def erase_photo(self, name: str, *, last: bool) -> None:
        """Record that a photo of a subject was erased; with the `last` one go the subject's ids in the names file."""
        with self.exclusive():
            names = self._names()
            about = _id_in(names, name)
            rest = {each: other for each, other in names.items() if other != name}
            with self._names_replaced(rest if last else {**names, about: name}):
                self._append("delete_photo", about, {})

    def id_of(self, subject: str) -> str:
        """The id of a subject; a new one if the subject has none."""
        with self.exclusive():
            names = self._names()
            about = _id_in(names, subject)
            if about not in names:
                self._store_names({**names, about: subject})
            return about

    def known_id(self, subject: str) -> str:
        """The id of a subject; if the subject has none, a new one that is not stored with the name."""
        return _id_in(self.names(), subject)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Within the block, nobody else appends, in any process.

        Raises
        ------
        StorageError
        """
        with self._lock, disk_errors("the audit log cannot be written"):
            own_folder(self.folder.parent)
            own_folder(self.folder)
            with ExitStack() as held:
                try:
                    held.enter_context(FairLock(self.folder / "audit.lock").hold(_LOCK_TIMEOUT))
                except TimeoutError:
                    raise StorageError("the audit log cannot be written: another process has it locked") from None
                yield

    def _append_with_names(self, action: str, subject: str | None, details: dict[str, Any], names: dict[str, str]) -> AuditLine:
        about = None if subject is None else _id_in(names, subject)
        if subject is None or about is None or about in names:
            return self._append(action, about, details)
        with self._names_replaced({**names, about: subject}):
            return self._append(action, about, details)

    def _append(self, action: str, about: str | None, details: dict[str, Any]) -> AuditLine:
        seq, last_hash, path, size = self._end()
        line = self._line(seq + 1, last_hash, action, about, details)
        data = _bytes(line)
        if path is None or size >= self._file_bytes:
            path, size = self.folder / f"{seq + 1:012}.jsonl", 0
        with open(path, "ab") as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if not size:
                    sync_folder(self.folder)
                if not self._begun.exists():  # the first line, or a log that came without it, for example from a backup
                    self._begun.touch(mode=0o600)
                self._set_head(line["seq"], line["hash"])
            except OSError:
                with suppress(OSError):  # an incomplete line must not remain, because the next line would be appended to it
                    os.truncate(path, size)
                raise
        return line

    def _line(self, seq: int, previous: str, action: str, about: str | None, details: dict[str, Any]) -> AuditLine:
        line = {
            "seq": seq,
            "time": iso_time(),
            "actor": ACTOR.get(),
            "action": action,
            "subject": about,
            "details": details,
            "previous": previous,
        }
        return line | {"hash": _hash(line)}

    def _end(self) -> tuple[int, str, Path | None, int]:
        """Number and hash of the last line, its file and that file's size.

        If the end of the log was damaged, a line that records this is appended first.
        """
        files = self._files()
        seq, last_hash, path, size = 0, BEGINNING, None, 0
        torn = 0
        for begin in reversed(files):
            path = self._path(begin)
            torn += self._cut_torn(path)
            size, last = path.stat().st_size, _last_line(path)
            if size and last is None:  # the last line is damaged: continue from the one before
                last = next((line for line in reversed(list(_read(path))) if line is not None), None)
            if last is not None:
                seq, last_hash = last["seq"], last["hash"]
                break
            seq = begin - 1
        head = self._head()
        noted: tuple[str, dict[str, Any]] | None = None
        if not seq and head is None and self._begun.exists():
            noted = ("audit.truncated", {"expected": 1, "found": 0})
        if torn:
            noted = ("audit.repaired", {"bytes": torn})  # of an incomplete line, which was never acknowledged
        if head is not None and head["seq"] > seq:
            noted = ("audit.truncated", {"expected": head["seq"], "found": seq})
        elif head is None and files and seq:
            noted = ("audit.head_missing", {"found": seq})
        if noted:
            if path is None:
                path = self.folder / f"{seq + 1:012}.jsonl"
            line = self._line(seq + 1, last_hash, noted[0], None, noted[1])
            with open(path, "ab") as file:
                file.write(_bytes(line))
                file.flush()
                os.fsync(file.fileno())
            seq, last_hash, size = line["seq"], line["hash"], path.stat().st_size
        return seq, last_hash, path, size

    def _cut_torn(self, path: Path) -> int:
        """Remove an incomplete line that a crash left at the end of a file; returns its size in bytes."""
        with open(path, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if not size:
                return 0
            file.seek(size - 1)
            if file.read(1) == b"\n":
                return 0
            file.seek(0)
            complete = file.read().rfind(b"\n") + 1
            file.truncate(complete)
            os.fsync(file.fileno())
            return size - complete

    def _head(self) -> AuditLine | None:
        try:
            head = json.loads((self.folder / "head.json").read_bytes())
            return head if isinstance(head["seq"], int) and isinstance(head["hash"], str) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _set_head(self, seq: int, last_hash: str) -> None:
        """Not durable: after a crash the head may be an older one, which is a valid line of the chain as well."""
        part = self.folder / "head.part"
        part.write_text(json.dumps({"seq": seq, "hash": last_hash}))
        os.replace(part, self.folder / "head.json")

    # -- names of subjects --------------------------------------------------------------------------------------

    def names(self) -> dict[str, str]:
        """The names of subjects that were not erased, by id."""
        with self._lock:
            return self._names()

    def _names(self) -> dict[str, str]:
        try:
            data = (self.folder / "names.json").read_bytes()
            names = json.loads(data if self._vault is None else self._vault.open_or_plain(data, NAMES))
            if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
                raise ValueError("expected names by their ids")
            return names
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            raise StorageError("the names file of the audit log is damaged; `audit verify` works without it") from error
        except OSError as error:
            raise storage_error(_UNREADABLE, error) from error

    def _store_names(self, names: dict[str, str]) -> None:
        with self._names_replaced(names):
            pass

    @contextmanager
    def _names_replaced(self, names: dict[str, str]) -> Iterator[None]:
        """Replace the names file at the end of the block; if the block raises, or the disk is full before it, it stays."""
        data = json.dumps(names, ensure_ascii=False, indent=0).encode()
        if self._vault is not None:
            data = self._vault.seal(data, NAMES)
        remove_parts(self.folder)  # a killed process may have left a list with names that are erased now
        with new_file(self.folder / "names.json", mode=0o600) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            yield

    def take_in(self, lines: Iterable[AuditLine], names: dict[str, str]) -> None:
        """Begin an empty log with the lines of another one, as they are, and its names of subjects.

        Parameters
        ----------
        lines : iterable of dict
            As `stored_lines` gives them.

        Raises
        ------
        NotEmpty, StorageError
        """
        with self.exclusive():
            if self._files():
                raise NotEmpty("the audit log has lines already")
            parts: list[bytes] = []
            begin, size, last = 1, 0, None
            for line in lines:
                if size >= self._file_bytes:
                    self._store_lines(begin, parts)
                    parts, size = [], 0
                if not parts:
                    begin = line["seq"]
                parts.append(_bytes(line))
                size, last = size + len(parts[-1]), line
            if last is not None:
                self._store_lines(begin, parts)
                self._begun.touch(mode=0o600)
                self._set_head(last["seq"], last["hash"])
            self._store_names(names)

    def _store_lines(self, begin: int, lines: list[bytes]) -> None:
        write_durably(self._path(begin), b"".join(lines))

    def stored_lines(self) -> Iterator[AuditLine]:
        """Every line as it is stored, oldest first: with ids and without names."""
        for line in self.lines():
            yield {key: value for key, value in line.items() if key != "name"}

    def reseal(self, vault: Vault | None) -> None:
        """Rewrite the names file, encrypted with `vault`, or unencrypted."""
        with self.exclusive():
            if (self.folder / "names.json").exists():
                names, self._vault = self._names(), vault
                self._store_names(names)

    # -- reading ------------------------------------------------------------------------------------------------

    def lines(self, after: int = 0) -> Iterator[AuditLine]:
        """Every line after number `after`, oldest first, with `name` if the subject was not erased."""
        names = self.names()
        files = self._files()
        for begin, following in zip_longest(files, files[1:]):
            if following is not None and following <= after + 1:
                continue
            for line in _read(self._path(begin)):
                if line is not None and line.get("seq", 0) > after:
                    yield line | {"name": names.get(line.get("subject", ""))}

    def page(
        self, after: int | None, limit: int, wanted: Callable[[AuditLine], bool] = lambda line: True, before: int | None = None
    ) -> list[AuditLine]:
        """At most `limit` lines that are `wanted`, oldest first: the first ones after number `after`, or the newest ones.

        With `before`, only lines below that number.
        """
        if after is None:
            return self._newest(limit, wanted, before)
        found: list[AuditLine] = []
        for line in self.lines(after):
            if before is not None and line["seq"] >= before:
                break
            if wanted(line):
                found.append(line)
                if len(found) == limit:
                    break
        return found

    def _newest(self, limit: int, wanted: Callable[[AuditLine], bool], before: int | None) -> list[AuditLine]:
        """The last `limit` lines that are `wanted`, oldest first; below number `before`, if that is given."""
        found: list[AuditLine] = []
        names = self.names()
        for begin in reversed(self._files()):
            if before is not None and begin >= before:
                continue
            lines = (line for line in _read(self._path(begin)) if line is not None)
            named = (line | {"name": names.get(line.get("subject", ""))} for line in lines)
            here = [line for line in named if (before is None or line.get("seq", 0) < before) and wanted(line)]
            found = here[-(limit - len(found)) :] + found
            if len(found) >= limit:
                break
        return found

    def about(self, subject: str) -> list[AuditLine]:
        """Every line about a subject, oldest first."""
        theirs = {about for about, name in self.names().items() if name == subject}
        return [line for line in self.lines() if theirs & _mentioned(line)] if theirs else []

    def head(self) -> AuditLine | None:
        """Number and hash of the last line, to be recorded elsewhere; None if there is none."""
        return self._head()

    def verify(self, head: tuple[int, str] | None = None) -> Verified:
        """Verify the whole chain.

        Parameters
        ----------
        head : (int, str), optional
            Number and hash of a line, recorded elsewhere, that must be in the chain.

        Raises
        ------
        StorageError
        """
        found = Verified()
        stored = self._head()
        noted = dict([head]) if head else {}
        files = self._files()
        expected: int | None = None
        for begin in files:
            name = self._path(begin).name
            for number, text in enumerate(_texts(self._path(begin)), 1):
                where, line = f"{name}, line {number}", _parsed(text)
                if line is None:
                    found.problems.append(f"{where}: this is not a complete line of the log")
                    continue
                found.problems += _wrong(line, text, where, expected, found.hash, name if number == 1 else None)
                seq = line["seq"]
                if found.lines == 0:
                    found.first = seq
                    if seq == 1 and line.get("previous") != BEGINNING or seq != 1:
                        found.problems.append(f"{where}: the log begins at line {seq}: older lines are missing")
                if stored is not None and seq == stored["seq"] and stored["hash"] != line.get("hash"):
                    found.problems.append(f"{where}: line {seq} differs from the one recorded in head.json")
                if seq in noted and noted.pop(seq) != line.get("hash"):
                    found.problems.append(f"{where}: line {seq} differs from the one that was recorded elsewhere")
                if line.get("action") in ("audit.truncated", "audit.head_missing"):
                    found.problems.append(f"{where}: the end of the log was changed before this line ({line['action']})")
                found.lines, found.last, found.hash = found.lines + 1, seq, str(line.get("hash"))
                expected = seq + 1
        if stored is not None and stored["seq"] > found.last:
            found.problems.append(f"the log ends at line {found.last}, but {stored['seq']} were written: the end is missing")
        if not found.lines and stored is None and self._begun.exists():
            found.problems.append("the log is empty, although lines were written: they were removed")
        if stored is None and found.lines:
            found.problems.append("head.json is missing or damaged: missing lines at the end cannot be detected")
        found.problems += [f"line {seq}, which was recorded elsewhere, is missing" for seq in noted]
        return found

    def _files(self) -> list[int]:
        """The number of the first line of each file, oldest first."""
        try:
            names = (name.removesuffix(".jsonl") for name in os.listdir(self.folder) if name.endswith(".jsonl"))
            return sorted(int(name) for name in names if name.isdigit())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(_UNREADABLE, error) from error

    def _path(self, begin: int) -> Path:
        return self.folder / f"{begin:012}.jsonl"


def sealed_line(line: AuditLine) -> tuple[AuditLine, bytes]:
    """A line with its hash, and its bytes as they are stored."""
    line = line | {"hash": _hash(line)}
    return line, _bytes(line)


def line_bytes(line: AuditLine) -> bytes:
    """A line as it is stored."""
    return _bytes(line)


def parsed_line(data: bytes) -> AuditLine | None:
    """A stored line; None if it is none."""
    return _parsed(data)


def wrong_line(line: AuditLine, data: bytes, where: str, expected: int | None, previous: str) -> list[str]:
    """The problems of a stored line at its position; see `_wrong`."""
    return _wrong(line, data, where, expected, previous, None)


def _id_in(names: dict[str, str], subject: str) -> str:
    """The id of a subject; a new one if the subject has none."""
    return next((about for about, name in names.items() if name == subject), None) or new_id()


def new_id() -> str:
    """An id that no subject has."""
    return "s-" + secrets.token_hex(8)


def require_whole(found: Verified) -> None:
    """Raise an error if a verification found problems.

    Raises
    ------
    AuditBroken
    """
    if found.problems:
        shown = "; ".join(found.problems[:3]) + (f"; and {len(found.problems) - 3} more" if len(found.problems) > 3 else "")
        raise AuditBroken(f"the audit log was changed: {shown}", problems=found.problems[:100])


def _wrong(line: AuditLine, text: bytes, where: str, expected: int | None, previous: str, file: str | None) -> list[str]:
    """The problems of one line at its position.

    Parameters
    ----------
    text : bytes
        The line as it is in the file.
    where : str
        The position, for messages.
    expected : int or None
        The number that the line should have; None for the first line.
    previous : str
        The hash of the line before.
    file : str or None
        The name of the file, if the line is its first one.
    """
    problems = []
    if not _is_as_written(line, text):
        problems.append(f"{where}: the line was changed")
    if expected is not None:
        if line.get("seq") != expected:
            problems.append(f"{where}: expected line {expected}, got {line.get('seq')}: lines are missing, added or reordered")
        elif line.get("previous") != previous:
            problems.append(f"{where}: the line before this one was changed or replaced")
    if file is not None and file != f"{line['seq']:012}.jsonl":
        problems.append(f"{where}: the file should begin with line {file.split('.')[0].lstrip('0')}")
    return problems


def _is_as_written(line: AuditLine, text: bytes) -> bool:
    """Whether a line has the right hash and is byte for byte as it was written.

    The bytes matter because another reader may take the first of two equal keys, while `json` takes the last.
    """
    try:
        whole = line.get("hash") == _hash({name: value for name, value in line.items() if name != "hash"})
        return whole and text == _bytes(line)
    except ValueError:  # text that cannot be encoded in UTF-8
        return False


def _mentioned(line: AuditLine) -> set[str]:
    """The ids of the subjects that a line is about."""
    details = line.get("details") or {}
    return {each for each in (line.get("subject"), details.get("into")) if each}


def _hash(line: AuditLine) -> str:
    return hashlib.sha256(json.dumps(line, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def _bytes(line: AuditLine) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _read(path: Path) -> Iterator[AuditLine | None]:
    """The parsed lines of a file; None for each that is not a line of the log."""
    yield from map(_parsed, _texts(path))


def _texts(path: Path) -> list[bytes]:
    """The raw lines of a file, each with its line feed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise storage_error(_UNREADABLE, error) from error
    return [text + b"\n" for text in data.split(b"\n")[:-1]] + ([] if data.endswith(b"\n") else [data[data.rfind(b"\n") + 1 :]])


def _parsed(text: bytes) -> AuditLine | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and isinstance(line.get("seq"), int) else None


def _last_line(path: Path) -> AuditLine | None:
    """The last line of a file, found by reading from the end; None if the file is empty or the line is damaged."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        step = 8192
        while size:
            file.seek(max(0, size - step))
            data = file.read().rstrip(b"\n")
            at = data.rfind(b"\n")
            if at >= 0 or step >= size:
                return _parsed(data[at + 1 :])
            step *= 4
    return None
