"""The file that a backup is: a ZIP file with everything that an installation keeps, and a manifest of it.

::

    backup.json         {"recognizer_backup": 1, "version": ..., "made": ..., "sealed_by": a key's id or null}
    manifest.json       what is in it: path, size, SHA-256, time of every file; and about the whole
    known_faces/...     the files
    state/...

With a key, the manifest and all files are encrypted, and the files have numbers for names: then only `backup.json`, sizes and
how many files there are can be read without the key. Nothing is compressed: photos cannot be, and nothing that is read can
become larger than the file.

What was added may be dropped again before the file is complete; where it was, zeros stay.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from . import consent, names
from .errors import BackupBroken, InvalidName, KeyMissing, SealBroken, StorageError
from .vault import OVERHEAD, Vault

VERSION = 1
HEADER, MANIFEST = "backup.json", "manifest.json"
#: Where members belong.
FACES, STATE = "known_faces/", "state/"
#: Bytes that are read, written and sealed at once.
CHUNK = 1 << 20
_MOST_MANIFEST = 1 << 30
_SEALED_MANIFEST = "backup manifest"
_STATE_FILES = re.compile(
    r"encodings\.sqlite|access\.sqlite|cameras\.json|settings\.json|strangers/([0-9a-f]{1,64}\.json|pictures/[0-9a-f]{1,64}\.jpg)"
    r"|audit/(\d{12}\.jsonl|head\.json|names\.json)"
    r"|events/(\d{12}\.jsonl|\d{12}/\d{1,15}\.jpg|[A-Za-z0-9_-]{1,100}\.(cursor|forget)|mqtt-announced\.json)"
)
_SEPARATORS = "/\0" + ("\\:" if os.name == "nt" else "")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a backup. `path` is where it belongs, `name` what it is called in the ZIP file; size and sum are the file's."""

    path: str
    name: str
    size: int
    sha256: str
    mtime_ns: int


def belongs(path: str) -> bool:
    """Whether a file with this path is one that an installation keeps: nothing else is put into a backup or taken out of it."""
    if path.startswith(STATE):
        return _STATE_FILES.fullmatch(path[len(STATE) :]) is not None
    folder, _, file = path.removeprefix(FACES).partition("/")
    if not path.startswith(FACES) or not file or any(each in _SEPARATORS for each in file):
        return False
    try:
        names.normalise(folder)
        path.encode()
    except (InvalidName, UnicodeEncodeError):
        return False
    return file == consent.FILE or not file.startswith(".")


def chunks(file: BinaryIO) -> Iterator[bytes]:
    """What a file holds from here on, piece by piece."""
    while data := file.read(CHUNK):
        yield data


