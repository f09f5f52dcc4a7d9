"""Encryption of stored data: AES-256-GCM with one current key; older keys remain readable while they are being replaced.

Sealed data begins with ``RCGZ``, a version (1), the id of the key (8 bytes) and a random nonce (12 bytes), followed by the
ciphertext and its tag. All of it is authenticated together with the purpose of the data, so that a sealed thumbnail is not
accepted as a template. Large files are sealed in pieces (version 2): the head is followed by pieces of `PIECE` bytes, each
sealed on its own, and bound to the head, to its number and to whether it is the last one. Where equal plaintexts must have
equal ciphertexts (paths in the cache), AES-SIV with a derived key is used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import io
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from recognizer.core.disk import disk_reason
from recognizer.core.errors import KeyMissing, SealBroken, SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

MAGIC, PIECES_MAGIC = b"RCGZ\x01", b"RCGZ\x02"
KEY_BYTES, _ID, _NONCE, _TAG = 32, 8, 12, 16
_HEADER = len(MAGIC) + _ID + _NONCE
#: How many bytes longer sealed data is than the data.
OVERHEAD = _HEADER + _TAG
#: Bytes of a piece of a large file.
PIECE = 1 << 20
_WRITTEN = "recognizer-key-1:"
#: Files that contain the id of an installation's key: in the state folder, and in the folder of known faces.
STATE_MARK, FACES_MARK = "encryption.json", ".encryption.json"


def is_sealed(data: bytes) -> bool:
    """Whether `data` is sealed."""
    return data[: len(MAGIC)] in (MAGIC, PIECES_MAGIC)


def unsealed(data: bytes, vault: Vault | None, purpose: str, what: str) -> bytes:
    """Data that may be sealed, as it was before.

    Parameters
    ----------
    data : bytes
    vault : Vault or None
        None where there is no key.
    purpose : str
        What the data was sealed for.
    what : str
        Subject and verb of the error message: ``the rules are``.

    Raises
    ------
    KeyMissing, SealBroken
    """
    if not is_sealed(data):
        return data
    if vault is None:
        raise KeyMissing(f"{what} encrypted, and there is no key")
    return vault.open(data, purpose)


def most_sealed(size: int) -> int:
    """The most bytes that `size` bytes of data have when they are sealed, as a whole or in pieces."""
    return size + OVERHEAD + (size // PIECE + 1) * (_NONCE + _TAG)


def key_id(key: bytes) -> str:
    """The public id of a key: 16 hexadecimal digits."""
    return hashlib.sha256(b"recognizer key id\0" + key).digest()[:_ID].hex()


def sealed_by(data: bytes) -> str | None:
    """The id of the key that sealed `data`; None for data that is not sealed."""
    return data[len(MAGIC) : len(MAGIC) + _ID].hex() if is_sealed(data) and len(data) >= OVERHEAD else None


class Vault:
    """Encryption keys. The first key seals; every key opens what it sealed. Safe to use from several threads.

    Parameters
    ----------
    keys : sequence of bytes
        32 bytes each.
    """

    def __init__(self, keys: Sequence[bytes]):
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise SettingsError(f"the encryption key: expected {KEY_BYTES} bytes")
        self._keys = {key_id(key): key for key in keys}
        self.current = key_id(keys[0])
        self._ciphers: dict[str, AESGCM] = {}
        self._marks: dict[str, AESSIV] = {}

    def __repr__(self) -> str:
        return f"Vault({', '.join(self._keys)})"

    def __reduce__(self) -> tuple[type[Vault], tuple[list[bytes]]]:
        return Vault, (list(self._keys.values()),)

    @property
    def ids(self) -> list[str]:
        """Ids of all keys, the current one first."""
        return list(self._keys)

    def _cipher(self, key: str) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if key not in self._ciphers:
            if key not in self._keys:
                raise KeyMissing(f"the data is encrypted with the key {key}, which is missing", key=key)
            self._ciphers[key] = AESGCM(self._keys[key])
        return self._ciphers[key]

    def seal(self, data: bytes, purpose: str) -> bytes:
        """Encrypt `data`.

        Parameters
        ----------
        purpose : str
            The purpose of the data; `open` must be called with the same one.
        """
        header = MAGIC + bytes.fromhex(self.current) + secrets.token_bytes(_NONCE)
        return header + self._cipher(self.current).encrypt(header[-_NONCE:], bytes(data), header + purpose.encode())

    def open(self, data: bytes, purpose: str) -> bytes:
        """Decrypt `data`.

        Raises
        ------
        KeyMissing
            The data was sealed with a key that is missing.
        SealBroken
            The data was changed or truncated, or sealed for another purpose.
        """
        from cryptography.exceptions import InvalidTag

        data = bytes(data)
        if data.startswith(PIECES_MAGIC):
            return b"".join(self.opened_pieces(io.BytesIO(data), purpose))
        sealer = sealed_by(data)
        if sealer is None:
            raise SealBroken("the data is not encrypted, or was truncated")
        header = data[:_HEADER]
        try:
            return self._cipher(sealer).decrypt(header[-_NONCE:], data[_HEADER:], header + purpose.encode())
        except InvalidTag:
            raise SealBroken("encrypted data was changed or truncated, or belongs to another file") from None

    def sealed_pieces(self, read: Callable[[int], bytes], purpose: str) -> Iterator[bytes]:
        """Encrypt what a file's `read` gives piece by piece, in bounded memory; `open` and `opened_pieces` open it."""
        header = PIECES_MAGIC + bytes.fromhex(self.current) + secrets.token_bytes(_NONCE)
        yield header
        data, number, last = read(PIECE), 0, False
        while not last:
            following = read(PIECE)
            last = not following
            nonce = secrets.token_bytes(_NONCE)
            yield nonce + self._cipher(self.current).encrypt(nonce, data, _piece(header, purpose, number, last))
            data, number = following, number + 1

    def opened_pieces(self, source: BinaryIO, purpose: str) -> Iterator[bytes]:
        """Decrypt what `sealed_pieces` gave. The last piece may turn out to be missing, so nothing counts before the end.

        Raises
        ------
        KeyMissing, SealBroken
        """
        from cryptography.exceptions import InvalidTag

        header = source.read(_HEADER)
        sealer = sealed_by(header + bytes(_TAG))
        if sealer is None or not header.startswith(PIECES_MAGIC):
            raise SealBroken("the data is not encrypted, or was truncated")
        data, number, last = source.read(_NONCE + PIECE + _TAG), 0, False
        while not last:
            following = source.read(_NONCE + PIECE + _TAG)
            last = not following
            try:
                yield self._cipher(sealer).decrypt(data[:_NONCE], data[_NONCE:], _piece(header, purpose, number, last))
            except (InvalidTag, ValueError):
                raise SealBroken("encrypted data was changed or truncated, or belongs to another file") from None
            data, number = following, number + 1

    def open_or_plain(self, data: bytes, purpose: str) -> bytes:
        """Like `open`, but data that is not sealed is returned unchanged."""
        return self.open(data, purpose) if is_sealed(data) else data

    def mark(self, text: str, key: str | None = None) -> str:
        """Encrypt `text` deterministically: the same text gives the same mark."""
        return base64.urlsafe_b64encode(self._siv(key or self.current).encrypt(text.encode(), None)).decode()

    def unmark(self, mark: str, key: str | None = None) -> str:
        """Decrypt a mark.

        Raises
        ------
        SealBroken, KeyMissing
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._siv(key or self.current).decrypt(base64.urlsafe_b64decode(mark), None).decode()
        except (InvalidTag, ValueError):
            raise SealBroken("an encrypted name was changed") from None

    def _siv(self, key: str) -> AESSIV:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        if key not in self._marks:
            if key not in self._keys:
                raise KeyMissing(f"the data is encrypted with the key {key}, which is missing", key=key)
            self._marks[key] = AESSIV(hmac.digest(self._keys[key], b"recognizer marks", "sha512"))
        return self._marks[key]


def _piece(header: bytes, purpose: str, number: int, last: bool) -> bytes:
    """What a piece is bound to."""
    return header + f"{purpose} {number} {'last' if last else 'more'}".encode()


# -- keys as text -----------------------------------------------------------------------------------------------------


def new_key() -> bytes:
    """A random key."""
    return secrets.token_bytes(KEY_BYTES)


def key_file_text(keys: Sequence[bytes]) -> str:
    """The contents of a key file: a line for each key."""
    return "".join(f"{_WRITTEN}{base64.b64encode(key).decode()}\n" for key in keys)


def read_keys(text: str) -> list[bytes]:
    """Parse the keys of a key file or a setting: the current key first, then the keys that it replaces.

    Raises
    ------
    SettingsError
    """
    lines = [line for line in re.split(r"[\s,]+", text) if line]
    keys = []
    for line in lines:
        try:
            key = base64.b64decode(line.removeprefix(_WRITTEN), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise SettingsError("the encryption key: expected 32 bytes in base64, as `encryption init` writes them")
        keys.append(key)
    if not keys:
        raise SettingsError("the encryption key: the setting or the file is empty")
    return list(dict.fromkeys(keys))


def read_key_file(path: Path) -> list[bytes]:
    """The keys of a file; see `read_keys`.

    Raises
    ------
    SettingsError
    """
    try:
        return read_keys(path.read_text("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        reason = disk_reason(error) if isinstance(error, OSError) else "not text"
        raise SettingsError(f"encryption_key_file: the file cannot be read: {reason}") from None


def create_key_file(path: Path, keys: Sequence[bytes]) -> None:
    """Create a key file that only its owner can read; it must not exist.

    Raises
    ------
    OSError
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="ascii") as file:
        file.write(key_file_text(keys))
        file.flush()
        os.fsync(file.fileno())


def open_vault(key: str | None, file: Path | None) -> Vault | None:
    """The vault with the keys of a setting or of a key file; None if neither is given.

    Raises
    ------
    SettingsError
        Both are given, or the keys are invalid.
    """
    if key is not None and file is not None:
        raise SettingsError("the encryption key: expected encryption_key or encryption_key_file, got both")
    if file is not None:
        return Vault(read_key_file(file))
    return None if key is None else Vault(read_keys(key))
