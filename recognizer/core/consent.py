"""The consent note and expiry of a subject, stored in the folder of their photos and erased with them."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from recognizer.core.errors import InvalidParameter
from recognizer.core.outside_json import parse_outside
from recognizer.core.times import iso_seconds, iso_time

#: Name of the file in a subject's folder. It begins with a dot, so it is not taken for a photo.
FILE = ".consent.json"
#: Maximum length of a note in characters.
MAX_NOTE = 4000
_CLEAR = ("none", "")


@dataclass(frozen=True, slots=True)
class Consent:
    """A note, written by the operator, and its expiry.

    Attributes
    ----------
    note : str or None
    expires : str or None
        A date, which is the last valid day, or a time, both in ISO 8601 and in UTC.
    """

    note: str | None = None
    expires: str | None = None

    def __bool__(self) -> bool:
        return self.note is not None or self.expires is not None

    @property
    def ends(self) -> float | None:
        """When the consent ends, in seconds since 1970; None if it does not expire."""
        return None if self.expires is None else _end_seconds(self.expires)

    def expired(self, now: float | None = None) -> bool:
        """Whether the consent has ended at `now`, in seconds since 1970 (default: the current time)."""
        ends = self.ends
        return ends is not None and ends <= (time.time() if now is None else now)

    def changed(self, note: str | None = None, expires: str | None = None) -> Consent:
        """A copy with another note, another expiry or both; ``none`` removes one.

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
            new_expires = None if expires.strip() in _CLEAR else normalised_expiry(expires.strip())
        return Consent(new_note, new_expires)

    def joined(self, other: Consent) -> Consent:
        """The consent of two subjects that were merged: both notes, and the earlier expiry."""
        notes = list(dict.fromkeys(note for note in (self.note, other.note) if note))
        expiries = sorted((each.expires for each in (self, other) if each.expires), key=_end_seconds)
        return Consent("\n".join(notes)[:MAX_NOTE] or None, expiries[0] if expiries else None)

    def as_bytes(self) -> bytes:
        """The contents of the file, JSON."""
        return json.dumps({"consent": self.note, "expires": self.expires}, ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Consent:
        """Parse a file that `as_bytes` or a person wrote.

        Raises
        ------
        ValueError
        """
        stored = parse_outside(data)
        if not isinstance(stored, dict):
            raise ValueError("expected an object")
        note, expires = stored.get("consent"), stored.get("expires")
        if not all(each is None or isinstance(each, str) for each in (note, expires)):
            raise ValueError("expected text")
        try:
            return cls(note, None if expires is None else normalised_expiry(expires))
        except InvalidParameter as error:
            raise ValueError(error.message) from None


def normalised_expiry(text: str) -> str:
    """An expiry in the form in which it is stored: a date, or a time in UTC without fractions of a second.

    Raises
    ------
    InvalidParameter
    """
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            date.fromisoformat(text)
            _end_seconds(text)
            return text
        return iso_time(iso_seconds(text), "seconds")
    except (ValueError, OverflowError):
        raise InvalidParameter(
            f"expires: expected a date such as 2027-12-31, a time such as 2027-12-31T18:00:00Z, or none, got {text[:40]!r}"
        ) from None


def _end_seconds(expires: str) -> float:
    """When an expiry is reached, in seconds since 1970: the end of the day for a date."""
    if len(expires) == 10:
        day = datetime.combine(date.fromisoformat(expires), datetime.min.time(), timezone.utc)
        return (day + timedelta(days=1)).timestamp()
    return iso_seconds(expires)
