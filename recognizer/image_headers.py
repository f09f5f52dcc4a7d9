"""What the first bytes of an image file say: its format, its size, which way up it is. Reads bytes, decodes nothing.

The decoders are handed only what makes the picture: `read_png` and `read_tiff` leave texts, colour profiles, further
frames and other company behind, so that none of it can be a bomb, a warning or a reason to refuse the photo.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from .errors import BrokenImage, UnsupportedImage

_MOST_PIECES = 50_000  # segments, chunks or blocks of one file; each costs a turn of a loop, here and in Pillow
_PNG = b"\x89PNG\r\n\x1a\n"
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


def sniff(data: bytes) -> str | None:
    """The format of `data` by its content: jpeg, png, webp, gif, bmp, tiff, heic or avif; None for anything else."""
    head = bytes(data[:64])
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(_PNG):
        return "png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"BM") and head[14:18] in _BMP_HEADERS:
        return "bmp"
    return _sniff_boxes(head) if head[4:8] == b"ftyp" else None


_BMP_HEADERS = {struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124)}


def _sniff_boxes(head: bytes) -> str | None:
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12]] + [head[i : i + 4] for i in range(16, end, 4)]
    if brands[0] in _AVIF_BRANDS or (brands[0] in (b"mif1", b"msf1") and _AVIF_BRANDS & set(brands)):
        return "avif"
    if _HEIC_BRANDS & set(brands):
        return "heic"
    return "avif" if _AVIF_BRANDS & set(brands) else None


def _check_pieces(count: int, kind: str) -> None:
    if count > _MOST_PIECES:
        raise BrokenImage(f"expected a photo of at most {_MOST_PIECES} pieces, got more", format=kind)


def exif_orientation(exif: bytes | None) -> int:
    """The orientation 1-8 that an EXIF block asks for; 1 if it says nothing that can be used."""
    if not exif:
        return 1
    tiff = exif[6:] if exif.startswith(b"Exif\0\0") else exif
    try:
        order, entries, _ = _first_directory(tiff)
    except (struct.error, BrokenImage):
        return 1
    return _orientation(tiff, order, entries)


def _orientation(tiff: bytes, order: str, entries: list[tuple[int, int, int, int]]) -> int:
    for tag, kind, count, at in entries:
        if tag == 274 and count == 1 and kind in (3, 4):
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, at)
            return value if 1 <= value <= 8 else 1
    return 1


def _first_directory(tiff: bytes) -> tuple[str, list[tuple[int, int, int, int]], int]:
    """Byte order, entries (tag, type, count, offset of the 4 value bytes) and offset of a TIFF's first directory.

    Entries beyond the end of `tiff` are left out; struct.error if even the directory's start is missing.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        raise BrokenImage("expected a byte order mark, II or MM")
    _, start = struct.unpack_from(order + "HI", tiff, 2)
    (count,) = struct.unpack_from(order + "H", tiff, start)
    count = min(count, (len(tiff) - start - 2) // 12)
    places = range(start + 2, start + 2 + 12 * count, 12)
    return order, [struct.unpack_from(order + "HHI", tiff, at) + (at + 8,) for at in places], start


# --- JPEG ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JpegHeader:
    """Size as stored (before turning), orientation, and where each segment is: (marker, start, end).

    A start-of-scan segment includes its entropy-coded data. ``complete`` says that the end marker was found.
    """

    width: int
    height: int
    precision: int
    components: int
    orientation: int
    segments: tuple[tuple[int, int, int], ...]
    complete: bool


_NEXT_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # in entropy-coded data, FF 00 is a byte FF and D0-D7 restart
_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def read_jpeg(data: bytes) -> JpegHeader:
    """Walk over a JPEG's markers (ITU-T T.81, annex B), past junk between them as every viewer does.

    Raises
    ------
    BrokenImage
        There is no frame header before the data end.
    """
    segments, complete = _jpeg_segments(data)
    frame = next((s for s in segments if s[0] in _FRAMES), None)
    if frame is None or frame[2] - frame[1] < 10:
        raise BrokenImage("the JPEG photo is damaged or cut short: it has no frame header", format="jpeg")
    precision, height, width, components = struct.unpack_from(">BHHB", data, frame[1] + 4)
    exif = next((data[a + 4 : b] for m, a, b in segments if m == 0xE1 and data[a + 4 : a + 10] == b"Exif\0\0"), None)
    return JpegHeader(width, height, precision, components, exif_orientation(exif), tuple(segments), complete)


def _jpeg_segments(data: bytes) -> tuple[list[tuple[int, int, int]], bool]:
    segments, at = [], 2
    while found := _NEXT_MARKER.search(data, at):
        marker, at = found.group(1)[0], found.end() - 2
        if marker == 0xD9:
            return segments, True
        if marker in _NO_LENGTH:
            at += 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if at + 4 > len(data) or end > len(data):
            break
        if marker == 0xDA:
            following = _NEXT_MARKER.search(data, end)
            if following is None:
                break
            end = following.start()
        segments.append((marker, at, end))
        _check_pieces(len(segments), "jpeg")
        at = end
    return segments, False


def clean_jpeg(data: bytes, header: JpegHeader) -> bytes:
    """The same JPEG with nothing but what makes the picture: no junk between segments, comments or metadata."""
    metadata = set(range(0xE1, 0xF0)) - {0xEE} | {0xFE}
    kept = (data[a:b] for marker, a, b in header.segments if marker not in metadata)
    return b"\xff\xd8" + b"".join(kept) + b"\xff\xd9"


# --- PNG -------------------------------------------------------------------------------------------------------------


def read_png(data: bytes) -> tuple[int, int, int, bytes]:
    """Width, height and orientation of a PNG, and a PNG of the chunks that make the picture, their checksums proven.

    Raises
    ------
    BrokenImage
        A chunk that matters is missing, cut short or has a wrong checksum.
    """
    kept, orientation, at, kind, pieces = [_PNG], 1, len(_PNG), b"", 0
    while kind != b"IEND":
        _check_pieces(pieces := pieces + 1, "png")
        body = at + 8
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : body], body + length + 4
        if body > len(data) or end > len(data):
            raise BrokenImage("the PNG photo is cut short: its end is missing", format="png")
        if at == len(_PNG) and (kind != b"IHDR" or length != 13):
            raise BrokenImage("the PNG photo is damaged: it does not begin with its header", format="png")
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"):
            sound = zlib.crc32(memoryview(data)[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
            if not sound and kind.isupper():
                raise BrokenImage("the PNG photo is damaged: a checksum does not fit", format="png")
            if sound and kind == b"eXIf":
                orientation = exif_orientation(data[body : end - 4])
            elif sound:
                kept.append(data[at:end])
        at = end
    width, height = struct.unpack_from(">II", data, 16)
    return width, height, orientation, b"".join(kept)


# --- TIFF ------------------------------------------------------------------------------------------------------------

_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_TIFF_ONE = {256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323}  # tags with a single value
_TIFF_SOME = {258, 273, 279, 320, 324, 325, 338, 339, 347, 529, 530, 532}
_TIFF_MOST_STRIPS = 100_000


def read_tiff(data: bytes) -> tuple[int, int, int, bytes]:
    """Width, height and orientation of a TIFF's first picture, and a TIFF of that picture without metadata.

    Width and height are the larger of the picture's and its tiles', which is what decoding it takes.

    Raises
    ------
    BrokenImage, UnsupportedImage
    """
    if data[2:4] in (b"+\0", b"\0+"):
        raise UnsupportedImage("a BigTIFF photo is not read; save it as an ordinary TIFF", format="tiff")
    try:
        order, entries, start = _first_directory(data)
        orientation = _orientation(data, order, entries)
        kept = [entry for entry in entries if entry[0] in _TIFF_ONE | _TIFF_SOME]
        single = {tag: _tiff_number(data, order, *rest) for tag, *rest in kept if tag in _TIFF_ONE}
        for tag, kind, count, at in kept:
            _check_tiff_entry(data, order, tag, kind, count, at)
    except struct.error:
        raise BrokenImage("the TIFF photo is cut short: its directory is missing", format="tiff") from None
    if 256 not in single or 257 not in single:
        raise BrokenImage("the TIFF photo is damaged: it does not say how large it is", format="tiff")
    plain = bytearray(data)
    directory = b"".join(data[at - 8 : at + 4] for *_, at in kept) + bytes(4)
    struct.pack_into(order + "H", plain, start, len(kept))
    plain[start + 2 : start + 2 + len(directory)] = directory
    return max(single[256], single.get(322, 0)), max(single[257], single.get(323, 0)), orientation, bytes(plain)


def _tiff_number(data: bytes, order: str, kind: int, count: int, at: int) -> int:
    if count != 1 or kind not in (3, 4):
        raise BrokenImage("the TIFF photo is damaged: its directory holds an impossible value", format="tiff")
    return struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at)[0]


def _check_tiff_entry(data: bytes, order: str, tag: int, kind: int, count: int, at: int) -> None:
    size = _TIFF_SIZES.get(kind, 0) * count
    if not size or (count > _TIFF_MOST_STRIPS and tag != 347):
        raise BrokenImage("the TIFF photo is damaged: its directory holds an impossible value", format="tiff")
    if size > 4 and struct.unpack_from(order + "I", data, at)[0] + size > len(data):
        raise BrokenImage("the TIFF photo is cut short: part of its directory is missing", format="tiff")


# --- GIF and WebP ----------------------------------------------------------------------------------------------------


def read_gif(data: bytes) -> tuple[int, int]:
    """Width and height that a GIF's screen and its first frame take together.

    Raises
    ------
    BrokenImage
        The data end before the first frame.
    """
    width, height, flags = struct.unpack_from("<HHB", data.ljust(13, b"\0"), 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    pieces = 0
    while data[at : at + 1] not in (b",", b"", b";"):
        _check_pieces(pieces := pieces + 1, "gif")
        if data[at] != 0x21:  # a viewer skips stray bytes between blocks
            at += 1
            continue
        at += 2
        while at < len(data) and data[at]:
            at += data[at] + 1
            _check_pieces(pieces := pieces + 1, "gif")
        at += 1
    if data[at : at + 1] != b"," or at + 10 > len(data):
        raise BrokenImage("the GIF photo is damaged or cut short: it holds no picture", format="gif")
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, at + 1)
    return max(width, left + frame_width), max(height, top + frame_height)


def read_webp(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP's canvas (RFC 9649, section 2).

    Raises
    ------
    BrokenImage
        The data end before they are told, or the first chunk is none that a WebP may begin with.
    """
    kind, body = data[12:16], data[20:30]
    if len(body) == 10 and kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if len(body) == 10 and kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if len(body) == 10 and kind == b"VP8 ":
        return tuple(side & 0x3FFF for side in struct.unpack_from("<HH", body, 6))
    raise BrokenImage("the WebP photo is damaged or cut short: it does not say how large it is", format="webp")
