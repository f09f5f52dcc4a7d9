"""What the boxes of a HEIC or AVIF say about its photo (ISO/IEC 23008-12 and 14496-12): sizes, crop, and how light is coded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_MOST_BOXES = 20_000
_UNSPECIFIED = 2
_MOST_PADDING = 64


@dataclass(frozen=True)
class Shaping:
    """How the coded image is cropped, rotated and mirrored, in the order of the file. `decoders` does it.

    Attributes
    ----------
    steps : tuple of (kind, values)
        ``clap`` with left, top, right and bottom in pixels of what the steps before gave; ``irot`` with the number of
        quarter turns, anticlockwise; ``imir`` with 0 if upside and downside change places, 1 if left and right do.
    boxes : tuple of int
        Offsets of the types of the boxes that say all this.
    padding : bool
        Whether crops only remove what encoders add to fill their blocks: at most 64 pixels. libheif refuses larger ones.
    """

    steps: tuple[tuple[bytes, tuple[int, ...]], ...]
    boxes: tuple[int, ...]
    padding: bool


@dataclass(frozen=True)
class HeifHeader:
    """What is known about the photo without decoding it.

    Attributes
    ----------
    sizes : tuple of (width, height)
        Of all images of the file as coded, before a crop.
    shaping : Shaping or None
        How the primary image is shown.
    transfer, primaries : int
        How light is coded in the primary image, as in ITU-T H.273; 2 if unspecified.
    """

    sizes: tuple[tuple[int, int], ...] = ()
    shaping: Shaping | None = None
    transfer: int = _UNSPECIFIED
    primaries: int = _UNSPECIFIED


def read_heif(data: bytes) -> HeifHeader:
    """Read the boxes of a HEIC or AVIF. What cannot be read is left out: the decoder reports damage."""
    try:
        return _read(data)
    except (struct.error, IndexError):
        return HeifHeader()


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two offsets: type, and where the content begins and ends."""
    count = 0
    while start + 8 <= end and count < _MOST_BOXES:
        count += 1
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if size == 0 else min(start + size, end)
        if stop < body:
            return
        yield kind, body, stop
        start = stop


def metadata_items(data: bytes) -> list[tuple[bytes, list[tuple[int, int]]]]:
    """The items that describe the photo: their types, ``Exif`` or ``mime``, and where in the file their pieces begin and end.

    Raises
    ------
    struct.error, IndexError
        The boxes are damaged.
    """
    found: dict[int, bytes] = {}
    places: dict[int, list[tuple[int, int]]] = {}
    for outer, start, end in boxes(data, 0, len(data)):
        if outer != b"meta":
            continue
        inner = {kind: (a, b) for kind, a, b in boxes(data, start + 4, end)}
        if b"iinf" in inner:
            found |= _described_items(data, *inner[b"iinf"])
        if b"iloc" in inner:
            places |= _places(data, inner[b"iloc"][0], inner.get(b"idat", (0, 0))[0])
    items = [(kind, [(a, min(b, len(data))) for a, b in places.get(item, []) if a < len(data)]) for item, kind in found.items()]
    if sum(b - a for _, pieces in items for a, b in pieces) > len(data):
        raise struct.error("expected items that do not overlap")
    return items


def _described_items(data: bytes, start: int, end: int) -> dict[int, bytes]:
    """Items of EXIF and XMP, and their types (box iinf)."""
    found = {}
    for kind, a, _ in boxes(data, start + (8 if data[start] else 6), end):
        version = data[a]
        if kind == b"infe" and version >= 2:
            wide = 4 if version == 3 else 2
            item, type_ = int.from_bytes(data[a + 4 : a + 4 + wide], "big"), data[a + 6 + wide : a + 10 + wide]
            if type_ in (b"Exif", b"mime"):
                found[item] = type_
    return found


def _places(data: bytes, at: int, inside: int) -> dict[int, list[tuple[int, int]]]:
    """Where the pieces of the items are (box iloc); `inside` is where the box idat begins."""
    version = data[at]
    offset_size, length_size = data[at + 4] >> 4, data[at + 4] & 15
    base_size, index_size = data[at + 5] >> 4, data[at + 5] & 15 if version else 0
    at += 6

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(data):
            raise struct.error("expected more items")
        at += size
        return int.from_bytes(data[at - size : at], "big")

    found: dict[int, list[tuple[int, int]]] = {}
    left = _MOST_BOXES
    for _ in range(min(number(4 if version == 2 else 2), _MOST_BOXES)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size) + (inside if method == 1 else 0)
        pieces = []
        for _ in range(number(2)):
            left -= 1
            if left < 0:
                raise struct.error("expected fewer pieces")
            number(index_size)
            begin = base + number(offset_size)
            pieces.append((begin, begin + number(length_size)))
        found[item] = pieces
    return found


