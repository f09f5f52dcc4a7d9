"""What decoding may take: sizes that phones make are read; small files that claim many pixels cost little."""

import io
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

from recognizer.core.errors import ImageTooLarge
from recognizer.photos import images
from recognizer.photos.decoding_memory import BYTES_PER_PIXEL, SHARED, DecodingMemory, whole_pixels

ROOT = Path(__file__).resolve().parents[1]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def flat(kind: str, width: int, height: int, **options) -> bytes:
    file = io.BytesIO()
    mode = "L" if kind == "png" else "RGB"
    pillow.new(mode, (width, height), "grey").save(file, kind, **options)
    return file.getvalue()


def claiming(data: bytes, width: int, height: int) -> bytes:
    """A PNG or a WebP (lossy) file whose head claims another size."""
    if data.startswith(b"\x89PNG"):
        head = data[12:16] + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    at = data.index(b"\x9d\x01\x2a") + 3
    return data[:at] + struct.pack("<HH", width, height) + data[at + 4 :]


@pytest.mark.slow
@pytest.mark.parametrize(
    "width, height",
    [(8192, 6144), (16382, 3628), (9248, 6936), (12000, 9000), (16384, 12288)],
    ids=["50 megapixels", "panorama", "64 megapixels", "108 megapixels", "200 megapixels"],
)
def test_jpegs_of_phones_are_within_the_default_size(width, height):
    image = images.decode(flat("jpeg", width, height), long_side=640)
    assert (image.width, image.height) == (width, height)
    assert max(image.pixels.shape) == -(-width // 8)
    sharp = image.sharper(1.0)
    assert (sharp.width, sharp.height) == (width, height)
    assert sharp.pixels.shape[0] * sharp.pixels.shape[1] <= 70_000_000
    assert sharp.scale_x == (1 if width * height <= 70_000_000 else 0.5)
    assert sharp.sharper(1.0) is sharp


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_other_formats_are_decoded_whole_up_to_a_smaller_size(kind):
    quick = {"compress_level": 1} if kind == "png" else {"method": 0, "quality": 1}
    data = flat(kind, 9248, 6936, **quick)
    image = images.decode(data, long_side=640)  # WebP has at most 16383 a side
    assert (image.width, image.height) == (9248, 6936) and max(image.pixels.shape) == 1156
    sharp = image.sharper(0.3)
    assert sharp.pixels.shape == (3468, 4624, 3) and (sharp.width, sharp.height) == (9248, 6936)
    assert images.decode(data).pixels.shape == (6936, 9248, 3)
    with pytest.raises(ImageTooLarge) as caught:
        images.decode(claiming(data, 12000, 9000))
    assert caught.value.details["max_pixels"] == 70_000_000


@pytest.mark.slow
def test_a_reduced_copy_shows_the_same_picture_as_the_whole():
    y, x = np.ogrid[0:4000, 0:6100]
    scene = np.empty((4000, 6100, 3), np.uint8)
    scene[..., 0], scene[..., 1], scene[..., 2] = x * 255 // 6100, y * 255 // 4000, (x + y) // 64 % 256
    file = io.BytesIO()
    block = pillow.Exif()
    block[274] = 6
    pillow.fromarray(scene).save(file, "png", compress_level=1, exif=block)
    small = images.decode(file.getvalue(), long_side=600)
    assert small.pixels.shape == (763, 500, 3) and (small.width, small.height) == (4000, 6100)
    whole = small.sharper(1.0)
    assert np.array_equal(whole.pixels, np.rot90(scene, -1))
    assert np.abs(images.resize(whole.pixels, 763).astype(int) - small.pixels).max() <= 2


@pytest.mark.parametrize(
    "most, whole", [(1_000, 1_000), (50_000_000, 50_000_000), (210_000_000, 70_000_000), (600_000_000, 200_000_000)]
)
def test_the_size_for_other_formats_follows_from_the_setting(most, whole):
    assert whole_pixels(most) == whole


PEAK = """
import sys, threading
from recognizer.photos import images
import cv2, simplejpeg, PIL.PngImagePlugin, PIL.WebPImagePlugin
def memory(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) * 1024
data = sys.stdin.buffer.read()
before = memory("VmRSS")
for threads in map(int, sys.argv[1:]):
    workers = [threading.Thread(target=images.decode, args=(data,), kwargs={"long_side": 640}) for _ in range(threads)]
    for each in workers: each.start()
    for each in workers: each.join()
    print(memory("VmHWM") - before)
"""


def peaks(data: bytes, *threads: int) -> list[int]:
    """Bytes that decoding has taken at most, first by so many threads at once, then by so many, in a process of its own."""
    command = [sys.executable, "-c", PEAK, *map(str, threads)]
    return [*map(int, subprocess.run(command, input=data, capture_output=True, cwd=ROOT, check=True).stdout.split())]


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, options, bytes_per_pixel",
    [
        ("webp", {"lossless": True, "method": 0}, 10),
        ("png", {"compress_level": 6}, 10),
        ("jpeg", {}, 1),
        ("jpeg", {"progressive": True}, 8),
    ],
)
def test_a_small_file_of_many_pixels_takes_little_also_many_at_once(kind, options, bytes_per_pixel):
    data = flat(kind, 8192, 8192, **options)
    assert len(data) < 2_000_000
    alone, four = peaks(data, 1, 4)
    assert alone < 8192 * 8192 * bytes_per_pixel + 60_000_000
    assert four < 70_000_000 * BYTES_PER_PIXEL * 1.2


def test_those_that_wait_are_served_in_order_and_nobody_waits_for_ever():
    memory, order, inside = DecodingMemory(), [], threading.Event()
    leave = threading.Event()

    def first():
        with memory.taking(500, 100):  # more than all: alone
            inside.set()
            assert leave.wait(60)

    def later(number: int, size: int):
        with memory.taking(size, 100):
            order.append(number)
            assert memory.used <= 100 or size > 100

    with ThreadPoolExecutor(8) as pool:
        works = [pool.submit(first)]
        assert inside.wait(60)
        for number, size in enumerate((60, 60, 500, 1, 1)):
            works.append(pool.submit(later, number, size))
            while memory.waiting <= number:
                leave.wait(0.005)
        assert memory.used == 500 and order == []
        leave.set()
        for each in works:
            each.result()
    assert sorted(order) == [0, 1, 2, 3, 4] and order.index(2) == 2
    assert memory.used == memory.waiting == 0


def test_memory_is_given_back_when_decoding_fails():
    data = flat("webp", 400, 300, lossless=True)
    for cut in (data[:-10], data[:40]):
        with pytest.raises(images.BrokenImage):
            images.decode(cut)
    for kind in ("tiff", "gif"):
        with pytest.raises(images.BrokenImage):
            images.decode(flat(kind, 400, 300)[:-200])
    assert SHARED.used == SHARED.waiting == 0
