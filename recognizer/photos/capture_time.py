"""When a photo was taken, as its EXIF says: the time on the camera's clock, which has no time zone in most photos."""

from __future__ import annotations

import re
import struct
from datetime import datetime, timezone

from recognizer.core.errors import ImageError
from recognizer.photos import heif_boxes, image_headers

#: Tags of EXIF 2.32, section 4.6: the directory of the exposure, and the times in the order in which they are used.
_EXPOSURE, _TAKEN, _DIGITISED, _CHANGED = 34665, 36867, 36868, 306
_DATE = re.compile(rb"(\d{4})[:\-/](\d\d)[:\-/](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?")
#: Times before photography and far in the future come from clocks that were never set.
_FIRST_YEAR, _LAST_YEAR = 1826, 2200


def capture_time(data: bytes) -> float | None:
    """When a photo was taken, in seconds since 1970 on the camera's clock as if that clock showed UTC; None if unknown.

    Parameters
    ----------
    data : bytes
        The file, of any format.
    """
    try:
        return _of_exif(exif_block(data))
    except (struct.error, IndexError, ValueError, ImageError):
        return None


def exif_block(data: bytes) -> bytes:
    """The EXIF of a photo as a TIFF; for a TIFF and most raw formats the file itself; empty if there is none.

    Raises
    ------
    ImageError
        The file is damaged.
    """
    kind = image_headers.sniff(data[:1000])
    if kind == "jpeg":
        found = image_headers.joined(data, image_headers.read_jpeg(data).segments, b"Exif\0\0", 6)
    elif kind in ("heic", "avif"):
        pieces = next((pieces for name, pieces in heif_boxes.metadata_items(data) if name == b"Exif"), ())
        found = b"".join(data[start:end] for start, end in pieces)
        found = found[4 + int.from_bytes(found[:4], "big") :]
    elif kind == "webp":
        found = image_headers.webp_chunks(data).get(b"EXIF", b"")
    elif kind == "png":
        at = data.find(b"eXIf")
        found = data[at + 4 : at + 4 + int.from_bytes(data[max(0, at - 4) : at], "big")] if at > 0 else b""
    else:
        found = data if data[:4] in (b"II*\0", b"MM\0*") else b""
    return re.sub(rb"^(Exif\0\0){1,2}", b"", found)


def _of_exif(tiff: bytes) -> float | None:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    main = {tag: entry for tag, *entry in image_headers.read_directory(tiff, order, start)[0]}
    exposure: dict[int, list[int]] = {}
    if _EXPOSURE in main:
        (start,) = struct.unpack_from(order + "I", tiff, main[_EXPOSURE][2])
        exposure = {tag: entry for tag, *entry in image_headers.read_directory(tiff, order, start)[0]}
    for directory, tag in ((exposure, _TAKEN), (exposure, _DIGITISED), (main, _TAKEN), (main, _CHANGED)):
        if tag in directory:
            kind, count, at = directory[tag]
            if kind != 2:
                continue
            if count > 4:
                (at,) = struct.unpack_from(order + "I", tiff, at)
            taken = _seconds(bytes(tiff[at : at + min(count, 32)]))
            if taken is not None:
                return taken
    return None


def _seconds(text: bytes) -> float | None:
    found = _DATE.match(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        return None
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