def _read(data: bytes) -> HeifHeader:
    meta = next(((a + 4, b) for kind, a, b in boxes(data, 0, len(data)) if kind == b"meta"), None)
    if meta is None:
        return HeifHeader()
    primary = 0
    properties: list[tuple[bytes, int, int]] = []
    uses: dict[int, list[int]] = {}
    parts: dict[int, list[int]] = {}
    for kind, a, b in boxes(data, *meta):
        if kind == b"pitm":
            primary = int.from_bytes(data[a + 4 : a + (8 if data[a] else 6)], "big")
        elif kind == b"iref":
            parts = _derived(data, a, b)
        elif kind == b"iprp":
            for inner, c, d in boxes(data, a, b):
                if inner == b"ipco":
                    properties = list(boxes(data, c, d))
                elif inner == b"ipma":
                    uses |= _associations(data, c, d)
    sizes = tuple(struct.unpack_from(">II", data, a + 4) for kind, a, b in properties if kind == b"ispe" and b - a >= 12)
    own = [properties[index - 1] for index in uses.get(primary, []) if 0 < index <= len(properties)]
    shaping = _shaping(data, own)
    for item in (primary, *parts.get(primary, [])[:1]):
        for index in uses.get(item, []):
            kind, a, b = properties[index - 1] if 0 < index <= len(properties) else (b"", 0, 0)
            if kind == b"colr" and data[a : a + 4] == b"nclx":
                primaries, transfer = struct.unpack_from(">HH", data, a + 4)
                return HeifHeader(sizes, shaping, transfer, primaries)
    return HeifHeader(sizes, shaping)


def _shaping(data: bytes, properties: list[tuple[bytes, int, int]]) -> Shaping | None:
    """What the properties of an image say about how it is shown; None if they say nothing, or nothing possible."""
    shaping = [each for each in properties if each[0] in (b"clap", b"irot", b"imir")]
    size = next(((a, b) for kind, a, b in properties if kind == b"ispe"), None)
    if size is None or not shaping:
        return None
    width, height = struct.unpack_from(">II", data, size[0] + 4)
    steps: list[tuple[bytes, tuple[int, ...]]] = []
    padding = True
    for kind, a, _ in shaping:
        if kind == b"clap":
            numbers = struct.unpack_from(">IIIIiIiI", data, a)
            if 0 in numbers[1::2]:
                return None
            across, down, right, low = (Fraction(a, b) for a, b in zip(numbers[::2], numbers[1::2], strict=True))
            padding = padding and 0 <= width - across <= _MOST_PADDING and 0 <= height - down <= _MOST_PADDING
            left, top = round(right + Fraction(width - across, 2)), round(low + Fraction(height - down, 2))
            width, height = round(across), round(down)
            steps.append((kind, (left, top, left + width, top + height)))
        else:
            steps.append((kind, (data[a] & (3 if kind == b"irot" else 1),)))
            if kind == b"irot" and data[a] & 1:
                width, height = height, width
    return Shaping(tuple(steps), tuple(a - 4 for _, a, _ in shaping), padding)


def _derived(data: bytes, start: int, end: int) -> dict[int, list[int]]:
    """Images that are made of others, such as grids of tiles -> those others."""
    form, wide = (">I", 4) if data[start] else (">H", 2)
    found = {}
    for kind, a, _ in boxes(data, start + 4, end):
        if kind == b"dimg":
            (item,) = struct.unpack_from(form, data, a)
            (count,) = struct.unpack_from(">H", data, a + wide)
            places = range(a + wide + 2, a + wide + 2 + wide * min(count, 1), wide)
            found[item] = [struct.unpack_from(form, data, at)[0] for at in places]
    return found


def _associations(data: bytes, start: int, end: int) -> dict[int, list[int]]:
    """Images -> the numbers of their properties, from 1."""
    version, flags = data[start], data[start + 3]
    (count,) = struct.unpack_from(">I", data, start + 4)
    at = start + 8
    found: dict[int, list[int]] = {}
    for _ in range(min(count, _MOST_BOXES)):
        if at >= end:
            break
        (item,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        number = data[at]
        at += 1
        if flags & 1:
            found[item] = [value & 0x7FFF for value in struct.unpack_from(f">{number}H", data, at)]
            at += 2 * number
        else:
            found[item] = [value & 0x7F for value in data[at : at + number]]
            at += number
    return found
