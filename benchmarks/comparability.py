"""Fits which faces can be compared, for every embedder, and writes recognizer/engines/comparability.json and .npz.

    python benchmarks/comparability.py [--data DIR] [--work DIR] [--people N] [--plain N] [--models NAMES] [--kinds]
                                       [--rules] [--look] [--kept] [--write] [--json FILE]

Photos of LFW's development view are damaged in every way of recognizer/evaluation/degradations.py. A copy is meaningless if its
embedding is not near that of the undamaged photo, or is near those of other people. Small networks tell meaningless copies
from undamaged photos by their signals and their embedding; the limit is where `SHARE` of the latter are withheld. People are
divided into three parts, and each is tested with the model of the others; what is written is fitted to all. With --kinds, the
model has not seen the kind of damage either. FNMR of damaged copies is that against the undamaged photo itself. --rules
compares ways to combine the doubts of two pictures: the higher one, or the lower one as if it were higher by a number. --look
only looks at photos, which can be interrupted and continued; results are kept in the folder --work.

Photos of people of all ages, each taken for another person, are judged as well; those of the smallest children count as a kind
of damage, because embeddings hardly tell them apart. Another network is fitted to how far the nearest strangers of an embedding
are (`recognizer.engines.crowding`): undamaged photos of all these people, against one of everybody else.
"""

from __future__ import annotations

import csv
import json
import os
import pickle
import sys
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

# steps of a few rows: threads of BLAS would wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import report

from recognizer.core import geometry
from recognizer.core.settings import Settings
from recognizer.core.types import Box, Face
from recognizer.engines import calibration, central, crowding, largest, make_engine, signals
from recognizer.engines.comparability import BOTH, FILE, MOST, NETWORKS
from recognizer.engines.dlib import native
from recognizer.engines.joined import DLIB_WEIGHT
from recognizer.evaluation import degrade
from recognizer.evaluation.degradations import PLAIN, degradations
from recognizer.galleries.thresholds import Curve
from recognizer.photos import images, quality

#: Share of undamaged photos that may be withheld.
SHARE = 0.001
#: How far above the doubts of the others the limit is.
MARGIN = 0.1
#: Share of the squares of signals, beside the signals, in what the networks see.
SQUARES = 0.3
SCHEMES = ("yunet5", "dlib5")
EMBEDDERS = ("dlib", "sface", "dlib+sface")
#: A damaged copy within this share of the threshold of the undamaged photo has kept its meaning.
SOUND = 0.85
#: Doubts for which the rate factor is given, and the rates at which it is measured. A factor of less than `LEAST_FACTOR`
#: (log10) is none.
DOUBTS = tuple(float(each) for each in np.arange(-20, 0.1, 0.5))
RATES = (0.03, 0.01, 0.003)
LEAST_FACTOR, MOST_FACTOR = 0.15, 4.5
#: How many times the measured log10 the factor is: at the same doubt, some kinds of damage are worse than the mean of all.
KINDS_DIFFER = 1.3
#: Signals that dlib's detectors and points do not give, or not well.
NOT_OF_DLIB = ("score", "stretch", "agreement", "direction")
DAMAGED = tuple(each.name(strength) for each, strength in degradations())
#: Groups of labelled people, by age in years; the first is a kind of its own, the others count as plain.
AGES = {"small children": (0, 2), "children": (3, 12), "13 to 17": (13, 17), "18 to 59": (18, 59), "60 and older": (60, 120)}
SMALL_CHILDREN = next(iter(AGES))
#: Two photos nearer than this are the same photo.
SAME_PHOTO = 0.3
#: Nearest others that make the distance of the nearest strangers, from one photo of each; the first ones may be a relative, or
#: the same person under two names.
STRANGERS = slice(2, 10)
#: Share of plain photos whose strangers are expected to be nearer than usual, and how many times the difference the threshold
#: is lowered, by embedder: so much that hardly any pair of plain photos of one person is lost.
NEARER = {"dlib": 0.05, "sface": 0.3, "dlib+sface": 0.3}
STRENGTH = {"dlib": 2.0, "sface": 3.0, "dlib+sface": 3.0}
#: How much a labelled photo counts beside one without a label, when that distance is fitted.
LABELLED_COUNT = 2.0
#: Share of strangers who may be named.
STRANGER_RATE = 0.01
#: Parts of the people for cross-validation.
PARTS = 3
#: What --rules compares: the lower one of two doubts, higher by these, and the higher one with these shares as `USUAL`.
HIGHER_BY, USUAL_SHARES = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0), (0.99, 0.9925, 0.995, 0.9975)
#: Fewest faces of a row that counts, and the rate that is twice the one that is set.
LEAST_FACES, TWICE = 10, 0.2
#: Share of undamaged photos whose doubt is so low that no factor is applied.
USUAL = 0.9925
NO_MEAN = np.zeros(signals.SMALL[0] * signals.SMALL[1], np.float32)


