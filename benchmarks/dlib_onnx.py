"""dlib's networks: dlib itself against the same networks on ONNX Runtime.

    python benchmarks/dlib_onnx.py [--quick] [--json FILE] [--threads N]

Prints one row per comparison: milliseconds of each, their ratio, and how far the answers are apart. Pictures are
drawn, so that nothing has to be fetched: the networks' time does not depend on what a picture shows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from recognizer import models
from recognizer.engines import dlib_onnx

SIZES = {"480p": (480, 640), "720p": (720, 1280), "1080p": (1080, 1920)}


def timed(call, repeats: int):
    """Median milliseconds of a call, and what it returned; with several repeats the first call is not counted."""
    times = []
    for _ in range(repeats + (repeats > 1)):
        start = time.perf_counter()
        answer = call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[repeats > 1 :]), answer


def drawn_scene(height: int, width: int) -> np.ndarray:
    """A soft background with two drawn faces."""
    y, x = np.mgrid[0:height, 0:width]
    scene = np.stack([90 + 40 * np.sin(x / 37), 90 + 40 * np.cos(y / 29), 100 + 30 * np.sin((x + y) / 53)], axis=2)
    scene = scene.astype(np.uint8)
    for left, top, side in ((width // 8, height // 6, height // 2), (width // 2, height // 4, height // 3)):
        scene[top : top + side, left : left + side] = dlib_onnx.drawn_face(side)
    return scene


def compare_resnet(threads: int, quick: bool):
    import dlib

    ours = dlib_onnx.ResNet(threads)
    theirs = dlib.face_recognition_model_v1(str(models.dlib_file(dlib_onnx.RESNET_FILE)))
    noise = np.random.default_rng(1).normal(0, 15, (16, 150, 150, 3))
    chips = np.clip(dlib_onnx.drawn_face(150) + noise, 0, 255).astype(np.uint8)
    for batch in (1, 16):
        given = chips[:batch]
        dlib_ms, wanted = timed(partial(theirs.compute_face_descriptor, list(given)), 3 if quick else 10)
        onnx_ms, found = timed(partial(ours.describe, given), 5 if quick else 30)
        yield {
            "what": f"ResNet, {batch} chip{'s' if batch > 1 else ''}, ms per chip",
            "dlib_ms": dlib_ms / batch,
            "onnx_ms": onnx_ms / batch,
            "difference": float(np.linalg.norm(found - np.array(wanted), axis=1).max()),
        }


def compare_mmod(threads: int, quick: bool):
    import dlib

    ours = dlib_onnx.Mmod(threads)
    theirs = dlib.cnn_face_detection_model_v1(str(models.dlib_file(dlib_onnx.MMOD_FILE)))
    for name, (height, width) in SIZES.items():
        pixels = drawn_scene(height, width)
        dlib_ms, wanted = timed(partial(theirs, pixels, 0), 1 if quick else 3)
        onnx_ms, (boxes, scores) = timed(partial(ours.detect, pixels), 3 if quick else 7)
        same = boxes.tolist() == [[f.rect.left(), f.rect.top(), f.rect.right(), f.rect.bottom()] for f in wanted]
        yield {
            "what": f"mmod detector, {name} ({width}x{height})",
            "dlib_ms": dlib_ms,
            "onnx_ms": onnx_ms,
            "difference": max(abs(scores - [f.confidence for f in wanted]), default=0.0) if same else float("inf"),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats, under a minute")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows to FILE too")
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime (dlib has one); default 1")
    options = parser.parse_args()
    print(f"{'':36} {'dlib ms':>9} {'ONNX ms':>9} {'ratio':>7}   largest difference")
    rows = []
    for compare in (compare_resnet, compare_mmod):
        for row in compare(options.threads, options.quick):
            row["ratio"] = row["dlib_ms"] / row["onnx_ms"]
            rows.append(row)
            print(
                f"{row['what']:36} {row['dlib_ms']:9.2f} {row['onnx_ms']:9.2f} {row['ratio']:6.1f}x   "
                f"{row['difference']:.1e}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"threads": options.threads, "rows": rows}, indent=2, default=float) + "\n")


if __name__ == "__main__":
    main()
