"""Sessions of browsers: begun by showing a key, then carried by a cookie that no script can read.

Kept are hashes of their tokens. A session lives as long as its key may be used, and at most for the time it was given.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from recognizer.access.access_file import AccessFile, ApiKey, CookieSession
from recognizer.access.keys import Keys

#: The oldest sessions of a key end when there are more.
MOST_PER_KEY = 100
_TOKEN_LENGTH = 43


class Sessions:
    """The sessions in a file. Safe from several threads.

    Parameters
    ----------
    file : AccessFile
    keys : Keys
    seconds : float
        How long a session lasts.
    """

    def __init__(self, file: AccessFile, keys: Keys, seconds: float, clock: Callable[[], float] = time.time):
        self._file, self._keys, self._seconds, self._clock = file, keys, seconds, clock

    def begin(self, key: ApiKey) -> tuple[str, float]:
        """A new session's token, which is kept nowhere, and when it ends.

        Raises
        ------
        StorageError
        """
        token, now = secrets.token_urlsafe(32), self._clock()
        expires = min(now + self._seconds, key.expires or float("inf"))
        session = CookieSession(_hash(token), key.id, _hash(token + key.hash), expires)
        self._file.add_session(session, now, MOST_PER_KEY)
        return token, expires

    def find(self, token: str) -> tuple[ApiKey, float] | None:
        """The key of a session and when the session ends, or None if there is no such session, or not any more.

        Raises
        ------
        StorageError
        """
        if len(token) != _TOKEN_LENGTH:
            return None
        name = _hash(token)
        found = self._file.held().sessions.get(name) or self._file.held(fresh=True).sessions.get(name)
        if found is None or found.expires <= self._clock():
            return None
        key = self._keys.living(found.key)
        if key is None or not hmac.compare_digest(found.proof, _hash(token + key.hash)):
            return None
        return key, found.expires

    def end(self, token: str) -> None:
        """Forget a session.

        Raises
        ------
        StorageError
        """
        self._file.end_session(_hash(token))


def session_name(token: str) -> str:
    """What a session is called where its token must not be kept."""
    return _hash(token)


def csrf_token(token: str) -> str:
    """What a page has to show besides the cookie: only a page that this server answered can know it."""
    return hmac.new(token.encode(), b"page", "sha256").hexdigest()[:43]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
