"""The header of a TIFF: which image of the file is the photo, and whether its form is one that is read correctly.

TIFF allows countless combinations of bits, planes, colour models and compressions. Pillow opens some of them and returns a
wrong picture without an error. `read_tiff` therefore accepts only combinations that tests/test_tiff.py compares with what was
written, and refuses all others as unsupported.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import NoReturn

from recognizer.core.errors import BrokenImage, UnsupportedImage
from recognizer.photos.image_headers import directory_orientation, read_directory, xmp_orientation

#: Bytes of a value, by its type.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_FORMS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
#: Tags with a single value, and tags with several, that the decoder receives; all others are removed.
_ONE = {256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323}
_SOME = {258, 273, 279, 320, 324, 325, 338, 339, 347, 529, 530, 532}
#: All tags that the decoder receives.
NEEDED = _ONE | _SOME
_MOST_STRIPS = 100_000
_MOST_IMAGES = 100  # directories that are examined to find the photo
_MOST_SAMPLES = 16
_PIECE = 1 << 20  # bytes that are decompressed at a time

_RAW, _LZW, _JPEG, _PACKBITS, _LZMA, _ZSTD = 1, 5, 7, 32773, 34925, 50000
_DEFLATE = {8, 32946}
_FAX = {2, 3, 4}
_LOSSLESS = {_RAW, _LZW, _PACKBITS, _LZMA, _ZSTD} | _DEFLATE
_COMPRESSIONS = {6: "old JPEG", 34712: "JPEG 2000", 34887: "LERC", 34676: "LogLuv", 34677: "LogLuv", 50001: "WebP"} | {
    50002: "JPEG XL",
    52546: "JPEG XL",
    34892: "lossy JPEG of a camera raw file",
    22610: "JPEG XR",
    34934: "JPEG XR",
}
_GREY_INVERTED, _GREY, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR = range(7)
_COLOURS = {8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32844: "LogL", 32845: "LogLuv", 32803: "camera raw", 34892: "camera raw"}
_CAMERA_RAW = {32803, 34892}
_UINT, _INT, _FLOAT = 1, 2, 3
_NO_MATRIX = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class TiffHeader:
    """The header of a TIFF's photo.

    Attributes
    ----------
    width, height : int
        Of the image or its tiles, whichever are larger: that size is decoded.
    orientation : int
        1 to 8.
    bits : int
        Bits per sample.
    inverted : bool
        Whether 0 is white.
    data : bytes
        A TIFF of that image alone, without metadata.
    """

    width: int
    height: int
    orientation: int
    bits: int
    inverted: bool
    data: bytes = field(repr=False)


class _Directory:
    """One image of the file: its tags, and where they are."""

    def __init__(self, data: bytes, order: str, start: int):
        self.data, self.order, self.start = data, order, start
        self.entries, self.next = read_directory(data, order, start)
        self._places = {tag: (kind, count, at) for tag, kind, count, at in reversed(self.entries)}

    def __contains__(self, tag: int) -> bool:
        return tag in self._places

    def values(self, tag: int, most: int = _MOST_SAMPLES) -> tuple[int, ...]:
        """The first whole numbers of a tag; empty if it is missing or of another type."""
        kind, count, at = self._places.get(tag, (0, 0, 0))
        if kind not in _FORMS:
            return ()
        if SIZES[kind] * count > 4:
            (at,) = struct.unpack_from(self.order + "I", self.data, at)
        found: tuple[int, ...] = struct.unpack_from(f"{self.order}{min(count, most)}{_FORMS[kind]}", self.data, at)
        return found

    def fractions(self, tag: int) -> tuple[float, ...]:
        kind, count, at = self._places.get(tag, (0, 0, 0))
        if kind != 5 or count > _MOST_SAMPLES:
            return ()
        (at,) = struct.unpack_from(self.order + "I", self.data, at)
        numbers = struct.unpack_from(f"{self.order}{2 * count}I", self.data, at)
        return tuple(top / (bottom or 1) for top, bottom in zip(numbers[::2], numbers[1::2], strict=True))

    def content(self, tag: int) -> bytes:
        """The bytes of a tag; empty if it is missing."""
        kind, count, at = self._places.get(tag, (0, 0, 0))
        size = SIZES.get(kind, 0) * count
        if size > 4:
            (at,) = struct.unpack_from(self.order + "I", self.data, at)
        return self.data[at : at + size]

    def one(self, tag: int, default: int) -> int:
        return (self.values(tag, 1) or (default,))[0]

    @property
    def reduced(self) -> bool:
        """Whether this is a thumbnail or a mask of another image."""
        return bool(self.one(254, 0) & 0b101) or self.one(255, 1) == 2


def read_tiff(data: bytes) -> TiffHeader:
    """Read the header of the photo in a TIFF: its first image that is no thumbnail.

    Raises
    ------
    BrokenImage
    UnsupportedImage
        The photo has a form that is not surely read correctly, or the file is a camera raw file.
    """
    if data[2:4] in (b"+\0", b"\0+"):
        _refuse("BigTIFF", what="")
    try:
        photo = _find_photo(data)
        return _read_photo(photo)
    except struct.error:
        raise BrokenImage("the TIFF photo is cut short: its directory is missing", format="tiff") from None


def is_camera_raw(data: bytes) -> bool:
    """Whether a TIFF is a camera raw file (DNG, NEF, ARW and others)."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    try:
        first = _Directory(data, order, struct.unpack_from(order + "I", data, 4)[0])
        return 50706 in first or any(_is_raw(each) for each in (first, *_inner(first)))
    except struct.error:
        return False


