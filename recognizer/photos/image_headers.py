"""Formats, sizes and orientations of image files, read from their headers without decoding pixels.

Decoders receive only the parts that make up the image: `read_png`, and `tiff_headers.read_tiff`, remove texts, colour profiles,
further frames and other data, none of which can then be a decompression bomb, cause a warning or make the photo unusable.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from recognizer.core.errors import BrokenImage, UnsupportedImage

_MOST_PIECES = 50_000  # segments, chunks or blocks of one file; each takes an iteration of a loop, here and in Pillow
_PNG = b"\x89PNG\r\n\x1a\n"
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}

#: An entry of a TIFF's directory: tag, type, count, offset of the 4 bytes that hold the value or its offset.
Entry: TypeAlias = tuple[int, int, int, int]


def sniff(data: bytes) -> str | None:
    """The format of `data`: jpeg, png, webp, gif, bmp, tiff, heic, avif, jp2, jxl or raw; None for anything else.

    Raw files that are TIFFs count as such; see `tiff_headers.is_camera_raw`.

    Parameters
    ----------
    data : bytes
        The beginning of a file; 64 bytes suffice.
    """
    head = bytes(data[:64])
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(_PNG):
        return "png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "raw" if head[8:10] == b"CR" else "tiff"  # Canon's raw files
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"BM") and head[14:18] in _BMP_HEADERS:
        return "bmp"
    if head.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")):
        return "jp2"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "jxl"
    if head.startswith(_RAW) or head[6:14] == b"HEAPCCDR" or head[4:12] == b"ftypcrx ":
        return "raw"
    return _sniff_boxes(head) if head[4:8] == b"ftyp" else None


#: How raw files begin that are no TIFFs: of Fujifilm, Panasonic and Leica, Olympus, Minolta, Sigma.
_RAW = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"\0MRM", b"FOVb")

_BMP_HEADERS = {struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124)}


def _sniff_boxes(head: bytes) -> str | None:
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12]] + [head[i : i + 4] for i in range(16, end, 4)]
    if brands[0] in _AVIF_BRANDS or (brands[0] in (b"mif1", b"msf1") and _AVIF_BRANDS & set(brands)):
        return "avif"
    if _HEIC_BRANDS & set(brands):
        return "heic"
    return "avif" if _AVIF_BRANDS & set(brands) else None


def check_pieces(count: int, kind: str) -> None:
    """Raise if a file has too many segments, chunks or blocks.

    Raises
    ------
    BrokenImage
    """
    if count > _MOST_PIECES:
        raise BrokenImage(f"expected a photo of at most {_MOST_PIECES} pieces, got more", format=kind)


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """The orientation 1-8 that EXIF states, or else XMP; 1 if there is no valid one. As `PIL.ImageOps.exif_transpose`."""
    found = exif_orientation(exif)
    return found or xmp_orientation(xmp) or 1


def exif_orientation(exif: bytes | None) -> int | None:
    """The orientation 1-8 in an EXIF block, 1 if its value is invalid; None if it states none."""
    tiff = re.sub(rb"^(Exif\0\0){1,2}", b"", exif or b"")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        return directory_orientation(tiff, order, read_directory(tiff, order, start)[0])
    except struct.error:
        return None


_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([0-9])")


def xmp_orientation(xmp: bytes | None) -> int | None:
    """The orientation 1-8 in an XMP packet, 1 if its value is invalid; None if it states none."""
    found = _XMP_ORIENTATION.search(xmp or b"")
    return None if found is None else _valid(int(found[1]))


def directory_orientation(tiff: bytes, order: str, entries: list[Entry]) -> int | None:
    """The orientation in a directory of a TIFF; see `exif_orientation`."""
    forms = {3: "H", 4: "I", 8: "h", 9: "i"}
    for tag, kind, count, at in entries:
        if tag == 274 and count == 1 and kind in forms:
            return _valid(int(struct.unpack_from(order + forms[kind], tiff, at)[0]))
    return None


def _valid(value: int) -> int:
    return value if 1 <= value <= 8 else 1


def read_directory(tiff: bytes | bytearray, order: str, start: int) -> tuple[list[Entry], int]:
    """The entries of a TIFF's directory at the offset `start`, and the offset of the next directory, or 0.

    Entries beyond the end of `tiff` are ignored.

    Raises
    ------
    struct.error
        The beginning of the directory is missing.
    """
    (count,) = struct.unpack_from(order + "H", tiff, start)
    whole = min(count, (len(tiff) - start - 2) // 12)
    end = start + 2 + 12 * whole
    entries = []
    for at in range(start + 2, end, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", tiff, at)
        entries.append((tag, kind, values, at + 8))
    following = struct.unpack_from(order + "I", tiff, end)[0] if whole == count and end + 4 <= len(tiff) else 0
    return entries, following


# --- JPEG ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JpegHeader:
    """The header of a JPEG.

    Attributes
    ----------
    width, height : int
        As stored, before turning upright.
    precision, components : int
        Bits per channel, and channels.
    orientation : int
        Of EXIF or XMP, 1-8.
    segments : tuple of (marker, start, end)
        A start-of-scan segment includes its entropy-coded data.
    complete : bool
        Whether the end marker was found.
    progressive : bool
    usual : bool
        Whether it is coded as photos are: neither lossless nor in a hierarchy of sizes.
    """

    width: int
    height: int
    precision: int
    components: int
    orientation: int
    segments: tuple[tuple[int, int, int], ...]
    complete: bool
    progressive: bool
    usual: bool


_NEXT_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # in entropy-coded data, FF 00 is a byte FF and D0-D7 restart
_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}
_FRAMES, _LS_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}, 0xF7


def read_jpeg(data: bytes) -> JpegHeader:
    """Read the markers of a JPEG (ITU-T T.81, annex B), skipping junk between them as viewers do.

    Raises
    ------
    BrokenImage
        There is no frame header.
    UnsupportedImage
        It is JPEG-LS.
    """
    segments, complete = _jpeg_segments(data)
    frame = next((s for s in segments if s[0] in _FRAMES or s[0] == _LS_FRAME), None)
    if frame is not None and frame[0] == _LS_FRAME:
        raise UnsupportedImage("JPEG-LS photos are not supported; save it as an ordinary JPEG", format="jpeg")
    if frame is None or frame[2] - frame[1] < 10:
        raise BrokenImage("the JPEG photo is damaged or cut short: it has no frame header", format="jpeg")
    precision, height, width, components = struct.unpack_from(">BHHB", data, frame[1] + 4)
    exif = joined(data, segments, b"Exif\0\0", 6)
    xmp = joined(data, segments, _XMP_NAME, len(_XMP_NAME))
    return JpegHeader(
        width,
        height,
        precision,
        components,
        orientation(exif, xmp),
        tuple(segments),
        complete,
        frame[0] in (0xC2, 0xC6, 0xCA, 0xCE),
        frame[0] in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA),
    )


_XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"


def joined(data: bytes, segments: Iterable[tuple[int, int, int]], name: bytes, skipped: int) -> bytes:
    """The content of all APP1 segments that begin with `name`: larger blocks are written in several."""
    found = (data[a + 4 : b] for marker, a, b in segments if marker == 0xE1)
    return b"".join(each[skipped:] for each in found if each.startswith(name))


def _jpeg_segments(data: bytes) -> tuple[list[tuple[int, int, int]], bool]:
    segments: list[tuple[int, int, int]] = []
    at = 2
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
        check_pieces(len(segments), "jpeg")
        at = end
    return segments, False


def clean_jpeg(data: bytes, header: JpegHeader) -> bytes:
    """The same JPEG without junk between segments, comments and metadata."""
    metadata = set(range(0xE1, 0xF0)) - {0xEE} | {0xFE}
    segments = (data[a:b] for marker, a, b in header.segments if marker not in metadata)
    return b"\xff\xd8" + b"".join(segments) + b"\xff\xd9"


# --- PNG -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PngHeader:
    """The header of a PNG.

    Attributes
    ----------
    width, height : int
    orientation : int
        Of EXIF or XMP, 1-8.
    transfer, primaries : int
        How light is coded, as in ITU-T H.273: the chunk cICP; 2 (unspecified) without it.
    for_iphones : bool
        Whether it has Apple's own, incompatible form (CgBI).
    depth : int
        Bits per channel.
    transparent : tuple of int or None
        The one colour of a grey or RGB picture that is transparent: 8 bits per channel, or 16 in 16-bit grey.
    data : bytes
        A PNG of only the chunks that make up the image, with valid checksums.
    """

    width: int
    height: int
    orientation: int
    transfer: int
    primaries: int
    for_iphones: bool
    depth: int
    transparent: tuple[int, ...] | None
    data: bytes


_PNG_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_ABOUT = (b"eXIf", b"cICP", b"iTXt", b"zTXt", b"tEXt", b"CgBI")
_MOST_TEXT = 1_000_000  # bytes of an unpacked text; longer ones are ignored


def read_png(data: bytes) -> PngHeader:
    """Read a PNG's header, and check its chunks.

    Raises
    ------
    BrokenImage
        A necessary chunk is missing, cut short or has a wrong checksum.
    """
    chunks, at, kind, pieces = [_PNG], len(_PNG), b"", 0
    about: dict[bytes, bytes] = {}
    while kind != b"IEND":
        check_pieces(pieces := pieces + 1, "png")
        body = at + 8
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : body], body + length + 4
        if body > len(data) or end > len(data):
            raise BrokenImage("the PNG photo is cut short: its end is missing", format="png")
        if len(chunks) == 1 and kind != b"CgBI" and (kind != b"IHDR" or length != 13):
            raise BrokenImage("the PNG photo is damaged: it does not begin with its header", format="png")
        if kind in _PNG_PICTURE or kind in _PNG_ABOUT:
            intact = zlib.crc32(memoryview(data)[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
            if not intact and kind in _PNG_PICTURE and kind.isupper():
                raise BrokenImage("the PNG photo is damaged: a checksum is wrong", format="png")
            if intact and kind == b"tRNS" and len(chunks) > 1 and chunks[1][17] in (0, 2):  # grey or RGB
                about.setdefault(kind, data[body : end - 4])
            elif intact and kind in _PNG_PICTURE:
                chunks.append(data[at:end])
            elif intact:
                name, content = _png_about(kind, data[body : end - 4])
                about.setdefault(name, content)
        at = end
    width, height = struct.unpack_from(">II", chunks[1], 8)
    exif = about.get(b"eXIf") or _unhex(about.get(b"Raw profile type exif", b""))
    coded = about.get(b"cICP", b"").ljust(4, b"\2")
    found = orientation(exif, about.get(b"XML:com.adobe.xmp"))
    depth, colour = chunks[1][16], _transparent(about.get(b"tRNS", b""), chunks[1][16], chunks[1][17])
    return PngHeader(width, height, found, coded[1], coded[0], b"CgBI" in about, depth, colour, b"".join(chunks))


def _transparent(body: bytes, depth: int, kind: int) -> tuple[int, ...] | None:
    """The colour that the chunk tRNS makes transparent, in 8 bits, or in 16 for grey of 16 bits."""
    count = 3 if kind == 2 else 1
    if len(body) < 2 * count:
        return None
    values = struct.unpack_from(f">{count}H", body)
    if depth == 16:
        return tuple(value >> 8 for value in values) if kind == 2 else values
    return tuple(value * 255 // (2**depth - 1) for value in values)


def _png_about(kind: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The name and the content of a chunk; of a text, its keyword and the text, if it is one that is needed."""
    if not kind.endswith(b"Xt"):
        return kind, body
    keyword, _, rest = body.partition(b"\0")
    if keyword not in (b"XML:com.adobe.xmp", b"Raw profile type exif"):
        return b"", b""
    packed = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
    text = rest[1:] if kind == b"zTXt" else rest
    if kind == b"iTXt":
        text = rest[2:].split(b"\0", 2)[-1]
    if packed:
        try:
            text = zlib.decompressobj().decompress(text, _MOST_TEXT)
        except zlib.error:
            text = b""
    return keyword, text


