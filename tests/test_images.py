"""Photos of every format and kind, made here with Pillow, and what `images` makes of them."""

import io
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from data import folder
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image as pillow
from PIL import ImageFile

from recognizer.core.errors import BrokenImage, ImageError, ImageTooLarge, UnsupportedImage
from recognizer.photos import images

pytestmark = pytest.mark.filterwarnings("error")
rng = np.random.default_rng(7)


def scene(width: int = 60, height: int = 40) -> np.ndarray:
    """An asymmetric picture: smooth colours, a red corner at the top left, a blue bar at the right."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], axis=2).astype(np.uint8)
    pixels[: height // 4, : width // 4] = 255, 0, 0
    pixels[:, -width // 8 :] = 0, 0, 255
    return pixels


def saved(picture, kind: str, **options) -> bytes:
    picture = pillow.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    file = io.BytesIO()
    if kind == "heic":
        import pillow_heif

        options = {"quality": -1, "chroma": 444, "matrix_coefficients": 0} | options
        pillow_heif.from_pillow(picture).save(file, **options)
    else:
        picture.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> pillow.Exif:
    block = pillow.Exif()
    block[274] = orientation
    return block


FILES = {
    "jpeg": saved(scene(), "jpeg", quality=95, subsampling=0),
    "png": saved(scene(), "png"),
    "webp": saved(scene(), "webp", lossless=True),
    "gif": saved(scene(), "gif"),
    "bmp": saved(scene(), "bmp"),
    "tiff": saved(scene(), "tiff"),
    "heic": saved(scene(), "heic"),
    "avif": saved(scene(), "avif", quality=100, subsampling="4:4:4"),
}
TOLERANCE = {"jpeg": 60, "gif": 40, "heic": 8, "avif": 8}  # lossy, a palette, or another colour space on the way


def far(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


# --- every format, every mode ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FILES)
def test_every_format_is_known_by_its_content_and_read(kind):
    assert images.sniff(FILES[kind]) == kind
    image = images.decode(FILES[kind])
    assert (image.format, image.width, image.height, image.scale_x, image.scale_y) == (kind, 60, 40, 1, 1)
    assert image.pixels.dtype == np.uint8 and image.pixels.flags.c_contiguous and image.pixels.flags.writeable
    assert far(image.pixels, scene()) <= TOLERANCE.get(kind, 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
@pytest.mark.parametrize("kind", ["png", "tiff", "webp", "gif", "bmp", "jpeg", "avif"])
def test_every_mode_that_pillow_writes_comes_back_as_pillow_shows_it(kind, mode):
    grey = mode in ("I;16", "I", "F")
    ramp = scene()[:, :, 0]
    if grey:
        of_mode = {"I;16": ramp.astype(np.uint16) * 257, "I": ramp.astype(np.int32) * 257, "F": ramp / np.float32(255)}
        picture = pillow.fromarray(of_mode[mode])
    elif mode == "PA":
        picture = pillow.fromarray(scene()).convert("P").convert("PA")
    else:
        picture = pillow.fromarray(scene()).convert(mode)
    try:
        data = saved(picture, kind)
        pillow.open(io.BytesIO(data)).load()
    except (OSError, ValueError, KeyError, DeprecationWarning):
        pytest.skip(f"Pillow does not both write and read a {kind} of mode {mode}")
    pixels = images.decode(data).pixels
    if grey and kind in ("png", "tiff"):
        assert far(pixels, np.repeat(ramp[:, :, None], 3, 2)) <= 1
    else:
        assert far(pixels, np.asarray(pillow.open(io.BytesIO(data)).convert("RGB"))) == 0


@pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
def test_transparent_photos_lie_on_white(kind):
    rgba = np.dstack([scene(), np.full((40, 60), 255, np.uint8)])
    rgba[:20, :, 3] = 0
    rgba[30:, :, 3] = 128
    pixels = images.decode(saved(rgba, kind, **({"lossless": True, "exact": True} if kind == "webp" else {}))).pixels
    assert (pixels[:20] == 255).all()
    assert far(pixels[20:30], scene()[20:30]) == 0
    assert far(pixels[30:], (scene()[30:] * (128 / 255) + 127).astype(np.uint8)) <= 1


def test_a_transparent_colour_of_a_palette_or_of_grey_lies_on_white():
    palette = pillow.fromarray(scene()).convert("P")
    index = palette.getpixel((0, 0))
    for kind in ("png", "gif"):
        pixels = images.decode(saved(palette, kind, transparency=index)).pixels
        assert (pixels[:10, :15] == 255).all()
    grey = saved(pillow.new("L", (4, 3), 77), "png", transparency=77)
    assert (images.decode(grey).pixels == 255).all()


def test_16_bit_grey_is_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 400, dtype=np.uint16).reshape(20, 20)
    for kind in ("png", "tiff"):
        pixels = images.decode(saved(pillow.fromarray(ramp), kind)).pixels
        assert far(pixels[:, :, 0], (ramp >> 8).astype(np.uint8)) == 0


@pytest.mark.parametrize(
    "values, expected",
    [
        ([0, 0.5, 1], [0, 127, 255]),
        ([0, 100, 200], [0, 100, 200]),
        ([0, 300, 65535], [0, 1, 255]),
        ([-10, 0, 10], [0, 127, 255]),
        ([0, float("nan"), 1], [0, 0, 255]),
        ([7e9, 7e9, 7e9], [0, 0, 0]),
    ],
)
def test_float_tiffs_are_brought_to_8_bits(values, expected):
    data = saved(pillow.fromarray(np.array([values], np.float32)), "tiff")
    assert images.decode(data).pixels[0, :, 0].tolist() == expected


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"])
def test_tiff_compressions(compression):
    picture = pillow.fromarray(scene()).convert("1" if compression == "group4" else "RGB")
    data = saved(picture, "tiff", compression=compression)
    assert far(images.decode(data).pixels, np.asarray(pillow.open(io.BytesIO(data)).convert("RGB"))) == 0


def test_of_several_frames_the_first_is_read():
    frames = [pillow.new("RGB", (30, 20), colour) for colour in ("lime", "red", "blue")]
    for kind in ("gif", "png", "webp", "tiff"):
        options = {"lossless": True} if kind == "webp" else {}
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert images.decode(data).pixels[3, 3].tolist() == [0, 255, 0], kind


# --- orientation -----------------------------------------------------------------------------------------------------

TURN = {
    pillow.Transpose.FLIP_LEFT_RIGHT: 2,
    pillow.Transpose.ROTATE_180: 3,
    pillow.Transpose.FLIP_TOP_BOTTOM: 4,
    pillow.Transpose.TRANSPOSE: 5,
    pillow.Transpose.ROTATE_90: 6,
    pillow.Transpose.TRANSVERSE: 7,
    pillow.Transpose.ROTATE_270: 8,
}


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "heic", "avif"])
def test_every_orientation_ends_upright(kind, orientation):
    if kind in ("heic", "avif") and orientation not in range(1, 9):
        pytest.skip("the container has no such rotation")
    stored = pillow.fromarray(scene())
    for turn, number in TURN.items():  # how the camera held the scene: the inverse of what the tag asks for
        stored = pillow.fromarray(scene()).transpose(turn) if number == orientation else stored
    options = {
        "jpeg": {"quality": 95, "subsampling": 0},
        "webp": {"lossless": True},
        "avif": {"quality": 100, "subsampling": "4:4:4"},
    }
    tag = {"exif": exif(orientation)} if kind != "tiff" else {"tiffinfo": {274: orientation}}
    if kind == "heic":
        tag = {"exif": exif(orientation).tobytes()}
    image = images.decode(saved(stored, kind, **options.get(kind, {}), **tag))
    assert (image.width, image.height) == (60, 40)
    assert far(image.pixels, scene()) <= TOLERANCE.get(kind, 0)


def test_orientation_is_read_from_either_byte_order_and_never_trusted():
    for order, mark in (("<", b"II"), (">", b"MM")):
        for kind, form in ((3, "HHIHxx"), (4, "HHII")):
            entry = struct.pack(order + form, 274, kind, 1, 6)
            block = mark + struct.pack(order + "HIH", 42, 8, 1) + entry + bytes(4)
            assert images.image_headers.exif_orientation(block) == 6
            assert images.image_headers.exif_orientation(b"Exif\0\0" + block) == 6
            for cut in range(len(block) - 4):
                assert images.image_headers.orientation(block[:cut]) in (1, 6)
    for nothing in (None, b"", b"II", b"II*\0\xff\xff\xff\xff", b"XX*\0\x08\0\0\0\0\0"):
        assert images.image_headers.orientation(nothing) == 1


def test_shared_orientation_photos_all_show_the_same():
    for name in ("Landscape", "Portrait"):
        photos = [images.decode(p.read_bytes()) for p in sorted(folder("hostile/exif-orientation").glob(f"{name}_*"))]
        assert {(p.width, p.height) for p in photos} == {(photos[0].width, photos[0].height)}
        small = [images.resize(p.pixels, 100).astype(int) for p in photos]
        assert max(np.abs(p - small[0]).mean() for p in small) < 12


# --- JPEG: exact at full scale, reduced on demand ------------------------------------------------------------------


def noisy(width: int, height: int) -> np.ndarray:
    return (scene(width, height) // 2 + rng.integers(0, 128, (height, width, 1))).astype(np.uint8)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_pixels_are_pillows_to_the_bit_at_every_scale(mode, subsampling, progressive):
    picture = pillow.fromarray(noisy(333, 217)).convert(mode)
    data = saved(picture, "jpeg", subsampling=subsampling, progressive=progressive, quality=85)
    assert far(images.decode(data).pixels, np.asarray(pillow.open(io.BytesIO(data)).convert("RGB"))) == 0
    for divisor in (2, 4, 8):
        reduced = pillow.open(io.BytesIO(data))
        reduced.draft(None, (333 // divisor, 217 // divisor))
        ours = images.decode(data, long_side=-(-333 // divisor))
        assert far(ours.pixels, np.asarray(reduced.convert("RGB"))) == 0
        assert (ours.width, ours.height) == (333, 217)


def test_an_inverted_adobe_cmyk_photo_keeps_its_colours():
    data = saved(pillow.fromarray(scene()).convert("CMYK"), "jpeg", quality=95)
    assert far(images.decode(data).pixels, scene()) < 90


@pytest.mark.parametrize(
    "long_side, expected",
    [(None, 800), (801, 800), (800, 800), (401, 800), (400, 400), (200, 200), (101, 200), (100, 100), (1, 100)],
)
def test_the_scale_is_the_smallest_that_is_large_enough(long_side, expected):
    for orientation in (1, 6):
        image = images.decode(saved(noisy(800, 500), "jpeg", exif=exif(orientation)), long_side=long_side)
        assert max(image.pixels.shape) == expected
        assert (image.width, image.height) == ((800, 500) if orientation == 1 else (500, 800))


def test_sharper_decodes_again_only_as_far_as_needed():
    data = saved(noisy(801, 503), "jpeg", exif=exif(8))
    small = images.decode(data, long_side=100)
    assert small.pixels.shape == (101, 63, 3)
    assert small.sharper(0.1) is small
    half = small.sharper(0.3)
    assert half.pixels.shape == (401, 252, 3) and half.scale_x >= 0.3
    full = half.sharper(0.9)
    assert far(full.pixels, images.decode(data).pixels) == 0
    assert full.sharper(5.0) is full and (full.width, full.height) == (small.width, small.height)
    with pytest.raises(ValueError):
        small.sharper(0)


def test_only_jpegs_are_reduced():
    image = images.decode(FILES["png"], long_side=5)
    assert image.pixels.shape == (40, 60, 3) and image.sharper(1.0) is image


# --- broken, cut short, odd ------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["strict Pillow", "Pillow told to load truncated images"])
def truncated_switch(request, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", request.param)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
def test_what_is_cut_short_is_broken(kind, share, truncated_switch):
    options = {"jpeg": {"quality": 95}, "avif": {"quality": 95}, "heic": {"quality": 95}}
    data = saved(noisy(200, 150), kind, **options.get(kind, {}))
    images.decode(data)
    with pytest.raises(BrokenImage):
        images.decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_cut_short_wherever_it_is_cut(progressive, truncated_switch):
    data = saved(noisy(64, 48), "jpeg", progressive=progressive, exif=exif(3))
    for end in [*range(4, len(data) - 8, 37), len(data) - 8]:
        with pytest.raises(BrokenImage):
            images.decode(data[:end], long_side=1 if end % 2 else None)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(mode, truncated_switch):
    data = saved(pillow.fromarray(noisy(200, 150)).convert(mode), "jpeg", exif=exif(6))
    for cut in (data[:-2], data[:-1]):
        for side in (None, 50):
            whole, found = images.decode(data, long_side=side), images.decode(cut, long_side=side)
            assert np.array_equal(found.pixels, whole.pixels) and (found.width, found.height) == (150, 200)
        assert np.array_equal(images.decode(cut, long_side=50).sharper(1.0).pixels, images.decode(data).pixels)
    with pytest.raises(BrokenImage, match="cut short"):
        images.decode(saved(noisy(200, 150), "jpeg", progressive=True)[:-2])


def test_a_jpeg_whose_middle_is_missing_is_broken_though_it_ends_properly(truncated_switch):
    data = saved(noisy(200, 150), "jpeg")
    with pytest.raises(BrokenImage):
        images.decode(data[: len(data) // 2] + b"\xff\xd9")


def jpeg_oddities() -> dict[str, bytes]:
    data = saved(scene(), "jpeg")
    junk = b"\x12\x34\x00\x56"
    app = b"\xff\xe2" + struct.pack(">H", 20) + b"ICC_PROFILE\0\x07\x01bad!"
    return {
        "trailing bytes": data + b"camera maker's own" * 50,
        "trailing picture": data + data,
        "junk before a marker": data[:20] + junk + data[20:],
        "fill bytes before a marker": data[:2] + b"\xff\xff\xff" + data[2:],
        "padding before the end": data[:-2] + bytes(500) + data[-2:],
        "a few bytes before the end": data[:-2] + junk + data[-2:],
        "a bad colour profile": data[:2] + app + data[2:],
        "a broken EXIF block": data[:2] + b"\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff" + data[2:],
    }


@pytest.mark.parametrize("oddity", jpeg_oddities())
def test_harmless_oddities_of_jpegs_are_read(oddity, truncated_switch):
    plain = images.decode(saved(scene(), "jpeg")).pixels
    assert far(images.decode(jpeg_oddities()[oddity]).pixels, plain) == 0


def test_many_foreign_bytes_before_the_end_are_damage():
    data = saved(scene(), "jpeg")
    foreign = bytes(rng.integers(1, 255, 5000, dtype=np.uint8))
    with pytest.raises(BrokenImage):
        images.decode(data[:-2] + foreign + data[-2:])


def test_trailing_bytes_do_no_harm_to_any_format(truncated_switch):
    for kind, data in FILES.items():
        if kind in ("heic", "avif"):
            continue  # what follows the last box must be a box
        assert far(images.decode(data + b"\0" * 100).pixels, images.decode(data).pixels) == 0, kind


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"hello",
        b"<svg/>",
        b"%PDF-1.7",
        b"\0" * 1000,
        b"<html>",
        b"BM",
        b"RIFF\0\0\0\0WAVE",
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
    ],
)
def test_what_is_no_photo_is_said_to_be_none(data):
    with pytest.raises(UnsupportedImage) as caught:
        images.decode(data)
    assert "JPEG" in str(caught.value) and images.sniff(data) is None


@pytest.mark.parametrize("kind", FILES)
def test_a_bare_beginning_is_broken(kind):
    with pytest.raises(BrokenImage):
        images.decode(FILES[kind][:32])


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_text_and_profile_bombs_in_a_png_are_left_alone():
    bomb = zlib.compress(bytes(200_000_000), 9)
    for chunk in (b"zTXt", b"iCCP"):
        data = FILES["png"][:33] + png_chunk(chunk, b"name\0\0" + bomb) + FILES["png"][33:]
        assert far(images.decode(data).pixels, scene()) == 0


def test_a_wrong_checksum_matters_only_where_the_picture_is(truncated_switch):
    text = bytearray(png_chunk(b"tEXt", b"a\0b"))
    text[-1] ^= 1
    assert far(images.decode(FILES["png"][:33] + text + FILES["png"][33:]).pixels, scene()) == 0
    damaged = bytearray(FILES["png"])
    damaged[-20] ^= 1
    with pytest.raises(BrokenImage):
        images.decode(bytes(damaged))


def test_a_png_whose_data_do_not_unpack_is_broken_though_its_checksums_fit(truncated_switch):
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60, 40, 8, 2, 0, 0, 0))
    whole = zlib.compress(bytes(181 * 40))
    for body in (b"", b"nonsense", whole[: len(whole) // 2], whole[:12] + b"\xff\xff" + whole[14:]):
        data = b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
        with pytest.raises(BrokenImage):
            images.decode(data)


def giants() -> dict[str, bytes]:
    jpeg = bytearray(FILES["jpeg"])
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65500, 65500)
    webp = b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\xff" * 2 + bytes(8)
    gif = bytearray(FILES["gif"])
    gif[6:10] = b"\xff\xff\xff\xff"
    bmp = bytearray(FILES["bmp"])
    bmp[18:26] = struct.pack("<ii", 100_000, 100_000)
    tiff = bytearray(FILES["tiff"])
    count, start = struct.unpack_from("<H", tiff, 8)[0], 10
    for i in range(count):
        if struct.unpack_from("<H", tiff, start + 12 * i)[0] in (256, 257):
            struct.pack_into("<HII", tiff, start + 12 * i + 2, 4, 1, 60_000)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + FILES["png"][33:]
    return {"jpeg": bytes(jpeg), "png": png, "webp": webp, "gif": bytes(gif), "bmp": bytes(bmp), "tiff": bytes(tiff)}


@pytest.mark.parametrize("kind", giants())
def test_giants_are_refused_by_their_header(kind):
    with pytest.raises(ImageTooLarge) as caught:
        images.decode(giants()[kind])
    most = 210_000_000 if kind == "jpeg" else 70_000_000
    assert caught.value.details["pixels"] > caught.value.details["max_pixels"] == most


@pytest.mark.parametrize("kind", FILES)
def test_caps_on_bytes_and_pixels(kind):
    data = FILES[kind]
    images.decode(data, max_bytes=len(data), max_pixels=2400)
    with pytest.raises(ImageTooLarge) as caught:
        images.decode(data, max_pixels=2399)
    assert caught.value.details["pixels"] == 2400
    with pytest.raises(ImageTooLarge) as caught:
        images.decode(data, max_bytes=len(data) - 1)
    assert caught.value.details == {"max_bytes": len(data) - 1, "bytes": len(data)}


def test_a_jpeg_of_endless_scans_is_refused():
    data = saved(scene(), "jpeg", progressive=True)
    scan = data.rindex(b"\xff\xda")
    with pytest.raises(UnsupportedImage):
        images.decode(data[:-2] + data[scan:-2] * 200 + data[-2:])


def crowds() -> dict[str, bytes]:
    jpeg, png, gif = FILES["jpeg"], FILES["png"], FILES["gif"]
    screen = 13 + (3 << (gif[10] & 7) + 1)
    return {
        "jpeg segments": jpeg[:2] + b"\xff\xfe\x00\x02" * 60_000 + jpeg[2:],
        "png chunks": png[:33] + png_chunk(b"tEXt", b"") * 60_000 + png[33:],
        "gif sub-blocks": gif[:screen] + b"!\xfe" + b"\x01x" * 60_000 + b"\0" + gif[screen:],
        "gif stray bytes": gif[:screen] + b"\0" * 60_000 + gif[screen:],
    }


@pytest.mark.parametrize("crowd", crowds())
def test_a_file_of_countless_pieces_is_refused(crowd):
    with pytest.raises(BrokenImage):
        images.decode(crowds()[crowd])


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 6000), flips=st.lists(st.tuples(st.integers(0, 6000), st.integers(1, 255)), max_size=4))
@example(cut=6000, flips=[(20, 255)])
def test_damage_is_an_image_error_or_an_image(kind, cut, flips):
    data = bytearray(FILES[kind][: max(cut, 1)])
    for place, mask in flips:
        data[place % len(data)] ^= mask
    try:
        image = images.decode(bytes(data), max_pixels=1_000_000, long_side=None if cut % 2 else 20)
    except ImageError as error:
        assert error.message and not isinstance(error.message, bytes)
    else:
        assert image.pixels.dtype == np.uint8 and image.pixels.shape[2] == 3


def test_no_hostile_file_warns_or_does_more_than_an_image_error(truncated_switch):
    read = 0
    for path in sorted(p for p in folder("hostile").rglob("*") if p.is_file()):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                images.decode(path.read_bytes())
                read += 1
            except ImageError:
                pass
    assert read > 800


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_hostile_files_stay_within_a_gigabyte_and_say_nothing_on_stderr():
    """Nothing but libtiff's own lines about damaged TIFFs, which only a change for the whole process could silence."""
    code = (
        "import os, pathlib, sys\n"
        "stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)\n"
        "from recognizer.core import errors\nfrom recognizer.photos import images\n"
        "for path in sorted(p for p in pathlib.Path(sys.argv[1]).rglob('*') if p.is_file()):\n"
        "    data = path.read_bytes()\n"
        "    if images.sniff(data) == 'tiff': sys.stderr.flush(); os.dup2(nowhere, 2)\n"
        "    try: images.decode(data)\n"
        "    except errors.ImageError: pass\n"
        "    os.dup2(stderr, 2)\n"
        # not getrusage's maximum, which a process inherits from the one that started it
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, folder("hostile")], capture_output=True, text=True, check=True)
    assert ran.stderr == "" and int(ran.stdout) < 1_000_000