class Writer:
    """Writes a backup into an open file. At the end of a `with` block that did not close it, it is given up.

    Parameters
    ----------
    file : binary file
        Empty, and open for reading, writing and seeking; stays the caller's.
    vault : Vault, optional
        What it is encrypted with.
    """

    def __init__(self, file: BinaryIO, vault: Vault | None):
        self._file, self._vault = file, vault
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=False)
        self._members: dict[str, Member] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._gaps: list[tuple[int, int]] = []
        self._number = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_) -> None:
        self._zip.mode = "r"  # or it would write the rest of a ZIP file into what nobody wants any longer
        self._zip.close()

    @property
    def paths(self) -> set[str]:
        return set(self._members)

    def add(self, path: str, source: Iterable[bytes], mtime_ns: int) -> None:
        """Add what `source` gives, in the place of what was added under this path before.

        If `source` raises, nothing of it is left, and the error goes on.
        """
        self.drop(path)
        self._number += 1
        name = path if self._vault is None else f"{self._number:08}"
        begin, found, size = self._file.tell(), hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for data in source:
                found.update(data)
                size += len(data)
                yield data

        written = counted() if self._vault is None else sealed(self._vault, path, counted())
        try:
            self._write(name, written)
        except BaseException:
            self._forget(name, begin)
            raise
        self._places[path] = begin, self._file.tell()
        self._members[path] = Member(path, name, size, found.hexdigest(), mtime_ns)

    def _write(self, name: str, data: Iterable[bytes]) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o600 << 16
        with self._zip.open(info, "w", force_zip64=True) as member:
            for each in data:
                member.write(each)

    def drop(self, path: str) -> None:
        """Take out what was added under this path, if anything was."""
        held = self._members.pop(path, None)
        if held is not None:
            self._forget(held.name, *self._places.pop(path))

    def _forget(self, name: str, begin: int, end: int | None = None) -> None:
        info = self._zip.NameToInfo.pop(name, None)
        if info is not None:
            self._zip.filelist.remove(info)
        self._gaps.append((begin, self._file.tell() if end is None else end))

    def close(self, version: str, made: str, about: dict) -> None:
        """Write manifest and header, and fill with zeros what was dropped.

        Parameters
        ----------
        about : dict
            What the manifest says of the whole.
        """
        listed = {**about, "members": [asdict(member) for member in self._members.values()]}
        data = json.dumps(listed, ensure_ascii=False).encode()
        self._write(MANIFEST, [data if self._vault is None else self._vault.seal(data, _SEALED_MANIFEST)])
        sealer = None if self._vault is None else self._vault.current
        header = {"recognizer_backup": VERSION, "version": version, "made": made, "sealed_by": sealer}
        self._write(HEADER, [json.dumps(header).encode()])
        self._zip.close()
        for begin, end in self._gaps:
            self._file.seek(begin)
            for at in range(begin, end, CHUNK):
                self._file.write(bytes(min(CHUNK, end - at)))
        self._file.seek(0, os.SEEK_END)


class Reader:
    """A backup, whose manifest was read and whose structure is sound; what each file holds is checked when it is read.

    Parameters
    ----------
    path : path
    vault : Vault, optional
        Has the key that it is encrypted with.

    Attributes
    ----------
    header, about : dict
        What `backup.json` and the manifest say of the whole.
    members : dict of Member
        By path.

    Raises
    ------
    BackupBroken, KeyMissing, StorageError
    """

    def __init__(self, path: Path, vault: Vault | None):
        try:
            self._file = open(path, "rb")
        except OSError as error:
            raise StorageError(f"the backup cannot be read: {(error.strerror or '').lower()}") from error
        try:
            with _Broken():
                self._zip = zipfile.ZipFile(self._file)
                self._infos = self._sound(os.fstat(self._file.fileno()).st_size)
                self.header = self._header()
                self._vault = self._opener(vault)
                self.about = self._manifest()
                self.members = self._listed(self.about.pop("members"))
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _sound(self, size: int) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        found = {info.filename: info for info in infos}
        if len(found) < len(infos):
            raise BackupBroken("this backup holds two files of one name")
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
                raise BackupBroken("this backup holds a file that is compressed or encrypted in a way that none of ours is")
            if kind not in (0, stat.S_IFREG) or info.is_dir():
                raise BackupBroken("this backup holds a link, a folder or a device")
        if sum(info.file_size for info in infos) > size:
            raise BackupBroken("the files in this backup overlap")
        return found

    def _raw(self, name: str, most: int) -> bytes:
        info = self._infos.get(name)
        if info is None:
            raise BackupBroken(f"this is no backup: there is no {name} in it")
        if info.file_size > most:
            raise BackupBroken(f"{name} in this backup is too large")
        return self._zip.read(info)

    def _header(self) -> dict:
        header = json.loads(self._raw(HEADER, CHUNK))
        if not isinstance(header, dict) or not isinstance(header.get("sealed_by"), (str, type(None))):
            raise BackupBroken("the header of this backup is damaged")
        if header.get("recognizer_backup") != VERSION:
            raise BackupBroken(f"this backup is of the kind {header.get('recognizer_backup')!r}; this program reads {VERSION}")
        return header

    def _opener(self, vault: Vault | None) -> Vault | None:
        sealer = self.header["sealed_by"]
        if sealer is None:
            return None
        if vault is None:
            raise KeyMissing(f"this backup is encrypted with the key {sealer}, and none is set")
        if sealer not in vault.ids:
            held = ", ".join(vault.ids)
            raise KeyMissing(f"this backup is encrypted with the key {sealer}, and the key that is set is {held}")
        return vault

    def _manifest(self) -> dict:
        data = self._raw(MANIFEST, _MOST_MANIFEST)
        about = json.loads(data if self._vault is None else self._vault.open(data, _SEALED_MANIFEST))
        keys = about["keys"]
        if not isinstance(keys, list) or not all(isinstance(each, str) for each in keys):
            raise BackupBroken("the manifest of this backup is damaged")
        return about

    def _listed(self, rows: list[dict]) -> dict[str, Member]:
        members: dict[str, Member] = {}
        used = {HEADER, MANIFEST}
        for row in rows:
            member = Member(**row)
            if not belongs(member.path):
                raise BackupBroken(f"this backup holds {_shown(member.path)}, which belongs to no installation")
            if member.path in members or member.name in used or member.name not in self._infos:
                raise BackupBroken(f"the manifest of this backup does not fit its files: {_shown(member.path)}")
            whole = isinstance(member.size, int) and isinstance(member.mtime_ns, int) and isinstance(member.sha256, str)
            if not whole or self._infos[member.name].file_size != _stored(member.size, self._vault is not None):
                raise BackupBroken(f"{_shown(member.path)} in this backup has not the size that it should have")
            used.add(member.name)
            members[member.path] = member
        if used != set(self._infos):
            raise BackupBroken("this backup holds files that its manifest does not list")
        return members

    def read(self, member: Member) -> Iterator[bytes]:
        """What a file holds, piece by piece; at the end it is known whether all of it was as it should be.

        Raises
        ------
        BackupBroken
        """
        found = hashlib.sha256()
        with _Broken(member.path), self._zip.open(self._infos[member.name]) as file:
            for data in chunks(file) if self._vault is None else opened(self._vault, member.path, file):
                found.update(data)
                yield data
        if found.hexdigest() != member.sha256:
            raise BackupBroken(f"{_shown(member.path)} in this backup was changed")


