"""YuNet and SFace: OpenCV against ONNX Runtime, and what threads per call bring when several photos are worked on.

    python benchmarks/runtimes.py [--quick] [--json FILE] [--provider cpu]

The weights are those in the models folder (`python -m recognizer models fetch`). Pictures are noise and drawn faces,
so that no photo is needed.
"""

from __future__ import annotations

import statistics
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import report

from recognizer.core.settings import Settings
from recognizer.engines import sface_ort, yunet_ort
from recognizer.engines.dlib import onnx
from recognizer.weights import manifest

SIZES = ((640, 384), (640, 640), (1280, 736))


def median_ms(calls: list, repeats: int) -> list[float]:
    """Median milliseconds of each call, taken in turn so that a busy moment meets them all."""
    times = [[] for _ in calls]
    for _ in range(repeats + 1):
        for call, taken in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return [1000 * statistics.median(taken[1:]) for taken in times]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)


def scene(width: int, height: int) -> np.ndarray:
    import cv2

    pixels = cv2.GaussianBlur(noise(height, width, 3), (0, 0), 4)
    side = height // 2
    pixels[:side, :side] = onnx.drawn_face(side)
    return pixels


def by_opencv(detector, pixels: np.ndarray):
    import cv2

    detector.setInputSize((pixels.shape[1], pixels.shape[0]))
    return detector.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]


def compare(yunet: Path, sface: Path, provider: str, repeats: int):
    """One row per picture size and network: OpenCV's time and ours, on one thread each."""
    import cv2

    cv2.setNumThreads(1)
    theirs = cv2.FaceDetectorYN.create(str(yunet), "", (320, 320), 0.6, 0.3, 5000)
    ours = yunet_ort.YuNet(yunet, provider=provider)
    for width, height in SIZES:
        pixels = scene(width, height)
        opencv_ms, ort_ms = median_ms([partial(by_opencv, theirs, pixels), partial(ours.raw, pixels)], repeats)
        yield {"what": f"YuNet, {width}x{height}", "opencv_ms": opencv_ms, "onnx_ms": ort_ms}
    theirs, ours = cv2.FaceRecognizerSF.create(str(sface), ""), sface_ort.SFaceNet(sface, 1, provider)
    chips = noise(4, 112, 112, 3)
    calls = [partial(theirs.feature, chips[0]), partial(ours.describe, chips[:1]), partial(ours.describe, chips)]
    opencv_ms, one_ms, four_ms = median_ms(calls, repeats)
    yield {"what": "SFace, 1 chip", "opencv_ms": opencv_ms, "onnx_ms": one_ms}
    yield {"what": "SFace, 4 chips, ms per chip", "opencv_ms": opencv_ms, "onnx_ms": four_ms / 4}


def throughput(call, callers: int, seconds: float) -> float:
    """Calls per second that several threads get done together."""
    call()
    done, end = [0] * callers, time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < end:
            call()
            done[number] += 1

    start = time.perf_counter()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - start)


def share(yunet: Path, sface: Path, provider: str, seconds: float):
    """One row per network, threads per call and callers at once."""
    pixels, small, large = scene(640, 640), noise(1, 112, 112, 3), noise(1, 150, 150, 3)
    for threads in (1, 2):
        calls = {
            "YuNet, 640x640": partial(yunet_ort.YuNet(yunet, threads, provider=provider).raw, pixels),
            "SFace": partial(sface_ort.SFaceNet(sface, threads, provider).describe, small),
            "dlib ResNet": partial(onnx.ResNet(threads, provider).describe, large),
        }
        for name, call in calls.items():
            for callers in (1, 2, 4):
                rate = throughput(call, callers, seconds)
                yield {"what": name, "threads": threads, "callers": callers, "per_second": rate}


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--provider", default="cpu", help="see recognizer/engines/runtime.py; default cpu")
    options = parser.parse_args()
    folder = Settings.from_environment().models_dir
    yunet, sface = manifest.path("yunet", folder), manifest.path("sface", folder)
    compared = list(compare(yunet, sface, options.provider, 10 if options.quick else 40))
    for row in compared:
        row["ratio"] = row["opencv_ms"] / row["onnx_ms"]
    shared = list(share(yunet, sface, options.provider, 1.0 if options.quick else 4.0))
    alone = {row["what"]: row["per_second"] for row in shared if (row["threads"], row["callers"]) == (1, 1)}
    for row in shared:
        row["ratio"] = row["per_second"] / alone[row["what"]]
    report.table(compared, f"Median milliseconds, OpenCV against ONNX Runtime ({options.provider})")
    report.table(shared, "Threads per call and callers at once; the ratio is against one thread and one caller")
    report.save(options, provider=[{"name": options.provider}], compared=compared, shared=shared)


if __name__ == "__main__":
    main()
