"""Which box makes dlib's own alignment and embedding work best on YuNet's faces, and where dlib's points lie for SFace.

    python benchmarks/alignment.py [--data DIR] [--pairs N] [--coarse] [--quick] [--json FILE]

dlib's five points are searched inside a box like the one that its HOG detector draws; YuNet's boxes are others. Every
mapping is tried on the photos of LFW's development train pairs that both detectors find, compared with HOG's own box on
the same photos, and the best of each kind is checked on the test pairs. "Loss" is the distance between a photo's embedding
by this box and by HOG's; "d'" is the mean distance of different people less that of the same, over the spread of both.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import lfw
import numpy as np
import report

from recognizer.core import geometry
from recognizer.core.settings import Settings
from recognizer.core.types import Faces
from recognizer.engines import central, make_engine
from recognizer.photos import images

SIDES = (0.80, 0.86, 0.92, 0.98, 1.04, 1.10)
DROPS = (0.0, 0.04, 0.08, 0.12, 0.16)
POINT_SIDES = (1.7, 1.85, 2.0, 2.15, 2.3, 2.45)
POINT_SHIFTS = (-0.1, 0.0, 0.1, 0.2)


def square(x: float, y: float, side: float) -> np.ndarray:
    return np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])


def from_box(box: np.ndarray, points: np.ndarray, side: float, drop: float) -> np.ndarray:
    """A square of `side` times the mean of width and height, moved down by `drop` heights."""
    width, height = box[2] - box[0], box[3] - box[1]
    return square((box[0] + box[2]) / 2, (box[1] + box[3]) / 2 + drop * height, side * (width + height) / 2)


def from_height(box: np.ndarray, points: np.ndarray, side: float, drop: float) -> np.ndarray:
    """The same by the height alone, which turning the head changes less."""
    height = box[3] - box[1]
    return square((box[0] + box[2]) / 2, (box[1] + box[3]) / 2 + drop * height, side * height)


def from_points(box: np.ndarray, points: np.ndarray, side: float, shift: float) -> np.ndarray:
    """A square around the point between eyes and mouth, by their distance; moved along the line from eyes to mouth."""
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    x, y = (eyes + mouth) / 2 + shift * down
    return square(x, y, side * float(max(np.hypot(*down), np.hypot(*(points[1] - points[0])))))


def from_reference(box: np.ndarray, points: np.ndarray, side: float, drop: float) -> np.ndarray:
    """A square fixed in the ArcFace chip's frame and brought to the photo: what turns and scales with the points."""
    matrix = geometry.similarity(geometry.ARCFACE_POINTS, points)
    centre = matrix[:, :2] @ np.array([56.0, 72.0 + 112 * drop]) + matrix[:, 2]
    return square(*centre, side * 112 * float(np.hypot(*matrix[:, 0][:2])))


#: Kinds of box: name -> (YuNet's box (4,), its points (5, 2), two numbers) -> a box for dlib; and the values tried.
KINDS: dict[str, tuple[Callable, tuple, tuple]] = {
    "box": (from_box, SIDES, DROPS),
    "height": (from_height, (0.72, 0.78, 0.84, 0.90, 0.96), DROPS),
    "eyes and mouth": (from_points, POINT_SIDES, POINT_SHIFTS),
    "similarity": (from_reference, (0.70, 0.78, 0.86, 0.94, 1.02), (-0.12, -0.08, -0.04, 0.0, 0.04)),
}


# -- boxes and embeddings --------------------------------------------------------------------------------------------


def _found(file: Path, models_dir: Path) -> tuple | None:
    """YuNet's box and points and HOG's box of the central face of a photo, where both find it."""
    image = images.decode(file.read_bytes())
    both = []
    for detector in ("yunet", "hog"):
        if detector not in _engines:
            _engines[detector] = make_engine(detector, "dlib", models_dir=models_dir)
        faces = _engines[detector].find(image)
        if not len(faces):
            return None
        both.append(faces.select([central(faces, image.width, image.height)]))
    yunet, hog = both
    if geometry.iou(hog.boxes[0], yunet.boxes)[0] < 0.2:
        return None
    return str(file), yunet.boxes[0], yunet.landmarks[0], hog.boxes[0]


def _describe(task: tuple[str, list[np.ndarray]], models_dir: Path) -> np.ndarray:
    """dlib's embedding of a photo by each of several boxes, float32 (n, 128); boxes of scheme "dlib5" are taken as they are."""
    file, boxes = task
    if "yunet" not in _engines:
        _engines["yunet"] = make_engine("yunet", "dlib", models_dir=models_dir)
    image = images.decode(Path(file).read_bytes())
    count = len(boxes)
    faces = Faces(np.array(boxes, float), np.ones(count), np.zeros((count, 5, 2), np.float32), "dlib5")
    return _engines["yunet"].embedder.embed(image.pixels, faces)


_engines: dict = {}


def _start() -> None:
    import cv2

    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(5)


# -- figures ---------------------------------------------------------------------------------------------------------


