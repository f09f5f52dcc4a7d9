"""The files beside a subject's photos in known_faces: the note of consent, the subject's id, and particulars."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

from recognizer.core import consent, identity, particulars
from recognizer.core.consent import Consent
from recognizer.core.disk import disk_errors
from recognizer.core.errors import KeyMissing, SealBroken, StorageError
from recognizer.core.files import open_regular, sync_folder, write_durably
from recognizer.core.identity import Identity
from recognizer.core.outside_json import MOST_BYTES
from recognizer.core.particulars import Particulars
from recognizer.core.vault import Vault, is_sealed

#: What an encrypted note of consent is for; see `vault`.
CONSENT = "consent"


def known_faces_errors() -> AbstractContextManager[None]:
    """Errors of the disk within the block become StorageError."""
    return disk_errors("the folder of known faces cannot be used")


def read_particulars(folder: Path, vault: Vault | None) -> Particulars:
    """What the file in a subject's folder says; nothing where it is damaged or cannot be decrypted."""
    try:
        with open_regular(folder / particulars.FILE) as opened:
            data = opened.read(2 * particulars.MAX_BYTES)
        plain = data if vault is None else vault.open_or_plain(data, particulars.PURPOSE)
        return Particulars.from_bytes(plain)
    except (OSError, ValueError, SealBroken, KeyMissing):
        return Particulars()


def write_particulars(folder: Path, held: Particulars, vault: Vault | None) -> None:
    """Store it durably; the file of empty particulars is deleted. Raises OSError."""
    if not held:
        (folder / particulars.FILE).unlink(missing_ok=True)
        sync_folder(folder)
        return
    data = held.as_bytes()
    write_durably(folder / particulars.FILE, data if vault is None else vault.seal(data, particulars.PURPOSE))


def read_consent(folder: Path, vault: Vault | None) -> Consent:
    """The note in a subject's folder; an empty one where there is none.

    Raises
    ------
    StorageError, SealBroken, KeyMissing
    """
    with known_faces_errors():
        try:
            with open_regular(folder / consent.FILE) as file:  # a pipe of that name would never end
                data = file.read(2 * MOST_BYTES)  # a longer one is refused below, and not read to its end
        except FileNotFoundError:
            return Consent()
    try:
        return Consent.from_bytes(data if vault is None else vault.open_or_plain(data, CONSENT))
    except ValueError as error:
        raise StorageError(f"the note of consent cannot be read: {error}") from None


def write_consent(folder: Path, held: Consent, vault: Vault | None) -> None:
    """Store it durably; the file of an empty note is deleted. Raises OSError."""
    if not held:
        (folder / consent.FILE).unlink(missing_ok=True)
        sync_folder(folder)
        return
    data = held.as_bytes()
    write_durably(folder / consent.FILE, data if vault is None else vault.seal(data, CONSENT))


def read_identity(file: Path, vault: Vault | None, purpose: str) -> Identity | None:
    """The id that a file holds; None where there is none, or it is damaged.

    Raises
    ------
    StorageError, SealBroken, KeyMissing
    """
    try:
        with known_faces_errors(), open_regular(file) as opened:
            data = opened.read(identity.MAX_BYTES)
    except StorageError:
        if os.path.lexists(file):
            raise
        return None
    if is_sealed(data) and vault is None:
        raise KeyMissing("this id is encrypted, and there is no key")
    try:
        return Identity.from_bytes(data if vault is None else vault.open_or_plain(data, purpose))
    except ValueError:
        return None


def write_identity(file: Path, held: Identity, vault: Vault | None, purpose: str) -> None:
    """Store an id in a file; durable on return.

    Raises
    ------
    StorageError
        It cannot be written, or is too large.
    """
    data = held.as_bytes() if vault is None else vault.seal(held.as_bytes(), purpose)
    if len(data) > identity.MAX_BYTES:
        raise StorageError("what is stored beside an id is too large")
    with known_faces_errors():
        write_durably(file, data)
