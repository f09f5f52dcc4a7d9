"""Texts in the languages of the page, for messages that the server sends to people.

The catalogues are the page's: the English text is the key. A text that a catalogue lacks stays English.
"""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path

ENGLISH = "en"
LANGUAGES = (ENGLISH, "de", "fr", "es", "pt", "ar", "ja", "zh")
#: Every text that the server translates; the catalogues have these besides the page's own.
MESSAGES = (
    "Somebody unknown",
    "Somebody with a name",
    "Somebody unknown is at {camera} ({time})",
    "Somebody unknown left {camera} ({time})",
    "Somebody unknown entered {zone} at {camera} ({time})",
    "{who} is at {camera} ({time})",
    "{who} left {camera} ({time})",
    "{who} entered {zone} at {camera} ({time})",
    "Somebody is at {camera} ({time})",
    "Somebody left {camera} ({time})",
    "Somebody entered {zone} at {camera} ({time})",
    "only a test",
)
FOLDER = Path(__file__).resolve().parents[1] / "web"

log = logging.getLogger("recognizer")


def translated(text: str, language: str) -> str:
    """A text of `MESSAGES` in one of `LANGUAGES`; what is in braces is still to be replaced."""
    return text if language == ENGLISH else _catalogue(language).get(text, text)


@functools.cache
def _catalogue(language: str) -> dict[str, str]:
    try:
        words: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        log.warning("the texts of the language %s cannot be read: %s", language, type(error).__name__)
        return {}
    return words
