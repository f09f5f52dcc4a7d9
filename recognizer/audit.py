"""The audit log: who did what to whom and when, as JSON Lines that are chained by their hashes.

::

    audit/
      audit.lock              whoever appends holds it, for that long
      000000000001.jsonl      named after the first line in it; the newest is appended to
      head.json               number and hash of the last line: what the end should be
      names.json              which subject an id stands for, until that subject is erased

A line is ``{"seq": 7, "time": ..., "actor": ..., "action": ..., "subject": "s-...", "details": {...}, "previous": ..., "hash":
...}``: `hash` is the SHA-256 of the line without it, `previous` the hash of the line before. Lines can never be changed, so
they never hold a name: a subject is a random id, and erasing somebody erases which id was theirs.

`verify` finds every changed, missing, added or reordered line. Lines cut off at the end are found by `head.json`; whoever can
write the folder can forge that as well, or compute the whole chain anew: only a head that was noted elsewhere
shows that.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import zip_longest
from pathlib import Path

from .errors import AuditBroken, StorageError
from .files import own_folder, sync_folder, write_durably
from .vault import Vault

#: Who acts, in this context: the id of a key, `cli:` and a user, `retention`, or `local` where nobody has to say who they are.
ACTOR: ContextVar[str] = ContextVar("actor", default="local")
#: What stands before the first line.
BEGINNING = "0" * 64
#: From which size on a new file is begun.
FILE_BYTES = 4_000_000
#: What the encrypted file of names is for; see `vault`.
NAMES = "audit names"
_WAIT = 10.0


@contextmanager
def acting(actor: str) -> Iterator[None]:
    """What is done inside was done by `actor`."""
    token = ACTOR.set(actor)
    try:
        yield
    finally:
        ACTOR.reset(token)


def command_line_actor() -> str:
    """Who uses the command line: `cli:` and their user name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError, ImportError):  # a user without a name
        return f"cli:{os.getuid() if hasattr(os, 'getuid') else 'unknown'}"


@dataclass
class Verified:
    """What a look at the whole chain found: `problems` are sentences, none where all is well."""

    lines: int = 0
    first: int = 0
    last: int = 0
    hash: str = BEGINNING
    problems: list[str] = field(default_factory=list)


