"""HEIC and AVIF of every kind: crop boxes, mirrors, HDR, 10 bits, alpha; compared with what was encoded or with pillow-heif."""

import functools
import io
import struct
import zlib

import numpy as np
import pytest
from heifs import avif, clap, cropped, described, heic, imir, irot, shaped
from PIL import Image as pillow

from recognizer.core.errors import BrokenImage, ImageTooLarge
from recognizer.photos import hdr, images

Y, X = np.mgrid[0:240, 0:320]
SCENE = np.stack([X * 255 // 320, Y * 255 // 240, (X + Y) % 256 // 2], 2).astype(np.uint8)
SCENE[:30, :40] = 255, 0, 0


def exif(orientation: int) -> bytes:
    block = pillow.Exif()
    block[274] = orientation
    return block.tobytes()


@functools.cache
def turned(orientation: int) -> bytes:
    return heic(SCENE, exif=exif(orientation))


@pytest.mark.slow
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "width, height, right, down", [(320, 240, 0, 0), (300, 220, 5, -7), (100, 80, -40, 30), (64, 64, 0, 0)]
)
def test_a_crop_box_is_applied_before_the_rotation(width, height, right, down, orientation):
    """libheif's own reading is the second opinion where it accepts the crop: up to 64 pixels a side."""
    data = cropped(turned(orientation), width, height, right, down)
    left, top = right + (320 - width) // 2, down + (240 - height) // 2
    shown = SCENE[top : top + height, left : left + width]
    image = images.decode(data)
    whole = pillow.fromarray(shown)
    turn = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    turn |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    if orientation > 1:
        whole = whole.transpose(pillow.Transpose[turn[orientation]])
    assert (image.width, image.height) == whole.size
    assert np.abs(image.pixels.astype(int) - np.asarray(whole)).max() <= 4
    if width + 64 >= 320 and height + 64 >= 240:
        import pillow_heif

        second = np.asarray(pillow_heif.open_heif(data).to_pillow())
        assert np.abs(image.pixels.astype(int) - second).max() <= 4


#: Boxes in the order in which a file lists them, and what they make of a picture.
SHAPES = {
    "cropped": ([clap(100, 80, -40, 30)], lambda p: p[110:190, 70:170]),
    "padding": ([clap(318, 236)], lambda p: p[2:238, 1:319]),
    "cropped, turned and mirrored": ([clap(100, 80), irot(1), imir(1)], lambda p: np.rot90(p[80:160, 110:210])[:, ::-1]),
    "turned, then cropped": ([irot(3), clap(100, 200)], lambda p: np.rot90(p, 3)[60:260, 70:170]),
    "cropped twice": ([clap(200, 200), clap(100, 50, 10)], lambda p: p[95:145, 120:220]),
    **{
        f"mirrored {m}, then turned {r}": ([imir(m), irot(r)], lambda p, m=m, r=r: np.rot90(np.flip(p, m), r))
        for m in (0, 1)
        for r in (1, 2, 3)
    },
    **{
        f"turned {r}, then mirrored {m}": ([irot(r), imir(m)], lambda p, m=m, r=r: np.flip(np.rot90(p, r), m))
        for m in (0, 1)
        for r in (1, 2, 3)
    },
}


@pytest.mark.parametrize("kind", ["heic", "avif"])
@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_are_followed_in_the_order_of_the_file(kind, shape):
    boxes, shown = SHAPES[shape]
    image = images.decode(shaped(heic(SCENE) if kind == "heic" else avif(SCENE), *boxes))
    expected = shown(SCENE)
    assert image.pixels.shape == expected.shape and (image.height, image.width) == expected.shape[:2]
    assert np.abs(image.pixels.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("form", [heic, avif])
def test_a_crop_box_outside_the_picture_is_damage(form):
    with pytest.raises(BrokenImage, match="crop box|damaged"):
        images.decode(cropped(form(SCENE), 100, 80, 400, 0))


def test_a_cropped_photo_counts_with_what_is_decoded():
    data = cropped(heic(SCENE), 16, 16, 0, 0)
    assert images.decode(data, max_pixels=320 * 240).pixels.shape == (16, 16, 3)
    with pytest.raises(ImageTooLarge) as caught:
        images.decode(data, max_pixels=320 * 240 - 1)
    assert caught.value.details["pixels"] == 320 * 240


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 64), (65, 63), (600, 400), (1100, 700)])
@pytest.mark.parametrize("chroma", [420, 422, 444])
def test_heic_is_read_as_a_second_reader_reads_it(size, chroma):
    import pillow_heif

    scene = np.asarray(pillow.fromarray(SCENE).resize(size))
    data = heic(scene, quality=90, chroma=chroma, matrix_coefficients=6)
    second = np.asarray(pillow_heif.open_heif(data).to_pillow())
    assert np.abs(images.decode(data).pixels.astype(int) - second).max() <= 3


