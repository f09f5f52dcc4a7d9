"""One photo from the bytes of its file to names, against face_recognition's own calls.

    python benchmarks/pipeline.py [--data DIR] [--quick] [--json FILE]

Every engine and face_recognition take turns on the same bytes, and each searches 1,000 people: the one on the photo and
999 drawn at random as far from each other as strangers are. `cpu` is processor time of all threads. RECOGNIZER_PROVIDER chooses
what the networks run on, as for the server.
"""

from __future__ import annotations

import io

import numpy as np
import report
from PIL import Image as pillow

from recognizer.core.settings import Settings
from recognizer.core.types import Embedding, Template
from recognizer.engines import Engine, make_engine
from recognizer.galleries import matching, thresholds
from recognizer.galleries.memory import MemoryGallery
from recognizer.photos import images

ENGINES = (("yunet", "dlib+sface"), ("yunet", "dlib"), ("yunet", "sface"), ("hog", "dlib"))
PEOPLE = 1000
NAME = "the one"


def photos(data) -> dict[str, bytes]:
    """Files of the sizes that cameras give, and one of 12 megapixels made from a smaller one."""
    found = {size: report.need(data, "people", f"obama-{size}.jpg").read_bytes() for size in ("240p", "480p", "720p", "1080p")}
    with pillow.open(report.need(data, "people", "obama.jpg")) as small:
        width = round(small.height * 3 / 4)
        left = (small.width - width) // 2
        large = small.convert("RGB").resize((3000, 4000), pillow.Resampling.BICUBIC, (left, 0, left + width, small.height))
    file = io.BytesIO()
    large.save(file, "jpeg", quality=90)
    return {**found, "12 MP": file.getvalue()}


def strangers(known: np.ndarray) -> np.ndarray:
    """Vectors of as many people who are not `known`, (PEOPLE - 1, dim), of the same length as its."""
    drawn = np.random.default_rng(1).normal(size=(PEOPLE - 1, len(known)))
    return (drawn * np.linalg.norm(known) / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


class Ours:
    """What the service does with one photo, without its queue."""

    def __init__(self, engine: Engine, known: bytes):
        self.engine = engine
        points = engine.info.calibration
        self._curve = thresholds.Curve(points.distances, points.rates)
        self._gallery = MemoryGallery(engine.info.id, engine.info.dim)
        vector = self._vectors(known)[0]
        rows = [vector, *strangers(vector)]
        names = [NAME, *(f"stranger {i}" for i in range(1, PEOPLE))]
        self._gallery.add([Template(n, n, Embedding(row, engine.info.id)) for n, row in zip(names, rows, strict=True)])
        self._threshold = self._curve.distance(thresholds.rate_per_comparison(0.01, PEOPLE))

    def _vectors(self, data: bytes) -> np.ndarray:
        image = images.decode(data, long_side=self.engine.decode_size)
        return self.engine.describe(image, self.engine.find(image))

    def names(self, data: bytes) -> list[str | None]:
        found = self._gallery.search(self._vectors(data), 1)
        return [matching.decide(candidates, self._threshold, self._curve).subject for candidates in found]


class Theirs:
    """face_recognition's calls, in the order of its README's examples."""

    def __init__(self, known: bytes):
        import face_recognition

        self._library = face_recognition
        vector = face_recognition.face_encodings(face_recognition.load_image_file(io.BytesIO(known)))[0]
        self._known = [vector, *strangers(vector).astype(np.float64)]
        self._names = [NAME, *(f"stranger {i}" for i in range(1, PEOPLE))]

    def names(self, data: bytes) -> list[str | None]:
        picture = self._library.load_image_file(io.BytesIO(data))
        places = self._library.face_locations(picture)
        found = []
        for encoding in self._library.face_encodings(picture, places):
            matches = self._library.compare_faces(self._known, encoding)
            nearest = int(np.argmin(self._library.face_distance(self._known, encoding)))
            found.append(self._names[nearest] if matches[nearest] else None)
        return found


def compare(data, quick: bool) -> list[dict]:
    settings = Settings.from_environment()
    known = report.need(data, "people", "obama2.jpg").read_bytes()
    sides: dict[str, Ours | Theirs] = {"face_recognition": Theirs(known)}
    for detector, embedder in ENGINES:
        engine = make_engine(
            detector,
            embedder,
            models_dir=settings.models_dir,
            detect_size_large=settings.detect_size_large,
            provider=settings.provider,
        )
        sides[f"{detector}+{embedder}"] = Ours(engine, known)
    rows = []
    for size, photo in photos(data).items():
        if quick and size in ("240p", "720p"):
            continue
        names = {side: who.names(photo) for side, who in sides.items()}
        calls = {side: lambda who=who, photo=photo: who.names(photo) for side, who in sides.items()}
        times = report.alternate(calls, 2 if quick else 5 if size == "12 MP" else 11)
        theirs = times["face_recognition"]
        for side, ours in times.items():
            rows.append(
                {
                    "photo": size,
                    "engine": side,
                    "names": ", ".join(str(name) for name in names[side]),
                    "wall ms": ours["wall"],
                    "cpu ms": ours["cpu"],
                    "ratio": theirs["wall"] / ours["wall"],
                    "cpu ratio": theirs["cpu"] / ours["cpu"],
                }
            )
    return rows


def main() -> None:
    options = report.parser(__doc__, data=True).parse_args()
    rows = compare(options.data, options.quick)
    report.table(rows, "File to names, median milliseconds; ratios are face_recognition's time over ours")
    report.save(options, pipeline=rows)


if __name__ == "__main__":
    main()