def people_of(data: Path) -> list[Path]:
    """Folders of the people, in random order, those with two photos or more first."""
    folders = sorted(report.need(data, "lfw-dev", "images").iterdir())
    order = [folders[i] for i in np.random.default_rng(3).permutation(len(folders))]
    return sorted(order, key=lambda folder: len(list(folder.iterdir())) < 2)


def look(engine, folder: Path, damaged: bool, known: list[dict]) -> list[dict]:
    """Rows of a person's first photo and its copies, without the `known` ones; undamaged only: of the first two photos."""
    rows, there = [], {row["name"] for row in known}
    for path in sorted(folder.glob("*.jpg"))[: 1 if damaged else 2]:
        pixels = images.decode(path.read_bytes()).pixels
        faces = engine.find(images.from_array(pixels))
        if not len(faces):
            continue
        face = faces[central(faces, pixels.shape[1], pixels.shape[0])]
        if PLAIN not in there:
            rows.append({"kind": PLAIN, "name": PLAIN, "person": folder.name, **described(engine, pixels, face.box.centre)})
        for each, strength in degradations() if damaged else ():
            if each.name(strength) in there:
                continue
            found = described(engine, *each.apply(pixels, face, strength))
            rows.append({"kind": each.kind, "name": each.name(strength), "person": folder.name, **found})
    return rows


def described(engine, pixels: np.ndarray, centre) -> dict:
    """Signals and embeddings of the face that is nearest to a point; nothing where there is none."""
    faces = engine.find(images.from_array(pixels))
    if not len(faces):
        return {"found": False}
    middles = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    one = faces.select([int(np.hypot(*(middles - centre).T).argmin())])
    (shape,) = native.shapes(pixels, one)
    box = geometry.dlib_boxes(one.boxes)[0]
    points = np.array(native.points_of(shape), np.float32)
    as_dlib = Face(Box(*map(float, box)), 0.0, points, "dlib5")
    joined = engine.embedder
    (dlib,) = joined.dlib.embed_shapes([(pixels, [shape])])[0]
    (mean,), _ = joined.dlib.embed_with_mirrored([(pixels, [shape])])[0]
    (sface,) = joined.sface.describe_points([(pixels, one, points[None])])
    return {
        "found": True,
        "yunet5": signals.picture_signals(pixels, one[0], NO_MEAN),
        "dlib5": signals.picture_signals(pixels, as_dlib, NO_MEAN),
        "small yunet5": signals.reduced(quality.aligned_grey(pixels, one[0])),
        "small dlib5": signals.reduced(quality.aligned_grey(pixels, as_dlib)),
        "dlib": dlib,
        "mirrored": 2 * mean - dlib,
        "sface": sface.vectors[0],
        "norm": float(sface.strengths[0]),
        "landmarks": one.landmarks[0],
        "box": tuple(one[0].box),
    }


def look_at_labelled(engine, data: Path) -> list[dict]:
    """Rows of the people whose age is known, each photo taken for another person."""
    folder, rows = report.need(data, "attributes-dev"), []
    with report.need(folder, "labels.csv").open(newline="") as file:
        labelled = [row for row in csv.DictReader(file) if row["age"]]
    for row in labelled:
        pixels = images.decode((folder / "images" / row["photo"]).read_bytes()).pixels
        faces = engine.find(images.from_array(pixels))
        if len(faces):
            group = next(name for name, (low, high) in AGES.items() if low <= float(row["age"]) <= high)
            named = {"kind": SMALL_CHILDREN if group == SMALL_CHILDREN else PLAIN, "name": f"{group}, set {row['set']}"}
            found = described(engine, pixels, faces[largest(faces)].box.centre)
            rows.append({**named, "person": row["photo"], **found})
    return rows


