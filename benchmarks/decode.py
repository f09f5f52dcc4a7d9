"""How long a photo takes to decode, whole and reduced, against Pillow alone.

    python benchmarks/decode.py [--quick] [--json FILE]

Photos are drawn. Orientation 6 is turned upright by ours and not by Pillow; ratio is Pillow's time over ours.
"""

from __future__ import annotations

import io

import numpy as np
import report
from PIL import Image as pillow

from recognizer import images

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
                        "photo": name, "orientation": orientation, "decoded by": what, "bytes": len(data),
                        "wall ms": spent["wall"], "cpu ms": spent["cpu"],
                        "ratio": times["Pillow, whole"]["wall"] / spent["wall"],
                    }
                )  # fmt: skip
    return rows


def main() -> None:
    options = report.parser(__doc__).parse_args()
    rows = measure(options.quick)
    report.table(rows, "Median milliseconds from a JPEG's bytes to RGB pixels")
    report.save(options, decode=rows)


if __name__ == "__main__":
    main()
