"""How long a photo takes to decode, whole and reduced, against Pillow alone.

    python benchmarks/decode.py [--quick] [--json FILE]

Photos are drawn. Orientation 6 is turned upright by ours and not by Pillow; ratio is Pillow's time over ours. The second table
is of the formats that are decoded by another process (see recognizer/photos/sandbox.py): ratio is the time there over the time
of the same decoder in this process. HEIC needs pillow-heif to be written, and is left out without it.
"""

from __future__ import annotations

import importlib.util
import io
import statistics
import time

import numpy as np
import report
from PIL import Image as pillow

from recognizer.photos import decoders, images, sandbox

SIZES = {"2 MP": (1632, 1224), "12 MP": (4000, 3000), "24 MP": (6000, 4000)}


def photo(width: int, height: int) -> np.ndarray:
    """Smooth shapes with some grain, which compresses about as a photo does."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = [127 + 90 * np.sin(x / (97 + 31 * i)) * np.cos(y / (61 + 17 * i)) for i in range(3)]
    grain = np.random.default_rng(1).normal(0, 6, (height, width, 1))
    return np.clip(np.stack(planes, axis=2) + grain, 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, orientation: int) -> bytes:
    exif, file = pillow.Exif(), io.BytesIO()
    exif[274] = orientation
    pillow.fromarray(pixels).save(file, "jpeg", quality=92, exif=exif)
    return file.getvalue()


def measure(quick: bool) -> list[dict]:
    rows = []
    for name, size in list(SIZES.items())[: 2 if quick else 3]:
        pixels = photo(*size)
        for orientation in (1, 6):
            data = jpeg(pixels, orientation)
            calls = {"Pillow, whole": lambda data=data: np.asarray(pillow.open(io.BytesIO(data)).convert("RGB"))}
            for what, side in (("whole", None), ("for 1280", 1280), ("for 640", 640)):
                calls[f"ours, {what}"] = lambda data=data, side=side: images.decode(data, long_side=side)
            times = report.alternate(calls, 2 if quick else 9)
            for what, spent in times.items():
                rows.append(
                    {
                        "photo": name,
                        "orientation": orientation,
                        "decoded by": what,
                        "bytes": len(data),
                        "wall ms": spent["wall"],
                        "cpu ms": spent["cpu"],
                        "ratio": times["Pillow, whole"]["wall"] / spent["wall"],
                    }
                )
    return rows


def other_formats(pixels: np.ndarray) -> dict[str, bytes]:
    """The photo in each format that another process decodes."""
    how = {"bmp": {}, "gif": {}, "tiff": {"compression": "tiff_lzw"}, "avif": {"speed": 10}}
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
        how["heif"] = {}
    made = {}
    for kind, options in how.items():
        file, picture = io.BytesIO(), pillow.fromarray(pixels)
        (picture.quantize(256) if kind == "gif" else picture).save(file, kind, **options)
        made["heic" if kind == "heif" else kind] = file.getvalue()
    return made


def measure_sandbox(quick: bool) -> list[dict]:
    rows = []
    for name, size in list(SIZES.items())[: 1 if quick else 2]:
        for kind, data in other_formats(photo(*size)).items():
            calls = {
                "here": lambda kind=kind, data=data: decoders.decode_stored(kind, data, 50_000_000),
                "there": lambda kind=kind, data=data: sandbox.decode_stored(kind, data, 50_000_000),
            }
            times = report.alternate(calls, 3 if quick else 5)
            here, there = times["here"]["wall"], times["there"]["wall"]
            rows.append(
                {
                    "photo": name,
                    "format": kind,
                    "bytes": len(data),
                    "here ms": here,
                    "there ms": there,
                    "more ms": there - here,
                    "ratio": there / here,
                }
            )
    return rows


def measure_start() -> float:
    """Milliseconds until a child that was not there has decoded a photo of one pixel."""
    file = io.BytesIO()
    pillow.new("RGB", (1, 1)).save(file, "bmp")
    took = []
    for _ in range(5):
        sandbox.close()
        begin = time.perf_counter()
        sandbox.decode_stored("bmp", file.getvalue(), 1)
        took.append(1000 * (time.perf_counter() - begin))
    return statistics.median(took)


def main() -> None:
    options = report.parser(__doc__).parse_args()
    rows = measure(options.quick)
    report.table(rows, "Median milliseconds from a JPEG's bytes to RGB pixels")
    apart = measure_sandbox(options.quick)
    report.table(apart, "Median milliseconds from bytes to RGB pixels, in this process and in another")
    start = measure_start()
    print(f"\nThe first such photo, which starts the other process: {start:.0f} ms")
    report.save(options, decode=rows, apart=apart, start_ms=start)


if __name__ == "__main__":
    main()
