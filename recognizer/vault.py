"""Encryption of what is kept: AES-256-GCM, one key at a time, with older keys kept for reading while they are replaced.

What is sealed begins with ``RCGZ``, a version (1), the id of the key (8 bytes) and a random nonce (12 bytes); then come the
encrypted data and its tag. All of it is authenticated, together with what the data is for, so that a sealed thumbnail is not
taken for a template. Where equal things have to look equal (paths in the cache), AES-SIV with a key of its own is used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from .errors import KeyMissing, SealBroken, SettingsError

MAGIC = b"RCGZ\x01"
KEY_BYTES, _ID, _NONCE, _TAG = 32, 8, 12, 16
_HEADER = len(MAGIC) + _ID + _NONCE
#: How much longer sealed data is.
OVERHEAD = _HEADER + _TAG
_WRITTEN = "recognizer-key-1:"
#: Small files that say which key an installation has: in the state folder, and in the folder of known faces.
STATE_MARK, FACES_MARK = "encryption.json", ".encryption.json"


def is_sealed(data: bytes) -> bool:
    return data[: len(MAGIC)] == MAGIC


def key_id(key: bytes) -> str:
    """The public id of a key: 16 hexadecimal digits."""
    return hashlib.sha256(b"recognizer key id\0" + key).digest()[:_ID].hex()


def sealed_by(data: bytes) -> str | None:
    """The id of the key that sealed `data`; None for what is not sealed."""
    return data[len(MAGIC) : len(MAGIC) + _ID].hex() if is_sealed(data) and len(data) >= OVERHEAD else None


class Vault:
    """Keys, and what is done with them. The first one seals; each opens what it sealed. Safe from any thread.

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
        self._ciphers: dict[str, object] = {}
        self._marks: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"Vault({', '.join(self._keys)})"

    def __reduce__(self):
        return Vault, (list(self._keys.values()),)

    @property
    def ids(self) -> list[str]:
        """Ids of all keys, the current one first."""
        return list(self._keys)

    def _cipher(self, key: str):
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if key not in self._ciphers:
            if key not in self._keys:
                raise KeyMissing(f"this was encrypted with the key {key}, which is not there", key=key)
            self._ciphers[key] = AESGCM(self._keys[key])
        return self._ciphers[key]

    def seal(self, data: bytes, purpose: str) -> bytes:
        """Encrypt.

        Parameters
        ----------
        purpose : str
            What the data is for: `open` has to be given the same.
        """
        header = MAGIC + bytes.fromhex(self.current) + secrets.token_bytes(_NONCE)
        return header + self._cipher(self.current).encrypt(header[-_NONCE:], bytes(data), header + purpose.encode())

    def open(self, data: bytes, purpose: str) -> bytes:
        """What was sealed.

        Raises
        ------
        KeyMissing
            It was sealed with a key that is not there.
        SealBroken
            It was changed, cut short, or sealed for something else.
        """
        from cryptography.exceptions import InvalidTag

        data = bytes(data)
        sealer = sealed_by(data)
        if sealer is None:
            raise SealBroken("this is not encrypted, or was cut short")
        header = data[:_HEADER]
        try:
            return self._cipher(sealer).decrypt(header[-_NONCE:], data[_HEADER:], header + purpose.encode())
        except InvalidTag:
            raise SealBroken("encrypted data was changed, or cut short, or belongs elsewhere") from None

    def open_or_plain(self, data: bytes, purpose: str) -> bytes:
        """As `open`; what is not sealed is returned as it is."""
        return self.open(data, purpose) if is_sealed(data) else data

    def mark(self, text: str, key: str | None = None) -> str:
        """`text` encrypted so that the same text gives the same mark."""
        return base64.urlsafe_b64encode(self._siv(key or self.current).encrypt(text.encode(), None)).decode()

    def unmark(self, mark: str, key: str | None = None) -> str:
        """The text of a mark.

        Raises
        ------
        SealBroken, KeyMissing
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._siv(key or self.current).decrypt(base64.urlsafe_b64decode(mark), None).decode()
        except (InvalidTag, ValueError):
            raise SealBroken("an encrypted name was changed") from None

    def _siv(self, key: str):
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        if key not in self._marks:
            if key not in self._keys:
                raise KeyMissing(f"this was encrypted with the key {key}, which is not there", key=key)
            self._marks[key] = AESSIV(hmac.digest(self._keys[key], b"recognizer marks", "sha512"))
        return self._marks[key]


# -- keys as text -----------------------------------------------------------------------------------------------------


def new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def written(keys: Sequence[bytes]) -> str:
    """Keys as a key file holds them: a line each."""
    return "".join(f"{_WRITTEN}{base64.b64encode(key).decode()}\n" for key in keys)


def read_keys(text: str) -> list[bytes]:
    """The keys in a key file or a setting: the current one, then those that it replaces.

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
        raise SettingsError("the encryption key: there is none")
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
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "not text"
        raise SettingsError(f"encryption_key_file: the file cannot be read: {reason}") from None


def create_key_file(path: Path, keys: Sequence[bytes]) -> None:
    """Write a key file that only its owner can read; it must not be there.

    Raises
    ------
    OSError
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="ascii") as file:
        file.write(written(keys))
        file.flush()
        os.fsync(file.fileno())


def open_vault(key: str | None, file: Path | None) -> Vault | None:
    """The vault of a setting or of a key file; None where neither is given.

    Raises
    ------
    SettingsError
        Both are given, or what is given cannot be used.
    """
    if key is not None and file is not None:
        raise SettingsError("the encryption key: expected it as a setting or in a file, got both")
    if file is not None:
        return Vault(read_key_file(file))
    return None if key is None else Vault(read_keys(key))