def _unhex(profile: bytes) -> bytes:
    """EXIF as ImageMagick writes it into a PNG's text: a line's end, a name, a length, and hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(profile.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


# --- GIF and WebP ----------------------------------------------------------------------------------------------------


def read_gif(data: bytes) -> tuple[int, int]:
    """Width and height of the area that covers a GIF's screen and its first frame.

    Raises
    ------
    BrokenImage
        The first frame is missing.
    """
    width, height, flags = struct.unpack_from("<HHB", data.ljust(13, b"\0"), 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    pieces = 0
    while data[at : at + 1] not in (b",", b"", b";"):
        check_pieces(pieces := pieces + 1, "gif")
        if data[at] != 0x21:  # viewers skip stray bytes between blocks
            at += 1
            continue
        at += 2
        while at < len(data) and data[at]:
            at += data[at] + 1
            check_pieces(pieces := pieces + 1, "gif")
        at += 1
    if data[at : at + 1] != b"," or at + 10 > len(data):
        raise BrokenImage("the GIF photo is damaged or cut short: it contains no image", format="gif")
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, at + 1)
    return max(width, left + frame_width), max(height, top + frame_height)


@dataclass(frozen=True)
class WebpHeader:
    """The header of a WebP: the size of its canvas, its orientation by EXIF or XMP (1-8), and whether it is animated."""

    width: int
    height: int
    orientation: int
    animated: bool


def read_webp(data: bytes) -> WebpHeader:
    """Read the chunks of a WebP (RFC 9649, section 2).

    Raises
    ------
    BrokenImage
        The size is missing, or a WebP cannot begin with this chunk.
    """
    kind, body = data[12:16], data[20:30]
    if len(body) < 10 or kind not in (b"VP8X", b"VP8L", b"VP8 "):
        raise BrokenImage("the WebP photo is damaged or cut short: its size is missing", format="webp")
    if kind == b"VP8X":
        about = webp_chunks(data)
        width, height = 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
        return WebpHeader(width, height, orientation(about.get(b"EXIF"), about.get(b"XMP ")), bool(body[0] & 2))
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", body, 6))
    return WebpHeader(width, height, 1, False)


def webp_chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of EXIF and XMP."""
    found: dict[bytes, bytes] = {}
    at = pieces = 12
    while at + 8 <= len(data):
        check_pieces(pieces := pieces + 1, "webp")
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"EXIF", b"XMP "):
            found.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return found