class AuditLog:
    """The log in a folder. Any number of processes may append to it at once.

    Parameters
    ----------
    folder : path
        Made when the first line is written.
    vault : Vault, optional
        What the file of names is encrypted with.
    file_bytes : int
    """

    def __init__(
        self,
        folder: Path,
        vault: Vault | None = None,
        *,
        file_bytes: int = FILE_BYTES,
    ):
        self.folder, self._vault, self._file_bytes = Path(folder), vault, file_bytes
        self._lock = threading.RLock()

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, action: str, subject: str | None = None, **details) -> dict:
        """Write one line; it is on the disk when this returns.

        Parameters
        ----------
        action : str
        subject : str, optional
            The name of whom it was done to: the line holds their id.
        **details
            Plain data without names of subjects; see `id_of` for those.

        Raises
        ------
        StorageError
        """
        with self._held():
            about = None if subject is None else self._id_of(subject)
            return self._append(action, about, details)

    def rename(self, old: str, new: str, *, merge: bool = False) -> None:
        """Note that a subject has another name now, or with `merge` is one with another subject: their ids stay."""
        with self._held():
            about = self._id_of(old)
            details = {"into": self._id_of(new)} if merge else {}
            self._append("merge" if merge else "rename", about, details)
            self._keep_names({each: new if name == old else name for each, name in self._names().items()})

    def erase(self, name: str, **details) -> None:
        """Note that a subject was erased, and forget which ids were theirs."""
        with self._held():
            about = self._id_of(name)
            self._append("delete", about, details)
            self._keep_names({each: other for each, other in self._names().items() if other != name})

    def forget(self, name: str) -> None:
        """Forget which ids were a subject's, who is gone."""
        with self._held():
            self._keep_names({each: other for each, other in self._names().items() if other != name})

    def id_of(self, subject: str) -> str:
        """The id that stands for a subject, made when there is none."""
        with self._held():
            return self._id_of(subject)

    def still(self) -> AbstractContextManager[None]:
        """Nobody appends inside.

        Raises
        ------
        StorageError
        """
        return self._held()

    @contextmanager
    def _held(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        with self._lock:
            try:
                own_folder(self.folder.parent)
                own_folder(self.folder)
                with FileLock(self.folder / "audit.lock", timeout=_WAIT):
                    yield
            except Timeout:
                raise StorageError("the audit log cannot be written: another process holds it") from None
            except OSError as error:
                reason = (error.strerror or type(error).__name__).lower()
                raise StorageError(f"the audit log cannot be written: {reason}") from error

    def _append(self, action: str, about: str | None, details: dict) -> dict:
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
            except OSError:
                with suppress(OSError):  # half a line must not stay: the next one would be glued to it
                    os.truncate(path, size)
                raise
        if not size:
            sync_folder(self.folder)
        self._set_head(line["seq"], line["hash"])
        return line

    def _line(self, seq: int, previous: str, action: str, about: str | None, details: dict) -> dict:
        line = {
            "seq": seq, "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "actor": ACTOR.get(), "action": action, "subject": about, "details": details, "previous": previous,
        }  # fmt: skip
        return line | {"hash": _hash(line)}

    def _end(self) -> tuple[int, str, Path | None, int]:
        """Number and hash of the last line, its file and that file's size; what is wrong with the end is noted first."""
        files = self._files()
        seq, last_hash, path, size = 0, BEGINNING, None, 0
        torn = 0
        for begin in reversed(files):
            path = self._path(begin)
            torn += self._cut_torn(path)
            size, last = path.stat().st_size, _last_line(path)
            if size and last is None:  # the last line is damaged: go on from the one before
                last = next((line for line in reversed(list(_read(path))) if line is not None), None)
            if last is not None:
                seq, last_hash = last["seq"], last["hash"]
                break
            seq = begin - 1
        head = self._head()
        noted = None
        if torn:
            noted = ("audit.repaired", {"bytes": torn})  # of a line that was never finished, so never acknowledged
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
        """Cut off half a line that a stop of the machine left; how many bytes."""
        with open(path, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if not size:
                return 0
            file.seek(size - 1)
            if file.read(1) == b"\n":
                return 0
            file.seek(0)
            keep = file.read().rfind(b"\n") + 1
            file.truncate(keep)
            os.fsync(file.fileno())
            return size - keep

    def _head(self) -> dict | None:
        try:
            head = json.loads((self.folder / "head.json").read_bytes())
            return head if isinstance(head["seq"], int) and isinstance(head["hash"], str) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _set_head(self, seq: int, last_hash: str) -> None:
        """Not made durable: after a stop of the machine an older head is found, which is a line of the chain as well."""
        part = self.folder / "head.part"
        part.write_text(json.dumps({"seq": seq, "hash": last_hash}))
        os.replace(part, self.folder / "head.json")

    # -- who is meant -------------------------------------------------------------------------------------------

    def names(self) -> dict[str, str]:
        """Subjects that can still be named: id -> name."""
        with self._lock:
            return self._names()

    def _names(self) -> dict[str, str]:
        try:
            data = (self.folder / "names.json").read_bytes()
            return json.loads(data if self._vault is None else self._vault.open_or_plain(data, NAMES))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise StorageError("the audit log's list of names is damaged; `audit verify` does not need it") from error
        except OSError as error:
            raise StorageError(f"the audit log cannot be read: {(error.strerror or '').lower()}") from error

    def _id_of(self, subject: str) -> str:
        held = self._names()
        for about, name in held.items():
            if name == subject:
                return about
        about = "s-" + secrets.token_hex(8)
        self._keep_names({**held, about: subject})
        return about

    def _keep_names(self, names: dict[str, str]) -> None:
        data = json.dumps(names, ensure_ascii=False, indent=0).encode()
        if self._vault is not None:
            data = self._vault.seal(data, NAMES)
        write_durably(self.folder / "names.json", data, mode=0o600)

    def reseal(self, vault: Vault | None) -> None:
        """Write the file of names anew, encrypted with `vault`, or not."""
        with self._held():
            if (self.folder / "names.json").exists():
                held, self._vault = self._names(), vault
                self._keep_names(held)

    # -- reading ------------------------------------------------------------------------------------------------

    def lines(self, after: int = 0) -> Iterator[dict]:
        """Every line beyond number `after`, oldest first, with `name` where the subject can still be named."""
        names = self.names()
        files = self._files()
        for begin, following in zip_longest(files, files[1:]):
            if following is not None and following <= after + 1:
                continue
            for line in _read(self._path(begin)):
                if line is not None and line.get("seq", 0) > after:
                    yield line | {"name": names.get(line.get("subject"))}

    def page(
        self, after: int | None, limit: int, wanted: Callable[[dict], bool] = lambda line: True, before: int | None = None
    ) -> list[dict]:
        """The oldest `limit` lines beyond `after` that are wanted, else the newest (below `before`), oldest first."""
        found = []
        if after is not None:
            for line in self.lines(after):
                if before is not None and line["seq"] >= before:
                    break
                if wanted(line):
                    found.append(line)
                    if len(found) == limit:
                        break
            return found
        names = self.names()
        for begin in reversed(self._files()):
            if before is not None and begin >= before:
                continue
            here = [line | {"name": names.get(line.get("subject"))} for line in _read(self._path(begin)) if line is not None]
            here = [line for line in here if (before is None or line.get("seq", 0) < before) and wanted(line)]
            found = here[-(limit - len(found)) :] + found
            if len(found) >= limit:
                break
        return found

    def about(self, subject: str) -> list[dict]:
        """Every line that is about a subject, oldest first."""
        theirs = {about for about, name in self.names().items() if name == subject}
        return [line for line in self.lines() if theirs & _mentioned(line)] if theirs else []

    def head(self) -> dict | None:
        """Number and hash of the last line, to be noted elsewhere; None while there is none."""
        return self._head()

    def verify(self, head: tuple[int, str] | None = None) -> Verified:
        """Look at the whole chain.

        Parameters
        ----------
        head : (int, str), optional
            Number and hash of a line that was noted elsewhere: it has to be in the chain.

        Raises
        ------
        StorageError
        """
        found = Verified()
        kept = self._head()
        wanted = {} if kept is None else {kept["seq"]: (kept["hash"], "head.json")}
        noted = dict([head]) if head else {}
        files = self._files()
        expected = None
        for begin in files:
            name = self._path(begin).name
            for number, text in enumerate(_texts(self._path(begin)), 1):
                where, line = f"{name}, line {number}", _parsed(text)
                if line is None:
                    found.problems.append(f"{where}: this is no whole line of the log")
                    continue
                found.problems += _wrong(line, text, where, expected, found.hash, name if number == 1 else None)
                seq = line["seq"]
                if found.lines == 0:
                    found.first = seq
                    if seq == 1 and line.get("previous") != BEGINNING or seq != 1:
                        found.problems.append(f"{where}: the log begins at line {seq}: older ones are missing")
                if seq in wanted and wanted[seq][0] != line.get("hash"):
                    found.problems.append(f"{where}: line {seq} is not the one that head.json tells of")
                if seq in noted and noted.pop(seq) != line.get("hash"):
                    found.problems.append(f"{where}: line {seq} is not the one that was noted")
                if line.get("action") in ("audit.truncated", "audit.head_missing"):
                    found.problems.append(f"{where}: it was noticed here that the end had been changed ({line['action']})")
                found.lines, found.last, found.hash = found.lines + 1, seq, str(line.get("hash"))
                expected = seq + 1
        if kept is not None and kept["seq"] > found.last:
            found.problems.append(f"the log ends at line {found.last}, but {kept['seq']} were written: the end is missing")
        if kept is None and found.lines:
            found.problems.append("head.json is missing or damaged: whether lines at the end are missing cannot be told")
        found.problems += [f"line {seq}, which was noted, is not there" for seq in noted]
        return found

    def _files(self) -> list[int]:
        """Numbers of the first lines of all files, oldest first."""
        try:
            names = (name.removesuffix(".jsonl") for name in os.listdir(self.folder) if name.endswith(".jsonl"))
            return sorted(int(name) for name in names if name.isdigit())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"the audit log cannot be read: {(error.strerror or '').lower()}") from error

    def _path(self, begin: int) -> Path:
        return self.folder / f"{begin:012}.jsonl"


def require_whole(found: Verified) -> None:
    """Raise what a look at the chain found.

    Raises
    ------
    AuditBroken
    """
    if found.problems:
        shown = "; ".join(found.problems[:3]) + (f"; and {len(found.problems) - 3} more" if len(found.problems) > 3 else "")
        raise AuditBroken(f"the audit log was changed: {shown}", problems=found.problems[:100])


def _wrong(line: dict, text: bytes, where: str, expected: int | None, previous: str, file: str | None) -> list[str]:
    """What is wrong with one line at its place."""
    problems = []
    if not _is_as_written(line, text):
        problems.append(f"{where}: the line was changed")
    if expected is not None:
        if line.get("seq") != expected:
            problems.append(f"{where}: expected line {expected}, got {line.get('seq')}: lines are missing, added or reordered")
        elif line.get("previous") != previous:
            problems.append(f"{where}: the line before this one was changed or exchanged")
    if file is not None and file != f"{line['seq']:012}.jsonl":
        problems.append(f"{where}: the file should begin with line {file.split('.')[0].lstrip('0')}")
    return problems


def _is_as_written(line: dict, text: bytes) -> bool:
    """Whether a line has its own hash, and stands there byte for byte: who reads it may take the first of two equal names."""
    try:
        whole = line.get("hash") == _hash({name: value for name, value in line.items() if name != "hash"})
        return whole and text == _bytes(line)
    except ValueError:  # text that no UTF-8 is made of
        return False


def _mentioned(line: dict) -> set[str]:
    """Ids of the subjects that a line is about."""
    details = line.get("details") or {}
    return {each for each in (line.get("subject"), details.get("into")) if each}


def _hash(line: dict) -> str:
    return hashlib.sha256(json.dumps(line, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def _bytes(line: dict) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _read(path: Path) -> Iterator[dict | None]:
    """The lines of a file; None for what is none."""
    yield from map(_parsed, _texts(path))


def _texts(path: Path) -> list[bytes]:
    """The lines of a file as they stand there, each with its end."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"the audit log cannot be read: {(error.strerror or '').lower()}") from error
    return [text + b"\n" for text in data.split(b"\n")[:-1]] + ([] if data.endswith(b"\n") else [data[data.rfind(b"\n") + 1 :]])


def _parsed(text: bytes) -> dict | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and isinstance(line.get("seq"), int) else None


def _last_line(path: Path) -> dict | None:
    """The last line of a file, read from its end."""
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
