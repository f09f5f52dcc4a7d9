"""Names of subjects: which are allowed, and which count as the same."""

from __future__ import annotations

import unicodedata

from recognizer.core.errors import GroupNotFound, InvalidGroup, InvalidName, SubjectNotFound

#: Name of the group that is `known_faces` itself.
DEFAULT_GROUP = "default"
#: Where groups are in the folder of known faces, unless a setting says otherwise.
GROUPS_FOLDER = ".groups"
#: Invisible characters (zero-width joiners) that some languages and emoji need.
_JOINERS = "\u200c\u200d"
#: Maximum length of a name in bytes of UTF-8: file systems allow 255 for a folder, and temporary suffixes need room.
MAX_BYTES = 200
_SEPARATORS = set("/\\:\0")
#: Names that Windows reserves for devices; a folder of that name cannot be copied to Windows.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def normalise(name: str) -> str:
    """The canonical form of `name`: Unicode NFC, stripped, with each run of whitespace replaced by one space.

    Raises
    ------
    InvalidName
        The name is empty or too long, begins or ends with a dot, contains a separator, a control or an invisible
        character, or is the name of a device.
    """
    if not isinstance(name, str):
        raise InvalidName(f"expected a name as text, got {type(name).__name__}")
    for character in () if name.isascii() and name.isprintable() and _SEPARATORS.isdisjoint(name) else name:
        if character in _SEPARATORS:
            raise InvalidName(f"a name must not contain {character!r}", name=_shown(name))
        # Cc, Cf, Cs, Co, Cn: control, format (direction overrides, zero-width), surrogates, private, unassigned
        if unicodedata.category(character)[0] == "C" and character not in _JOINERS:
            raise InvalidName(f"a name must not contain the character U+{ord(character):04X}", name=_shown(name))
        if unicodedata.category(character) in ("Zl", "Zp"):
            raise InvalidName("a name must not contain line breaks", name=_shown(name))
    clean = unicodedata.normalize("NFC", " ".join(name.split()))
    if not clean.strip(_JOINERS + " "):
        raise InvalidName("a name must not be empty")
    if clean.startswith("."):
        raise InvalidName("a name must not start with a dot", name=_shown(clean))
    if clean.endswith("."):
        # Windows and network shares drop a final dot of a folder's name, which then is the name of another person's folder
        raise InvalidName("a name must not end with a dot", name=_shown(clean))
    if len(clean.encode()) > MAX_BYTES:
        raise InvalidName(f"expected a name of at most {MAX_BYTES} bytes in UTF-8, got {len(clean.encode())}")
    if clean.split(".")[0].strip().lower() in _DEVICES:
        raise InvalidName("a name must not be a device name of Windows", name=_shown(clean))
    return clean


def normalise_lookup(name: str) -> str:
    """Like `normalise`, for a name that is only looked up: a name that is not allowed is not found.

    Raises
    ------
    SubjectNotFound
    """
    try:
        return normalise(name)
    except InvalidName:
        raise SubjectNotFound("no subject of that name is enrolled") from None


def normalise_group(name: str) -> str:
    """Like `normalise`, for the name of a group.

    Raises
    ------
    InvalidGroup
    """
    try:
        return normalise(name)
    except InvalidName as error:
        raise InvalidGroup(f"group: {error.message}", **error.details) from None


def normalise_group_lookup(name: str) -> str:
    """Like `normalise_group`, for a name that is only looked up: a name that is not allowed is not found.

    Raises
    ------
    GroupNotFound
    """
    try:
        return normalise(name)
    except InvalidName:
        raise GroupNotFound("no group has that name") from None


def comparison_key(name: str) -> str:
    """A key that is equal for names that file systems or readers cannot tell apart: without case and joiners."""
    if name.isascii():
        return name.lower()
    visible = name.translate(dict.fromkeys(map(ord, _JOINERS)))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", visible).casefold())


def _shown(name: str) -> str:
    return name[:80].encode("ascii", "backslashreplace").decode()
