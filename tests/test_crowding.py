"""Where strangers lie near an embedding, the threshold is lower: `engines.crowding`, and who uses it."""

from __future__ import annotations

import csv
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

from recognizer.archive import group_names
from recognizer.core.types import Candidate
from recognizer.engines import EMBEDDERS, calibration, crowding, largest, make_engine
from recognizer.galleries.thresholds import Curve
from recognizer.photos import images
from recognizer.photos.remarks import MOST_FACTOR, Comparability, factor_of_two
from recognizer.service.matcher import Matcher

from .data import folder as data_folder


@pytest.fixture(scope="module")
def engine(models_dir):
    return make_engine(models_dir=models_dir)


def judged(engine, image):
    faces, image = engine.find_with_image(image)
    one = faces.select([largest(faces)])
    return engine.judged(image, one, engine.described_all([(image, one)])[0], engine.qualities(image, one))


def crowded_vector(engine) -> np.ndarray:
    """An embedding near which strangers are expected: downhill from a usual one, at the same length."""
    found = crowding.crowding(engine.embedder.name)
    random = np.random.default_rng(5)
    best = vector = random.normal(size=engine.info.dim).astype(np.float32)
    for _ in range(300):
        tried = vector + random.normal(size=(64, engine.info.dim)).astype(np.float32) * 0.1
        tried *= np.linalg.norm(vector) / np.linalg.norm(tried, axis=1, keepdims=True)
        best = tried[int(found.expected(tried).argmin())]
        vector = best
    return best


# -- by how much ------------------------------------------------------------------------------------------------------


def test_the_threshold_is_lowered_where_strangers_are_nearer_than_usual_and_only_so_far():
    found = crowding.lowered(np.array([1.5, 1.3, 1.25, 0.2]), usual=1.3, strength=2.0, threshold=1.2)
    assert found[:2].tolist() == [0, 0]
    assert found[2] == pytest.approx(0.05 * 2.0) and found[3] == pytest.approx(crowding.MOST * 1.2)


@pytest.mark.parametrize("embedder", EMBEDDERS)
def test_factor_and_lowering_of_every_embedder_say_the_same(embedder):
    points, found = calibration("yunet", embedder), crowding.crowding(embedder)
    curve, dim = Curve(points.distances, points.rates), len(found._first)
    vectors = np.random.default_rng(2).normal(size=(300, dim)).astype(np.float32)
    vectors *= np.random.default_rng(3).uniform(0.05, 1.5, (300, 1)).astype(np.float32)
    lowerings, factors = found.lowerings(vectors), found.rate_factors(vectors)
    assert (lowerings > 0).any() and (factors[lowerings == 0] == 1).all() and (factors >= 1).all()
    assert (lowerings <= crowding.MOST * points.threshold + 1e-9).all()
    for lowering, factor in zip(lowerings, factors, strict=True):
        limit = curve.distance(curve.rate(points.threshold) / factor)
        assert limit == pytest.approx(points.threshold - lowering, abs=0.01 * points.threshold)


# -- who uses it ------------------------------------------------------------------------------------------------------


def test_a_verdict_has_the_larger_one_of_both_factors(engine, photos, monkeypatch):
    image = images.decode(photos["obama.jpg"].read_bytes())
    (before,) = judged(engine, image).verdicts
    assert before.comparable and before.rate_factor < 10
    monkeypatch.setattr(crowding.Crowding, "lowerings", lambda self, vectors: np.full(len(vectors), 0.3))
    (after,) = judged(engine, image).verdicts
    assert after.rate_factor > 100 * before.rate_factor and after.picture_factor == before.picture_factor
    assert (after.comparable, after.doubt, after.remarks) == (before.comparable, before.doubt, before.remarks)


def test_a_face_among_strangers_is_not_looked_for_on_turned_copies(engine, photos, monkeypatch):
    monkeypatch.setattr(crowding.Crowding, "lowerings", lambda self, vectors: np.full(len(vectors), 0.4))
    monkeypatch.setattr("recognizer.engines.turning.found_turned", lambda *_: pytest.fail("it is upright"))
    (verdict,) = judged(engine, images.decode(photos["obama.jpg"].read_bytes())).verdicts
    assert verdict.rate_factor > MOST_FACTOR > verdict.picture_factor


class _Gallery:
    """Nobody is enrolled."""

    def __len__(self):
        return 1

    def cohort(self, vectors):
        return np.zeros((len(vectors), 0))


