"""LFW's development view for the measuring scripts: photos, people, pairs, and vectors made once and kept.

The photos' subject is the face nearest to the photo's centre, as LFW defines it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import report

from recognizer.core.settings import Settings
from recognizer.engines import EMBEDDERS, central, make_engine
from recognizer.photos import images

#: People whom the view has under two names, and photos that show somebody else than they say, as seen by eye among the 48
#: nearest pairs of "different" people of the engine yunet+dlib+sface, and among those whose names share words. Official pairs
#: and galleries keep the names that the files have.
ALIASES = {
    "Choi_Sung-hong": "Sung_Hong_Choi",
    "Hasan_Wirayuda": "Hassan_Wirajuda",
    "Joseph_Blatter": "Sepp_Blatter",
    "Nan_Wang": "Wang_Nan",
}
MISTAKEN = {
    ("Andrew_Caldecott", 1): "Andrew_Gilligan",
    ("Jason_Kapono", 1): "Ray_Young",
    ("Recep_Tayyip_Erdogan", 4): "Abdullah_Gul",
}
#: Photos between two writes of the file that vectors are kept in.
PART = 500


def shown(name: str, number: int) -> str:
    """Who is on a photo: whom its name says, but for `ALIASES` and `MISTAKEN`."""
    return MISTAKEN.get((name, number), ALIASES.get(name, name))


def photos(data: Path) -> list[Path]:
    """Every photo, sorted."""
    return sorted(report.need(data, "lfw-dev", "images").glob("*/*.jpg"))


@dataclass(frozen=True)
class Vectors:
    """The photos in which a face was found.

    Attributes
    ----------
    names : ndarray of str, shape (n,)
        Whose face it is, as the file says.
    numbers : ndarray of int, shape (n,)
        Which of this person's photos it is.
    vectors : ndarray of float32, shape (n, dim)
    lost : int
        Photos without a face that was found.
    """

    names: np.ndarray
    numbers: np.ndarray
    vectors: np.ndarray
    lost: int

    @property
    def people(self) -> np.ndarray:
        """A number for whoever is `shown`, int (n,): the same for the same person."""
        people = [shown(str(name), int(number)) for name, number in zip(self.names, self.numbers, strict=True)]
        return np.unique(people, return_inverse=True)[1]

    def part(self, which) -> Vectors:
        return Vectors(self.names[which], self.numbers[which], self.vectors[which], self.lost)


def pairs(data: Path, view: str) -> list[tuple[tuple[str, int], tuple[str, int], bool]]:
    """The official pairs of ``"train"`` or ``"test"``: (name, number), (name, number), whether it is one person."""
    lines = report.need(data, "lfw-dev", f"pairs-dev-{view}.txt").read_text().splitlines()[1:]
    found = []
    for parts in (line.split("\t") for line in lines):
        if len(parts) == 3:
            found.append(((parts[0], int(parts[1])), (parts[0], int(parts[2])), True))
        elif len(parts) == 4:
            found.append(((parts[0], int(parts[1])), (parts[2], int(parts[3])), False))
    return found


def pair_distances(vectors: Vectors, wanted: list) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each pair and whether it is one person; infinitely far apart where a face was not found.

    Pairs with people who are not among the vectors at all are left out.
    """
    wanted = [pair for pair in wanted if {pair[0][0], pair[1][0]} <= set(vectors.names.tolist())]
    row = {(str(name), int(number)): i for i, (name, number) in enumerate(zip(vectors.names, vectors.numbers, strict=True))}
    distances = [
        np.linalg.norm(vectors.vectors[row[a]] - vectors.vectors[row[b]]) if a in row and b in row else np.inf
        for a, b, _ in wanted
    ]
    return np.array(distances), np.array([same for *_, same in wanted])


def encode(
    data: Path, work: Path, detector: str, limit: int | None = None, embedders: Sequence[str] = tuple(EMBEDDERS)
) -> dict[str, Vectors]:
    """Vectors of all photos by `detector` and each embedder, keyed ``"detector+embedder"``.

    With `limit`, of so many photos only, of people in the test pairs. They are kept in `work`, in files that carry the
    engines' ids and the photos' number, and made only where they are not there yet; an interrupted run goes on where it was.
    """
    files = photos(data)
    if limit:
        chosen: dict[str, None] = {}
        for a, b, _ in pairs(data, "test"):
            if len(chosen) < limit // 2:
                chosen.update({a[0]: None, b[0]: None})
        files = [file for name in sorted(chosen) for file in files if file.parent.name == name][:limit]
    models_dir = Settings.from_environment().models_dir
    ids = [make_engine(detector, embedder, models_dir=models_dir).info.id for embedder in embedders]
    kept = work / "lfw" / f"{'_'.join(ids).replace('/', '-')}_{len(files)}"
    kept.mkdir(parents=True, exist_ok=True)
    parts = [files[start : start + PART] for start in range(0, len(files), PART)]
    missing = [(i, part) for i, part in enumerate(parts) if not (kept / f"{i}.npz").exists()]
    if missing:
        _encode_parts(missing, kept, detector, models_dir, embedders)
    stored = [np.load(kept / f"{i}.npz") for i in range(len(parts))]
    found = np.concatenate([part["found"] for part in stored])
    names = np.array([file.parent.name for file in files])[found]
    numbers = np.array([int(file.stem[-4:]) for file in files])[found]
    return {
        f"{detector}+{embedder}": Vectors(
            names, numbers, np.concatenate([part[embedder] for part in stored])[found], int((~found).sum())
        )
        for embedder in embedders
    }


def _encode_parts(missing: list, kept: Path, detector: str, models_dir: Path, embedders: Sequence[str]) -> None:
    import loky

    given = detector, models_dir, embedders
    with loky.ProcessPoolExecutor(report.cores(), timeout=60, initializer=_start, initargs=given) as pool:
        for done, (i, part) in enumerate(missing):
            rows = list(pool.map(_describe, part, chunksize=10))
            arrays = {name: np.array([row[name] for row in rows]) for name in rows[0]}
            temporary = kept / f"{i}.part.npz"
            np.savez(temporary, **arrays)
            os.replace(temporary, kept / f"{i}.npz")
            print(f"{detector}: {done + 1} of {len(missing)} parts encoded", file=sys.stderr, flush=True)


_engines = {}


def _start(detector: str, models_dir: Path, embedders: Sequence[str]) -> None:
    import cv2

    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(5)
    _engines.update({name: make_engine(detector, name, models_dir=models_dir) for name in embedders})


def _describe(file: Path) -> dict:
    image = images.decode(file.read_bytes())
    engines = list(_engines.items())
    faces = engines[0][1].find(image)
    if not len(faces):
        return {"found": False, **{name: np.zeros(engine.info.dim, np.float32) for name, engine in engines}}
    faces = faces.select([central(faces, image.width, image.height)])
    return {"found": True, **{name: engine.describe(image, faces)[0] for name, engine in engines}}
