"""dlib's networks: dlib itself against the same networks on ONNX Runtime.

    python benchmarks/dlib_onnx.py [--quick] [--json FILE] [--threads N]

Prints one row per comparison: milliseconds of each, their ratio, and how far the answers are apart. Pictures are
drawn, so that nothing has to be fetched: the networks' time does not depend on what a picture shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import report

from recognizer.engines.dlib import onnx
from recognizer.weights import manifest

SIZES = {"480p": (480, 640), "720p": (720, 1280), "1080p": (1080, 1920)}


def row(what: str, theirs: Callable, ours: Callable, rounds: int, per: int = 1) -> dict:
    """A row of the table: median milliseconds of both, taken in turns, divided by `per`."""
    times = report.alternate({"dlib": theirs, "ONNX": ours}, rounds)
    dlib_ms, onnx_ms = (times[name]["wall"] / per for name in ("dlib", "ONNX"))
    cpu = times["dlib"]["cpu"] / times["ONNX"]["cpu"]
    return {"what": what, "dlib ms": dlib_ms, "ONNX ms": onnx_ms, "ratio": dlib_ms / onnx_ms, "cpu ratio": cpu}


def drawn_scene(height: int, width: int) -> np.ndarray:
    """A soft background with two drawn faces."""
    y, x = np.mgrid[0:height, 0:width]
    scene = np.stack([90 + 40 * np.sin(x / 37), 90 + 40 * np.cos(y / 29), 100 + 30 * np.sin((x + y) / 53)], axis=2)
    scene = scene.astype(np.uint8)
    for left, top, side in ((width // 8, height // 6, height // 2), (width // 2, height // 4, height // 3)):
        scene[top : top + side, left : left + side] = onnx.drawn_face(side)
    return scene


def compare_resnet(threads: int, quick: bool):
    import dlib

    ours = onnx.ResNet(threads)
    theirs = dlib.face_recognition_model_v1(str(manifest.dlib_file(onnx.RESNET_FILE)))
    noise = np.random.default_rng(1).normal(0, 15, (16, 150, 150, 3))
    chips = np.clip(onnx.drawn_face(150) + noise, 0, 255).astype(np.uint8)
    for batch in (1, 16):
        given = chips[:batch]
        wanted, found = partial(theirs.compute_face_descriptor, list(given)), partial(ours.describe, given)
        apart = float(np.linalg.norm(found() - np.array(wanted()), axis=1).max())
        what = f"ResNet, {batch} chip{'s' if batch > 1 else ''}, ms per chip"
        yield {**row(what, wanted, found, 3 if quick else 15, batch), "difference": apart}


def compare_mmod(threads: int, quick: bool):
    import dlib

    ours = onnx.Mmod(threads)
    theirs = dlib.cnn_face_detection_model_v1(str(manifest.dlib_file(onnx.MMOD_FILE)))
    for name, (height, width) in list(SIZES.items())[: 1 if quick else 3]:
        pixels = drawn_scene(height, width)
        wanted, (boxes, scores) = theirs(pixels, 0), ours.detect(pixels)
        same = boxes.tolist() == [[f.rect.left(), f.rect.top(), f.rect.right(), f.rect.bottom()] for f in wanted]
        apart = max(abs(scores - [f.confidence for f in wanted]), default=0.0) if same else float("inf")
        times = row(f"mmod detector, {name}", partial(theirs, pixels, 0), partial(ours.detect, pixels), 1 if quick else 3)
        yield {**times, "difference": float(apart)}


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime (dlib has one); default 1")
    options = parser.parse_args()
    rows = [row for compare in (compare_resnet, compare_mmod) for row in compare(options.threads, options.quick)]
    report.table(rows, "Median milliseconds; difference is the largest, infinite if boxes differ")
    report.save(options, threads=options.threads, dlib_onnx=rows)


if __name__ == "__main__":
    main()