def test_live_video_lowers_the_threshold_by_the_same_unless_it_is_fixed(engine):
    vectors = np.array([crowded_vector(engine), np.zeros(engine.info.dim, np.float32)])
    expected = engine.crowded(vectors)
    assert expected[0] > 0.2
    asked = Matcher(engine.info, _Gallery(), None, lambda: 0.01, engine.crowded)
    assert asked.live_lowerings(vectors) == pytest.approx(expected.tolist()) and asked.lowerings(vectors) == [0, 0]
    assert asked.live_lowerings(vectors[:0]) == []
    fixed = Matcher(engine.info, _Gallery(), 0.5, lambda: 0.01, engine.crowded)
    assert fixed.live_lowerings(vectors) == [0, 0]
    assert fixed.live_lowerings(vectors, 0.01) == pytest.approx(expected.tolist())  # a camera with a rate of its own
    limit = asked.verification_limit(
        [Comparability(crowded_factor=float(crowding.crowding(engine.embedder.name).rate_factors(vectors)[0]))]
    )
    assert limit == pytest.approx(asked.one_to_one - expected[0], abs=0.01)


def test_embeddings_without_a_verdict_have_a_lower_limit_where_strangers_are_near(engine):
    vectors = np.array([crowded_vector(engine), np.zeros(engine.info.dim, np.float32)])
    asked = Matcher(engine.info, _Gallery(), None, lambda: 0.01, engine.crowded)
    assert asked.limits(vectors, 1.0) == pytest.approx((1.0 - engine.crowded(vectors)).tolist())
    assert asked.limits(vectors[:0], 1.0) == [] and asked.limits(vectors, 0.1)[0] == 0
    assert Matcher(engine.info, _Gallery(), 0.5, lambda: 0.01, engine.crowded).limits(vectors, 0.5) == [0.5, 0.5]


def test_strangers_without_a_verdict_are_recognised_at_the_lower_threshold(engine):
    vectors = np.array([crowded_vector(engine), np.zeros(engine.info.dim, np.float32)])
    gallery = _Gallery()
    asked = Matcher(engine.info, gallery, None, lambda: 0.01, engine.crowded)
    near = asked.threshold_now() - 0.01
    gallery.search = lambda given, count: [[Candidate("Ada", near)] for _ in given]
    found = asked.match(vectors)
    assert [each.subject for each in found] == [None, "Ada"]
    assert found[0].false_match_rate > found[1].false_match_rate
    assert [each.subject for each in asked.match(vectors, threshold=near)] == ["Ada", "Ada"]


def test_a_group_of_an_archive_gets_a_name_only_where_it_is_nearer_if_strangers_are_near():
    vectors, template = np.array([[0.0, 0.0], [0.2, 0.0]], np.float32), np.array([[0.6, 0.0]], np.float32)
    curve = Curve(np.array([0.2, 1.0]), np.array([1e-8, 1e-1]))
    search = lambda probes, count: [[Candidate("Ada", 0.5)] for _ in probes]  # noqa: E731
    plain, lowered = (
        group_names.match_group(vectors, search, lambda subject: template, 10, curve, lowered=each)
        for each in (lambda found: np.zeros(len(found)), lambda found: np.array([0.1, 0.3]))
    )
    assert lowered.distance == pytest.approx(plain.distance + 0.2) and lowered.rate > plain.rate


def test_earlier_visits_get_a_name_only_where_they_are_nearer_if_strangers_are_near(tmp_path):
    from recognizer.service.visit_service import KeptVisits

    stored = [SimpleNamespace(number=number, id=str(number), vector=np.array([number, 0], np.float32)) for number in (0, 1)]
    named: list[int] = []
    file = SimpleNamespace(find=lambda *_: stored, name=lambda numbers, subject: named.extend(numbers))
    matcher = SimpleNamespace(threshold_now=lambda count: 1.0, limits=lambda vectors, plain: [0.4, 1.0])
    kept = SimpleNamespace(exists=True, file=file, _matcher=matcher)
    assert KeptVisits.name_unknown(kept, "Ada", [], np.array([[0.5, 0]], np.float32)) == 1 and named == [1]


# -- measured ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_small_children_who_are_strangers_do_not_match(engine):
    """Without lowering, most pairs of them would."""
    folder = data_folder("attributes-dev")
    with (folder / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["age"] and float(row["age"]) <= 2][:30]
    found = []
    for row in rows:
        each = judged(engine, images.decode((folder / "images" / row["photo"]).read_bytes()))
        found.append((each.vectors[0], each.verdicts[0]))
    limit, curve = engine.info.calibration.threshold, Curve(engine.info.calibration.distances, engine.info.calibration.rates)
    alike = same = 0
    for (one, first), (other, second) in combinations(found, 2):
        apart = float(np.linalg.norm(one - other))
        lowered = curve.distance(curve.rate(limit) / factor_of_two([first, second]))
        alike += apart <= limit
        same += first.comparable and second.comparable and apart <= lowered
    pairs = len(found) * (len(found) - 1) / 2
    assert alike > 0.5 * pairs and same <= 0.01 * pairs
