"""Removes what a photo's file says beside its picture: where it was taken, or everything. Pixels are not decoded.

The compressed picture stays as it is, byte for byte, and so do its orientation and its colour profile. What is not surely free
of a position is removed as a whole: XMP, IPTC, notes of the camera's maker, further pictures behind the photo.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from recognizer.core.errors import BrokenImage, ImageError, UnsupportedImage
from recognizer.photos import extra_decoders, heif_boxes, image_headers, tiff_headers
from recognizer.photos.decoders import FORMATS

#: What may be removed: nothing, what says where the photo was taken, or all metadata.
STRIPS = ("off", "location", "all")

_EXIF_NAME, _ICC_NAME = b"Exif\0\0", b"ICC_PROFILE\0"
_EXIF_DIRECTORY, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
_DIRECTORIES = (_EXIF_DIRECTORY, _GPS, _INTEROPERABILITY)
#: Tags that can hold a place: GPS, XMP, IPTC, Photoshop's block, the maker's note, and those of GeoTIFF and GDAL.
_PLACES = {_GPS, 700, 33723, 34377, 37500, 33550, 33920, 33922, 34264, 34735, 34736, 34737, 42112, 42113}
#: Tags of a TIFF that make up its picture.
_PICTURE = {254, 255, 274, 282, 283, 296, 301, 318, 319, 330, 332, 333, 334, 336, 340, 341, 34675}
_INNER = 330
_EMPTY_TIFF = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
_MOST_ENTRIES = 20_000


def strip(data: bytes, what: str) -> bytes:
    """A photo without its metadata.

    Parameters
    ----------
    data : bytes
        A photo; what is none is returned as it is, and so is a JPEG that no decoder reads.
    what : {"off", "location", "all"}

    Returns
    -------
    bytes
        A file of the same format with the same picture.

    Raises
    ------
    BrokenImage
        The file is damaged.
    UnsupportedImage
        Metadata cannot be removed from files of this kind.
    """
    kind = image_headers.sniff(data)
    if what == "off" or kind is None or kind not in _STRIPPERS:
        return data
    try:
        return _STRIPPERS[kind](data, what == "all")
    except ImageError:
        raise
    except (struct.error, IndexError, ValueError) as error:
        raise BrokenImage(f"the {FORMATS[kind]} photo is damaged: its metadata cannot be removed", format=kind) from error


# --- EXIF and TIFF ---------------------------------------------------------------------------------------------------


def _exif(found: bytes | None, everything: bool, orientation: int) -> bytes:
    """What remains of an EXIF block, with that orientation; empty if nothing has to remain."""
    if found and not everything:
        tiff = bytearray(found.removeprefix(_EXIF_NAME).removeprefix(_EXIF_NAME))
        try:
            _Tiff(tiff).clean(_PLACES.__contains__)
        except struct.error:
            pass  # damaged: nothing of it is kept
        else:
            if image_headers.orientation(bytes(tiff)) == orientation:
                return bytes(tiff)
    if orientation == 1:
        return b""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 274, 3, 1, orientation, 0, 0)


class _Tiff:
    """The directories of a TIFF, from which tags are removed in place; their values are overwritten with zeros.

    Hostile files can let many entries point at the same bytes: how much is read and overwritten is limited.
    """

    def __init__(self, data: bytearray):
        order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
        if order is None:
            raise struct.error("expected a TIFF")
        self._data, self._order = data, order
        self._entries_left, self._bytes_left = _MOST_ENTRIES, 4 * len(data)

    def clean(self, is_removed: Callable[[int], bool]) -> None:
        """Remove tags from all directories.

        Raises
        ------
        struct.error
            A directory is missing, or there are too many.
        """
        data, order = self._data, self._order
        waiting, seen = [struct.unpack_from(order + "I", data, 4)[0]], set()
        while waiting:
            start = waiting.pop()
            if not start or start in seen:
                continue
            seen.add(start)
            entries, following = self._directory(start)
            kept = []
            for tag, kind, count, at in entries:
                if is_removed(tag):
                    self._erase_entry(tag, kind, count, at)
                else:
                    kept.append(bytes(data[at - 8 : at + 4]))
                    if tag in (*_DIRECTORIES, _INNER):
                        waiting += self._offsets(kind, count, at)
            packed = struct.pack(order + "H", len(kept)) + b"".join(kept) + struct.pack(order + "I", following)
            end = min(start + 2 + 12 * len(entries) + 4, len(data))
            data[start:end] = packed.ljust(end - start, b"\0")[: end - start]
            waiting.append(following)

    def _directory(self, start: int) -> tuple[list[image_headers.Entry], int]:
        (count,) = struct.unpack_from(self._order + "H", self._data, start)
        self._entries_left -= count + 1
        if self._entries_left < 0:
            raise struct.error("expected fewer entries")
        return image_headers.read_directory(self._data, self._order, start)

    def _erase_entry(self, tag: int, kind: int, count: int, at: int, depth: int = 0) -> None:
        """Overwrite a value; of a directory, all values in it."""
        if tag in _DIRECTORIES and depth < len(_DIRECTORIES):
            for start in self._offsets(kind, count, at):
                entries, _ = self._directory(start)
                for inner in entries:
                    self._erase_entry(*inner, depth + 1)
                self._erase(start, 2 + 12 * len(entries) + 4)
        size = tiff_headers.SIZES.get(kind, 0) * count
        if size > 4:
            self._erase(struct.unpack_from(self._order + "I", self._data, at)[0], size)

    def _erase(self, start: int, size: int) -> None:
        end = min(start + size, len(self._data))
        size = max(0, end - start)
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise struct.error("expected values that do not overlap")
        self._data[start:end] = bytes(size)

    def _offsets(self, kind: int, count: int, at: int) -> list[int]:
        """The offsets of directories in an entry."""
        if kind not in (4, 13) or count > _MOST_ENTRIES:
            return []
        if count > 1:
            (at,) = struct.unpack_from(self._order + "I", self._data, at)
        return [int(value) for value in struct.unpack_from(f"{self._order}{count}I", self._data, at)]


def _strip_tiff(data: bytes, everything: bool) -> bytes:
    if tiff_headers.is_camera_raw(data):
        return _refuse_raw(data, everything)
    needed = tiff_headers.NEEDED | _PICTURE
    tiff = bytearray(data)
    before = image_headers.exif_orientation(data)
    _Tiff(tiff).clean((lambda tag: tag not in needed) if everything else _PLACES.__contains__)
    if image_headers.exif_orientation(bytes(tiff)) != before or (
        before is None and tiff_headers.read_tiff(data).orientation != 1
    ):
        raise UnsupportedImage("this TIFF states its orientation in its XMP only: save it upright, or as JPEG", format="tiff")
    return bytes(tiff)


# --- JPEG, PNG, WebP, GIF --------------------------------------------------------------------------------------------


def _strip_jpeg(data: bytes, everything: bool) -> bytes:
    header = image_headers.read_jpeg(data)
    if not header.complete:
        if header.progressive:
            return data  # refused by the decoder
        data = data.removesuffix(b"\xff") + b"\xff\xd9"
        header = image_headers.read_jpeg(data)
    exif = _exif(image_headers.joined(data, header.segments, _EXIF_NAME, len(_EXIF_NAME)), everything, header.orientation)
    if len(exif) > 65_000:
        exif = _exif(None, True, header.orientation)
    pieces = [b"\xff\xd8"]
    rest = []
    for marker, start, end in header.segments:
        body = data[start + 4 : end]
        if marker == 0xE0 and (body.startswith(b"JFIF\0") or not everything):
            pieces.append(data[start:end])
        elif marker == 0xFE:
            rest += [] if everything else [data[start:end]]
        elif not 0xE1 <= marker <= 0xEF or marker == 0xEE or (marker == 0xE2 and body.startswith(_ICC_NAME)):
            rest.append(data[start:end])
    if exif:
        pieces.append(b"\xff\xe1" + struct.pack(">H", 2 + len(_EXIF_NAME) + len(exif)) + _EXIF_NAME + exif)
    return b"".join([*pieces, *rest, b"\xff\xd9"])


_PNG_KEPT = {b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs", b"CgBI"}
_PNG_KEPT |= {b"hIST", b"sPLT", b"acTL", b"fcTL", b"fdAT"}
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def _strip_png(data: bytes, everything: bool) -> bytes:
    orientation, at, kind = image_headers.read_png(data).orientation, 8, b""
    pieces, exif = [data[:8]], b""
    while kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 12 + length
        body = data[at + 8 : end - 4]
        if kind == b"eXIf":
            exif = exif or body
        elif kind[:1].isupper() or kind in _PNG_KEPT:
            pieces.append(data[at:end])
        elif not everything and kind == b"tIME":
            pieces.append(data[at:end])
        elif not everything and kind in _PNG_TEXTS and not body.startswith((b"XML:", b"Raw profile", b"xmp")):
            pieces.append(data[at:end])
        at = end
    exif = _exif(exif, everything, orientation)
    if exif:
        first = 3 if pieces[1][4:8] == b"CgBI" else 2
        pieces.insert(first, _chunk(b"eXIf", exif))
    return b"".join(pieces)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


_WEBP_KEPT = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}


def _strip_webp(data: bytes, everything: bool) -> bytes:
    orientation, at = image_headers.read_webp(data).orientation, 12
    extended = data[12:16] == b"VP8X"
    if 8 + int.from_bytes(data[4:8], "little") > len(data):
        raise BrokenImage("the WebP photo is cut short: its end is missing", format="webp")
    pieces: list[bytes] = []
    exif = b""
    while at + 8 <= len(data) and (extended or not pieces):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if kind == b"EXIF":
            exif = exif or data[at + 8 : at + 8 + size]
        elif kind in _WEBP_KEPT:
            pieces.append(data[at:end])
        at = end
    exif = _exif(exif, everything, orientation)
    if extended:
        flags = pieces[0][8] & ~0b1100 | (0b1000 if exif else 0)
        pieces[0] = pieces[0][:8] + bytes([flags]) + pieces[0][9:]
        if exif:
            pieces.append(b"EXIF" + struct.pack("<I", len(exif)) + exif + bytes(len(exif) % 2))
    body = b"WEBP" + b"".join(pieces)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _strip_gif(data: bytes, everything: bool) -> bytes:
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    kept = [data[:at]]
    pieces = 0
    while at < len(data) and data[at] != 0x3B:
        image_headers.check_pieces(pieces := pieces + 1, "gif")
        start = at
        if data[at] == 0x21:
            comment = data[at + 1] in (0x01, 0xFE) and (everything or data[at + 1] == 0x01)
            foreign = data[at + 1] == 0xFF and data[at + 3 : at + 14] not in (b"NETSCAPE2.0", b"ANIMEXTS1.0")
            at = _after_blocks(data, at + 2)
            kept += [] if comment or foreign else [data[start:at]]
        elif data[at] == 0x2C:
            at = _after_blocks(data, at + 11 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 128 else 0))
            kept.append(data[start:at])
        else:
            at += 1
    return b"".join([*kept, b";"])


def _after_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


# --- HEIC and AVIF ---------------------------------------------------------------------------------------------------


def _strip_heif(data: bytes, everything: bool) -> bytes:
    """Overwrite the EXIF and XMP of a HEIC or AVIF in place: other items are found by their offsets.

    The container alone turns such a photo, so the orientation in its EXIF is not needed.
    """
    plain = bytearray(data)
    for kind, pieces in heif_boxes.metadata_items(data):
        content = b"".join(data[start:end] for start, end in pieces)
        cleaned = b" " * len(content)
        if kind == b"Exif":
            cleaned = _heif_exif(content, everything)
        for start, end in pieces:
            plain[start:end], cleaned = cleaned[: end - start], cleaned[end - start :]
    for kind, start, end in heif_boxes.boxes(data, 0, len(data)):
        if kind == b"uuid":
            plain[start:end] = bytes(end - start)
    return bytes(plain)


def _heif_exif(content: bytes, everything: bool) -> bytes:
    """What remains of an EXIF item, in as many bytes: readers refuse an item without a TIFF's header."""
    begin = 4 + int.from_bytes(content[:4], "big")
    exif = bytearray(content[begin:])
    if not everything:
        try:
            _Tiff(exif).clean(_PLACES.__contains__)
        except struct.error:
            pass  # damaged: nothing of it is kept
        else:
            if begin in (4, 4 + len(_EXIF_NAME)):
                return content[:begin] + bytes(exif)
    return (bytes(4) + _EMPTY_TIFF).ljust(len(content), b"\0")[: len(content)]


