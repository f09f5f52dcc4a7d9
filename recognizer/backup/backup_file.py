"""The file that a backup is: a ZIP file with everything that an installation keeps, and a manifest of it.

::

    backup.json         {"recognizer_backup": 1, "version": ..., "made": ..., "sealed_by": a key's id or null}
    manifest.json       its contents: path, size, SHA-256 and time of every file; facts about the installation
    known_faces/...     the files
    groups/...
    state/...

With a key, the manifest and all files are encrypted, and the files have numbers for names: then only `backup.json`, sizes and
how many files there are can be read without the key. Nothing is compressed: photos cannot be, and nothing that is read can
become larger than the file.

Members may be dropped again before the file is complete; then `Writer.close` writes it once more, in place, without them.
"""

from __future__ import annotations

import hashlib
import io
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
from typing import BinaryIO, cast

from recognizer.core import consent, identity, names, particulars
from recognizer.core.errors import BackupBroken, InvalidName, KeyMissing, SealBroken, StorageError
from recognizer.core.vault import OVERHEAD, Vault

VERSION = 1
HEADER, MANIFEST = "backup.json", "manifest.json"
#: Where members belong.
FACES, STATE, GROUPS = "known_faces/", "state/", "groups/"
#: Bytes that are read, written and sealed at once.
CHUNK = 1 << 20
#: Bytes of a manifest at most, beside so many for each file in the backup: two names of two parts each, with escapes.
_MOST_MANIFEST, _MOST_ROW = 1 << 20, 1 << 12
_SEALED_MANIFEST = "backup manifest"
_STATE_FILES = (
    r"(groups/[^./\\:\x00][^/\\:\x00]{0,254}/)?encodings\.sqlite|access\.sqlite|photos\.sqlite|visits\.sqlite|cameras\.json|(camera-)?settings\.json|(rules|receivers|push)\.json|audit/(\d{12}\.jsonl|head\.json|names\.json)"
    r"|strangers/([0-9a-f]{1,40}\.json|pictures/[0-9a-f]{1,64}\.jpg)"
    r"|events/(\d{12}\.jsonl|\d{12}/\d{1,15}(-scene)?\.jpg|[A-Za-z0-9_-]{1,100}\.(cursor|forget|sent)|mqtt-announced\.json)"
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
        return re.fullmatch(_STATE_FILES, path[len(STATE) :]) is not None  # compiled when it is first needed, not by each start
    place, _, inside = path.partition("/")
    *folders, file = inside.split("/")
    if not file or any(each in _SEPARATORS for each in file):
        return False
    try:
        path.encode()
        for folder in folders:
            names.normalise(folder)
    except (InvalidName, UnicodeEncodeError):
        return False
    depth = {FACES.rstrip("/"): 1, GROUPS.rstrip("/"): 2}.get(place)
    if depth is None or len(folders) not in (depth, depth - 1):
        return False
    if len(folders) < depth:
        return file == identity.GROUP_FILE
    return file in (consent.FILE, identity.PERSON_FILE, particulars.FILE) or not file.startswith(".")


def chunks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of a file, piece by piece."""
    while data := file.read(CHUNK):
        yield data


class Writer:
    """Writes a backup into an open file. At the end of a `with` block that did not close it, it is given up.

    Parameters
    ----------
    file : binary file
        Empty, and open for reading, writing and seeking; stays the caller's.
    vault : Vault, optional
        Encrypts the members.
    """

    def __init__(self, file: BinaryIO, vault: Vault | None):
        self._file, self._vault = file, vault
        self._output = _Position(file)
        self._zip = _new_zip(self._output)
        self._members: dict[str, Member] = {}
        self._written: dict[str, str] = {}  # by path: the name that the member has now
        self._is_complete = True  # whether every member of the ZIP file is one of `_members`
        self._number = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_) -> None:
        self._output.ignore_writes()  # of the ZIP file's end, if this is given up: the disk may be full
        self._zip.close()

    @property
    def paths(self) -> set[str]:
        return set(self._members)

    def add(self, path: str, source: Iterable[bytes], mtime_ns: int) -> None:
        """Add the data of `source`, and drop what was added under this path before.

        If `source` raises, nothing of it is left, and the error goes on.
        """
        self.drop(path)
        self._number += 1
        name = path if self._vault is None else f"{self._number:08}"
        # a name that a dropped member has is used when the file is written again
        written = name if self._is_complete or self._vault is not None else f"{self._number}/{path}"
        found, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for data in source:
                found.update(data)
                size += len(data)
                yield data

        try:
            self._write(written, counted() if self._vault is None else sealed(self._vault, path, counted()))
        except BaseException:
            self._is_complete = False
            raise
        self._members[path] = Member(path, name, size, found.hexdigest(), mtime_ns)
        self._written[path] = written

    def _write(self, name: str, data: Iterable[bytes]) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o600 << 16
        with self._zip.open(info, "w", force_zip64=True) as member:
            for each in data:
                member.write(each)

    def drop(self, path: str) -> None:
        """Drop what was added under this path, if anything was."""
        if self._members.pop(path, None) is not None:
            self._is_complete = False

    def close(self, version: str, made: str, about: dict) -> None:
        """Write manifest and header, after the dropped members have been removed.

        Parameters
        ----------
        about : dict
            What the manifest says of the whole.
        """
        if not self._is_complete:
            self._write_again()
        listed = {**about, "members": [asdict(member) for member in self._members.values()]}
        data = json.dumps(listed, ensure_ascii=False).encode()
        self._write(MANIFEST, [data if self._vault is None else self._vault.seal(data, _SEALED_MANIFEST)])
        sealer = None if self._vault is None else self._vault.current
        header = {"recognizer_backup": VERSION, "version": version, "made": made, "sealed_by": sealer}
        self._write(HEADER, [json.dumps(header).encode()])
        self._zip.close()
        end = self._output.tell()
        for at in range(end, self._file.seek(0, os.SEEK_END), CHUNK):  # of the file before it was written again
            self._file.seek(at)
            self._file.write(bytes(CHUNK))
        self._file.truncate(end)
        self._file.seek(end)

    def _write_again(self) -> None:
        """Write the remaining members from the beginning of the file on.

        Each is read before its place is written to: members keep their order, and no name becomes longer.
        """
        self._zip.close()
        self._output = _Position(self._file)
        with zipfile.ZipFile(cast(BinaryIO, _Position(self._file))) as before:
            self._zip = _new_zip(self._output)
            for path, member in self._members.items():
                with before.open(self._written[path]) as source:
                    self._write(member.name, chunks(cast(BinaryIO, source)))
        self._is_complete = True


class _Position(io.RawIOBase):
    """A file with a position of its own, so that two ZIP files can be open in one file. Closing it leaves the file open."""

    def __init__(self, file: BinaryIO):
        self._file, self._at, self._ignores = file, 0, False

    def ignore_writes(self) -> None:
        """Write nothing from now on."""
        self._ignores = True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence)
        self._at = self._file.seek(offset, whence) if begin is None else begin + offset
        return self._at

    def readinto(self, buffer) -> int:
        self._file.seek(self._at)
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def write(self, data) -> int:
        if not self._ignores:
            self._file.seek(self._at)
            self._file.write(data)
        self._at += len(data)
        return len(data)


def _new_zip(output: _Position) -> zipfile.ZipFile:
    return zipfile.ZipFile(cast(BinaryIO, output), "w", zipfile.ZIP_STORED, strict_timestamps=False)


class BackupReader:
    """A backup whose manifest was read and whose structure is valid; the content of each file is checked when it is read.

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

    def __enter__(self) -> BackupReader:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _sound(self, size: int) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        found = {info.filename: info for info in infos}
        if len(found) < len(infos):
            raise BackupBroken("this backup contains two files with the same name")
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
                raise BackupBroken(
                    "this backup contains a file with a compression or encryption that this program does not write"
                )
            if kind not in (0, stat.S_IFREG) or info.is_dir():
                raise BackupBroken("this backup contains a link, a folder or a device")
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
            raise BackupBroken(
                f"this backup has format version {header.get('recognizer_backup')!r}; this program reads version {VERSION}"
            )
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
        data = self._raw(MANIFEST, _MOST_MANIFEST + _MOST_ROW * len(self._infos))
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
                raise BackupBroken(f"this backup contains {_shown(member.path)}, which is not part of an installation")
            if member.path in members or member.name in used or member.name not in self._infos:
                raise BackupBroken(f"the manifest of this backup does not fit its files: {_shown(member.path)}")
            whole = isinstance(member.size, int) and isinstance(member.mtime_ns, int) and isinstance(member.sha256, str)
            if not whole or self._infos[member.name].file_size != _stored(member.size, self._vault is not None):
                raise BackupBroken(f"{_shown(member.path)} in this backup has a wrong size")
            used.add(member.name)
            members[member.path] = member
        if used != set(self._infos):
            raise BackupBroken("this backup contains files that its manifest does not list")
        return members

    def read(self, member: Member) -> Iterator[bytes]:
        """The content of a file, piece by piece; after the last piece its checksum has been verified.

        Raises
        ------
        BackupBroken
        """
        found = hashlib.sha256()
        with _Broken(member.path), self._zip.open(self._infos[member.name]) as file:
            plain = cast(BinaryIO, file)
            for data in chunks(plain) if self._vault is None else opened(self._vault, member.path, plain):
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
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            EOFError,
            ValueError,
            KeyError,
            TypeError,
            struct.error,
            zlib.error,
            OSError,
            OverflowError,
            IndexError,
            AttributeError,
        )
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
