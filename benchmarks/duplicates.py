"""How near the same picture comes to itself, written anew, and how near two pictures of one person do.

    python benchmarks/duplicates.py [--images DIR] [--photos N] [--embedder dlib+sface] [--quick] [--json FILE]

Photos are written again as JPEG of several qualities, PNG and WebP, smaller and larger; then described as at enrolment.
`recognizer/enrolment/duplicates.py` has its two bounds from this output: the distance as a share of the engine's threshold,
and the overlap of the faces' boxes, each as a share of its photo.
"""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import report

from recognizer.core.errors import RecognizerError
from recognizer.core.geometry import iou
from recognizer.core.settings import Settings
from recognizer.engines import make_engine
from recognizer.enrolment.duplicates import DISTANCE_SHARE, LEAST_OVERLAP, placed, same_picture
from recognizer.enrolment.encodings import Encoding
from recognizer.enrolment.examination import EnrolmentRules, examine
from recognizer.photos import images

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
    parser = report.parser(__doc__, data=True)
    parser.add_argument("--images", type=Path, help="one folder per person")
    parser.add_argument("--photos", type=int, default=150, help="photos that are written anew")
    parser.add_argument("--embedder", default="dlib+sface")
    options = parser.parse_args()
    folder = options.images or report.need(options.data, "lfw-dev", "images")
    if options.quick:
        options.photos = min(options.photos, 20)
    engine = make_engine("yunet", options.embedder, models_dir=Settings.from_environment().models_dir)
    threshold, rules = engine.info.calibration.threshold, EnrolmentRules()

    def look(data: bytes) -> Encoding | None:
        try:
            return examine(engine, data, rules, "largest").encoding
        except RecognizerError:
            return None

    chance = random.Random(0)
    people = sorted(each for each in folder.iterdir() if len(list(each.glob("*.jpg"))) > 1)
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
    table = [_row(name, pairs, threshold) for name, pairs in [*rows.items(), ("another picture of the person", others)]]
    report.table(
        table,
        f"{engine.info.id}: threshold {threshold:.4f}; copies are within {DISTANCE_SHARE * threshold:.4f} with boxes that "
        f"overlap by {LEAST_OVERLAP}",
    )
    report.save(options, duplicates=table)


def _row(name: str, pairs: list[tuple[Encoding, Encoding]], threshold: float) -> dict:
    far = np.array([np.linalg.norm(a.vector - b.vector) for a, b in pairs]) / threshold
    over = np.array([iou(placed(a)[:4], placed(b)[None, :4])[0] for a, b in pairs])
    taken = np.mean([same_picture(a, b, DISTANCE_SHARE * threshold) for a, b in pairs])
    return {
        "pairs": name,
        "count": len(pairs),
        "distance / threshold, median": float(np.median(far)),
        "99 %": float(np.quantile(far, 0.99)),
        "least": float(far.min()),
        "overlap, median": float(np.median(over)),
        "1 %": float(np.quantile(over, 0.01)),
        "taken for copies %": float(100 * taken),
    }


if __name__ == "__main__":
    main()
