"""Rows of the cache: their checksums, and encodings as rows."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from recognizer.core.vault import Vault
from recognizer.enrolment.encodings import Encoding

_TYPE_NAMES = {kind: kind.__name__.encode() for kind in (str, int, float, bytes, type(None))}


def row_checksum(values: Sequence[Any]) -> int:
    """A checksum of a row's values and types: SQLite has none, and a flipped bit would change a face."""
    parts = []
    for value in values:
        kind = type(value)
        parts.append(_TYPE_NAMES.get(kind) or kind.__name__.encode())
        parts.append(value if kind is bytes else repr(value).encode("utf-8", "surrogatepass"))
    return zlib.crc32(b"".join(parts))


def with_checksum(values: Sequence[Any]) -> tuple[Any, ...]:
    """The values of a row, and their checksum behind them."""
    return (*values, row_checksum(values))


def is_sound(row: Sequence[Any]) -> bool:
    """Whether a row is unchanged since it was written. A damaged row is ignored, because it can be computed again."""
    return bool(row[-1] == row_checksum(row[:-1]))


def is_sound_file(row: Sequence[Any]) -> bool:
    """`is_sound` of a row of `files`, in a third of the time if all values have their usual types."""
    path, size, mtime_ns, inode, photo, checksum = row
    text = f"str{path!r}int{size}int{mtime_ns}int{inode}str{photo!r}"
    return zlib.crc32(text.encode()) == checksum or is_sound(row)  # text that was read has no surrogates


def is_sound_folder(row: Sequence[Any]) -> bool:
    """The same of a row of `folders`."""
    name, mtime_ns, inode, files, note_size, note_mtime_ns, note_inode, checksum = row
    note = "NoneTypeNoneNoneTypeNoneNoneTypeNone"
    if note_size is not None:
        note = f"int{note_size}int{note_mtime_ns}int{note_inode}"
    text = f"str{name!r}int{mtime_ns}int{inode}int{files}{note}"
    return zlib.crc32(text.encode()) == checksum or is_sound(row)


def middle_of_encodings(engine: str) -> str:
    """What the text behind the checksum of a usable row of `encodings` has between its photo and its face."""
    return f"str{engine!r}str"


def is_sound_encoding(engine: str, middle: str, row: Sequence[Any]) -> bool:
    """The same of a usable row of `encodings`: photo, face, vector, and the columns behind it; more may follow."""
    photo, face, vector, left, top, right, bottom, score, width, height, checksum, *_ = row
    head = f"str{photo!r}{middle}{face!r}NoneTypeNoneNoneTypeNonebytes"
    tail = f"float{left}float{top}float{right}float{bottom}float{score}int{width}int{height}"
    if zlib.crc32(tail.encode(), zlib.crc32(vector, zlib.crc32(head.encode()))) == checksum:
        return True
    return is_sound((photo, engine, face, None, None, *row[2:11]))


def purpose_of(photo: str, engine: str, face: str) -> str:
    """What binds an encrypted vector to its row."""
    return f"vector {photo} {engine} {face}"


def row_of(encoding: Encoding, vault: Vault | None) -> tuple[Any, ...]:
    """The values of an encoding's row, without the checksum; the vector is encrypted if there is a vault."""
    vector = None if encoding.vector is None else np.ascontiguousarray(encoding.vector, "<f4").tobytes()
    if vector is not None and vault is not None:
        vector = vault.seal(vector, purpose_of(encoding.photo, encoding.engine, encoding.face))
    numbers = [None if number is None else float(number) for number in (*(encoding.box or (None,) * 4), encoding.score)]
    return (
        encoding.photo,
        encoding.engine,
        encoding.face,
        encoding.problem,
        encoding.message,
        vector,
        *numbers,
        encoding.width,
        encoding.height,
    )


def encoding_of(row: tuple[Any, ...], vault: Vault | None) -> Encoding:
    """The encoding of a row, with its checksum at the end.

    Raises
    ------
    SealBroken
    """
    photo, engine, face, problem, message, vector, *box, score, width, height, _ = row
    if vector is not None and vault is not None:
        vector = vault.open(vector, purpose_of(photo, engine, face))
    return Encoding(
        photo,
        engine,
        face,
        None if vector is None else np.frombuffer(vector, "<f4"),
        problem,
        message,
        None if box[0] is None else tuple(box),
        score,
        width,
        height,
    )
