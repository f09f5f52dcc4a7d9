"""API keys: made, shown once, kept as hashes, checked, revoked.

A key is ``rk_<id>_<secret>``: the id finds its row, the 256 random bits of the secret prove it. What is kept is an
Argon2id hash. Since that takes tens of milliseconds, a key that was right is remembered for a while by a hash under a
random key of this process; its row is looked at all the same, so that a revoked key is refused at once.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recognizer.access.access_file import AccessFile, ApiKey
from recognizer.core.errors import InvalidKey, InvalidParameter, KeyExpired, KeyNotFound

if TYPE_CHECKING:
    from argon2 import PasswordHasher

ROLES = ("read", "write", "admin")
#: Id of the key that the settings give.
SETTING = "setting"
REMEMBERED_SECONDS = 300.0
REMEMBERED_KEYS = 1024
LONGEST_KEY = 512
_FORM = re.compile(r"rk_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
#: Argon2id as OWASP's password storage cheat sheet has it: 19 MiB, two passes.
_COST = {"time_cost": 2, "memory_cost": 19 * 1024, "parallelism": 1}


@dataclass(frozen=True, slots=True)
class _Remembered:
    digest: bytes
    hash: str
    until: float


class Keys:
    """The keys of a file, and perhaps one of the settings. Owns which were found right; safe from several threads.

    Parameters
    ----------
    file : AccessFile
    admin_key : str, optional
        A key with the role ``admin`` that the settings give.
    clock : callable, optional
        Seconds since 1970.
    """

    def __init__(self, file: AccessFile, admin_key: str | None = None, clock: Callable[[], float] = time.time):
        self._file = file
        self._clock = clock
        self._process_key = os.urandom(32)
        self._admin_digest = self._digest(admin_key) if admin_key else None
        self._admin = None
        if admin_key:
            self._admin = ApiKey(SETTING, "setting", "admin", hashlib.sha256(admin_key.encode()).hexdigest(), 0.0)
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()

    # -- looking after them ---------------------------------------------------------------------------------------

    def add(self, name: str, role: str, expires: float | None = None) -> tuple[ApiKey, str]:
        """Make a key.

        Parameters
        ----------
        name : str
            What it is for.
        role : str
            One of `ROLES`.
        expires : float, optional
            When it ends, in seconds since 1970.

        Returns
        -------
        Key, str
            Its row, and the key itself, which is nowhere else.

        Raises
        ------
        InvalidParameter
        StorageError
        """
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise InvalidParameter(f"name: expected 1 to 100 printable characters, got {name!r}")
        if role not in ROLES:
            raise InvalidParameter(f"role: expected one of {', '.join(ROLES)}, got {role!r}")
        if expires is not None and expires <= self._clock():
            raise InvalidParameter("expires: expected a time to come")
        text = f"rk_{''.join(secrets.choice('abcdefghijkmnpqrstuvwxyz23456789') for _ in range(8))}_{secrets.token_urlsafe(32)}"
        key = ApiKey(text[3:11], name.strip(), role, _hasher().hash(text), self._clock(), expires)
        with self._file.writing() as database:
            database.execute(
                "INSERT INTO keys (id, name, role, hash, made, expires) VALUES (?, ?, ?, ?, ?, ?)",
                (key.id, key.name, key.role, key.hash, key.made, key.expires),
            )
        return key, text

    def all(self) -> list[ApiKey]:
        """Every key that was ever made, the oldest first.

        Raises
        ------
        StorageError
        """
        return sorted(self._file.held(fresh=True).keys.values(), key=lambda key: key.made)

    def revoke(self, id: str) -> ApiKey:
        """End a key, and every session that was begun with it. Revoking it again changes nothing.

        Raises
        ------
        KeyNotFound
        StorageError
        """
        held = self._file.held(fresh=True).keys.get(id)
        if held is None:
            raise KeyNotFound(f"there is no key with the id {id!r}")
        if held.revoked is None:
            held = replace(held, revoked=self._clock())
            with self._file.writing() as database:
                database.execute("UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (held.revoked, id))
                database.execute("DELETE FROM sessions WHERE key = ?", (id,))
        return held

    # -- asking -----------------------------------------------------------------------------------------------------

    def required(self) -> bool:
        """Whether there are keys, or ever were in this process's life: revoking or losing the last opens nothing.

        Raises
        ------
        StorageError
        """
        self._file.held()
        return self._admin is not None or self._file.had_keys

    def living(self, id: str) -> ApiKey | None:
        """The key with this id if it may still be used.

        Raises
        ------
        StorageError
        """
        key = self._admin if id == SETTING else self._file.held().keys.get(id)
        return key if key is not None and key.revoked is None and not self._is_over(key) else None

    def check(
        self,
        text: str,
        before_slow: Callable[[], None] = lambda: None,
        after_wrong: Callable[[], None] = lambda: None,
    ) -> ApiKey:
        """The key that a request shows.

        Parameters
        ----------
        text : str
            What was shown.
        before_slow : callable
            Called before the presented key is hashed, which is slow; it may raise.
        after_wrong : callable
            Called once what was hashed turned out to be no key.

        Raises
        ------
        InvalidKey
        KeyExpired
        StorageError
        """
        if len(text) > LONGEST_KEY:
            raise InvalidKey("this key is not known here")
        digest = self._digest(text)
        if self._admin is not None and self._admin_digest is not None and hmac.compare_digest(digest, self._admin_digest):
            return self._admin
        form = _FORM.fullmatch(text)
        key = form and self._row(form[1])
        if not (key and self._recall(key, digest)):
            with self._one_at_a_time:  # memory for one hash, and one key asked for by many at once is hashed once
                if not (key and self._recall(key, digest)):
                    before_slow()
                    if not (form and is_right_key(key.hash if key else _nobodys_hash(), text) and key):
                        after_wrong()
                        raise InvalidKey("this key is not known here")
                    self._remember(key, digest)
        if key.revoked is not None:
            raise InvalidKey("this key was revoked")
        if self._is_over(key):
            raise KeyExpired("this key has expired")
        return key

    def _row(self, id: str) -> ApiKey | None:
        return self._file.held().keys.get(id) or self._file.held(fresh=True).keys.get(id)

    def _is_over(self, key: ApiKey) -> bool:
        return key.expires is not None and key.expires <= self._clock()

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._process_key, text.encode("utf-8", "surrogateescape"), "sha256")

    def _recall(self, key: ApiKey, digest: bytes) -> bool:
        with self._lock:
            found = self._remembered.get(key.id)
        if found is None or found.hash != key.hash or found.until <= time.monotonic():
            return False
        return hmac.compare_digest(found.digest, digest)

    def _remember(self, key: ApiKey, digest: bytes) -> None:
        with self._lock:
            self._remembered[key.id] = _Remembered(digest, key.hash, time.monotonic() + REMEMBERED_SECONDS)
            self._remembered.move_to_end(key.id)
            while len(self._remembered) > REMEMBERED_KEYS:
                self._remembered.popitem(last=False)


def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=_COST["time_cost"], memory_cost=_COST["memory_cost"], parallelism=_COST["parallelism"])


def is_right_key(hash: str, text: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        _hasher().verify(hash, text)
    except (VerificationError, InvalidHashError):
        return False
    return True


_nobody: list[str] = []


def _nobodys_hash() -> str:
    """A hash that no key has, so that an id that does not exist takes as long as one that does."""
    if not _nobody:
        _nobody.append(_hasher().hash(secrets.token_urlsafe(32)))
    return _nobody[0]
