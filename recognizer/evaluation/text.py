"""Reading the small text files that say what is to be measured, with errors that name the line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import InvalidParameter

#: Names of missing files that an error lists.
_SHOWN = 5


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises
    ------
    InvalidParameter
        It cannot be read, is not UTF-8, or is empty.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidParameter(f"{path}: the file cannot be read ({(error.strerror or 'error').lower()})") from None
    except UnicodeDecodeError:
        raise InvalidParameter(f"{path}: expected text in UTF-8") from None
    if not text.strip():
        raise InvalidParameter(f"{path}: the file is empty")
    return text


def bad_line(path: Path, number: int, expected: str, line: str) -> InvalidParameter:
    shown = line if len(line) <= 80 else line[:77] + "..."
    return InvalidParameter(f"{path}, line {number}: expected {expected}, got {shown!r}", line=number)


def require_folder(folder: Path) -> Path:
    """`folder`, if it is one.

    Raises
    ------
    InvalidParameter
    """
    if not Path(folder).is_dir():
        raise InvalidParameter(f"{folder}: there is no such folder")
    return Path(folder)


def require_files(missing: Sequence[str], wanted: int, folder: Path) -> None:
    """Nothing if no file is missing.

    Raises
    ------
    InvalidParameter
        Says how many are, and names the first.
    """
    if not missing:
        return
    more = ", ..." if len(missing) > _SHOWN else ""
    raise InvalidParameter(
        f"{len(missing)} of {wanted} photos are not in {folder}: {', '.join(missing[:_SHOWN])}{more}",
        missing=len(missing),
    )
