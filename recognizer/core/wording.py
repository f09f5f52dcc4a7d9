"""Counted things in messages."""

from __future__ import annotations


def plural(count: int, one: str, many: str | None = None) -> str:
    """ "1 face", "2 faces", "1,200 people". `many` is the plural where it is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
