"""How long a photo takes to decode, whole and reduced, against Pillow alone.

Run as python benchmarks/decode.py [--quick] [--json FILE] where the package is importable.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
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


def best_ms(work, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(min(times) * 1000, 1)


def measure(quick: bool) -> list[dict]:
    rounds, rows = (2, []) if quick else (9, [])
    for name, size in list(SIZES.items())[: 2 if quick else 3]:
        pixels = photo(*size)
        for orientation in (1, 6):
            data = jpeg(pixels, orientation)
            row = {"photo": name, "orientation": orientation, "bytes": len(data)}
            row["Pillow, whole"] = best_ms(lambda: np.asarray(pillow.open(io.BytesIO(data)).convert("RGB")), rounds)
            for what, side in (("whole", None), ("for 1280", 1280), ("for 640", 640)):
                row[f"ours, {what}"] = best_ms(lambda: images.decode(data, long_side=side), rounds)
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    options = parser.parse_args()
    rows = measure(options.quick)
    print("Milliseconds, best of several; orientation 6 is turned upright by ours and not by Pillow")
    print("| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