def _strip_jp2(data: bytes, everything: bool) -> bytes:
    """A JPEG 2000 without the boxes that hold EXIF, XMP and the like; positions in it are relative to its codestream."""
    if not data.startswith(b"\0\0\0\x0cjP"):
        return data
    kept, at = [], 0
    for kind, _, end in heif_boxes.boxes(data, 0, len(data)):
        if kind in (b"jP  ", b"ftyp", b"rreq", b"jp2h", b"jp2c", b"jpch", b"jplh"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _refuse_raw(data: bytes, everything: bool) -> bytes:
    raise UnsupportedImage(
        "the metadata of camera raw files cannot be removed, which RECOGNIZER_STRIP_METADATA asks for; export it as JPEG",
        format="raw",
    )


def _as_is(data: bytes, everything: bool) -> bytes:
    return data


_STRIPPERS: dict[str, Callable[[bytes, bool], bytes]] = {
    "jpeg": _strip_jpeg,
    "png": _strip_png,
    "webp": _strip_webp,
    "gif": _strip_gif,
    "tiff": _strip_tiff,
    "heic": _strip_heif,
    "avif": _strip_heif,
    "bmp": _as_is,  # has none
    "jp2": _strip_jp2,
    "jxl": extra_decoders.strip_jxl,
    "raw": _refuse_raw,
}
