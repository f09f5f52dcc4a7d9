"""From files to a report: what `python -m recognizer evaluate` does, as plain functions that return plain data.

Reports hold names of files, never where they are.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

import numpy as np

from .. import __version__
from ..encodings import EncodingsCache
from ..engines import make_engine
from ..matching import Curve, rate_per_comparison
from ..objects import NAME as OBJECT_DETECTOR
from ..objects import ObjectDetector
from . import detection, drift, identification, objects, verification
from .boxes import read_boxes
from .encode import Source, Vectors, encode
from .identification import Photos, Plan
from .pairs import read_pairs
from .people import Photo, count_loose, read_people
from .yolo import read_scenes

_PACKAGES = ("numpy", "onnxruntime", "openvino", "opencv-python-headless", "dlib", "dlib-bin", "simplejpeg", "pillow")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Bench:
    """What is measured, and what it is measured with.

    Attributes
    ----------
    source : Source
    cache : EncodingsCache
    stranger_rate : float
        The chance that a stranger gets any name, from which thresholds of identification follow.
    fixed : float or None
        A threshold that holds instead, for identification and verification.
    progress : callable
        Told how many photos are done, and of how many.
    """

    source: Source
    cache: EncodingsCache
    stranger_rate: float = 0.01
    fixed: float | None = None
    progress: Progress = lambda *_: None

    @property
    def curve(self) -> Curve:
        calibration = self.source.engine.info.calibration
        return Curve(calibration.distances, calibration.rates)

    def threshold(self, templates: int) -> float:
        """The largest distance that gets a name among so many templates."""
        if self.fixed is not None:
            return self.fixed
        return self.curve.distance(rate_per_comparison(self.stranger_rate, templates))

    def encode(self, paths: Sequence[Path]) -> Vectors:
        return encode(paths, self.source, self.cache, self.progress)


def about(bench: Bench) -> dict:
    """What every report says first: engine, settings, versions, date."""
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


def about_objects() -> dict:
    """`about` for objects, which need no engine."""
    return {"engine": OBJECT_DETECTOR, "date": date.today().isoformat(), "versions": _versions()}


def _versions() -> dict[str, str]:
    versions = {"recognizer": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def verify(bench: Bench, pairs: Path, folder: Path) -> dict:
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


def identify(bench: Bench, gallery: Path, probes: Path, plan: Plan) -> dict:
    """See `identification.measure`; a probe that is in the gallery as well, byte for byte, is left out.

    Raises
    ------
    InvalidParameter
        See `people.read_people`.
    """
    enrolled, searched = read_people(gallery), read_people(probes)
    found = bench.encode([photo.path for photo in (*enrolled, *searched)])
    everything = _photos([*enrolled, *searched], found)
    parts = slice(0, len(enrolled)), slice(len(enrolled), None)
    held = set(found.photos[parts[0]])
    new = np.array([photo not in held for photo in found.photos[parts[1]]], bool)
    mine, theirs = everything.select(parts[0]), everything.select(parts[1])
    report = identification.measure(mine, theirs.select(new), bench.threshold, plan)
    return {
        "gallery": Path(gallery).name, "probes": Path(probes).name, **_setting(bench), **report,
        "probes_also_enrolled": int((~new).sum()),
        "photos_in_no_folder": count_loose(gallery) + count_loose(probes),
        "photos_lost": [
            *_lost([photo.path for photo in enrolled], found, gallery),
            *_lost([photo.path for photo in searched], found, probes, start=len(enrolled)),
        ],
    }  # fmt: skip


def identify_split(bench: Bench, folder: Path, plan: Plan) -> dict:
    """Like `identify`, with one folder that is divided anew for every gallery; see `identification.split_photos`.

    Raises
    ------
    InvalidParameter
        See `people.read_people` and `identification.split_photos`.
    """
    read = read_people(folder)
    found = bench.encode([photo.path for photo in read])
    first = np.sort(np.unique(np.array(found.photos), return_index=True)[1])  # each content once
    photos = _photos(read, found).select(first)

    def split(seed: int) -> tuple[Photos, Photos]:
        return identification.split_photos(photos, seed)

    report = identification.measure(*split(plan.seed), bench.threshold, plan, split)
    return {
        "split": Path(folder).name, **_setting(bench), **report, "people": len(np.unique(photos.people)),
        "photos_in_no_folder": count_loose(folder),
        "photos_lost": _lost([photo.path for photo in read], found, folder),
    }  # fmt: skip


def _setting(bench: Bench) -> dict:
    return {
        "subject": bench.source.subject,
        "stranger_rate": bench.stranger_rate if bench.fixed is None else None,
        "threshold_fixed": bench.fixed,
    }


def _photos(read: Sequence[Photo], found: Vectors) -> Photos:
    numbers: dict[str, int] = {}
    people = np.array([numbers.setdefault(photo.person, len(numbers)) for photo in read])
    return Photos(people, found.vectors, found.found)


def detect(bench: Bench, boxes: Path, folder: Path, iou: float = detection.IOU) -> dict:
    """See `detection.measure`.

    Raises
    ------
    InvalidParameter
        See `boxes.read_boxes`.
    """
    truths = read_boxes(boxes, folder)
    found = detection.find([truth.path for truth in truths], bench.source, bench.cache, bench.progress)
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
) -> dict:
    """How far the provider is from the default one, on a sample of the photos that were evaluated; see `drift.measure`.

    Parameters
    ----------
    pairs, boxes, images
        As for `verify` and `detect`.
    folders : sequence of path
        As for `identify` and `identify_split`.
    """
    photos = [photo.path for folder in folders for photo in read_people(folder)]
    if pairs is not None:
        photos += read_pairs(pairs, images).photos
    if boxes is not None:
        photos += [truth.path for truth in read_boxes(boxes, images)]
    reference = make_engine(**{**bench.source.recipe, "provider": "cpu"})
    threshold = bench.source.engine.info.calibration.threshold if bench.fixed is None else bench.fixed
    return drift.measure(drift.sample(photos), bench.source, reference, threshold, bench.progress)


def find_objects(
    detector: ObjectDetector, labels: Path, folder: Path, threshold: float, iou: float, limits: tuple[int, int],
    progress: Progress = lambda *_: None,
) -> dict:  # fmt: skip
    """See `objects.measure`; `limits` are the most bytes and pixels of a photo.

    Raises
    ------
    InvalidParameter
        See `yolo.read_scenes`.
    """
    scenes = read_scenes(labels, folder)
    sights = objects.find([scene.path for scene in scenes], detector, *limits, progress)
    lost = [
        {"photo": _name(scene.path, folder), "problem": sight.problem}
        for scene, sight in zip(scenes, sights, strict=True)
        if sight.problem
    ]
    report = objects.measure(scenes, sights, threshold, iou)
    return {"labels": Path(labels).name, "images": Path(folder).name, **report, "photos_lost": lost}


def _lost(paths: Sequence[Path], found: Vectors, folder: Path, start: int = 0) -> list[dict]:
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
