"""Requests that are signed instead of showing a key: AWS Signature Version 4, and the secrets with which they are checked.

Whoever checks a signature needs the secret itself, of which `access_file` keeps a hash only. So the keys that may
sign are stored a second time: in one file of mode 0600 in the state folder, encrypted as all else is. It is in no backup.

The algorithm is that of AWS's reference: "Signature Version 4 signing process", elements of an API request signature.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from recognizer.core.disk import disk_errors
from recognizer.core.errors import InvalidKey, StorageError
from recognizer.core.files import own_folder, write_durably
from recognizer.core.vault import Vault

FILE, PURPOSE = "signing.json", "signing secrets"
ALGORITHM = "AWS4-HMAC-SHA256"
#: Largest difference between the client's clock and this machine's.
CLOCK_SECONDS = 300.0
_LONGEST = 4096
_PART = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")
_MUST_BE_SIGNED = {"host", "x-amz-date"}


class SigningSecrets:
    """The keys that may sign, as they are: by their ids, in a file. Any thread may call.

    Parameters
    ----------
    folder : Path
        The state folder.
    vault : callable
        Returns the vault that encrypts the file, or None; called when the file is first read or written.
    """

    def __init__(self, folder: Path, vault: Callable[[], Vault | None]):
        self._file, self._vault = folder / FILE, vault
        self._lock = threading.Lock()
        self._read: tuple[object, dict[str, str]] = (None, {})

    def get(self, id: str) -> str | None:
        """The key with this id; None if it may not sign.

        Raises
        ------
        StorageError, KeyMissing, SealBroken
        """
        return self._held().get(id)

    def add(self, id: str, key: str) -> None:
        """Let a key sign.

        Raises
        ------
        StorageError, KeyMissing, SealBroken
        """
        with self._lock:
            self._write({**self._load(), id: key})

    def remove(self, id: str) -> None:
        """Let a key sign no longer.

        Raises
        ------
        StorageError, KeyMissing, SealBroken
        """
        with self._lock:
            held = self._load()
            if held.pop(id, None) is not None:
                self._write(held)

    def _held(self) -> dict[str, str]:
        try:
            status = self._file.stat()
        except OSError:
            return {}
        stamp = status.st_ino, status.st_mtime_ns, status.st_size
        with self._lock:
            if self._read[0] != stamp:
                self._read = stamp, self._load()
            return self._read[1]

    def _load(self) -> dict[str, str]:
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError("the keys that may sign cannot be read") from error
        vault = self._vault()
        try:
            found = json.loads(data if vault is None else vault.open(data, PURPOSE))
        except ValueError:
            raise StorageError("the file of keys that may sign is damaged, or encrypted while no key is set") from None
        return {str(id): str(key) for id, key in found.items()} if isinstance(found, dict) else {}

    def _write(self, held: Mapping[str, str]) -> None:
        data, vault = json.dumps(held).encode(), self._vault()
        with disk_errors("the keys that may sign cannot be stored"):
            own_folder(self._file.parent)
            write_durably(self._file, data if vault is None else vault.seal(data, PURPOSE))
            self._file.chmod(0o600)


@dataclass(frozen=True)
class Signature:
    """What the header ``Authorization`` of a signed request says.

    Attributes
    ----------
    key : str
        The id of the key.
    scope : tuple of str
        Date, region, service and ``aws4_request``.
    headers : tuple of str
        Names of the headers that are signed, in order.
    value : str
    """

    key: str
    scope: tuple[str, ...]
    headers: tuple[str, ...]
    value: str


def is_signed(environ: Mapping[str, Any]) -> bool:
    """Whether a request claims to be signed."""
    return str(environ.get("HTTP_AUTHORIZATION", "")).strip().startswith(ALGORITHM)


def read(environ: Mapping[str, Any]) -> Signature:
    """The signature of a request, not checked.

    Raises
    ------
    InvalidKey
    """
    parts = dict(_PART.findall(str(environ.get("HTTP_AUTHORIZATION", ""))[:_LONGEST]))
    credential = tuple(parts.get("Credential", "").split("/"))
    headers = tuple(parts.get("SignedHeaders", "").split(";"))
    if len(credential) != 5 or credential[-1] != "aws4_request" or not set(headers) >= _MUST_BE_SIGNED:
        raise InvalidKey("expected a signature over host and x-amz-date, with the scope date/region/service/aws4_request")
    return Signature(credential[0], credential[1:], headers, parts.get("Signature", ""))


def check(environ: Mapping[str, Any], body: bytes, secret: str, now: Callable[[], float] = time.time) -> None:
    """See that a request was signed with a secret, a short time ago, as it is.

    Parameters
    ----------
    environ : mapping
        As WSGI has it.
    body : bytes
    secret : str
    now : callable
        Seconds since 1970.

    Raises
    ------
    InvalidKey
    """
    signed = read(environ)
    date = str(environ.get("HTTP_X_AMZ_DATE", ""))
    _check_time(date, now())
    if not date.startswith(signed.scope[0]):
        raise InvalidKey("the signature is of another day")
    digest = hashlib.sha256(body).hexdigest()
    if environ.get("HTTP_X_AMZ_CONTENT_SHA256", digest) != digest:
        raise InvalidKey("the body is not the one that was signed")
    text = "\n".join((ALGORITHM, date, "/".join(signed.scope), hashlib.sha256(_canonical(environ, signed, digest)).hexdigest()))
    key = f"AWS4{secret}".encode()
    for part in (*signed.scope, text):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(key.hex().encode(), signed.value.encode("utf-8", "replace")):
        raise InvalidKey("the signature does not match: the secret, or what was signed, is another")


def _check_time(date: str, now: float) -> None:
    found = None
    with suppress(ValueError):
        found = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
    if found is None or abs(found - now) > CLOCK_SECONDS:
        raise InvalidKey(f"the signature is expired: its time and this machine's differ by more than {CLOCK_SECONDS:g} seconds")


def _canonical(environ: Mapping[str, Any], signed: Signature, digest: str) -> bytes:
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "") or "/"
    query = "&".join(sorted(each if "=" in each else f"{each}=" for each in environ.get("QUERY_STRING", "").split("&") if each))
    headers = "".join(f"{name}:{' '.join(_header(environ, name).split())}\n" for name in signed.headers)
    parts = (
        environ.get("REQUEST_METHOD", ""),
        quote(path.encode("latin-1"), safe="/~"),
        query,
        headers,
        ";".join(signed.headers),
        digest,
    )
    return "\n".join(parts).encode("utf-8", "surrogateescape")


def _header(environ: Mapping[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    return str(environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", ""))
