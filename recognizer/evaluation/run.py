"""From files to a report: the functions behind `recognizer evaluate`, which return plain data.

Reports contain names of files, never their folders.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from recognizer import __version__
from recognizer.attributes.reader import AttributeReader
from recognizer.engines import make_engine
from recognizer.enrolment.bulk import BulkSettings
from recognizer.enrolment.cache import EncodingsCache
from recognizer.evaluation import attribute_metrics, degrade, detection, drift, identification, object_metrics, verification
from recognizer.evaluation.boxes import read_boxes
from recognizer.evaluation.encode import Vectors, encode
from recognizer.evaluation.identification import Photos, Plan
from recognizer.evaluation.pairs import read_pairs
from recognizer.evaluation.people_folders import Photo, count_loose, read_people
from recognizer.evaluation.yolo import read_labelled_photos
from recognizer.galleries import cohort
from recognizer.galleries.thresholds import Curve, rate_per_comparison
from recognizer.photos.objects import NAME as OBJECT_DETECTOR
from recognizer.photos.objects import ObjectDetector

_PACKAGES = ("numpy", "onnxruntime", "openvino", "opencv-python-headless", "dlib", "dlib-bin", "simplejpeg", "pillow")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Bench:
    """The engine that is evaluated, and how.

    Attributes
    ----------
    source : BulkSettings
    cache : EncodingsCache
    stranger_rate : float
        The probability that a stranger is given any name (FPIR), from which the thresholds of identification follow.
    fixed : float or None
        A threshold to use instead, for identification and verification.
    progress : callable
        Called with the number of photos that are done, and their total number.
    """

    source: BulkSettings
    cache: EncodingsCache
    stranger_rate: float = 0.01
    fixed: float | None = None
    progress: Progress = lambda *_: None

    @property
    def curve(self) -> Curve:
        """The engine's calibration."""
        calibration = self.source.engine.info.calibration
        return Curve(calibration.distances, calibration.rates)

    def threshold(self, templates: int) -> float:
        """The largest distance of a match in a gallery of this number of templates."""
        if self.fixed is not None:
            return self.fixed
        return self.curve.distance(rate_per_comparison(self.stranger_rate, templates))

    def lowerings(self, vectors: np.ndarray, apart: np.ndarray) -> np.ndarray:
        """By how much the threshold of each probe is lowered, by its embedding and its distances (m, c) from a cohort."""
        if self.fixed is not None:
            return identification.no_lowerings(vectors, apart)
        points = self.source.engine.info.calibration
        return self.source.engine.crowded(vectors) + cohort.lowerings(
            apart, points.cohort_sizes, points.cohort_distances, points.threshold
        )

    def encode(self, paths: Sequence[Path]) -> Vectors:
        """See `encode.encode`."""
        return encode(paths, self.source, self.cache, self.progress)


def about(bench: Bench) -> dict[str, Any]:
    """The beginning of every report: engine, settings, versions, date."""
    engine, calibration = bench.source.engine, bench.source.engine.info.calibration
    return {
        "engine": engine.info.id,
        "detector": engine.detector.name,
        "embedder": engine.embedder.name,
        "provider": bench.source.provider,
        "calibration": {"data_set": calibration.data_set, "date": calibration.date},
        "detect_size": engine.sizes.first,
        "detect_size_large": engine.sizes.large,
        "min_face": engine.min_face,
        "date": date.today().isoformat(),
        "versions": _versions(),
    }


def about_objects() -> dict[str, Any]:
    """`about` for object detection, which does not use an engine."""
    return {"engine": OBJECT_DETECTOR, "date": date.today().isoformat(), "versions": _versions()}