class _Broken:
    """Whatever a damaged file makes zipfile, json and the vault raise becomes one error."""

    def __init__(self, path: str | None = None):
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, _) -> None:
        what = "this is no backup, or it" if self._path is None else f"{_shown(self._path)} in this backup"
        where = f"{what} is damaged"
        if isinstance(error, SealBroken):
            raise BackupBroken(f"{where}: {error.message}") from None
        damage = (
            zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, KeyError, TypeError, struct.error,
            zlib.error, OSError, OverflowError, IndexError, AttributeError,
        )  # fmt: skip
        if isinstance(error, damage):
            raise BackupBroken(where) from error


def _shown(path: str) -> str:
    return ascii(str(path))[:200]


# -- encryption of members ----------------------------------------------------------------------------------------------


def _stored(size: int, is_sealed: bool) -> int:
    """How long a file of `size` bytes is in the ZIP file."""
    return size + max(1, -(-size // CHUNK)) * OVERHEAD if is_sealed else size


def _piece(path: str, number: int, last: bool) -> str:
    """What a sealed piece is for: pieces of other files, in another order, or without the last one, do not open."""
    return f"backup {path} {number} {'last' if last else 'more'}"


def sealed(vault: Vault, path: str, source: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of `source`, however it is cut, each sealed."""
    held, number = bytearray(), 0
    for data in source:
        held += data
        while len(held) > CHUNK:
            yield vault.seal(bytes(held[:CHUNK]), _piece(path, number, False))
            del held[:CHUNK]
            number += 1
    yield vault.seal(bytes(held), _piece(path, number, True))


def opened(vault: Vault, path: str, file: BinaryIO) -> Iterator[bytes]:
    """What `sealed` made, opened."""
    data, number = _exactly(file, CHUNK + OVERHEAD), 0
    while True:
        following = _exactly(file, CHUNK + OVERHEAD)
        yield vault.open(data, _piece(path, number, not following))
        if not following:
            return
        data, number = following, number + 1


def _exactly(file: BinaryIO, size: int) -> bytes:
    found = b""
    while len(found) < size and (data := file.read(size - len(found))):
        found += data
    return found
