"""How near the same picture comes to itself, written anew, and how near two pictures of one person do.

    python benchmarks/duplicates.py --images lfw/images [--photos 150] [--embedder dlib+sface] [--models-dir DIR]

Photos are written again as JPEG of several qualities, PNG and WebP, smaller and larger; then described as at enrolment.
`recognizer/duplicates.py` takes its two bounds from what this prints: the distance as a share of the engine's threshold,
and the overlap of the faces' boxes, each as a share of its photo.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from pathlib import Path

import numpy as np

from recognizer import images
from recognizer.duplicates import DISTANCE_SHARE, LEAST_OVERLAP, placed, same_picture
from recognizer.encodings import Encoding
from recognizer.engines import make_engine
from recognizer.errors import RecognizerError
from recognizer.examination import Rules, examine
from recognizer.geometry import iou
from recognizer.settings import Settings

SIZES = (0.4, 0.5, 0.75, 1.5, 2.0)
QUALITIES = (95, 75, 50, 30)


def copies(data: bytes) -> dict[str, bytes]:
    """The photo in this file, written anew in several ways."""
    import cv2

    pixels = images.decode(data).pixels
    bgr = pixels[..., ::-1]

    def sized(factor: float) -> np.ndarray:
        way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=way)

    made = {f"JPEG of quality {quality}": images.encode_jpeg(pixels, quality) for quality in QUALITIES}
    made["PNG"] = cv2.imencode(".png", bgr)[1].tobytes()
    made["WebP of quality 80"] = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, 80])[1].tobytes()
    made |= {f"{factor} of its size": images.encode_jpeg(sized(factor), 90) for factor in SIZES}
    made["a tenth brighter"] = images.encode_jpeg(cv2.convertScaleAbs(pixels, alpha=1.1), 90)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with one folder per person")
    parser.add_argument("--photos", type=int, default=150, help="photos that are written anew")
    parser.add_argument("--embedder", default="dlib+sface")
    parser.add_argument("--models-dir", type=Path, default=Settings.from_environment().models_dir)
    options = parser.parse_args()
    engine = make_engine("yunet", options.embedder, models_dir=options.models_dir)
    threshold, rules = engine.info.calibration.threshold, Rules()

    def look(data: bytes) -> Encoding | None:
        try:
            return examine(engine, data, rules, "largest").encoding
        except RecognizerError:
            return None

    chance = random.Random(0)
    people = sorted(folder for folder in options.images.iterdir() if len(list(folder.glob("*.jpg"))) > 1)
    chance.shuffle(people)
    rows, others = defaultdict(list), []
    for person in people[: options.photos]:
        files = sorted(person.glob("*.jpg"))
        found = [one for one in (look(file.read_bytes()) for file in files[:6]) if one is not None]
        others += [(a, b) for i, a in enumerate(found) for b in found[:i]]
        if found:
            for name, data in copies(files[0].read_bytes()).items():
                copy = look(data)
                if copy is not None:
                    rows[name].append((found[0], copy))
    print(f"{engine.info.id}: threshold {threshold:.4f}; a duplicate is within {DISTANCE_SHARE * threshold:.4f} "
          f"({DISTANCE_SHARE} of it) with boxes that overlap by {LEAST_OVERLAP}\n")  # fmt: skip
    print("| pairs | count | distance / threshold: median | 99 % | least | overlap: median | 1 % | taken for duplicates |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, pairs in [*rows.items(), ("another picture of the person", others)]:
        print(_row(name, pairs, threshold))


def _row(name: str, pairs: list[tuple[Encoding, Encoding]], threshold: float) -> str:
    far = np.array([np.linalg.norm(a.vector - b.vector) for a, b in pairs]) / threshold
    over = np.array([iou(placed(a)[:4], placed(b)[None, :4])[0] for a, b in pairs])
    taken = np.mean([same_picture(a, b, DISTANCE_SHARE * threshold) for a, b in pairs])
    return (
        f"| {name} | {len(pairs)} | {np.median(far):.3f} | {np.quantile(far, 0.99):.3f} | {far.min():.3f} "
        f"| {np.median(over):.3f} | {np.quantile(over, 0.01):.3f} | {100 * taken:.1f} % |"
    )


if __name__ == "__main__":
    main()