def test_decoding_leaves_pillow_as_it_found_it():
    before = ImageFile.LOAD_TRUNCATED_IMAGES, pillow.MAX_IMAGE_PIXELS, dict(pillow.OPEN), dict(pillow.DECODERS)
    for data in FILES.values():
        images.decode(data)
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, pillow.MAX_IMAGE_PIXELS) == before[:2]
    assert set(before[2]) <= set(pillow.OPEN) and "HEIF" not in pillow.OPEN and pillow.DECODERS == before[3]


# --- the small helpers -----------------------------------------------------------------------------------------------


def test_from_array_checks_and_keeps():
    image = images.from_array(scene()[::2])
    assert (image.width, image.height, image.format) == (60, 20, "array") and image.sharper(1.0) is image
    for wrong in (scene().astype(float), scene()[:, :, 0], np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises((TypeError, ValueError)):
            images.from_array(wrong)


def test_encode_jpeg_comes_back():
    data = images.encode_jpeg(scene()[:, ::-1], quality=95)
    assert images.sniff(data) == "jpeg" and far(images.decode(data).pixels, scene()[:, ::-1]) < 120
    assert len(images.encode_jpeg(scene(), quality=20)) < len(data)


def test_read_file_reads_no_more_than_asked(tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(b"x" * 100)
    assert images.read_file(path, max_bytes=100) == b"x" * 100
    with pytest.raises(ImageTooLarge):
        images.read_file(path, max_bytes=99)
    with pytest.raises(OSError):
        images.read_file(tmp_path / "none", max_bytes=5)


def test_resize_shrinks_and_never_enlarges():
    assert images.resize(scene(600, 400), 90).shape == (60, 90, 3)
    assert images.resize(scene(1000, 1), 10).shape == (1, 10, 3)
    small = scene()
    assert images.resize(small, 60) is small
