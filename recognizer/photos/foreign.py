"""Names of files that are no supported photos, by their content, so that a refusal says what the file is and what to do."""

from __future__ import annotations

from dataclasses import dataclass

_JPEG = "save it as JPEG or PNG"
_RAW = "export it as JPEG"
_FRAME = "send a picture of it, or watch it as a camera"


@dataclass(frozen=True)
class ForeignFile:
    """A kind of file that is not read.

    Attributes
    ----------
    name : str
        For example ``"a JPEG XL photo"``.
    advice : str
        What to do.
    picture : bool
        Whether users would call it a photo or a picture.
    """

    name: str
    advice: str
    picture: bool = True


def _raw(maker: str) -> ForeignFile:
    return ForeignFile(f"a camera raw file ({maker})", _RAW)


_JXL = ForeignFile("a JPEG XL photo", _JPEG)
_EPS = ForeignFile("a PostScript file", _JPEG)
_MPEG = ForeignFile("an MPEG video", _FRAME, picture=False)

#: How files begin -> what they are.
_STARTS: tuple[tuple[bytes, ForeignFile], ...] = (
    (b"\xff\x0a", _JXL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", _JXL),
    (b"II\xbc", ForeignFile("a JPEG XR photo", _JPEG)),
    (b"FUJIFILMCCD-RAW", _raw("Fujifilm RAF")),
    (b"IIU\0", _raw("Panasonic or Leica RW2")),
    (b"IIRO", _raw("Olympus ORF")),
    (b"IIRS", _raw("Olympus ORF")),
    (b"MMOR", _raw("Olympus ORF")),
    (b"\0MRM", _raw("Minolta MRW")),
    (b"FOVb", _raw("Sigma X3F")),
    (b"8BPS", ForeignFile("a Photoshop document (PSD)", _JPEG)),
    (b"gimp xcf", ForeignFile("a GIMP document (XCF)", _JPEG)),
    (b"%PDF", ForeignFile("a PDF document", "save the picture in it as JPEG or PNG")),
    (b"%!PS", _EPS),
    (b"\xc5\xd0\xd3\xc6", _EPS),
    (b"\x76\x2f\x31\x01", ForeignFile("an OpenEXR picture", _JPEG)),
    (b"#?RADIANCE", ForeignFile("a Radiance HDR picture", _JPEG)),
    (b"#?RGBE", ForeignFile("a Radiance HDR picture", _JPEG)),
    (b"icns", ForeignFile("an icon (ICNS)", _JPEG)),
    (b"DDS ", ForeignFile("a texture (DDS)", _JPEG)),
    (b"qoif", ForeignFile("a QOI picture", _JPEG)),
    (b"\x01\xda\0\1", ForeignFile("an SGI picture", _JPEG)),
    (b"\x01\xda\1\1", ForeignFile("an SGI picture", _JPEG)),
    *((b"\x0a" + version + b"\1\x08", ForeignFile("a PCX picture", _JPEG)) for version in (b"\0", b"\2", b"\3", b"\4", b"\5")),
    *((b"\x0a" + version + b"\1\x01", ForeignFile("a PCX picture", _JPEG)) for version in (b"\0", b"\2", b"\3", b"\4", b"\5")),
    (b"BPG\xfb", ForeignFile("a BPG picture", _JPEG)),
    (b"FLIF", ForeignFile("a FLIF picture", _JPEG)),
    (b"\x8aMNG\r\n\x1a\n", ForeignFile("an MNG animation", _JPEG)),
    (b"\x8bJNG\r\n\x1a\n", ForeignFile("a JNG picture", _JPEG)),
    (b"\xd7\xcd\xc6\x9a", ForeignFile("a Windows metafile", _JPEG)),
    (b"AT&TFORM", ForeignFile("a DjVu document", _JPEG)),
    (b"\x1a\x45\xdf\xa3", ForeignFile("a Matroska or WebM video", _FRAME, picture=False)),
    (b"\0\0\1\xba", _MPEG),
    (b"\0\0\1\xb3", _MPEG),
    (b"FLV\1", ForeignFile("a Flash video", _FRAME, picture=False)),
    (b"OggS", ForeignFile("an Ogg video or sound", _FRAME, picture=False)),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ForeignFile("a Windows Media video", _FRAME, picture=False)),
    (b"PK\3\4", ForeignFile("a ZIP archive or an office document", "unpack it, and send the photos", picture=False)),
    (b"Rar!\x1a\x07", ForeignFile("a RAR archive", "unpack it, and send the photos", picture=False)),
    (b"7z\xbc\xaf\x27\x1c", ForeignFile("a 7z archive", "unpack it, and send the photos", picture=False)),
    (b"\x1f\x8b", ForeignFile("a file packed with gzip", "unpack it first", picture=False)),
)
_ICON, _CURSOR = ForeignFile("an icon (ICO)", _JPEG), ForeignFile("a cursor (CUR)", _JPEG)
_TARGA = ForeignFile("a Targa picture (TGA)", _JPEG)
_SVG = ForeignFile("an SVG drawing", "save it as PNG")
_NETPBM = ForeignFile("a Netpbm picture", _JPEG)
_MP4 = ForeignFile("an MP4 or QuickTime video", _FRAME, picture=False)
_DICOM = ForeignFile("a DICOM picture", _JPEG)
_HTML = ForeignFile("a web page", "send the address of the photo itself", picture=False)


