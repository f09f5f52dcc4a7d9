"""Requests to Frigate's API, with a login where it asks for one, as its port 8971 does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from recognizer.core.errors import FetchFailed
from recognizer.fetching.fetcher import Fetcher

#: Seconds before a login that was refused is tried again: Frigate may count failures.
RETRY_SECONDS = 60.0

_JSON: Mapping[str, str] = {"Content-Type": "application/json"}
#: Frigate's nginx keeps replies for some seconds, before 0.17 also for other users than the one who asked.
_FRESH: Mapping[str, str] = {"X-Cache-Bypass": "1"}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FrigateUser:
    """A user of Frigate's, who needs the role admin there.

    Attributes
    ----------
    name, password : str
    """

    name: str
    password: str = field(repr=False)


class FrigateRequests:
    """Sends requests to one Frigate. Safe to use from several threads.

    A login is a cookie, which is kept until Frigate refuses it: because it is too old, or because Frigate has a new secret.
    Then the login is repeated once.

    Parameters
    ----------
    url : str
        Of Frigate, without ``/api``.
    fetcher : Fetcher
        Must be allowed to reach it.
    user : FrigateUser or None
        Who logs in; None where Frigate asks for no login.

    Raises
    ------
    InvalidUrl
    """

    def __init__(self, url: str, fetcher: Fetcher, user: FrigateUser | None = None):
        fetcher.check(url)
        self._url, self._fetcher, self._user = url.rstrip("/"), fetcher, user
        self._lock = threading.Lock()
        self._cookie: str | None = None
        self._refused: FetchFailed | None = None  # the last login, if it was
        self._again = float("-inf")

    def get(self, path: str) -> bytes:
        """What a path below ``/api`` answers.

        Raises
        ------
        FetchError
            The message says what is to be done where Frigate refuses the login.
        """
        return self._sent(lambda headers: self._fetcher.get(f"{self._url}/api{path}", {**_FRESH, **headers}))

    def post(self, path: str, content: object) -> None:
        """Send JSON to a path below ``/api``.

        Raises
        ------
        FetchError
            As for `get`.
        """
        data = json.dumps(content, ensure_ascii=False).encode()
        self._sent(lambda headers: self._fetcher.post(f"{self._url}/api{path}", data, {**_JSON, **headers}))

    def _sent(self, send: Callable[[Mapping[str, str]], _T]) -> _T:
        """What `send` returns, given the headers of a login if there is a user."""
        try:
            if self._user is None:
                return send({})
            cookie = self._logged_in(None)
            try:
                return send({"Cookie": cookie})
            except FetchFailed as error:
                if error.details.get("status") != 401:
                    raise
            return send({"Cookie": self._logged_in(cookie)})
        except FetchFailed as error:
            raise self._explained(error) from None

    def _explained(self, error: FetchFailed) -> FetchFailed:
        """An error that says what is to be done, where that is known."""
        status = error.details.get("status")
        if error is self._refused or status not in (401, 403):
            return error
        if self._user is None:
            why = "Frigate asks for a login: set RECOGNIZER_FRIGATE_USER, a user with the role admin, or use its port 5000"
        elif status == 401:
            why = f"Frigate accepts the login of {self._user.name}, but then refuses the cookie that it sent"
        else:
            why = f"Frigate refuses this to {self._user.name}, who needs the role admin there"
        return FetchFailed(why, status=status)

    def _logged_in(self, outdated: str | None) -> str:
        """The cookie of a login: the one that is kept, unless it is outdated."""
        with self._lock:
            if self._cookie is not None and self._cookie != outdated:
                return self._cookie
            if self._refused is not None and time.monotonic() < self._again:
                raise self._refused
            self._cookie = self._refused = None
            try:
                self._cookie = self._log_in()
            except FetchFailed as error:
                if error.details.get("status") is not None:
                    self._refused, self._again = error, time.monotonic() + RETRY_SECONDS
                raise
            return self._cookie

    def _log_in(self) -> str:
        assert self._user is not None  # who asks has looked
        body = json.dumps({"user": self._user.name, "password": self._user.password}).encode()
        try:
            reply = self._fetcher.submit(f"{self._url}/api/login", body, _JSON)
        except FetchFailed as error:
            status = error.details.get("status")
            why = _why_no_login(status, self._user.name, self._url.startswith("http:"))
            raise error if why is None else FetchFailed(why, status=status) from None
        pairs = (each.partition(";")[0].strip() for each in reply.headers.get_all("Set-Cookie") or [])
        cookie = "; ".join(pair for pair in pairs if "=" in pair)
        if not cookie:
            raise FetchFailed("Frigate accepts the login, but sends no cookie", status=reply.status)
        return cookie


def _why_no_login(status: object, name: str, plain: bool) -> str | None:
    """Why Frigate refuses a login, by the status that it answers with; None if that says nothing."""
    if status == 400 and plain:
        return f"Frigate refuses the login of {name}: the password is wrong, or this port expects https:// instead of http://"
    if status in (400, 401):  # 400 until 0.14
        return f"Frigate refuses the login of {name}: there is no such user, or the password is wrong"
    if status == 404:
        return "Frigate has no login here: its authentication is off, or this is not the address of Frigate"
    if status == 429:
        return f"Frigate refuses the login of {name}: there were too many logins"
    return None