def _versions() -> dict[str, str]:
    versions = {"recognizer": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def verify(bench: Bench, pairs: Path, folder: Path) -> dict[str, Any]:
    """See `verification.measure`.

    Raises
    ------
    InvalidParameter
        See `pairs.read_pairs`.
    """
    read = read_pairs(pairs, folder)
    found = bench.encode(read.photos)
    threshold = bench.source.engine.info.calibration.threshold if bench.fixed is None else bench.fixed
    report = verification.measure(verification.compare(read, found), threshold, bench.curve)
    data = {"pairs_file": Path(pairs).name, "images": Path(folder).name, "subject": bench.source.subject}
    return {**data, **report, "photos": len(read.photos), "photos_lost": _lost(read.photos, found, folder)}


def identify(bench: Bench, gallery: Path, probes: Path, plan: Plan) -> dict[str, Any]:
    """See `identification.measure`; probes that are identical to a photo of the gallery are ignored.

    Raises
    ------
    InvalidParameter
        See `people_folders.read_people`.
    """
    enrolled, searched = read_people(gallery), read_people(probes)
    found = bench.encode([photo.path for photo in (*enrolled, *searched)])
    everything = _photos([*enrolled, *searched], found)
    parts = slice(0, len(enrolled)), slice(len(enrolled), None)
    in_gallery = set(found.photos[parts[0]])
    new = np.array([photo not in in_gallery for photo in found.photos[parts[1]]], bool)
    mine, theirs = everything.select(parts[0]), everything.select(parts[1])
    report = identification.measure(mine, theirs.select(new), bench.threshold, plan, lowerings=bench.lowerings)
    return {
        "gallery": Path(gallery).name,
        "probes": Path(probes).name,
        **_setting(bench),
        **report,
        "probes_also_enrolled": int((~new).sum()),
        "photos_in_no_folder": count_loose(gallery) + count_loose(probes),
        "photos_lost": [
            *_lost([photo.path for photo in enrolled], found, gallery),
            *_lost([photo.path for photo in searched], found, probes, start=len(enrolled)),
        ],
    }


def identify_split(bench: Bench, folder: Path, plan: Plan) -> dict[str, Any]:
    """Like `identify`, with one folder that is split again for every gallery; see `identification.split_photos`.

    Raises
    ------
    InvalidParameter
        See `people_folders.read_people` and `identification.split_photos`.
    """
    read = read_people(folder)
    found = bench.encode([photo.path for photo in read])
    first = np.sort(np.unique(np.array(found.photos), return_index=True)[1])  # the first photo of each content
    photos = _photos(read, found).select(first)

    def split(seed: int) -> tuple[Photos, Photos]:
        return identification.split_photos(photos, seed)

    report = identification.measure(*split(plan.seed), bench.threshold, plan, split, bench.lowerings)
    return {
        "split": Path(folder).name,
        **_setting(bench),
        **report,
        "people": len(np.unique(photos.people)),
        "photos_in_no_folder": count_loose(folder),
        "photos_lost": _lost([photo.path for photo in read], found, folder),
    }


def degraded(bench: Bench, folder: Path, photos: int = 100, seed: int = 0, kinds: Collection[str] = ()) -> dict[str, Any]:
    """Rates of strangers on damaged photos; see `degrade.measure`.

    Parameters
    ----------
    bench : Bench
    folder : path
        One folder per person.
    photos : int
        Most photos that are damaged: people are chosen at random, those with two photos or more first, two photos of each.
    kinds : collection of str
        Only these kinds of damage; all if empty.

    Raises
    ------
    InvalidParameter
        See `people_folders.read_people` and `degrade.look`.
    """
    engine = bench.source.engine
    chosen = degrade.sample(read_people(folder), photos, seed)
    faces = degrade.look(engine, chosen, bench.source.max_bytes, bench.progress, kinds)
    rows = degrade.measure(faces, engine, bench.stranger_rate)
    return {
        "degrade": Path(folder).name,
        "photos": len(faces[0].people),
        "people": len(np.unique(faces[0].people)),
        "false_match_rate": engine.info.calibration.false_match_rate,
        "stranger_rate": bench.stranger_rate,
        "rows": rows,
    }


def _setting(bench: Bench) -> dict[str, Any]:
    return {
        "subject": bench.source.subject,
        "stranger_rate": bench.stranger_rate if bench.fixed is None else None,
        "threshold_fixed": bench.fixed,
    }


def _photos(read: Sequence[Photo], found: Vectors) -> Photos:
    numbers: dict[str, int] = {}
    people = np.array([numbers.setdefault(photo.person, len(numbers)) for photo in read])
    return Photos(people, found.vectors, found.found)


def detect(bench: Bench, boxes: Path, folder: Path, iou: float = detection.IOU) -> dict[str, Any]:
    """See `detection.measure`.

    Raises
    ------
    InvalidParameter
        See `boxes.read_boxes`.
    """
    truths = read_boxes(boxes, folder)
    found = detection.detect_faces([truth.path for truth in truths], bench.source, bench.cache, bench.progress)
    lost = [
        {"photo": _name(truth.path, folder), "problem": one.problem}
        for truth, one in zip(truths, found, strict=True)
        if one.problem
    ]
    report = detection.measure(truths, found, iou)
    return {"boxes": Path(boxes).name, "images": Path(folder).name, **report, "photos_lost": lost}


def measure_drift(
    bench: Bench,
    *,
    pairs: Path | None = None,
    boxes: Path | None = None,
    images: Path | None = None,
    folders: Sequence[Path] = (),
) -> dict[str, Any]:
    """The drift of the provider from the default one, on a sample of the evaluated photos; see `drift.measure`.

    Parameters
    ----------
    bench : Bench
    pairs, boxes, images
        As for `verify` and `detect`; `images` is required with either of the others.
    folders : sequence of path
        As for `identify` and `identify_split`.
    """
    photos = [photo.path for folder in folders for photo in read_people(folder)]
    if images is not None:
        if pairs is not None:
            photos += read_pairs(pairs, images).photos
        if boxes is not None:
            photos += [truth.path for truth in read_boxes(boxes, images)]
    elif pairs is not None or boxes is not None:
        raise TypeError("expected the folder of the images")
    reference = make_engine(**{**bench.source.recipe, "provider": "cpu"})
    threshold = bench.source.engine.info.calibration.threshold if bench.fixed is None else bench.fixed
    return drift.measure(drift.sample(photos), bench.source, reference, threshold, bench.progress)


def find_objects(
    detector: ObjectDetector,
    labels: Path,
    folder: Path,
    threshold: float,
    iou: float,
    limits: tuple[int, int],
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """See `object_metrics.measure`; `limits` are the largest numbers of bytes and pixels of a photo.

    Raises
    ------
    InvalidParameter
        See `yolo.read_labelled_photos`.
    """
    truths = read_labelled_photos(labels, folder)
    found = object_metrics.detect_objects([truth.path for truth in truths], detector, *limits, progress)
    lost = [
        {"photo": _name(truth.path, folder), "problem": one.problem}
        for truth, one in zip(truths, found, strict=True)
        if one.problem
    ]
    report = object_metrics.measure(truths, found, threshold, iou)
    return {"labels": Path(labels).name, "images": Path(folder).name, **report, "photos_lost": lost}


def read_attributes(bench: Bench, labels: Path, folder: Path, reader: AttributeReader) -> dict[str, Any]:
    """See `attribute_metrics.measure_attributes`.

    Raises
    ------
    InvalidParameter
        See `attribute_metrics.read_attribute_labels`.
    """
    source = bench.source
    truths = attribute_metrics.read_attribute_labels(labels, folder)
    limits = source.max_bytes, source.max_pixels
    found = attribute_metrics.read_faces(truths, source.engine, reader, limits, source.subject, bench.progress)
    lost = [
        {"photo": truth.photo, "problem": one.problem, "message": one.message}
        for truth, one in zip(truths, found, strict=True)
        if one.problem
    ]
    report = attribute_metrics.measure_attributes(truths, found)
    return {"labels": Path(labels).name, "images": Path(folder).name, **report, "photos_lost": lost}


def _lost(paths: Sequence[Path], found: Vectors, folder: Path, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"photo": _name(paths[i - start], folder), "problem": problem, "message": message}
        for i, problem, message in found.problems
        if start <= i < start + len(paths)
    ]


def _name(path: Path, folder: Path) -> str:
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.name