def look_at_all(options) -> list[dict]:
    """The rows of everybody, from the work folder as far as they are there; one file for each person."""
    kept = options.work / "comparability"
    kept.mkdir(parents=True, exist_ok=True)
    engine = make_engine(models_dir=Settings.from_environment().models_dir, min_face=8)
    folders = people_of(options.data)
    wanted = [(each, True) for each in folders[: options.people]]
    wanted += [(each, False) for each in folders[options.people : options.people + options.plain]]
    if options.mixed:  # damaged and undamaged photos by turns, so that an interrupted run has both
        wanted = [wanted[i] for i in np.argsort([(i % max(1, options.people)) for i in range(len(wanted))], kind="stable")]
    rows = []
    for done, (folder, damaged) in enumerate(wanted):
        file = kept / f"{folder.name}.{'damaged' if damaged else 'plain'}"
        known = pickle.loads(file.read_bytes()) if file.exists() else []
        missing = set(DAMAGED) - {row["name"] for row in known} if damaged else not file.exists()
        if missing and not options.kept:
            file.with_suffix(".new").write_bytes(pickle.dumps(known + look(engine, folder, damaged, known)))
            file.with_suffix(".new").replace(file)
            if damaged or done % 50 == 0:
                print(f"{done + 1} of {len(wanted)}", file=sys.stderr, flush=True)
        if not options.look and file.exists():
            rows += pickle.loads(file.read_bytes())
    file = options.work / "labelled"
    if not file.exists() and not options.kept:
        file.write_bytes(pickle.dumps(look_at_labelled(engine, options.data)))
    if not options.look and file.exists():
        rows += pickle.loads(file.read_bytes())
    return rows


# -- fitting ---------------------------------------------------------------------------------------------------------


class Table:
    """What one embedder sees of the rows with a face, as arrays; `own` is the distance from the undamaged photo."""

    def __init__(self, rows: list[dict], scheme: str, embedder: str):
        found = [row for row in rows if row["found"]]
        self.name = f"{scheme}+{embedder}"
        self.kinds = np.array([row["kind"] for row in found])
        self.names = np.array([row["name"] for row in found])
        self.people = np.array([row["person"] for row in found])
        if embedder != "dlib+sface":
            self.vectors = np.array([row[embedder] for row in found])
        else:  # as recognizer/engines/joined.py
            dlib = np.array([(row["dlib"] + row["mirrored"]) / 2 for row in found])
            self.vectors = np.hstack([DLIB_WEIGHT * dlib, np.array([row["sface"] for row in found])])
        small = np.array([row[f"small {scheme}"] for row in found])
        mean = small[self.kinds == PLAIN].mean(axis=0)
        self.mean_face = mean / np.linalg.norm(mean)
        names = [name for name in found[0][scheme] if scheme == "yunet5" or name not in NOT_OF_DLIB]
        names = [name for name in names if name not in ("strength", "disagreement")]
        for row in found:
            row[scheme]["strength"] = row["norm"]
            row[scheme]["disagreement"] = float(np.linalg.norm(row["dlib"] - row["mirrored"]))
        names += ["strength"] if embedder != "dlib" else []
        names += ["disagreement"] if embedder == "dlib+sface" else []
        self.signals = names
        values = [[row[scheme].get(name, 0.0) for name in names] for row in found]
        self.values = np.array(values)
        self.values[:, names.index("likeness")] = small @ self.mean_face
        self.embedder, self.calibration = embedder, calibration("yunet", embedder)
        self.threshold = self.calibration.threshold
        self.curve = Curve(self.calibration.distances, self.calibration.rates)
        #: Photos as they were taken.
        self.undamaged = (self.kinds == PLAIN) | (self.kinds == SMALL_CHILDREN)
        plain = {person: i for i, person in enumerate(self.people) if self.kinds[i] == PLAIN}
        self.own = np.array(
            [np.linalg.norm(self.vectors[i] - self.vectors[plain[p]]) if p in plain else 0.0 for i, p in enumerate(self.people)]
        )
        self.near = self._near()

    def _near(self) -> np.ndarray:
        """Share of other people's copies that are damaged alike, and of undamaged photos, that lie within the threshold."""
        near = np.zeros(len(self.people))
        plain = np.flatnonzero(self.kinds == PLAIN)
        for name in np.unique(self.names):
            here = np.flatnonzero(self.names == name)
            for there in (here, plain) if self.kinds[here[0]] != PLAIN else (plain,):
                others = self.people[here][:, None] != self.people[there][None]
                close = distances(self.vectors[here], self.vectors[there]) <= self.threshold
                near[here] = np.maximum(near[here], (close & others).sum(axis=1) / np.maximum(1, others.sum(axis=1)))
        return near


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    return np.sqrt(np.maximum(0, squares))


