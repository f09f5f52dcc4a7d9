"""PNG, BMP, GIF, WebP and JPEG in every form: each is read as it was written, or as a second reader reads it, or refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as pillow

from recognizer.core.errors import BrokenImage, ImageError, UnsupportedImage
from recognizer.photos import images

WIDTH, HEIGHT = 30, 20
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
SCENE = np.stack([X * 8, Y * 12, (X + Y) * 5, 255 - X * 4], 2).astype(np.uint8)
RGB = SCENE[:, :, :3]
PALETTE = np.array([[(i * 37 + c * 91) % 256 for c in range(3)] for i in range(256)])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(values: np.ndarray, bits: int, colour: int, *more: bytes) -> bytes:
    lines = []
    for row in values.reshape(HEIGHT, -1):
        if bits >= 8:
            data = row.astype(">u2" if bits == 16 else "u1").tobytes()
        else:
            data = np.packbits((row[:, None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)).tobytes()
        lines.append(b"\0" + data)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0)
    pieces = chunk(b"IHDR", head), *more, chunk(b"IDAT", zlib.compress(b"".join(lines))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def on_white(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return picture * (alpha / 255) + 255.0 - alpha


def far(data: bytes, truth: np.ndarray) -> float:
    pixels = images.decode(data).pixels
    assert pixels.shape == truth.shape
    return float(np.abs(pixels - truth.astype(float)).max())


FORMS = [(0, bits) for bits in (1, 2, 4, 8, 16)] + [(3, bits) for bits in (1, 2, 4, 8)]
FORMS += [(colour, bits) for colour in (2, 4, 6) for bits in (8, 16)]


@pytest.mark.parametrize("colour, bits", FORMS)
def test_png_of_every_colour_type_and_depth(colour, bits):
    channels = {0: [0], 2: [0, 1, 2], 3: [0], 4: [0, 3], 6: [0, 1, 2, 3]}[colour]
    top = 2**bits - 1
    values = (SCENE[:, :, channels].astype(float) * top / 255).astype(int)
    share = values * 255 / top
    palette = chunk(b"PLTE", PALETTE[: 2**bits].astype(np.uint8).tobytes()) if colour == 3 else b""
    truth = (
        np.repeat(share[:, :, :1], 3, 2) if colour in (0, 4) else PALETTE[values[:, :, 0]] if colour == 3 else share[:, :, :3]
    )
    if colour in (4, 6):
        truth = on_white(truth, share[:, :, -1:])
    assert far(png(values, bits, colour, palette), truth) <= 1
    gamma, profile = chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no"))
    for about in (gamma, chunk(b"sRGB", b"\0"), profile):
        assert far(png(values, bits, colour, about, palette), truth) <= 1
    if colour == 3:
        alpha = np.array([(i * 53) % 256 for i in range(2**bits)])
        data = png(values, bits, colour, palette, chunk(b"tRNS", bytes(alpha.tolist())))
        assert far(data, on_white(truth, alpha[values[:, :, 0]][..., None])) <= 2
    if colour in (0, 2):
        for y, x in ((0, 0), (3, 5), (10, 15), (19, 29)):
            clear = values[y, x]
            shown = truth.copy()
            shown[(values == clear).all(axis=2)] = 255
            assert far(png(values, bits, colour, chunk(b"tRNS", struct.pack(f">{len(channels)}H", *clear))), shown) <= 1


def bmp(rows: np.ndarray, bits: int, *, upside: bool, masks: bytes = b"", palette: bytes = b"", header: int = 40) -> bytes:
    rows = rows[::-1] if upside else rows
    pixels = b"".join(row.tobytes().ljust(-(-len(row.tobytes()) // 4) * 4, b"\0") for row in rows)
    height = HEIGHT if upside else -HEIGHT
    colours = len(palette) // 4
    info = struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, bits, 3 if masks else 0, 0, 0, 0, colours, 0)
    body = (info + masks).ljust(header, b"\0") if header > 40 else info + masks
    body += palette
    at = 14 + len(body)
    return b"BM" + struct.pack("<IHHI", at + len(pixels), 0, 0, at) + body + pixels


@pytest.mark.parametrize("upside", [True, False])
def test_bmp_of_every_depth_and_direction(upside):
    wide = RGB.astype(np.uint16)
    empty = np.zeros((HEIGHT, WIDTH), np.uint8)
    bgr, bgra = RGB[:, :, ::-1].copy(), SCENE[:, :, [2, 1, 0, 3]].copy()
    red, green, blue = (wide[:, :, i] for i in range(3))
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    assert far(bmp(bgr, 24, upside=upside), RGB) == 0
    assert far(bmp(np.dstack([bgr, empty]), 32, upside=upside), RGB) == 0
    assert far(bmp(bgra, 32, upside=upside), RGB) == 0  # the fourth byte means nothing here
    assert far(bmp(np.dstack([bgr, empty]), 32, upside=upside, masks=masks[:12]), RGB) == 0
    assert far(bmp(bgra, 32, upside=upside, masks=masks, header=108), on_white(RGB, SCENE[:, :, 3:])) <= 2
    for size in (56, 108, 124):  # nobody wrote an alpha channel: browsers show such a file as opaque
        assert far(bmp(np.dstack([bgr, empty]), 32, upside=upside, masks=masks, header=size), RGB) == 0
    five = (red >> 3 << 10 | green >> 3 << 5 | blue >> 3).astype("<u2")
    six = (red >> 3 << 11 | green >> 2 << 5 | blue >> 3).astype("<u2")
    assert far(bmp(five, 16, upside=upside), RGB) <= 8
    assert far(bmp(six, 16, upside=upside, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)), RGB) <= 8
    for bits in (1, 4, 8):
        index = (X * 3 + Y) % 2**bits
        palette = b"".join(bytes([*PALETTE[i][::-1].tolist(), 0]) for i in range(2**bits))
        spread = (index[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)
        assert (
            far(bmp(np.packbits(spread.reshape(HEIGHT, -1), axis=1), bits, upside=upside, palette=palette), PALETTE[index]) == 0
        )
    for rows, bits, odd in ((np.dstack([bgr, empty]), 32, (0xFF, 0xFF00, 0xFF0000)), (six, 16, (0xF00, 0xF0, 0xF))):
        with pytest.raises(UnsupportedImage):
            images.decode(bmp(rows, bits, upside=upside, masks=struct.pack("<III", *odd)))


@pytest.mark.parametrize("options", [{"quality": 80}, {"lossless": True}, {"lossless": True, "exact": True}])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("frames", [1, 3])
def test_webp_is_read_as_pillow_reads_it(options, channels, frames):
    pictures = [pillow.fromarray(np.roll(SCENE[:, :, :channels], 7 * i, axis=1)) for i in range(frames)]
    file = io.BytesIO()
    pictures[0].save(file, "webp", save_all=frames > 1, append_images=pictures[1:], **options)
    found = pillow.open(io.BytesIO(file.getvalue())).convert("RGBA")
    truth = pillow.alpha_composite(pillow.new("RGBA", found.size, "white"), found).convert("RGB")
    assert far(file.getvalue(), np.asarray(truth)) == 0


def jpeg(pixels: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels), options)[1].tobytes()


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("restart", [0, 1, 3])
@pytest.mark.parametrize("sampling", [0x411111, 0x121111, 0x221111, 0x211111, 0x111111])
def test_jpegs_are_read_as_pillow_reads_them(progressive, restart, sampling):
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    for pixels in (RGB, SCENE[:, :, 0]):
        data = jpeg(pixels, *options, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling)
        assert far(data, np.asarray(pillow.open(io.BytesIO(data)).convert("RGB"))) == 0


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC7, 0xCB, 0xCF, 0xF7])
def test_lossless_and_hierarchical_jpegs_are_refused_and_not_called_damaged(marker):
    """Of JPEG-LS (F7), lossless coding and hierarchies only the frame's header is written here: no decoder sees them."""
    data = bytearray(jpeg(RGB))
    data[data.index(b"\xff\xc0") + 1] = marker
    with pytest.raises(UnsupportedImage, match="ordinary JPEG"):
        images.decode(bytes(data))


def test_a_damaged_jpeg_is_not_called_jpeg_ls():
    data = bytearray(jpeg(RGB))
    place = data.index(b"\xff\xda") + 200
    data[place : place + 4] = b"\xff\xf7\0\x02"
    with pytest.raises(BrokenImage):
        images.decode(bytes(data))


@pytest.mark.parametrize("marker, precision", [(0xC1, 12), (0xC3, 8), (0xC9, 8)])
def test_jpegs_of_rare_kinds_are_refused_or_read_but_never_crash(marker, precision):
    """12 bits, lossless, arithmetic coding: the frame's header says so, and the data do not fit."""
    data = bytearray(jpeg(RGB))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, precision
    with pytest.raises(ImageError):
        images.decode(bytes(data))
