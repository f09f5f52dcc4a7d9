"""Reading of small text files with ground truth, with errors that name the line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recognizer.core.disk import disk_reason
from recognizer.core.errors import InvalidParameter

#: Largest number of missing files that an error lists.
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
        raise InvalidParameter(f"{path}: the file cannot be read ({disk_reason(error)})") from None
    except UnicodeDecodeError:
        raise InvalidParameter(f"{path}: expected text in UTF-8") from None
    if not text.strip():
        raise InvalidParameter(f"{path}: the file is empty")
    return text


def bad_line(path: Path, number: int, expected: str, line: str) -> InvalidParameter:
    """The error for an invalid line."""
    shown = line if len(line) <= 80 else line[:77] + "..."
    return InvalidParameter(f"{path}, line {number}: expected {expected}, got {shown!r}", line=number)


def require_folder(folder: Path) -> Path:
    """Check that a folder exists; return it.

    Raises
    ------
    InvalidParameter
    """
    if not Path(folder).is_dir():
        raise InvalidParameter(f"{folder}: there is no such folder")
    return Path(folder)


def require_files(missing: Sequence[str], wanted: int, folder: Path) -> None:
    """Check that no file is missing.

    Raises
    ------
    InvalidParameter
        Files are missing; the message says how many, and names the first ones.
    """
    if not missing:
        return
    more = ", ..." if len(missing) > _SHOWN else ""
    raise InvalidParameter(
        f"{len(missing)} of {wanted} photos are not in {folder}: {', '.join(missing[:_SHOWN])}{more}",
        missing=len(missing),
    )
