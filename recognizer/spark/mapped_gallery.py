"""A gallery in files that workers map into memory: one copy for all workers of a machine, and none of their own."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from recognizer.core.errors import EngineMismatch
from recognizer.core.types import Candidate, Template
from recognizer.galleries import cohort, matching
from recognizer.galleries.contract import Gallery
from recognizer.spark.spark_session import distributed

#: Probes that are compared with a block of templates at once.
_PROBES = 128


@dataclass(frozen=True, slots=True)
class GalleryFiles:
    """The files of a gallery: what is sent to workers.

    Attributes
    ----------
    vectors, owners, about : str
        Paths on the driver: float32 (n, dim) and int32 (n,) as NumPy files, and JSON with the engine and the subjects' names.
    mark : str
        Identifies the content.
    """

    vectors: str
    owners: str
    about: str
    mark: str

    @property
    def paths(self) -> tuple[Path, ...]:
        return Path(self.vectors), Path(self.owners), Path(self.about)


def write_gallery(gallery: Gallery, folder: Path) -> GalleryFiles:
    """Write the templates of a gallery as files that a worker can map.

    Parameters
    ----------
    folder : Path
        Exists; readable by this user only, since templates are personal data.

    Raises
    ------
    OSError
    """
    names = list(gallery.subjects())
    count = len(gallery)
    stem = secrets.token_hex(8)
    paths = [folder / f"{stem}-{what}" for what in ("vectors.npy", "owners.npy", "about.json")]
    vectors = np.lib.format.open_memmap(paths[0], "w+", np.float32, (max(1, count), gallery.dim))
    owners = np.zeros(max(1, count), np.int32)
    content, row = hashlib.sha256(gallery.engine.encode()), 0
    standing, cohort_rows = set(cohort.members(names)), []
    for number, name in enumerate(names):
        templates = gallery.templates(name)[: count - row]  # somebody may be enrolled meanwhile
        content.update(f"\0{name}\0".encode())
        if templates and name in standing:
            cohort_rows.append(row + min(range(len(templates)), key=lambda i: templates[i].photo))
        for template in templates:
            vectors[row] = template.embedding.require(gallery.engine)
            owners[row] = number
            content.update(vectors[row].tobytes())
            row += 1
    vectors.flush()
    np.save(paths[1], owners)
    about = {"engine": gallery.engine, "dim": gallery.dim, "count": row, "names": names, "cohort": cohort_rows}
    paths[2].write_text(json.dumps(about), "utf-8")
    return GalleryFiles(str(paths[0]), str(paths[1]), str(paths[2]), content.hexdigest()[:32])


class MappedGallery:
    """The templates in the files of `write_gallery`, for searching only; see `contract.Gallery`."""

    def __init__(self, files: GalleryFiles):
        vectors, owners, about = map(distributed, files.paths)
        told = json.loads(about.read_text("utf-8"))
        self.engine: str = told["engine"]
        self.dim: int = told["dim"]
        self._names: list[str] = told["names"]
        self._vectors = np.load(vectors, mmap_mode="r")[: told["count"]].view(np.ndarray)
        self._owners = np.load(owners)[: told["count"]]
        self._cohort = self._vectors[told["cohort"]]
        self._squares = np.einsum("ij,ij->i", self._vectors, self._vectors)

    generation = 0

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, probes: np.ndarray, k: int = 1) -> list[list[Candidate]]:
        found: list[list[Candidate]] = []
        for start in range(0, len(probes), _PROBES):
            block = np.ascontiguousarray(probes[start : start + _PROBES], np.float32)
            for nearest in matching.nearest_rows(block, self._vectors, self._squares, self._owners, k):
                found.append([Candidate(self._names[self._owners[row]], distance) for row, distance in nearest])
        return found

    def subjects(self) -> dict[str, int]:
        counts = np.bincount(self._owners, minlength=len(self._names))
        return dict(zip(self._names, counts.tolist(), strict=True))

    def cohort(self, probes: np.ndarray) -> np.ndarray:
        return matching.distances_between(np.ascontiguousarray(probes, np.float32).reshape(-1, self.dim), self._cohort)

    def templates(self, subject: str) -> list[Template]:
        raise NotImplementedError("a mapped gallery is for searching")

    def templates_of(self, subjects: Iterable[str]) -> dict[str, list[Template]]:
        raise NotImplementedError("a mapped gallery is for searching")

    def add(self, templates: Sequence[Template]) -> None:
        raise NotImplementedError("a mapped gallery is for searching")

    def remove(self, subject: str, photo: str | None = None) -> int:
        raise NotImplementedError("a mapped gallery is for searching")

    def rename(self, old: str, new: str) -> int:
        raise NotImplementedError("a mapped gallery is for searching")


@lru_cache(maxsize=1)
def mapped(files: GalleryFiles) -> MappedGallery:
    """This process's gallery of some files."""
    return MappedGallery(files)


def check_engine(engine: str, found: Sequence[str | None]) -> None:
    """Check that all faces were described by the engine of a gallery.

    Raises
    ------
    EngineMismatch
    """
    others = sorted({str(each) for each in found if each != engine})
    if others:
        raise EngineMismatch(
            f"the gallery has templates of {engine}, the faces have some of {', '.join(others)}: encode them again"
        )