def accuracy(vectors: dict[str, np.ndarray], wanted: list, threshold: float | None = None) -> dict:
    """How well pairs are told apart by embeddings keyed ``"name/number"``; at the best threshold if none is given."""
    known = [(f"{a[0]}/{a[1]}", f"{b[0]}/{b[1]}", same) for a, b, same in wanted]
    known = [pair for pair in known if pair[0] in vectors and pair[1] in vectors]
    apart = np.array([np.linalg.norm(vectors[a] - vectors[b]) for a, b, _ in known])
    same = np.array([same for *_, same in known])
    best = threshold or max(np.unique(apart), key=lambda limit: np.mean((apart <= limit) == same))
    strangers, own = np.sort(apart[~same]), apart[same]
    spread = np.sqrt((own.var() + strangers.var()) / 2)
    return {
        "pairs": len(known),
        "threshold": float(best),
        "right": float(np.mean((apart <= best) == same)),
        "TAR at FMR 1e-2": float(np.mean(own < strangers[int(0.01 * len(strangers))])),
        "d'": float((strangers.mean() - own.mean()) / spread),
    }


def key(file: str) -> str:
    name, _, number = Path(file).stem.rpartition("_")
    return f"{name}/{int(number)}"


def mappings(coarse: bool) -> Iterator[tuple[str, float | None, float | None, Callable]]:
    """Kind, its two numbers, and what makes a box of (YuNet's box, points, HOG's box)."""
    yield "HOG's own box", None, None, lambda box, points, hog: hog
    yield "now", geometry.DLIB_SIDE, geometry.DLIB_DROP, lambda box, points, hog: geometry.dlib_boxes(box[None])[0]
    for name, (make, firsts, seconds) in KINDS.items():
        step = 2 if coarse else 1
        for first, second in itertools.product(firsts[::step], seconds[::step]):
            yield name, first, second, lambda box, points, hog, m=make, a=first, b=second: m(box, points, a, b)


def measure(options) -> tuple[list[dict], list[dict], np.ndarray]:
    import loky

    train, test = lfw.pairs(options.data, "train"), lfw.pairs(options.data, "test")
    limit = 40 if options.quick else options.pairs
    if limit:
        train, test = [*train[:limit], *train[-limit:]], [*test[:limit], *test[-limit:]]
    wanted = sorted({person for a, b, _ in [*train, *test] for person in (a, b)})
    folder = report.need(options.data, "lfw-dev", "images")
    files = [folder / name / f"{name}_{number:04d}.jpg" for name, number in wanted]
    models_dir = Settings.from_environment().models_dir
    tried = list(mappings(options.quick or options.coarse))
    with loky.ProcessPoolExecutor(report.cores(), timeout=60, initializer=_start) as pool:
        looked = pool.map(functools.partial(_found, models_dir=models_dir), files, chunksize=10)
        found = [each for each in looked if each is not None]
        tasks = [(file, [make(box, points, hog) for *_, make in tried]) for file, box, points, hog in found]
        described = list(pool.map(functools.partial(_describe, models_dir=models_dir), tasks, chunksize=4))
    vectors = np.array(described)  # (photos, mappings, 128)
    keys = [key(file) for file, *_ in found]
    rows, checked = [], []
    for i, (kind, first, second, _) in enumerate(tried):
        row = {"box": kind, "side": first, "shift": second, **accuracy(dict(zip(keys, vectors[:, i], strict=True)), train)}
        row["loss"] = float(np.linalg.norm(vectors[:, i] - vectors[:, 0], axis=1).mean())
        rows.append({**row, "ratio": row["d'"] / rows[0]["d'"] if rows else 1.0})
    places = {kind: [i for i, row in enumerate(rows) if row["box"] == kind] for kind in KINDS}
    best = [0, 1, *(max(places[kind], key=lambda i: rows[i]["d'"]) for kind in KINDS)]
    for i in best:
        found_there = accuracy(dict(zip(keys, vectors[:, i], strict=True)), test, rows[i]["threshold"])
        checked.append({"box": rows[i]["box"], "side": rows[i]["side"], "shift": rows[i]["shift"], **found_there})
    for row in checked:
        row["ratio"] = row["d'"] / checked[0]["d'"]
    return rows, checked, dlib_points_in_chip(found, options.quick)


def dlib_points_in_chip(found: list[tuple], quick: bool) -> np.ndarray:
    """Mean of dlib's five points, (5, 2), in chips that were aligned by YuNet's points; dlib's by the box in use now."""
    from recognizer.engines.dlib import native

    placed = []
    for file, box, points, _ in found[: 50 if quick else None]:
        faces = Faces(box[None], np.ones(1), points[None], "yunet5")
        shape = native.shapes(images.decode(Path(file).read_bytes()).pixels, faces)[0]
        matrix = geometry.similarity(points, geometry.ARCFACE_POINTS)
        placed.append(np.array([(part.x, part.y) for part in shape.parts()]) @ matrix[:, :2].T + matrix[:, 2])
    return np.mean(placed, axis=0)


def main() -> None:
    parser = report.parser(__doc__, data=True)
    parser.add_argument("--pairs", metavar="N", type=int, help="only so many pairs of the same and of different people")
    parser.add_argument("--coarse", action="store_true", help="every second value of each number")
    options = parser.parse_args()
    rows, checked, points = measure(options)
    kinds = [*dict.fromkeys(row["box"] for row in rows)]
    shown = [row for kind in kinds for row in sorted((r for r in rows if r["box"] == kind), key=lambda r: -r["d'"])[:6]]
    report.table(shown, "Train pairs, the six best of each kind; ratio is d' over that of HOG's own box")
    report.table(checked, "Test pairs, at the threshold that was best on the train pairs")
    print("\ndlib's five points in the ArcFace chip, mean:", np.round(points, 2).tolist())
    print("in geometry.py now:                          ", geometry.ARCFACE_DLIB_POINTS.tolist())
    report.save(options, train=rows, test=checked, dlib_points=points.tolist())


if __name__ == "__main__":
    main()