class Net:
    """A network with one hidden layer, fitted by Adam, with dropout and weight decay.

    Its loss is weighted: the logistic one of a truth of 0 or 1, or, if it is `measured`, the squared one of a number.
    """

    HIDDEN, DECAY, EPOCHS, BATCH, RATE = 128, 3e-4, 80, 128, 2e-3
    DROP_INPUT, DROP_HIDDEN = 0.1, 0.3

    def __init__(self, rows: np.ndarray, truth: np.ndarray, weights: np.ndarray, seed: int, measured: bool = False):
        self._measured = measured
        random, (count, size) = np.random.default_rng(seed), rows.shape
        self.first = (random.normal(size=(size, self.HIDDEN)) / np.sqrt(size)).astype(np.float32)
        self.second = (random.normal(size=self.HIDDEN) / np.sqrt(self.HIDDEN)).astype(np.float32)
        self.biases, self.bias = np.zeros(self.HIDDEN, np.float32), np.zeros(1, np.float32)
        parameters = (self.first, self.biases, self.second, self.bias)
        means, squares = [[np.zeros_like(each) for each in parameters] for _ in range(2)]
        weights, step = (weights / weights.mean()).astype(np.float32), 0
        for epoch in range(self.EPOCHS):
            rate = self.RATE * (1 - epoch / self.EPOCHS)
            for batch in np.array_split(random.permutation(count), max(1, count // self.BATCH)):
                step += 1
                slopes = self._slopes(rows[batch], truth[batch], weights[batch], random)
                for value, slope, mean, square in zip(parameters, slopes, means, squares, strict=True):
                    mean += 0.1 * (slope - mean)
                    square += 0.001 * (slope * slope - square)
                    value -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)

    def _slopes(
        self, rows: np.ndarray, truth: np.ndarray, weights: np.ndarray, random: np.random.Generator
    ) -> list[np.ndarray]:
        rows = rows * _kept(rows.shape, self.DROP_INPUT, random)
        before, keep = rows @ self.first + self.biases, _kept((len(rows), self.HIDDEN), self.DROP_HIDDEN, random)
        hidden = np.maximum(before, 0) * keep
        found = hidden @ self.second + self.bias
        if not self._measured:
            found = 1 / (1 + np.exp(-np.clip(found, -30, 30)))
        error = (weights * (found - truth) / len(rows)).astype(np.float32)
        back = np.outer(error, self.second) * keep * (before > 0)
        return [
            rows.T @ back + self.DECAY * self.first,
            back.sum(axis=0),
            hidden.T @ error + self.DECAY * self.second,
            error.sum(),
        ]


def _kept(shape: tuple[int, ...], dropped: float, random: np.random.Generator) -> np.ndarray:
    return (random.random(shape, np.float32) >= dropped).astype(np.float32) / np.float32(1 - dropped)


class Crowds:
    """How far the nearest strangers of an embedding are: the mean of several networks that see the embedding."""

    def __init__(self, table: Table, use: np.ndarray, nets: int = 3):
        here = np.flatnonzero(use & table.undamaged)
        vectors, people = table.vectors[here], table.people[here]
        _, first = np.unique(people, return_index=True)  # one photo of each
        apart = distances(vectors, vectors[first])
        apart[(people[:, None] == people[first][None]) | (apart < SAME_PHOTO)] = np.inf
        far = np.sort(apart, axis=1)[:, STRANGERS].mean(axis=1)
        self.mean, self.deviation, self.scale = far.mean(), far.std(), vectors.std(axis=0)
        weights = np.where(table.names[here] == PLAIN, 1.0, LABELLED_COUNT)
        rows = (vectors / self.scale).astype(np.float32)
        truth = ((far - self.mean) / self.deviation).astype(np.float32)
        self.nets = [Net(rows, truth, weights, seed, measured=True) for seed in range(nets)]
        #: Most plain photos have strangers that are further away than that.
        self.usual = float(np.quantile(self.expected(table.vectors[use & (table.names == PLAIN)]), NEARER[table.embedder]))

    def expected(self, vectors: np.ndarray) -> np.ndarray:
        rows = (vectors / self.scale).astype(np.float32)
        each = [np.maximum(rows @ net.first + net.biases, 0) @ net.second + net.bias for net in self.nets]
        return self.mean + self.deviation * np.mean(each, axis=0).astype(float)

    def factors(self, table: Table) -> np.ndarray:
        """The rate factor of every row."""
        lowered = crowding.lowered(self.expected(table.vectors), self.usual, STRENGTH[table.embedder], table.threshold)
        return np.asarray(10 ** np.interp(lowered, *self._factors(table)))

    @staticmethod
    def _factors(table: Table) -> np.ndarray:
        """Lowerings of the threshold, and log10 of the factor by which the false-match rate falls there, shape (2, n)."""
        by = np.linspace(0, crowding.MOST * table.threshold, 41)
        rates = np.array([table.curve.rate(table.threshold - each) for each in by])
        return np.array([by, np.log10(rates[0] / rates)])

    def content(self, table: Table) -> dict[str, np.ndarray]:
        """What crowding.npz has of it: the networks as one, for embeddings as they are; it gives the distance itself."""
        second = self.deviation * np.concatenate([net.second for net in self.nets]) / len(self.nets)
        bias = self.mean + self.deviation * np.mean([net.bias for net in self.nets])
        return {
            "first": (np.hstack([net.first for net in self.nets]) / self.scale[:, None]).astype(np.float16),
            "biases": np.concatenate([net.biases for net in self.nets]).astype(np.float16),
            "second": second.astype(np.float16),
            "levels": np.array([float(np.squeeze(bias)), self.usual, STRENGTH[table.embedder], table.threshold]),
            "factors": self._factors(table).astype(np.float32),
        }


class Model:
    """The mean of several networks that see signals, their squares and the embedding."""

    def __init__(self, table: Table, use: np.ndarray, nets: int = 3):
        plain = use & (table.kinds == PLAIN)
        self.names, self.mean = table.signals, table.values[plain].mean(axis=0)
        self.scale = table.values[plain].std(axis=0) + 1e-6
        self.vector_scale = table.vectors[plain].std(axis=0)
        damaged = use & (table.kinds != PLAIN)
        meaningless = damaged & ((table.own > table.threshold) | (table.near > 0.01))
        sound = damaged & (table.own < SOUND * table.threshold) & (table.near == 0)
        chosen = np.flatnonzero(plain | meaningless | sound)
        weights = np.ones(len(chosen))
        weights[sound[chosen]] = 0.3 * plain.sum() / max(1, sound.sum())
        weights[meaningless[chosen]] = 0.3 + np.minimum(1.0, 10 * table.near[meaningless])
        weights[meaningless[chosen]] *= 2 * plain.sum() / weights[meaningless[chosen]].sum()
        rows = self._rows(table)[chosen]
        self.nets = [Net(rows, meaningless[chosen].astype(np.float32), weights, seed) for seed in range(nets)]
        self.shift, self.factors = 0.0, np.zeros(len(DOUBTS))

    def _rows(self, table: Table) -> np.ndarray:
        z = np.clip((table.values - self.mean) / self.scale, -MOST, MOST)
        return np.hstack([z, SQUARES * z * z, table.vectors / self.vector_scale]).astype(np.float32)

    def doubts(self, table: Table) -> np.ndarray:
        rows = self._rows(table)
        each = [np.maximum(rows @ net.first + net.biases, 0) @ net.second + net.bias for net in self.nets]
        return np.mean(each, axis=0).astype(float) + self.shift

    def calibrate(self, doubts: np.ndarray, share: float = SHARE) -> None:
        """Move the limit so that at most this share of undamaged photos is beyond it, with a margin for other photos."""
        ordered = np.sort(doubts)[::-1]
        self.shift = -float(ordered[int(share * len(doubts))]) - MARGIN

    def compare(self, table: Table, use: np.ndarray, doubts: np.ndarray, usual_share: float = USUAL) -> None:
        """Find how much more often than plain faces of strangers copies that are damaged alike lie near, by their doubt."""
        self.held = doubts
        highest, apart = [], []
        for name in np.unique(table.names[table.kinds != PLAIN]):
            here = np.flatnonzero(use & (table.names == name))
            first, second = np.triu_indices(len(here), 1)
            highest.append(np.maximum(doubts[here][first], doubts[here][second]))
            apart.append(np.linalg.norm(table.vectors[here][first] - table.vectors[here][second], axis=1))
        doubt, distance, found = np.concatenate(highest), np.concatenate(apart), []
        for place in DOUBTS:
            near = distance[np.abs(doubt - place) <= 0.5]
            ratios = [rate / table.curve.rate(np.quantile(near, rate)) for rate in RATES if rate * len(near) >= 4]
            found.append(float(np.log10(max(ratios, default=1.0))))
        found = np.maximum.accumulate(np.maximum(0, found))
        usual = np.quantile(doubts[use & (table.kinds == PLAIN)], usual_share)
        self.factors = np.minimum(KINDS_DIFFER * found, MOST_FACTOR) * (found >= LEAST_FACTOR) * (np.array(DOUBTS) > usual)

    def factors_at(self, doubts: np.ndarray) -> np.ndarray:
        return np.asarray(10 ** np.round(np.interp(doubts, DOUBTS, self.factors), 2))

    def entry(self) -> dict:
        """What comparability.json says of it."""
        measured = {name: [round(float(self.mean[i]), 5), round(float(self.scale[i]), 5)] for i, name in enumerate(self.names)}
        bias = float(np.mean([net.bias[0] for net in self.nets])) + self.shift
        factors = {"doubts": list(DOUBTS), "log10": [round(float(each), 3) for each in self.factors]}
        return {"signals": measured, "bias": round(bias, 4), "factors": factors}

    def weights(self) -> dict[str, np.ndarray]:
        """The networks as one, for signals and squares in standard deviations and embeddings as they are."""
        first = np.hstack([net.first for net in self.nets])
        count = len(self.names)
        first[count : 2 * count] *= SQUARES
        first[2 * count :] /= self.vector_scale[:, None]
        biases = np.concatenate([net.biases for net in self.nets])
        second = np.concatenate([net.second for net in self.nets]) / len(self.nets)
        return {"first": first, "biases": biases, "second": second}


@dataclass(frozen=True)
class Held:
    """What models that were fitted to other people say of every row: its doubt, and the factors of `Comparability`."""

    doubts: np.ndarray
    pictures: np.ndarray
    alike: np.ndarray
    crowded: np.ndarray
    #: The model of each part of the people.
    models: tuple[Model, ...]

    @property
    def one(self) -> np.ndarray:
        """The factor of every row against a face of which nothing is known."""
        return np.maximum(self.pictures, self.crowded)

    def limits(self, table: Table, here: np.ndarray, there: np.ndarray) -> np.ndarray:
        """The threshold of verification of each of some rows with each of others."""
        alike, crowded = ((of[here], of[there]) for of in (self.alike, self.crowded))
        return degrade.limits_of_two(alike, crowded, table.curve, table.curve.rate(table.threshold))


def held_out(table: Table, kinds: bool = False) -> Held:
    """What models that were fitted to other people say of every row.

    With `kinds`, the model was fitted to other kinds of damage, too; limit and factors are those of the model of all kinds.
    """
    parts, doubts = parts_of(table, 1), np.zeros(len(table.people))
    pictures, alike, crowded = np.ones((3, len(parts)))
    models = []
    for part in range(PARTS):
        here = parts == part
        model, crowds = fitted(table, ~here), Crowds(table, ~here)
        models.append(model)
        doubts[here] = model.doubts(table)[here]
        for kind in np.unique(table.kinds) if kinds else ():
            if kind != PLAIN:
                other = Model(table, ~here & (table.kinds != kind), nets=1)
                known = ~here & (table.kinds == PLAIN)
                # the same scale: as many of the known undamaged photos beyond it
                other.shift = float(np.median(model.doubts(table)[known]) - np.median(other.doubts(table)[known]))
                rows = here & (table.kinds == kind)
                doubts[rows] = other.doubts(table)[rows]
        for factors, more in ((pictures, 0.0), (alike, BOTH[table.name])):
            factors[here] = model.factors_at(doubts[here] + more)
        crowded[here] = np.maximum(1, np.round(crowds.factors(table)[here], 1))
    return Held(doubts, pictures, alike, crowded, tuple(models))


def rules(table: Table, held: Held) -> list[dict]:
    """What ways to combine the doubts of two pictures make of damaged and of undamaged photos."""
    parts, plain = parts_of(table, 1), np.flatnonzero(table.names == PLAIN)
    usable, rows = held.doubts <= 0, []
    pairs = {}  # those of which both are comparable and within the plain threshold: no other ones can match
    for name in (PLAIN, *DAMAGED):
        here = np.flatnonzero(table.names == name)
        for side, there in (("both", here), ("one", plain)) if len(here) >= LEAST_FACES else ():
            apart = distances(table.vectors[here], table.vectors[there])
            others = (table.people[here][:, None] != table.people[there][None]) & (apart > SAME_PHOTO)
            first, second = np.nonzero(others & (apart <= table.threshold) & usable[here][:, None] & usable[there][None])
            pairs[name, side] = here[first], there[second], apart[first, second], others.sum()
    same = np.triu(table.people[plain][:, None] == table.people[plain][None], 1)
    first, second = (plain[each] for each in np.nonzero(same))
    own = np.linalg.norm(table.vectors[first] - table.vectors[second], axis=1)
    for usual in USUAL_SHARES:
        for model, part in zip(held.models, range(PARTS), strict=True):
            model.compare(table, parts != part, model.held, usual)
        for more in (None, *HIGHER_BY) if usual == USUAL else (None,):
            doubts, factors = held.doubts + (more or 0.0), np.ones(len(parts))
            for model, part in zip(held.models, range(PARTS), strict=True):
                factors[parts == part] = model.factors_at(doubts[parts == part])
            matching = partial(_matching, table, held, factors, np.maximum if more is None else np.minimum)
            rates = {key: 100 * matching(*pair).sum() / max(1, count) for key, (*pair, count) in pairs.items()}
            both, one = ([rates[name, side] for name in DAMAGED if (name, side) in rates] for side in ("both", "one"))
            rows.append(
                {
                    "doubt of two": "the higher one" if more is None else f"the lower one + {more:g}",
                    "usual": usual,
                    "rows": len(both),
                    "rows above": int(np.sum(np.array(both) > TWICE)),
                    "FMR, both": float(np.mean(both)),
                    "highest": float(np.max(both)),
                    "highest, one": float(np.max(one)),
                    "FMR, plain": rates[PLAIN, "both"],
                    "FNMR before, plain": 100 * float((own > table.threshold).mean()),
                    "FNMR, plain": 100 * float((~matching(first, second, own)).mean()),
                    "pairs": len(own),
                }
            )
    return rows


def _matching(table: Table, held: Held, factors: np.ndarray, combined: np.ufunc, one, other, apart) -> np.ndarray:
    """Whether the rows `one` and `other` match, if the factors of both pictures are `combined`."""
    crowded = np.maximum(held.crowded[one], held.crowded[other])
    factor = np.maximum(combined(factors[one], factors[other]), crowded)
    return apart <= degrade.limits_of(factor, table.curve, table.curve.rate(table.threshold))


def tested(table: Table, held: Held) -> list[dict]:
    """Rates per kind and strength, before and after withholding; every person is judged by a model fitted to others."""
    doubts, plain = held.doubts, np.flatnonzero(table.names == PLAIN)
    original = {person: i for i, person in enumerate(table.people) if table.names[i] == PLAIN}
    rows = []
    for name in dict.fromkeys(table.names):
        here = np.flatnonzero(table.names == name)
        row = {"photos": name, "count": len(here)}
        for side, there in (("both", here), ("one", plain)):
            others = table.people[here][:, None] != table.people[there][None]
            apart = distances(table.vectors[here], table.vectors[there])
            others &= apart > SAME_PHOTO
            usable = (doubts[here] <= 0)[:, None] & (doubts[there] <= 0)[None] & others
            limits = held.limits(table, here, there)
            row[f"FMR, {side} before"] = 100 * ((apart <= table.threshold) & others).sum() / max(1, others.sum())
            row[f"FMR, {side}"] = 100 * ((apart <= limits) & usable).sum() / max(1, others.sum())
            for size in degrade.ENROLLED:
                within = degrade.limits_of(held.one[here], table.curve, STRANGER_RATE, size)
                row[f"named of {size}, {side}"] = 100 * degrade.named(apart, usable, within, size, table.calibration)
        row["not comparable"] = 100 * float((doubts[here] > 0).mean())
        if name == PLAIN:
            same = (table.people[here][:, None] == table.people[plain][None]) & (here[:, None] != plain[None])
            row["FNMR before"], row["FNMR"] = (
                100 * float((apart[same] > limit).mean()) for limit in (table.threshold, limits[same])
            )
        elif name in DAMAGED:
            row["FNMR before"] = 100 * float((table.own[here] > table.threshold).mean())
            originals = np.array([original.get(person, i) for i, person in zip(here, table.people[here], strict=True)])
            limits = np.diagonal(held.limits(table, here, originals))
            row["FNMR"] = 100 * float(((table.own[here] > limits) | (doubts[here] > 0)).mean())
        rows.append(row)
    return rows


def parts_of(table: Table, seed: int) -> np.ndarray:
    """The part, from 0, that each row's person belongs to; those whose photos were damaged are divided evenly."""
    damaged = sorted(set(table.people[table.kinds != PLAIN]))
    others = sorted(set(table.people) - set(damaged))
    random = np.random.default_rng(seed)
    part = {p: i % PARTS for group in (damaged, others) for i, p in enumerate(random.permutation(group))}
    return np.array([part[person] for person in table.people])


def fitted(table: Table, use: np.ndarray) -> Model:
    """A model whose limit is set on undamaged photos that it was not fitted to (three parts of the people)."""
    parts = parts_of(table, 0)
    model = Model(table, use)
    held = np.zeros(len(parts))
    for each in range(PARTS):
        other = Model(table, use & (parts != each))
        held[parts == each] = other.doubts(table)[parts == each]
    model.calibrate(held[use & (table.kinds == PLAIN)])
    model.compare(table, use, held + model.shift)
    return model


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--people", type=int, default=120, help="people whose photos are damaged")
    parser.add_argument("--plain", type=int, default=700, help="people whose photos are not damaged")
    parser.add_argument("--mixed", action="store_true", help="look at damaged and undamaged photos by turns")
    parser.add_argument("--kept", action="store_true", help="use only what is in the work folder")
    parser.add_argument("--look", action="store_true", help="only look at photos")
    parser.add_argument("--models", default=",".join(f"{a}+{b}" for a in SCHEMES for b in EMBEDDERS), help="which to fit")
    parser.add_argument("--kinds", action="store_true", help="test with models that have not seen the kind of damage")
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name} and {NETWORKS.name}")
    parser.add_argument("--rules", action="store_true", help="only compare ways to combine the doubts of two pictures")
    options = parser.parse_args()
    rows = look_at_all(options)
    if options.look:
        return
    content, tables, networks, crowds = json.loads(FILE.read_text()), {}, {}, {}
    if NETWORKS.exists():
        networks = dict(np.load(NETWORKS))
    if crowding.FILE.exists():
        crowds = dict(np.load(crowding.FILE))
    for name in options.models.split(","):
        scheme, _, embedder = name.partition("+")
        table = Table(rows, scheme, embedder)
        held = held_out(table, options.kinds)
        if options.rules:
            tables[name] = rules(table, held)
            report.table(tables[name], f"{name}: two pictures, rates in per cent")
            continue
        tables[name] = tested(table, held)
        kinds = " and kind" if options.kinds else ""
        report.table(
            tables[name], f"{name}: people in three parts, each person{kinds} judged by a model of others, in per cent"
        )
        means = {
            column: float(np.mean([row[column] for row in tables[name] if row["photos"] in DAMAGED]))
            for column in tables[name][1]
            if column[:3] in ("FMR", "nam")
        }
        report.table([means], "Means over the damaged rows")
        if options.write:
            model = fitted(table, np.ones(len(table.people), bool))
            content["models"][name] = model.entry()
            networks |= {f"{name}/{part}": values.astype(np.float16) for part, values in model.weights().items()}
            if scheme == SCHEMES[0]:  # the same for both
                found = Crowds(table, np.ones(len(table.people), bool)).content(table)
                crowds |= {f"{embedder}/{part}": values for part, values in found.items()}
            content["models"][name]["mean_face"] = [round(float(x), 4) for x in table.mean_face]
    content["provenance"] = {
        "data_set": "LFW development view: statistics of plain photos and of damaged copies; photos of 900 people of all ages",
        "date": date.today().isoformat(),
        "share_of_plain_photos_withheld": SHARE,
    }
    if options.write:
        FILE.write_text(json.dumps(content) + "\n")
        np.savez_compressed(NETWORKS, **networks)
        np.savez_compressed(crowding.FILE, **crowds)
        print(f"\nwritten: {', '.join(str(file.relative_to(report.ROOT)) for file in (FILE, NETWORKS, crowding.FILE))}")
    report.save(options, **{name.replace("+", "_"): shown for name, shown in tables.items()})


if __name__ == "__main__":
    main()