@pytest.mark.parametrize("channels", [3, 4])
def test_ten_bits_and_alpha_are_reduced_to_eight_on_white(channels):
    scene = SCENE
    if channels == 4:
        scene = np.dstack([SCENE, np.full(SCENE.shape[:2], 255, np.uint8)])
        scene[100:, :, 3] = 0
    truth = SCENE.copy()
    if channels == 4:
        truth[100:] = 255
    for data in (heic(scene.astype(np.uint16) * 257), heic(scene), avif(scene)):
        pixels = images.decode(data).pixels.astype(int)
        inner = np.abs(np.delete(pixels - truth, slice(92, 108), axis=0))  # but the rows about the edge
        assert inner.max() <= 8


def test_grey_photos_are_read():
    grey = SCENE[:, :, 0]
    for data in (heic(grey, chroma=420, matrix_coefficients=6), avif(grey)):
        assert np.abs(images.decode(data).pixels.astype(int) - grey[:, :, None]).max() <= 8


# --- HDR -------------------------------------------------------------------------------------------------------------

M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def coded(srgb: np.ndarray, transfer: int, white: float, bits: int) -> np.ndarray:
    """sRGB pixels as HDR in BT.2020 colours, with white at so many cd/m2, as BT.2100 describes it."""
    share = srgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    light = np.clip(linear @ BT2020.T, 0, None) * white
    if transfer == hdr.PQ:
        power = (light / 10_000) ** M1
        values = ((C1 + C2 * power) / (1 + C3 * power)) ** M2
    else:
        shown = light / 1000
        luminance = np.maximum(shown @ [0.2627, 0.6780, 0.0593], 1e-9)[..., None]
        scene = shown * luminance ** (-0.2 / 1.2)
        above = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        values = np.where(scene <= 1 / 12, np.sqrt(3 * scene), above)
    top = 255 if bits == 8 else 65535
    return (np.clip(values, 0, 1) * top + 0.5).astype(np.uint8 if bits == 8 else np.uint16)


def hdr_files(srgb: np.ndarray, transfer: int, white: float = 203.0) -> dict[str, bytes]:
    """The same picture as HDR, written by real encoders."""
    nclx = {"color_primaries": 9, "transfer_characteristics": transfer, "matrix_coefficients": 9, "full_range_flag": 1}
    png = io.BytesIO()
    pillow.fromarray(coded(srgb, transfer, white, 8)).save(png, "png")
    plain = png.getvalue()
    body = b"cICP" + bytes([9, transfer, 0, 1])
    chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    return {
        "HEIC of 10 bits": heic(coded(srgb, transfer, white, 16), quality=95, **nclx),
        "AVIF": described(avif(coded(srgb, transfer, white, 8)), 9, transfer),
        "PNG": plain[:33] + chunk + plain[33:],
    }


@pytest.mark.slow
@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_hdr_photos_look_like_the_usual_ones(transfer):
    soft = (SCENE // 2 + 20).astype(np.uint8)
    for name, data in hdr_files(soft, transfer).items():
        difference = np.abs(images.decode(data).pixels.astype(int) - soft)
        assert np.percentile(difference, 95) <= 6, name


@pytest.mark.parametrize("transfer, white", [(hdr.PQ, 100), (hdr.PQ, 400), (hdr.PQ, 1000), (hdr.HLG, 100), (hdr.HLG, 1000)])
def test_hdr_photos_of_any_brightness_keep_light_and_shade(transfer, white):
    """A darker and a brighter white: the picture neither drowns nor burns out."""
    for name, data in hdr_files(SCENE, transfer, white).items():
        pixels = images.decode(data).pixels.astype(int)
        ramp = pixels[60:, :, 0].mean(axis=0)  # red rises from left to right
        assert ramp[300] - ramp[40] > 90, name
        assert np.corrcoef(ramp, SCENE[60:, :, 0].mean(axis=0))[0, 1] > 0.95, name
        assert (pixels[60:] > 250).mean() < 0.1, name


def test_other_descriptions_of_light_change_nothing():
    plain = avif(SCENE)
    expected = images.decode(plain).pixels
    for transfer in (1, 2, 6, 13, 14):
        assert np.array_equal(images.decode(described(plain, 1, transfer)).pixels, expected)
