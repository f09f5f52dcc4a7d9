"""Where web push is stored: the server's key, and the browsers that get messages, in a file of the state folder or in the
database of nodes.

The key is made once; every browser is subscribed with it. What is stored is encrypted where there is a key for that, the file's
mode is 0600, and it is replaced in one step. Several processes may share it.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from recognizer.core.brief import brief
from recognizer.core.errors import SealBroken, StorageError, SubscriptionNotFound, TooManySubscriptions
from recognizer.core.sealed_file import SealedFile
from recognizer.core.sealed_place import SealedPlace
from recognizer.core.vault import Vault
from recognizer.database.connection import Database
from recognizer.database.sealed_row import SealedRow
from recognizer.rules import web_push

log = logging.getLogger("recognizer.rules")

PUSH_FILE = "push.json"
#: What the encrypted content is for.
PURPOSE = "push"
_WHAT = "the subscriptions"
MOST_SUBSCRIPTIONS = 50


@dataclass(frozen=True)
class PushSubscription:
    """One browser that gets messages.

    Attributes
    ----------
    id : str
        Ten hexadecimal digits.
    endpoint : str
        Secret: where the browser's push service takes messages for it.
    p256dh, auth : str
        The browser's keys, base64url; secret.
    label : str
        What the browser calls itself.
    strangers : str or None
        What a message about new strangers says; None for no such messages.
    contact : str
        An ``https:`` URI of this server, for the push service.
    made : float
        Seconds since 1970.
    key, session : str or None
        Id of the key with which it was made, and name of the session that removes it when somebody signs out. Both are None
        while the server has no keys.
    """

    id: str
    endpoint: str = field(repr=False)
    p256dh: str = field(repr=False)
    auth: str = field(repr=False)
    label: str
    strangers: str | None
    contact: str
    made: float
    key: str | None = None
    session: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Kept:
    """What is stored; `told` is when a message about new strangers was sent last, in seconds since 1970."""

    key: str = field(repr=False)
    subscriptions: Mapping[str, PushSubscription] = field(default_factory=dict)
    told: float = 0.0


class PushStore:
    """The server's key and all subscriptions. Any thread may call.

    Parameters
    ----------
    stored : SealedPlace
        May be missing; the first use of the key creates it.
    clock : callable
        Seconds since 1970, the same for all who share what is stored.
    """

    def __init__(self, stored: SealedPlace, clock: Callable[[], float] = time.time):
        self._stored, self._clock = stored, clock
        self._lock = threading.RLock()
        self._kept: _Kept | None = None

    @classmethod
    def in_file(cls, file: Path, vault: Vault | None = None) -> PushStore:
        """What an installation with a state folder has."""
        return cls(SealedFile(file, _WHAT, PURPOSE, vault))

    @classmethod
    def in_database(cls, database: Database, vault: Vault | None = None) -> PushStore:
        """What nodes have that share a database."""
        row = SealedRow(database, "push", _WHAT, PURPOSE, vault)
        return cls(row, row.now)

    @classmethod
    def of(cls, state: Path, database: Database | None, vault: Vault | None = None) -> PushStore:
        """That of nodes where there is a database, else that of the state folder."""
        return cls.in_file(state / PUSH_FILE, vault) if database is None else cls.in_database(database, vault)

    def key(self) -> str:
        """The server's private key, which is made by the first call.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._lock:
            kept = self._refresh()
            if kept is not None:
                return kept.key
        with self._changing() as kept:
            return kept.key

    def all(self) -> list[PushSubscription]:
        """Every subscription, in the order in which they were made.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._lock:
            kept = self._refresh()
            return [] if kept is None else list(kept.subscriptions.values())

    def get(self, id_: str) -> PushSubscription:
        """One subscription.

        Raises
        ------
        SubscriptionNotFound, StorageError, KeyMissing
        """
        found = next((each for each in self.all() if each.id == id_), None)
        if found is None:
            raise SubscriptionNotFound(f"there is no subscribed browser {brief(id_)!r}", subscription=brief(id_))
        return found

    def add(self, given: PushSubscription) -> PushSubscription:
        """Store a subscription, in place of one with the same endpoint, whose id it gets; durable on return.

        Raises
        ------
        TooManySubscriptions, StorageError, KeyMissing
        """
        with self._changing() as kept:
            before = next((each for each in kept.subscriptions.values() if each.endpoint == given.endpoint), None)
            if before is None and len(kept.subscriptions) >= MOST_SUBSCRIPTIONS:
                said = f"there are {MOST_SUBSCRIPTIONS} subscribed browsers already, which is the maximum"
                raise TooManySubscriptions(said, subscriptions=MOST_SUBSCRIPTIONS)
            made = replace(given, id=before.id, made=before.made) if before else replace(given, id=secrets.token_hex(5))
            self._write(replace(kept, subscriptions={**kept.subscriptions, made.id: made}))
            return made

    def remove(self, unwanted: Callable[[PushSubscription], bool]) -> list[PushSubscription]:
        """Remove subscriptions, and return them.

        Raises
        ------
        StorageError, KeyMissing
        """
        if not any(map(unwanted, self.all())):
            return []
        with self._changing() as kept:
            gone = [each for each in kept.subscriptions.values() if unwanted(each)]
            left = {id_: each for id_, each in kept.subscriptions.items() if each not in gone}
            self._write(replace(kept, subscriptions=left))
            return gone

    def forget_session(self, name: str) -> None:
        """Remove the browsers of a session that ends.

        Raises
        ------
        StorageError, KeyMissing
        """
        self.remove(lambda each: each.session == name)

    def take_in(self, other: PushStore) -> int:
        """Store the key and the subscriptions of another installation, if nobody is subscribed yet; how many subscriptions.

        Raises
        ------
        StorageError, KeyMissing
        """
        with other._lock:
            given = other._refresh()
        if given is None:
            return 0
        with self._lock, self._stored.held():
            kept = self._refresh()
            if kept is not None and kept.subscriptions:
                return 0
            self._write(replace(given, told=0.0))
        return len(given.subscriptions)

    def turn(self, ago: float, apart: float) -> float | None:
        """Whether to send a message now about strangers of whom this process heard so many seconds ago.

        Returns
        -------
        float or None
            0: it is to be sent, and counts as sent. More: it may be sent after so many seconds; ask again then. None: a message
            was sent since, by whoever shares what is stored.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._changing() as kept:
            now = self._clock()
            if kept.told > now - ago:
                return None
            wait = min(apart, max(0.0, kept.told + apart - now))
            if wait == 0:
                self._write(replace(kept, told=now))
            return wait

    # -- where it is --------------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[_Kept]:
        """Nobody else changes what is stored inside, and something is."""
        with self._lock, self._stored.held():
            kept = self._refresh()
            if kept is None:
                self._write(kept := _Kept(web_push.new_key()))
            yield kept

    def _refresh(self) -> _Kept | None:
        """What is stored; None if nothing is. Read again if it has changed."""
        if self._stored.changed():
            try:
                self._kept = None if self._stored.missing else self._read()
            except BaseException:
                self._stored.forget()
                raise
        return self._kept

    def _read(self) -> _Kept:
        name = self._stored.name
        try:
            stored = json.loads(self._stored.read())
            web_push.public_key(stored["key"])
            subscriptions = {each["id"]: _parsed(each) for each in stored["subscriptions"]}
            return _Kept(stored["key"], subscriptions, float(stored.get("told", 0.0)))
        except SealBroken as error:
            raise StorageError(f"{name} is damaged: {error.message}; restore or delete it") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            said = f"{name} is damaged ({type(error).__name__}): restore or delete it; browsers then subscribe again"
            raise StorageError(said) from error

    def _write(self, kept: _Kept) -> None:
        subscriptions = [asdict(each) for each in kept.subscriptions.values()]
        plain = {"version": 1, "key": kept.key, "subscriptions": subscriptions, "told": kept.told}
        self._stored.write(json.dumps(plain, ensure_ascii=False).encode())
        self._kept = kept


def _parsed(stored: Mapping[str, Any]) -> PushSubscription:
    known = {each.name for each in fields(PushSubscription)}
    found = PushSubscription(**{name: value for name, value in stored.items() if name in known})
    web_push.check_subscription(found.p256dh, found.auth)
    return found