def _find_photo(data: bytes) -> _Directory:
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (start,) = struct.unpack_from(order + "I", data, 4)
    first = photo = _Directory(data, order, start)
    if is_camera_raw(data):
        maker = first.content(271)[:20].rstrip(b"\0 ").decode("ascii", "replace")
        kind = "DNG" if 50706 in first else maker if maker.isprintable() and maker else "TIFF"
        raise UnsupportedImage(
            f"this is a camera raw file ({kind}), not a photo; export it as JPEG, or "
            "install what reads its preview with `pip install 'recognizer[raw]'`",
            format="tiff",
        )
    seen = {start}
    while photo.reduced and photo.next and photo.next not in seen and len(seen) < _MOST_IMAGES:
        seen.add(photo.next)
        photo = _Directory(data, order, photo.next)
    if not photo.reduced:
        return photo
    if 330 in first:
        _refuse("whose photo lies inside another image", what="")
    return first


def _inner(directory: _Directory) -> list[_Directory]:
    """The images inside an image (SubIFDs)."""
    found = []
    for start in directory.values(330):
        try:
            found.append(_Directory(directory.data, directory.order, start))
        except struct.error:
            continue
    return found


def _is_raw(directory: _Directory) -> bool:
    return directory.one(262, 0) in _CAMERA_RAW


def _read_photo(photo: _Directory) -> TiffHeader:
    data, order = photo.data, photo.order
    needed = [entry for entry in photo.entries if entry[0] in NEEDED]
    single = {tag: _number(data, order, *rest) for tag, *rest in needed if tag in _ONE}
    for tag, kind, count, at in needed:
        _check_entry(data, order, tag, kind, count, at)
    if 256 not in single or 257 not in single:
        raise BrokenImage("the TIFF photo is damaged: its size is missing", format="tiff")
    bits, samples, inverted = _check_form(photo, single)
    if single.get(259) in _DEFLATE and single.get(266, 1) == 1:
        _check_deflated(photo, single, bits, 1 if single.get(284) == 2 else samples)
    orientation = directory_orientation(data, order, photo.entries) or xmp_orientation(photo.content(700))
    width, height = max(single[256], single.get(322, 0)), max(single[257], single.get(323, 0))
    if samples == 1:  # there is one plane either way, and Pillow does not read all of them as planes
        needed = [entry for entry in needed if entry[0] != 284]
    plain = bytearray(data)
    if single.get(262) == _PALETTE:
        _widen_palette(plain, photo, bits)
    directory = b"".join(data[at - 8 : at + 4] for *_, at in needed) + bytes(4)
    struct.pack_into(order + "I", plain, 4, photo.start)
    struct.pack_into(order + "H", plain, photo.start, len(needed))
    plain[photo.start + 2 : photo.start + 2 + len(directory)] = directory
    return TiffHeader(width, height, orientation or 1, bits, inverted, bytes(plain))


