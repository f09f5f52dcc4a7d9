"""TIFFs of every form: each is read as it was written, or refused as unsupported; never a wrong picture, never "damaged"."""

import io
import itertools
import struct

import cv2
import numpy as np
import pytest
from PIL import Image as pillow
from tiffs import DEFLATE, FLOAT, INT, LONG, PACKBITS, RATIONAL, RAW, SHORT, UINT, directory, tiff

from recognizer.core.errors import BrokenImage, UnsupportedImage
from recognizer.photos import decoders, images

WIDTH, HEIGHT = 53, 37
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
#: Four channels of different gradients.
SCENE = np.stack([X * 255 // WIDTH, Y * 255 // HEIGHT, (X * 3 + Y) % 256, 255 - Y * 200 // HEIGHT], 2).astype(np.uint8)
GREY_INVERTED, GREY, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
CHANNELS = {GREY_INVERTED: 1, GREY: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
TYPES = {(UINT, 8): np.uint8, (UINT, 16): np.uint16, (UINT, 32): np.uint32}
TYPES |= {(INT, 8): np.int8, (INT, 16): np.int16, (INT, 32): np.int32}
TYPES |= {(FLOAT, 16): np.float16, (FLOAT, 32): np.float32, (FLOAT, 64): np.float64}
TYPES |= {(UINT, 1): np.uint8, (UINT, 2): np.uint8, (UINT, 4): np.uint8, (UINT, 12): np.uint16}
#: Forms that are read; all others are refused. Colours, sample format -> bits, and bits in separate planes.
READ = {
    (GREY, UINT): ({1, 2, 4, 8, 12, 16}, set()),
    (GREY_INVERTED, UINT): ({1, 2, 4, 8, 16}, set()),
    (GREY, FLOAT): ({32}, set()),
    (GREY, INT): ({32}, set()),
    (PALETTE, UINT): ({1, 2, 4, 8}, set()),
    (RGB, UINT): ({8, 16}, {8}),
    (CMYK, UINT): ({8, 16}, {8}),
    (YCBCR, UINT): ({8}, set()),
}


def stored(channels: list[int], sample_format: int, bits: int) -> np.ndarray:
    """`SCENE` as samples of this form, and the 8-bit values that they stand for."""
    scene = SCENE[:, :, channels]
    if sample_format == FLOAT:
        return (scene / np.float64(255)).astype(TYPES[sample_format, bits])
    if sample_format == INT and bits == 32:  # as Pillow's mode "I": 16 bits in 32
        return scene.astype(np.int32) * 257
    top = 2 ** (bits - (sample_format == INT)) - 1
    return (scene.astype(np.float64) * top / 255).astype(TYPES[sample_format, bits])


def shown(samples: np.ndarray, colours: int, sample_format: int, bits: int, alpha: bool, palette: list[int]) -> np.ndarray:
    """The picture that the samples stand for: RGB, 0 to 255, on white."""
    top = 1 if sample_format == FLOAT else 65535 if sample_format == INT else 2**bits - 1
    values = samples.astype(np.float64) * 255 / top
    if colours in (GREY, GREY_INVERTED):
        picture = np.repeat(values[:, :, :1], 3, 2)
        picture = 255 - picture if colours == GREY_INVERTED else picture
    elif colours == PALETTE:
        picture = np.array(palette).reshape(3, -1).T[samples[:, :, 0]] / 257
    elif colours == CMYK:
        picture = (255 - values[:, :, :3]) * (255 - values[:, :, 3:4]) / 255
    elif colours == YCBCR:
        picture = np.asarray(pillow.fromarray(samples[:, :, :3], "YCbCr").convert("RGB")).astype(float)
    else:
        picture = values[:, :, :3]
    if alpha:
        share = values[:, :, -1:] / 255
        picture = picture * share + 255 * (1 - share)
    return picture.astype(np.float32)


def forms():
    for (sample_format, bits), colours in itertools.product(TYPES, CHANNELS):
        if colours != PALETTE or (bits <= 8 and sample_format == UINT):
            yield sample_format, bits, colours


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("sample_format, bits, colours", list(forms()))
def test_every_form_is_read_as_it_was_written_or_refused(sample_format, bits, colours):
    palette = (np.arange(2**bits * 3) * 7919 % 256 * 257).tolist() if colours == PALETTE else []
    more = {320: (SHORT, palette)} if palette else {530: (SHORT, [1, 1])} if colours == YCBCR else {}
    whole, planes = READ.get((colours, sample_format), (set(), set()))
    count = 0
    for planar, compression, order, fill_order, tile, alpha in itertools.product(
        (False, True), (RAW, DEFLATE, PACKBITS), "<>", (1, 2), (0, 16), (False, True)
    ):
        channels = [0, 1, 2, 3][: CHANNELS[colours]] + [3] * alpha
        samples = stored(channels, sample_format, bits)
        options = {"planar": planar, "compression": compression, "order": order, "fill_order": fill_order, "tile": tile}
        data = tiff(
            samples,
            bits=bits,
            photometric=colours,
            sample_format=sample_format,
            extra=[2] if alpha else None,
            more=more,
            **options,
        )
        separate = planar and len(channels) > 1
        expected = bits in (planes if separate else whole)
        expected &= fill_order == 1 or (bits == 1 and colours in (GREY, GREY_INVERTED))
        expected &= not alpha or colours == RGB or (colours in (GREY, PALETTE) and bits == 8 and not planar)
        # by libtiff, Pillow reads some forms in one byte order only
        expected &= compression == RAW or bits != 32 or order == "<"
        try:
            pixels, orientation = decoders.decode_stored("tiff", data, WIDTH * HEIGHT * 2)
        except UnsupportedImage as error:
            assert error.details == {"format": "tiff"} and "save it as" in error.message
            pixels = None
        known = bits in (12, 16) and colours in (GREY, GREY_INVERTED)  # ditto, and it depends on the release
        assert (pixels is not None) == expected or (known and pixels is None), options
        if pixels is not None:
            count += 1
            truth = shown(samples, colours, sample_format, bits, alpha, palette)
            assert orientation == 1 and pixels.shape == truth.shape and np.abs(pixels - truth).max() < 2.5, options
    assert (count > 0) == bool(bits in whole | planes)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_palette_of_8_bits_is_not_black(order, bits):
    """As old programs wrote it; libtiff and viewers take values that are all below 256 as 8 bits."""
    levels = [(7 * number) % 256 for number in range(3 * 2**bits)]
    numbers = SCENE[:, :, :1] >> (8 - bits)
    data = tiff(numbers, bits=bits, photometric=PALETTE, order=order, more={320: (SHORT, levels)})
    assert np.array_equal(images.decode(data).pixels, np.array(levels, np.uint8).reshape(3, -1).T[numbers[:, :, 0]])


@pytest.mark.parametrize("kind, count, is_read", [(SHORT, 768, True), (LONG, 768, True), (1, 768, False), (SHORT, 300, False)])
@pytest.mark.parametrize("factor", [1, 257])
def test_a_palette_is_read_right_or_refused(kind, count, is_read, factor):
    levels = [(7 * number) % 256 for number in range(count)]
    stored = levels if kind == 1 else [factor * level for level in levels]
    data = tiff(SCENE[:, :, :1], photometric=PALETTE, more={320: (kind, stored)}) + bytes(1000)  # what follows stays as it is
    if is_read:
        assert np.array_equal(images.decode(data).pixels, np.array(levels, np.uint8).reshape(3, -1).T[SCENE[:, :, 0]])
    else:
        with pytest.raises(UnsupportedImage, match="palette"):
            images.decode(data)


def test_a_second_reader_reads_what_these_tests_write():
    tifffile = pytest.importorskip("tifffile", reason="a second reader of TIFF")
    for bits, planar, order, tile, compression in itertools.product((8, 16), (False, True), "<>", (0, 16), (RAW, DEFLATE)):
        samples = stored([0, 1, 2], UINT, bits)
        data = tiff(samples, bits=bits, planar=planar, order=order, tile=tile, compression=compression)
        found = tifffile.imread(io.BytesIO(data))
        assert np.array_equal(np.moveaxis(found, 0, -1) if planar else found, samples)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("colours, planar", [(RGB, False), (RGB, True), (GREY, False)])
def test_orientations_of_all_forms_are_those_of_pillow(orientation, colours, planar):
    samples = stored([0, 1, 2][: CHANNELS[colours]], UINT, 8)
    data = tiff(samples, photometric=colours, planar=planar, orientation=orientation, rows_per_strip=10)
    upright = np.asarray(pillow.open(io.BytesIO(data)).convert("RGB"))  # Pillow turns TIFFs by itself
    assert np.array_equal(images.decode(data).pixels, upright)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "jpeg", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd", "group3", "group4"]
)
def test_compressions_give_what_was_compressed(mode, compression, capfd):
    grey = {"I;16": (np.uint16, 257), "I": (np.int32, 257), "F": (np.float32, 1 / 255)}
    if mode in grey:
        kind, factor = grey[mode]
        picture = pillow.fromarray((SCENE[:, :, 0] * np.float64(factor)).astype(kind))
        truth = np.repeat(SCENE[:, :, :1], 3, 2)
    else:
        picture = pillow.fromarray(SCENE[:, :, :3]).convert(mode)
        truth = np.asarray(picture.convert("RGB"))
    file = io.BytesIO()
    try:
        picture.save(file, "tiff", compression=compression)
    except (OSError, KeyError, RuntimeError):
        pytest.skip(f"libtiff does not compress {mode} as {compression}")
    pixels = images.decode(file.getvalue()).pixels.astype(int)
    assert np.abs(pixels - truth).max() <= {"jpeg": 8, "tiff_lzw": 1}.get(compression, 1)


CV2_KINDS = {
    "RGB of 8 bits": (SCENE[:, :, 2::-1], 1),
    "RGB of 16 bits": (SCENE[:, :, 2::-1].astype(np.uint16) * 257, 1),
    "RGBA of 8 bits": (SCENE[:, :, [2, 1, 0, 3]], 1),
    "RGBA of 16 bits": (SCENE[:, :, [2, 1, 0, 3]].astype(np.uint16) * 257, 1),
    "grey of 16 bits": (SCENE[:, :, 0].astype(np.uint16) * 257, 1),
    "grey floats": (SCENE[:, :, 0] / np.float32(255), 1),
    "grey of 32 bits": (SCENE[:, :, 0].astype(np.int32) * 257, 1),
    "RGB floats": (SCENE[:, :, 2::-1] / np.float32(255), 0),
    "grey doubles": (SCENE[:, :, 0] / np.float64(255), 0),
    "signed bytes": ((SCENE[:, :, 0] // 2).astype(np.int8), 0),
}


@pytest.mark.parametrize("kind", CV2_KINDS)
@pytest.mark.parametrize("compression", [1, 5, 8, 32773, 32946, 34676])
def test_what_opencv_writes_is_read_or_refused(kind, compression):
    """OpenCV writes predictors, and alpha without saying so; 34676 is LogLuv."""
    samples, readable = CV2_KINDS[kind]
    try:
        written, data = cv2.imencode(".tif", np.ascontiguousarray(samples), [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    except cv2.error:
        written = False
    if not written:
        pytest.skip("OpenCV does not write this")
    data = data.tobytes()
    truth = SCENE[:, :, :3].astype(float)
    if samples.ndim == 2:
        truth = np.repeat(truth[:, :, :1], 3, 2)
    elif samples.shape[2] == 4:
        share = SCENE[:, :, 3:] / 255
        truth = truth * share + 255 * (1 - share)
    if b"\x03\x01\x03\0\x01\0\0\0" + struct.pack("<H", 34676) in data:
        readable = 0
    if readable:
        assert np.abs(images.decode(data).pixels - truth).max() < 2.5
    else:
        with pytest.raises(UnsupportedImage):
            images.decode(data)


REFUSED = {
    "CIE Lab": {"photometric": LAB},
    "ICC Lab": {"photometric": 9},
    "LogL": {"photometric": 32844},
    "LogLuv": {"photometric": 32845},
    "no colours stated": {"photometric": None},
    "unknown colours": {"photometric": 77},
    "WebP": {"compression": 50001},
    "old JPEG": {"compression": 6},
    "LERC": {"compression": 34887},
    "JPEG 2000": {"compression": 34712},
    "JPEG XL": {"compression": 50002},
    "unknown compression": {"compression": 4711},
    "bits that differ": {"more": {258: (SHORT, [5, 6, 5])}},
    "formats that differ": {"more": {339: (SHORT, [1, 1, 3])}},
    "unknown planes": {"more": {284: (SHORT, [3])}},
    "unknown predictor": {"more": {317: (SHORT, [34892])}},
    "inks that are not CMYK": {"photometric": CMYK, "more": {332: (SHORT, [2])}},
    "too few channels": {"photometric": CMYK},
    "unusual YCbCr matrix": {"photometric": YCBCR, "more": {529: (RATIONAL, [2126, 10000, 7152, 10000, 722, 10000])}},
    "YCbCr of limited range": {
        "photometric": YCBCR,
        "more": {532: (RATIONAL, [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1])},
    },
    "subsampled YCbCr": {"photometric": YCBCR, "more": {530: (SHORT, [2, 2])}},
    "YCbCr that may be subsampled": {"photometric": YCBCR, "more": {530: (SHORT, [])}},
    "camera raw": {"photometric": 32803},
    "DNG": {"more": {50706: (1, [1, 4, 0, 0])}},
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_not_surely_read_is_refused(form):
    options = {"more": {530: (SHORT, [1, 1])}} if REFUSED[form].get("photometric") == YCBCR else {}
    options = {**options, **REFUSED[form]}
    if form.startswith(("unusual", "YCbCr of")):
        options["more"] = {530: (SHORT, [1, 1]), **options["more"]}
    with pytest.raises(UnsupportedImage) as caught:
        images.decode(tiff(SCENE[:, :, :3], **options))
    assert "damaged" not in caught.value.message


def chained(*pictures: tuple[np.ndarray, int]) -> bytes:
    """A TIFF of several 8-bit RGB pictures, each with its NewSubfileType."""
    data, places = b"II*\0\0\0\0\0", []
    for picture, kind in pictures:
        at = len(data)
        data += picture.tobytes() + b"\0" * (picture.size % 2)
        height, width = picture.shape[:2]
        places.append(
            {
                254: (LONG, [kind]),
                256: (LONG, [width]),
                257: (LONG, [height]),
                258: (SHORT, [8, 8, 8]),
                259: (SHORT, [1]),
                262: (SHORT, [2]),
                273: (LONG, [at]),
                277: (SHORT, [3]),
                278: (LONG, [height]),
                279: (LONG, [picture.size]),
            }
        )
    link = 4
    for tags in places:
        start = len(data)
        data = data[:link] + struct.pack("<I", start) + data[link + 4 :]
        data += directory("<", start, tags)
        link = start + 2 + 12 * len(tags)
    return data


def test_a_thumbnail_is_never_taken_for_the_photo():
    photo, thumbnail = SCENE[:, :, :3], np.full((8, 10, 3), 200, np.uint8)
    for pictures in (
        [(photo, 0)],
        [(photo, 0), (thumbnail, 1)],
        [(thumbnail, 1), (photo, 0)],
        [(thumbnail, 1), (thumbnail, 4), (photo, 2)],
    ):
        assert np.array_equal(images.decode(chained(*pictures)).pixels, photo)


def test_the_photo_inside_a_thumbnail_makes_the_file_unsupported():
    data = tiff(SCENE[:8, :8, :3], more={254: (LONG, [1]), 330: (LONG, [8])})
    with pytest.raises(UnsupportedImage, match="inside another image"):
        images.decode(data)


def test_camera_raw_files_in_tiff_are_said_to_be_such():
    """Their first image is a preview or a thumbnail; the sensor's data lie inside it."""
    data = bytearray(tiff(SCENE[:, :, :3], more={254: (LONG, [1]), 330: (LONG, [0x7FFF])}))
    start = len(data)
    data += directory("<", start, {254: (LONG, [0]), 262: (SHORT, [32803])})
    data = data.replace(struct.pack("<I", 0x7FFF), struct.pack("<I", start))
    with pytest.raises(UnsupportedImage, match="camera raw"):
        images.decode(bytes(data))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("compression", [RAW, DEFLATE, PACKBITS])
def test_missing_pixels_are_damage_not_a_form(share, compression):
    data = tiff(SCENE[:, :, :3], compression=compression, rows_per_strip=8)
    start = struct.unpack_from("<I", data, 4)[0]
    cut = bytearray(data)
    cut[int(8 + (start - 8) * share) : start] = bytes(start - int(8 + (start - 8) * share))
    if compression == RAW:
        cut = cut[:start]  # the directory is at the end: nothing that can be read
    with pytest.raises(BrokenImage):
        images.decode(bytes(cut))