def identify(head: bytes) -> ForeignFile | None:
    """What a file is, by its first 1,000 bytes or fewer; None if it is a supported photo or of an unknown kind."""
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if _is_targa(head):
        return _TARGA
    if head[:4] in (b"\0\0\1\0", b"\0\0\2\0"):
        return _ICON if head[2] == 1 else _CURSOR
    if head[:4] in (b"II*\0", b"MM\0*") and head[8:10] == b"CR":
        return _raw("Canon CR2")
    if head[6:14] == b"HEAPCCDR":
        return _raw("Canon CRW")
    if head[4:8] == b"ftyp":
        return _raw("Canon CR3") if head[8:12] == b"crx " else _of_brand(head[8:12])
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free") and int.from_bytes(head[:4], "big") >= 8:
        return _MP4
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return ForeignFile("an AVI video", _FRAME, picture=False)
    if head[:1] == b"\x47" and head[188:189] == b"\x47":
        return _MPEG
    if head[128:132] == b"DICM":
        return _DICOM
    if head[:1] == b"P" and head[1:2] in b"1234567fF" and head[2:3] in b"\n\r\t #" and len(head) > 2:
        return _NETPBM
    return _of_text(head)


def _is_targa(head: bytes) -> bool:
    """A picture in Targa's format, which has no signature: all fields of the header have values that occur."""
    if len(head) < 18 or head[1] > 1 or head[2] not in (1, 2, 3, 9, 10, 11) or head[16] not in (8, 15, 16, 24, 32):
        return False
    without_colours = head[1] == 0 and head[3:8] == bytes(5) and head[2] not in (1, 9)
    with_colours = head[1] == 1 and head[7] in (15, 16, 24, 32) and head[2] in (1, 9)
    has_size = head[12:14] != b"\0\0" and head[14:16] != b"\0\0"
    return has_size and (without_colours or with_colours)


def _of_brand(brand: bytes) -> ForeignFile | None:
    """A file of boxes, by its major brand: those of photos have been recognised before."""
    photos = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"avif", b"avis")
    return None if brand in photos else _MP4


def _of_text(head: bytes) -> ForeignFile | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text):
        return _SVG
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return _HTML
    return None


def is_picture(head: bytes) -> bool:
    """Whether a file is a picture of a kind that is not read, so that passing over it needs a word."""
    found = identify(head)
    return found is not None and found.picture
