"""The font that a name is drawn with: the given one, or where letters are missing in it, one of the system's.

No font that may be shipped holds all scripts: the given one lacks Chinese, Japanese and Korean. Letters that no font has
are drawn as question marks, never as empty boxes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

#: Where systems keep fonts.
FOLDERS = (
    "/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts",
    "/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts",
)  # fmt: skip
#: Parts of names of fonts that hold many letters, the likeliest first; others come after them.
_LIKELY = ("cjk", "noto", "droidsansfallback", "wqy", "pingfang", "hiragino", "msyh", "malgun", "unifont", "arial", "sans")
_MOST = 300  # fonts that are tried
_PROBE = 20  # pixels: the size at which letters are looked at
_MISSING = "?"


def choose(text: str, font: Path | None) -> tuple[str, Path | None]:
    """The text to draw and the font to draw it with.

    Parameters
    ----------
    text : str
    font : path or None
        The font that is wanted; None is Pillow's own.
    """
    letters = _letters(text)
    missing = [letter for letter in letters if not has(font, letter)]
    if not missing:
        return text, font
    other = _with(missing[0])
    if other is not None and sum(not has(other, letter) for letter in letters) < len(missing):
        font = other
        if all(has(other, letter) for letter in letters):
            return text, other
    return "".join(_drawable(text, set(letters), font)), font


def _drawable(text: str, letters: set[str], font: Path | None) -> Iterator[str]:
    kept = True
    for c in text:
        if c in letters or c.isspace():
            kept = c.isspace() or has(font, c)
            yield c if kept else _MISSING
        elif kept:  # what only steers or sits on a letter goes with it
            yield c


def _letters(text: str) -> list[str]:
    """What of a text has to be seen: no spaces, no marks on other letters, nothing that only steers."""
    return [c for c in dict.fromkeys(text) if not c.isspace() and unicodedata.category(c)[0] not in "MC"]


@lru_cache(maxsize=8192)
def has(font: Path | None, letter: str) -> bool:
    """Whether a font holds a letter: one that it lacks looks as one that does not exist."""
    opened = _open(font)
    if opened is None:
        return False
    drawn = opened.getmask(letter)
    return drawn.getbbox() is not None and (drawn.size, bytes(drawn)) != _unknown(font)


@lru_cache(maxsize=_MOST + 8)
def _unknown(font: Path | None) -> tuple[tuple[int, int], bytes]:
    drawn = _open(font).getmask("\U0010fffe")
    return drawn.size, bytes(drawn)


@lru_cache(maxsize=_MOST + 8)
def _open(font: Path | None):
    from PIL import ImageFont

    try:
        return ImageFont.truetype(str(font), _PROBE) if font else ImageFont.load_default(_PROBE)
    except OSError:  # damaged, or of pictures of one size, as fonts of emoji are
        return None


@lru_cache(maxsize=1024)
def _with(letter: str) -> Path | None:
    """The first of the system's fonts that holds a letter."""
    return next((font for font in system_fonts() if has(font, letter)), None)


@lru_cache(maxsize=1)
def system_fonts(folders: tuple[str, ...] = FOLDERS) -> tuple[Path, ...]:
    """The system's fonts, likely ones first; those that a process finds at first are all it knows."""
    found = []
    for folder in folders:
        try:
            root = Path(folder).expanduser()
            found += [path for path in root.rglob("*") if path.suffix.lower() in (".ttf", ".ttc", ".otf")]
        except (OSError, RuntimeError):  # not readable; nobody's home
            continue
    return tuple(sorted(found, key=_rank)[:_MOST])


def _rank(path: Path) -> tuple[int, bool, str]:
    name = path.name.lower()
    likely = next((i for i, part in enumerate(_LIKELY) if part in name), len(_LIKELY))
    return likely, "regular" not in name, str(path)


def shapes_all_scripts() -> bool:
    """Whether letters are joined and turned as Arabic, Hebrew and Indic scripts need: Pillow's Raqm with FriBiDi."""
    from PIL import features

    return bool(features.check("raqm") and features.check("fribidi"))