def _check_form(photo: _Directory, single: dict[int, int]) -> tuple[int, int, bool]:
    """Raise unless the photo's form is read correctly.

    Returns
    -------
    bits, samples : int
        Bits per sample, samples per pixel.
    inverted : bool
        Whether the decoded samples have to be inverted.
    """
    compression, colours = single.get(259, 1), single.get(262)
    if compression in _COMPRESSIONS:
        _refuse(f"compressed as {_COMPRESSIONS[compression]}", what="")
    if colours in _COLOURS:
        _refuse(f"in {_COLOURS[colours]} colours", what="")
    depths = photo.values(258) or (1,)
    kinds = photo.values(339) or (_UINT,)
    samples = single.get(277, 1)
    bits, kind, extra = depths[0], kinds[0], photo.values(338)
    of_colour = {_GREY_INVERTED: 1, _GREY: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}.get(-1 if colours is None else colours)
    form = f"of {bits} bits, sample format {kind}, {samples} samples, colours {colours}, compression {compression}"
    planar = single.get(284, 1) == 2 and samples > 1
    if (
        of_colour is None
        or not 1 <= samples <= _MOST_SAMPLES
        or samples != of_colour + len(extra)
        and not (colours == _RGB and samples == 4)  # without the tag, the fourth is alpha: OpenCV writes it so
        or len(extra) > 1
        or any(each > 2 for each in extra)
        or len(set(depths)) > 1
        or len(depths) not in (1, samples)
        or len(set(kinds)) > 1
        or single.get(284, 1) not in (1, 2)
        or single.get(266, 1) not in (1, 2)
        or 5 in (colours,)
        and photo.one(332, 1) != 1
    ):
        _refuse(form)
    alpha = samples > of_colour
    allowed: dict[tuple[int, int], bool] = {
        (_GREY, _UINT): bits in (1, 2, 4, 8, 12, 16) and not alpha or bits == 8,
        (_GREY_INVERTED, _UINT): bits in (1, 2, 4, 8, 16) and not alpha,
        (_GREY, _INT): bits == 32 and not alpha,
        (_GREY, _FLOAT): bits == 32 and not alpha,
        (_PALETTE, _UINT): bits in (1, 2, 4, 8) and not alpha or bits == 8,
        (_RGB, _UINT): bits == 8 or bits == 16,
        (_CMYK, _UINT): bits in (8, 16) and not alpha,
        (_YCBCR, _UINT): bits == 8 and not alpha,
    }
    if not allowed.get((colours or 0, kind), False):
        _refuse(form)
    if planar and (bits != 8 or colours not in (_RGB, _CMYK)):
        _refuse(form + ", in planes")
    if bits == 32 and compression != _RAW and photo.order == ">":
        _refuse(form + ", big-endian")
    if single.get(266, 1) == 2 and (bits != 1 or colours == _PALETTE):
        _refuse(form + ", with reversed bits")
    if not _compresses(compression, bits, colours, planar):
        _refuse(form)
    if single.get(317, 1) != 1 and single[317] != (3 if kind == _FLOAT else 2):
        _refuse(f"{form}, predictor {single[317]}")
    if colours == _YCBCR:
        _check_ycbcr(photo, compression)
    return bits, samples, colours == _GREY_INVERTED and bits == 16


