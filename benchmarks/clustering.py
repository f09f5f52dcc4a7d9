"""Which algorithm puts faces together by whose they are: pairwise precision and recall on LFW's development view.

    python benchmarks/clustering.py [--data DIR] [--work DIR] [--engine yunet+dlib+sface] [--quick] [--json FILE]

All are given the same embeddings. Each one's parameters are those of the best pairwise F1 on the people of the train pairs;
the figures are of the people of the test pairs, whom no parameter has seen. Precision is the share of pairs of faces in one
group that are one person's, recall the share of pairs of one person's faces that are in one group. LFW has hundreds of
photos of a few people, who make most of the pairs; B-cubed, which counts each face once, stands beside. Faces that an
algorithm calls noise are a group each.

The second table is the package's own way: faces come in twenty parts, in random order, groups grow with them, and the limit
follows from the number of faces. "kept" is the share of faces that have, at the end, the group that they were first given.

DBSCAN comes from scikit-learn, HDBSCAN from hdbscan and average linkage from SciPy, which are not part of an installation:
`pip install -r requirements-benchmarks.txt`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import lfw
import numpy as np
import report

from recognizer.core.settings import Settings
from recognizer.engines import make_engine
from recognizer.galleries.clustering import Groups, limit_for, neighbours, whispers
from recognizer.galleries.thresholds import Curve

#: How many of the people of a run that is to be quick are taken.
QUICK = 400
PARTS = 20


# -- candidates --------------------------------------------------------------------------------------------------------


def _singles(labels: np.ndarray) -> np.ndarray:
    """Labels in which each face that is noise (-1) has one of its own."""
    alone = labels < 0
    return np.where(alone, labels.max(initial=0) + 1 + np.cumsum(alone), labels)


def chinese_whispers(vectors: np.ndarray, limits) -> Iterator[tuple[str, np.ndarray]]:
    for limit in limits:
        yield f"{limit:.3f}", whispers(len(vectors), neighbours(vectors, vectors, limit))


def dbscan(vectors: np.ndarray, limits) -> Iterator[tuple[str, np.ndarray]]:
    from sklearn.cluster import DBSCAN

    for limit in limits:
        for least in (2, 3):
            found = DBSCAN(eps=limit, min_samples=least, algorithm="brute").fit_predict(vectors)
            yield f"{limit:.3f}, {least}", _singles(found)


def hdbscan(vectors: np.ndarray, limits) -> Iterator[tuple[str, np.ndarray]]:
    from hdbscan import HDBSCAN

    for limit in (0.0, *limits):
        for least in (1, 2):
            model = HDBSCAN(min_cluster_size=2, min_samples=least, cluster_selection_epsilon=float(limit))
            yield f"{limit:.3f}, {least}", _singles(model.fit_predict(vectors))


def average_linkage(vectors: np.ndarray, limits) -> Iterator[tuple[str, np.ndarray]]:
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(vectors, "average")
    for limit in limits:
        yield f"{limit:.3f}", fcluster(tree, limit, "distance")


def grown(vectors: np.ndarray, limit: float, seed: int = 0) -> tuple[np.ndarray, float]:
    """Labels by the package's groups, which grew in `PARTS` parts, and the share that kept its first group."""
    groups, first = Groups(limit), {}
    for part in np.array_split(np.random.default_rng(seed).permutation(len(vectors)), PARTS):
        groups.add_faces(part.tolist(), vectors[part])
        first.update((face, groups.group_of(face)) for face in part.tolist())
    labels = np.array([groups.group_of(face) for face in range(len(vectors))])
    return labels, float(np.mean([first[face] == labels[face] for face in first]))


CANDIDATES: dict[str, Callable] = {
    "Chinese whispers (dlib)": chinese_whispers,
    "DBSCAN": dbscan,
    "HDBSCAN": hdbscan,
    "average linkage": average_linkage,
}


# -- figures -----------------------------------------------------------------------------------------------------------


def figures(labels: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """Pairwise and B-cubed precision, recall and F1, and the number of groups."""
    _, group = np.unique(labels, return_inverse=True)
    _, person = np.unique(people, return_inverse=True)
    both = np.zeros((group.max() + 1, person.max() + 1), np.int64)
    np.add.at(both, (group, person), 1)

    def pairs(counts) -> int:
        return int((counts * (counts - 1) // 2).sum())

    right, claimed, true = pairs(both), pairs(both.sum(axis=1)), pairs(both.sum(axis=0))
    precision, recall = right / max(1, claimed), right / max(1, true)
    of_each = both[group, person]
    cubed = float((of_each / both.sum(axis=1)[group]).mean()), float((of_each / both.sum(axis=0)[person]).mean())
    return {
        "precision": precision,
        "recall": recall,
        "F1": _harmonic(precision, recall),
        "B3 precision": cubed[0],
        "B3 recall": cubed[1],
        "B3 F1": _harmonic(*cubed),
        "groups": len(both),
    }


def _harmonic(one: float, other: float) -> float:
    return 2 * one * other / max(1e-12, one + other)


def compare(train: lfw.Vectors, test: lfw.Vectors, limits: np.ndarray) -> Iterator[dict]:
    for name, run in CANDIDATES.items():
        tried = [(figures(labels, train.names), words) for words, labels in run(train.vectors, limits)]
        best = max(tried, key=lambda each: each[0]["F1"])
        chosen = float(best[1].split(",")[0])
        started = time.perf_counter()
        wanted = [labels for words, labels in run(test.vectors, [chosen] if chosen else []) if words == best[1]]
        seconds = time.perf_counter() - started
        yield {
            "algorithm": name,
            "parameters": best[1],
            **figures(wanted[0], test.names),
            "seconds": seconds,
            "F1 on train": best[0]["F1"],
        }


def grow(title: str, found: lfw.Vectors, curve: Curve) -> dict:
    limit = limit_for(len(found.names), curve.distance)
    started = time.perf_counter()
    labels, kept = grown(found.vectors, limit)
    seconds = time.perf_counter() - started
    return {"faces": title, "limit": limit, **figures(labels, found.names), "seconds": seconds, "kept": kept}


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--engine", default="yunet+dlib+sface", help="detector+embedder")
    options = parser.parse_args()
    found = lfw.encode(options.data, options.work, options.engine.split("+")[0])[options.engine]
    views = []
    for view in ("train", "test"):
        names = sorted({name for a, b, _ in lfw.pairs(options.data, view) for name in (a[0], b[0])})
        views.append(found.part(np.isin(found.names, names[:QUICK] if options.quick else names)))
    train, test = views
    scale = np.median(np.linalg.norm(train.vectors[:-1] - train.vectors[1:], axis=1))
    limits = scale * np.arange(0.5, 0.96, 0.05 if options.quick else 0.015)
    title = f"{options.engine}: {len(test.names)} faces of {len(set(test.names))} people"
    rows = list(compare(train, test, limits))
    report.table(rows, title)
    detector, embedder = options.engine.split("+", 1)
    points = make_engine(detector, embedder, models_dir=Settings.from_environment().models_dir).info.calibration
    curve = Curve(points.distances, points.rates)
    growing = [grow("test", test, curve), grow("train", train, curve)]
    if not options.quick:
        growing.append(grow("all", found, curve))
    report.table(growing, "Groups that grow in parts, with the limit that the package takes")
    report.save(options, clustering=rows, growing=growing)


if __name__ == "__main__":
    main()
