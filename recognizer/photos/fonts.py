"""Choice of the font for a name: the configured one, or one of the system's if letters are missing.

No redistributable font contains all scripts: the default one lacks Chinese, Japanese and Korean. Letters that are in no font
are drawn as question marks, never as empty boxes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.ImageFont

#: Font folders of operating systems.
FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
    "C:/Windows/Fonts",
)
#: Parts of the names of fonts with many letters, the most likely first; other fonts are tried after them.
_LIKELY = ("cjk", "noto", "droidsansfallback", "wqy", "pingfang", "hiragino", "msyh", "malgun", "unifont", "arial", "sans")
_MOST = 300  # largest number of fonts that are tried
_PROBE = 20  # size in pixels at which letters are compared
_MISSING = "?"


def choose(text: str, font: Path | None) -> tuple[str, Path | None]:
    """The text to draw and the font to draw it with.

    Parameters
    ----------
    text : str
    font : path or None
        The configured font; None for Pillow's own.
    """
    letters = _letters(text)
    missing = [letter for letter in letters if not has(font, letter)]
    if not missing:
        return text, font
    other = font_with(missing[0])
    if other is not None and sum(not has(other, letter) for letter in letters) < len(missing):
        font = other
        if all(has(other, letter) for letter in letters):
            return text, other
    return "".join(_drawable(text, set(letters), font)), font


def _drawable(text: str, letters: set[str], font: Path | None) -> Iterator[str]:
    available = True
    for c in text:
        if c in letters or c.isspace():
            available = c.isspace() or has(font, c)
            yield c if available else _MISSING
        elif available:  # combining marks and control characters are dropped with their letter
            yield c


def _letters(text: str) -> list[str]:
    """The distinct visible letters of a text: no spaces, combining marks or control characters."""
    return [c for c in dict.fromkeys(text) if not c.isspace() and unicodedata.category(c)[0] not in "MC"]


@lru_cache(maxsize=8192)
def has(font: Path | None, letter: str) -> bool:
    """Whether a font contains a letter: missing letters look like a character that does not exist."""
    opened = _open(font)
    if opened is None:
        return False
    drawn = opened.getmask(letter)
    return drawn.getbbox() is not None and (drawn.size, bytes(drawn)) != _unknown(font)


@lru_cache(maxsize=_MOST + 8)
def _unknown(font: Path | None) -> tuple[tuple[int, int], bytes]:
    opened = _open(font)
    if opened is None:
        return (0, 0), b""
    drawn = opened.getmask("\U0010fffe")
    return drawn.size, bytes(drawn)


@lru_cache(maxsize=_MOST + 8)
def _open(font: Path | None) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont | None:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(str(font), _PROBE) if font else ImageFont.load_default(_PROBE)
    except OSError:  # damaged, or a bitmap font of one size, as emoji fonts are
        return None


@lru_cache(maxsize=1024)
def font_with(letter: str) -> Path | None:
    """The first system font that contains a letter."""
    return next((font for font in system_fonts() if has(font, letter)), None)


@lru_cache(maxsize=1)
def system_fonts(folders: tuple[str, ...] = FOLDERS) -> tuple[Path, ...]:
    """The system's fonts, the most likely first. Fonts that are installed later are not found by this process."""
    found = []
    for folder in folders:
        try:
            root = Path(folder).expanduser()
            found += [path for path in root.rglob("*") if path.suffix.lower() in (".ttf", ".ttc", ".otf")]
        except (OSError, RuntimeError):  # not readable, or the user has no home directory
            continue
    return tuple(sorted(found, key=_rank)[:_MOST])


def _rank(path: Path) -> tuple[int, bool, str]:
    name = path.name.lower()
    likely = next((i for i, part in enumerate(_LIKELY) if part in name), len(_LIKELY))
    return likely, "regular" not in name, str(path)


def shapes_all_scripts() -> bool:
    """Whether Pillow has Raqm and FriBiDi, which shape and order the letters of Arabic, Hebrew and Indic scripts."""
    from PIL import features

    return bool(features.check("raqm") and features.check("fribidi"))