def _widen_palette(plain: bytearray, photo: _Directory, bits: int) -> None:
    """Make a palette of 8 bits, as old programs wrote it, one of 16; like libtiff, by its values: all are below 256."""
    kind, count, at = next((rest for tag, *rest in photo.entries if tag == 320), (0, 0, 0))
    if kind not in (3, 4) or count % 3 or not 3 << bits <= count <= 3 << 8:
        _refuse(f"with a palette of {count} values of the type {kind} for {bits} bits")
    levels = photo.values(320, count)
    if max(levels) < 256:
        (start,) = struct.unpack_from(photo.order + "I", plain, at)
        struct.pack_into(f"{photo.order}{count}{_FORMS[kind]}", plain, start, *(257 * level for level in levels))


def _compresses(compression: int, bits: int, colours: int | None, planar: bool) -> bool:
    """Whether samples of this form are read correctly from this compression."""
    if compression in _FAX:
        return bits == 1 and colours in (_GREY, _GREY_INVERTED)
    if compression == _JPEG:
        return bits == 8 and colours in (_GREY, _RGB, _CMYK, _YCBCR) and not planar
    return compression in _LOSSLESS


def _check_ycbcr(photo: _Directory, compression: int) -> None:
    """Only the usual matrix and full range are read; without compression, only colours at full resolution."""
    matrix = photo.fractions(529) or _NO_MATRIX
    levels = photo.fractions(532) or (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
    if any(abs(a - b) > 0.002 for a, b in zip(matrix, _NO_MATRIX, strict=False)):
        _refuse("in YCbCr colours with an unusual matrix", what="")
    if levels != (0.0, 255.0, 128.0, 255.0, 128.0, 255.0):
        _refuse("in YCbCr colours of a limited range", what="")
    if compression != _JPEG and photo.values(530) != (1, 1):
        _refuse("in subsampled YCbCr colours without JPEG compression", what="")


def _check_deflated(photo: _Directory, single: dict[int, int], bits: int, samples: int) -> None:
    """Raise if the compressed data are damaged: libtiff does not report all damage, and does not read the checksum."""
    tiled = 324 in photo
    offsets = photo.values(324 if tiled else 273, _MOST_STRIPS)
    counts = photo.values(325 if tiled else 279, _MOST_STRIPS)
    if tiled:
        width, rows = single.get(322, 0), single.get(323, 0)
    else:
        width, rows = single[256], min(single.get(278, single[257]), single[257])
    line = -(-width * bits * samples // 8)
    size, last = line * rows, line * (single[257] % max(1, rows))
    for start, count in zip(offsets, counts, strict=False):
        unpacking, packed, length = zlib.decompressobj(), photo.data[start : start + count], 0
        try:
            while packed and not unpacking.eof and length <= size:
                length += len(unpacking.decompress(packed, _PIECE))
                packed = unpacking.unconsumed_tail
            intact = unpacking.eof or length in (size, last)
        except zlib.error:
            intact = False
        if not intact:
            raise BrokenImage("the TIFF photo is damaged or cut short", format="tiff")


def _refuse(form: str, what: str = "of this form ") -> NoReturn:
    raise UnsupportedImage(f"TIFF photos {what}are not supported ({form}); save it as RGB with 8 bits", format="tiff")


def _number(data: bytes, order: str, kind: int, count: int, at: int) -> int:
    if count != 1 or kind not in (3, 4):
        raise BrokenImage("the TIFF photo is damaged: its directory contains an impossible value", format="tiff")
    return int(struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at)[0])


def _check_entry(data: bytes, order: str, tag: int, kind: int, count: int, at: int) -> None:
    size = SIZES.get(kind, 0) * count
    if not size or (count > _MOST_STRIPS and tag != 347):
        raise BrokenImage("the TIFF photo is damaged: its directory contains an impossible value", format="tiff")
    if size > 4 and struct.unpack_from(order + "I", data, at)[0] + size > len(data):
        raise BrokenImage("the TIFF photo is cut short: part of its directory is missing", format="tiff")
