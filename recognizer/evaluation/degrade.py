"""Whether strangers stay strangers on damaged photos: one table of rates for every kind and strength of `degradations`.

Each photo is damaged in every way, and its face found and described again. Compared are copies that are damaged alike (both
sides), and a damaged copy with an undamaged photo (one side). `evaluate --degrade` and benchmarks/degraded.py print the table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recognizer.core.errors import ImageError, InvalidParameter
from recognizer.core.types import Face
from recognizer.engines import Calibration, Engine, central
from recognizer.evaluation.degradations import PLAIN, degradations
from recognizer.evaluation.people_folders import Photo
from recognizer.galleries import cohort
from recognizer.galleries.thresholds import Curve, rate_per_comparison
from recognizer.photos import images

#: Numbers of enrolled templates for which the share of named strangers is given.
ENROLLED = (10, 100, 1000)
#: Cohorts that are drawn for each stranger.
_DRAWS = 4
#: A face that lies further from where the damaged one is than this share of its box is another one.
_ELSEWHERE = 0.75


@dataclass(frozen=True)
class Damage:
    """How photos were damaged.

    Attributes
    ----------
    name, kind : str
    strength : float
        0 for undamaged photos.
    """

    name: str
    kind: str
    strength: float


@dataclass(frozen=True)
class RateFactors:
    """Of each face, see `Comparability`: ndarrays of float, shape (n,)."""

    picture: np.ndarray
    alike: np.ndarray
    crowded: np.ndarray

    @property
    def usual(self) -> np.ndarray:
        """See `Comparability.rate_factor`; float, shape (n,)."""
        return np.maximum(self.picture, self.crowded)


@dataclass(frozen=True)
class DamagedFaces:
    """The faces of one kind and strength, in the order of the photos.

    Attributes
    ----------
    damage : Damage
    people : ndarray of int, shape (n,)
    found, comparable : ndarray of bool, shape (n,)
    vectors : ndarray of float32, shape (n, dim)
        Zero where no face was found.
    factors : RateFactors
    """

    damage: Damage
    people: np.ndarray
    found: np.ndarray
    comparable: np.ndarray
    vectors: np.ndarray
    factors: RateFactors


def sample(photos: Sequence[Photo], most: int, seed: int = 0) -> list[Photo]:
    """At most so many photos, two of each person; people with two or more come first, in random order."""
    of: dict[str, list[Photo]] = {}
    for photo in photos:
        of.setdefault(photo.person, []).append(photo)
    people = list(of.values())
    np.random.default_rng(seed).shuffle(people)
    people.sort(key=lambda each: len(each) < 2)
    return [photo for person in people for photo in person[:2]][:most]


def look(
    engine: Engine,
    photos: Sequence[Photo],
    max_bytes: int,
    progress: Callable[[int, int], None] = lambda *_: None,
    kinds: Collection[str] = (),
) -> list[DamagedFaces]:
    """Damage every photo in every way, or in the named `kinds` only, and describe its face again; undamaged faces first.

    Raises
    ------
    InvalidParameter
        There is no such kind, or there are fewer than two people on whose photos a face was found.
    """
    numbers: dict[str, int] = {}
    rows: dict[str, list[tuple[Any, ...]]] = {}
    ways = list(degradations(kinds))
    known = {PLAIN: Damage(PLAIN, PLAIN, 0.0)}
    for done, photo in enumerate(photos):
        plain = _plain(engine, photo, max_bytes)
        if plain is not None:
            pixels, face = plain
            person = numbers.setdefault(photo.person, len(numbers))
            rows.setdefault(PLAIN, []).append((person, *_described(engine, pixels, face.box.centre)))
            for each, strength in ways:
                name = each.name(strength)
                known[name] = Damage(name, each.kind, strength)
                rows.setdefault(name, []).append((person, *_described(engine, *each.apply(pixels, face, strength))))
        progress(done + 1, len(photos))
    if len(numbers) < 2:
        raise InvalidParameter("expected photos of at least two people with a face on them")
    found = []
    for name, part in rows.items():
        people, seen, comparable, vectors, *factors = (np.array(column) for column in zip(*part, strict=True))
        found.append(DamagedFaces(known[name], people, seen, comparable, vectors, RateFactors(*factors)))
    return found


def _plain(engine: Engine, photo: Photo, max_bytes: int) -> tuple[np.ndarray, Face] | None:
    """The pixels of a photo and its central face; None where there is none."""
    try:
        image = images.read_file(photo.path, max_bytes=max_bytes)
        pixels = images.decode(image, max_bytes=max_bytes).pixels
    except (ImageError, OSError):
        return None
    faces = engine.find(images.from_array(pixels))
    return (pixels, faces[central(faces, pixels.shape[1], pixels.shape[0])]) if len(faces) else None


def _described(
    engine: Engine, pixels: np.ndarray, centre: tuple[float, float]
) -> tuple[bool, bool, np.ndarray, float, float, float]:
    """Whether the face around `centre` is found and comparable, its embedding, and the factors of `DamagedFaces`."""
    image = images.from_array(pixels)
    faces, image = engine.find_with_image(image)
    if len(faces):
        middles = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
        apart = np.hypot(*(middles - centre).T)
        nearest = int(apart.argmin())
        if apart[nearest] <= _ELSEWHERE * max(faces[nearest].box.width, faces[nearest].box.height):
            one = faces.select([nearest])
            described = engine.described_all([(image, one)])[0]
            judged = engine.judged(image, one, described)
            verdict = judged.verdicts[0]
            factors = verdict.picture_factor, verdict.alike_factor, verdict.crowded_factor
            return True, verdict.comparable, judged.vectors[0], *factors
    return False, False, np.zeros(engine.info.dim, np.float32), 1.0, 1.0, 1.0


def measure(faces: Sequence[DamagedFaces], engine: Engine, stranger_rate: float = 0.01) -> list[dict[str, Any]]:
    """One row of rates per kind and strength; the first is that of undamaged photos.

    Returns
    -------
    list of dict
        ``kind``, ``strength``, ``name``; ``photos``, and the share of them that is ``unanswered``, because no face was found or
        it is not comparable (``withheld``). ``pairs`` of different people, and the FMR at the engine's threshold for
        verification: ``both`` sides damaged, ``one`` side damaged; ``both_before`` and ``one_before`` are what they were if
        faces that are not comparable were compared. ``fnmr`` of damaged photos against undamaged ones of the same person, other
        photos only; None without such photos. ``fpir``: enrolled templates -> share of strangers who are named, for
        galleries of undamaged photos and (``fpir_both``) of photos that are damaged alike. Galleries consist of
        comparable photos, since others are not enrolled.
    """
    points = engine.info.calibration
    curve = Curve(points.distances, points.rates)
    return [_row(each, faces[0], curve, points, stranger_rate) for each in faces]


def _row(damaged: DamagedFaces, plain: DamagedFaces, curve: Curve, points: Calibration, stranger_rate: float) -> dict[str, Any]:
    threshold = points.threshold
    people = damaged.people[:, None] != plain.people[None]
    row: dict[str, Any] = {"kind": damaged.damage.kind, "strength": damaged.damage.strength, "name": damaged.damage.name}
    row |= {"photos": len(damaged.people), "unanswered": float(1 - damaged.comparable.mean())}
    row |= {"withheld": float((damaged.found & ~damaged.comparable).mean()), "pairs": int(np.triu(people).sum())}
    for side, other in (("both", damaged), ("one", plain)):
        apart = _distances(damaged.vectors, other.vectors)
        usable = damaged.comparable[:, None] & other.comparable[None]
        found = damaged.found[:, None] & other.found[None]
        alike = damaged.factors.alike, other.factors.alike
        crowded = damaged.factors.crowded, other.factors.crowded
        limits = limits_of_two(alike, crowded, curve, curve.rate(threshold))
        row[side] = float(((apart <= limits) & usable & people).sum() / max(1, people.sum()))
        row[f"{side}_before"] = float(((apart <= threshold) & found & people).sum() / max(1, people.sum()))
        shares = {}
        for size in ENROLLED:
            limit = limits_of(damaged.factors.usual, curve, stranger_rate, size)
            shares[str(size)] = named(apart, usable & people, limit, size, points)
        row["fpir" if side == "one" else "fpir_both"] = shares
    same = ~people & ~np.eye(len(plain.people), dtype=bool)
    compared = same & damaged.comparable[:, None] & plain.comparable[None]
    row["fnmr"] = float((apart > limits)[compared].mean()) if compared.any() else None
    return row


def limits_of(factors: np.ndarray, curve: Curve, rate: float, size: int = 1) -> np.ndarray:
    """The threshold for each rate factor: for a false-match rate, or a rate of strangers among `size` templates."""
    values, places = np.unique(factors, return_inverse=True)
    found = np.array([curve.distance(rate_per_comparison(rate / factor, size)) for factor in values])
    limits: np.ndarray = found[places].reshape(factors.shape)
    return limits


def limits_of_two(
    alike: tuple[np.ndarray, np.ndarray], crowded: tuple[np.ndarray, np.ndarray], curve: Curve, rate: float
) -> np.ndarray:
    """The threshold of verification for each face of one kind with each of another, shape (m, n); see `remarks.factor_of_two`.

    Parameters
    ----------
    alike, crowded : two ndarrays of float, shapes (m,) and (n,)
        `Comparability.alike_factor` and `crowded_factor` of both.
    """
    pictures, crowds = ([limits_of(each, curve, rate) for each in both] for both in (alike, crowded))
    limits: np.ndarray = np.maximum(pictures[0][:, None], pictures[1][None])
    return np.minimum(limits, np.minimum(crowds[0][:, None], crowds[1][None]))


def named(apart: np.ndarray, usable: np.ndarray, limits: np.ndarray, size: int, calibration: Calibration) -> float:
    """The share of strangers who would be named among `size` templates, each of another subject.

    Parameters
    ----------
    apart : ndarray of float, shape (m, n)
        Distance of each stranger from each template.
    usable : ndarray of bool, shape (m, n)
        Whether both are comparable, and show different people: such templates make the galleries.
    limits : ndarray of float, shape (m,)
        Largest distance of a name for each stranger, before it is lowered for a cohort that is near.
    size : int
    calibration : Calibration

    Notes
    -----
    Cohorts are drawn from the templates, as many times as `_DRAWS`. A stranger's share of templates within the limit is
    measured; galleries are taken as drawn independently from such templates.
    """
    random, columns, chances = np.random.default_rng(size), np.arange(apart.shape[1]), np.zeros(len(apart))
    for _ in range(_DRAWS):
        random.shuffle(columns)
        for i in np.flatnonzero(usable.any(axis=1)):
            there = columns[usable[i, columns]]
            drawn = apart[i, there[: min(size, cohort.SIZE)]]
            sizes, usual = calibration.cohort_sizes, calibration.cohort_distances
            limit = limits[i] - cohort.lowerings(drawn[None], sizes, usual, calibration.threshold)[0]
            chances[i] += 1 - (1 - (apart[i, there] <= limit).mean()) ** size
    return float(chances.mean() / _DRAWS)


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    distances: np.ndarray = np.sqrt(np.maximum(0, squares))
    return distances
