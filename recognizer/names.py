"""Names of subjects: what is allowed, and when two names are the same."""

from __future__ import annotations

import unicodedata

from .errors import InvalidName, SubjectNotFound

#: Characters without a shape that are part of the spelling of some languages, and of emoji.
_JOINERS = "\u200c\u200d"
#: Longest name, in bytes of UTF-8: file systems allow 255 for a folder, and a temporary suffix needs room.
MAX_BYTES = 200
_SEPARATORS = set('/\\:\0')
#: Names that Windows keeps for devices; a folder of that name cannot be copied there.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def normalise(name: str) -> str:
    """The one way in which `name` is written: Unicode NFC, outer space removed, inner runs of space made one.

    Raises
    ------
    InvalidName
        Empty, too long, a leading dot, a separator, a control or invisible character, or a device's name.
    """
    if not isinstance(name, str):
        raise InvalidName(f"expected a name as text, got {type(name).__name__}")
    for character in name:
        if character in _SEPARATORS:
            raise InvalidName(f"a name must not contain {character!r}", name=_shown(name))
        # Cc, Cf, Cs, Co, Cn: control, format (direction overrides, zero-width), surrogates, private, unassigned
        if unicodedata.category(character)[0] == "C" and character not in _JOINERS:
            raise InvalidName(f"a name must not contain the character U+{ord(character):04X}", name=_shown(name))
        if unicodedata.category(character) in ("Zl", "Zp"):
            raise InvalidName("a name must be one line", name=_shown(name))
    clean = unicodedata.normalize("NFC", " ".join(name.split()))
    if not clean.strip(_JOINERS + " "):
        raise InvalidName("a name must not be empty")
    if clean.startswith("."):
        raise InvalidName("a name must not start with a dot", name=_shown(clean))
    if clean.endswith("."):
        # Windows and network shares drop a final dot from a folder's name, which would be another person's folder
        raise InvalidName("a name must not end with a dot", name=_shown(clean))
    if len(clean.encode()) > MAX_BYTES:
        raise InvalidName(f"a name may take {MAX_BYTES} bytes, this one takes {len(clean.encode())}")
    if clean.split(".")[0].strip().lower() in _DEVICES:
        raise InvalidName("that name belongs to a device on some systems", name=_shown(clean))
    return clean


def looked_up(name: str) -> str:
    """`normalise` for a name that is only looked up: one that could not be enrolled is simply not there.

    Raises
    ------
    SubjectNotFound
    """
    try:
        return normalise(name)
    except InvalidName:
        raise SubjectNotFound("nobody of that name is enrolled") from None


def key(name: str) -> str:
    """What two names share that some file systems, or people who read them, cannot tell apart: case and joiners go."""
    visible = name.translate(dict.fromkeys(map(ord, _JOINERS)))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", visible).casefold())


def _shown(name: str) -> str:
    return name[:80].encode("ascii", "backslashreplace").decode()
