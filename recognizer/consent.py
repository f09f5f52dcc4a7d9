"""What a subject agreed to, and until when: kept beside their photos, and gone with them."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from .errors import InvalidParameter

#: The file in a subject's folder. It begins with a dot, so it is taken for no photo.
FILE = ".consent.json"
#: Longest note, in characters.
MAX_NOTE = 4000
_CLEAR = ("none", "")


@dataclass(frozen=True, slots=True)
class Consent:
    """A note in the operator's words, and when it expires.

    Attributes
    ----------
    note : str or None
    expires : str or None
        A date, which is the last day, or a time, both in ISO 8601; UTC where nothing else is said.
    """

    note: str | None = None
    expires: str | None = None

    def __bool__(self) -> bool:
        return self.note is not None or self.expires is not None

    @property
    def ends(self) -> float | None:
        """Seconds since the epoch from which on it is no longer valid."""
        return None if self.expires is None else _seconds(self.expires)

    def expired(self, now: float | None = None) -> bool:
        return self.expires is not None and self.ends <= (time.time() if now is None else now)

    def changed(self, note: str | None = None, expires: str | None = None) -> Consent:
        """With another note, another expiry or both; ``none`` takes one away.

        Raises
        ------
        InvalidParameter
        """
        new_note, new_expires = self.note, self.expires
        if note is not None:
            new_note = None if note.strip() in _CLEAR else note.strip()
            if new_note is not None and len(new_note) > MAX_NOTE:
                raise InvalidParameter(f"consent: expected at most {MAX_NOTE} characters, got {len(new_note)}")
        if expires is not None:
            new_expires = None if expires.strip() in _CLEAR else checked(expires.strip())
        return Consent(new_note, new_expires)

    def joined(self, other: Consent) -> Consent:
        """Of two that became one: both notes, and the earlier expiry."""
        notes = list(dict.fromkeys(note for note in (self.note, other.note) if note))
        expiries = sorted((each.expires for each in (self, other) if each.expires), key=_seconds)
        return Consent("\n".join(notes)[:MAX_NOTE] or None, expiries[0] if expiries else None)

    def as_bytes(self) -> bytes:
        return json.dumps({"consent": self.note, "expires": self.expires}, ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Consent:
        """What `as_bytes` wrote, or a person.

        Raises
        ------
        ValueError
        """
        held = json.loads(data)
        if not isinstance(held, dict):
            raise ValueError("expected an object")
        note, expires = held.get("consent"), held.get("expires")
        if not all(each is None or isinstance(each, str) for each in (note, expires)):
            raise ValueError("expected text")
        try:
            return cls(note, None if expires is None else checked(expires))
        except InvalidParameter as error:
            raise ValueError(error.message) from None


def checked(text: str) -> str:
    """An expiry in the one form in which it is kept.

    Raises
    ------
    InvalidParameter
    """
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            date.fromisoformat(text)
            _seconds(text)
            return text
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise InvalidParameter(
            f"expires: expected a date such as 2027-12-31, a time such as 2027-12-31T18:00:00Z, or none, got {text[:40]!r}"
        ) from None


def _seconds(expires: str) -> float:
    if len(expires) == 10:
        day = datetime.combine(date.fromisoformat(expires), datetime.min.time(), timezone.utc)
        return (day + timedelta(days=1)).timestamp()
    return datetime.fromisoformat(expires.replace("Z", "+00:00")).timestamp()
