"""Cohorts: who belongs to them, and what follows for names where everybody is near."""

from dataclasses import replace

import numpy as np
import pytest

from recognizer.core.types import Embedding, Template
from recognizer.engines import DETECTORS, EMBEDDERS, calibration
from recognizer.engines.protocols import EngineInfo
from recognizer.evaluation import degrade, identification
from recognizer.evaluation.identification import Photos
from recognizer.galleries import cohort
from recognizer.galleries.memory import MemoryGallery
from recognizer.photos.remarks import Comparability
from recognizer.service.matcher import Matcher

DIM = 64
CALIBRATION = replace(
    calibration("yunet", "dlib+sface"), cohort_sizes=(4, 10, 100, 128), cohort_distances=(1.55, 1.5, 1.42, 1.42)
)


def crowd(count: int = 40, first: int = 0) -> np.ndarray:
    """So many vectors, each 1.3 from all others: faces that are damaged alike lie as near together."""
    return (np.eye(DIM)[first : first + count] * 1.3 / np.sqrt(2) + 1 / 8).astype(np.float32)


def matcher(vectors, fixed=None, names=None) -> Matcher:
    gallery = MemoryGallery("engine", DIM)
    names = [f"person {i}" for i in range(len(vectors))] if names is None else names
    gallery.add([Template(name, "p", Embedding(each, "engine")) for name, each in zip(names, vectors, strict=True)])
    return Matcher(EngineInfo("engine", DIM, "euclidean", CALIBRATION), gallery, fixed, lambda: 0.01)


def stranger(distance: float) -> np.ndarray:
    """One more face of the crowd, at a distance from its first one."""
    (end,), (start,) = crowd(1), crowd(1, DIM - 1)
    return (end + (start - end) * distance / np.linalg.norm(start - end)).astype(np.float32)


# -- who belongs to a cohort ------------------------------------------------------------------------------------------


def test_the_cohort_does_not_depend_on_the_order_and_is_some_of_many():
    people = [f"person {i}" for i in range(1000)]
    chosen = cohort.members(people)
    assert chosen == cohort.members(reversed(people))
    assert len(set(chosen)) == cohort.SIZE
    assert np.mean([int(each.split()[1]) for each in chosen]) == pytest.approx(500, abs=100)  # not the first ones of a folder
    assert cohort.members(people[:5]) == sorted(people[:5], key=cohort.order)


def test_whoever_comes_later_joins_as_if_always_there():
    people = [f"person {i}" for i in range(400)]
    chosen = cohort.members(people[:200])
    for each in people[200:]:
        joins = cohort.joins(each, chosen)
        if joins:
            chosen = cohort.members([*chosen, each])
        assert (each in chosen) == joins
    assert chosen == cohort.members(people)


# -- how much a limit is lowered --------------------------------------------------------------------------------------


def test_nearness_leaves_out_the_nearest_two_and_the_far_ones():
    apart = np.array([[1.5, 0.1, 1.3, 1.1, 0.2, 9.0]])
    assert cohort.nearness(apart) == pytest.approx([1.2])  # of 1.1 and 1.3
    many = np.arange(100.0)[None]
    assert cohort.nearness(many) == pytest.approx([np.arange(2, 12).mean()])


def test_the_limit_is_lowered_by_what_the_cohort_is_nearer_than_usual_up_to_a_share_of_the_threshold():
    def lowered(apart, size=10):
        return cohort.lowerings(np.full((1, size), apart), (4, 10, 100), (1.6, 1.5, 1.4), 1.25)[0]

    assert lowered(1.5) == lowered(1.9) == 0
    assert lowered(1.46) == pytest.approx(0.04 * cohort.STRENGTH)
    assert lowered(1.0) == pytest.approx(cohort.MOST * 1.25)
    assert lowered(1.42, 100) == 0 and lowered(1.39, 100) == pytest.approx(0.01 * cohort.STRENGTH)
    assert lowered(1.43, 32) == pytest.approx(cohort.STRENGTH * (1.5 - 0.1 * np.log(3.2) / np.log(10) - 1.43))  # between sizes


@pytest.mark.parametrize("size", range(cohort.LEAST))
def test_of_too_few_people_nothing_follows(size):
    assert cohort.lowerings(np.zeros((2, size)), (4, 10), (1.6, 1.5), 1.25).tolist() == [0, 0]


def test_without_a_measurement_nothing_follows():
    assert cohort.lowerings(np.zeros((2, 9)), (), (), 1.25).tolist() == [0, 0]


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("embedder", EMBEDDERS)
def test_every_engine_knows_how_near_cohorts_usually_are(detector, embedder):
    points = calibration(detector, embedder)
    assert points.cohort_sizes[0] == cohort.LEAST and points.cohort_sizes[-1] == cohort.SIZE
    assert list(points.cohort_sizes) == sorted(set(points.cohort_sizes))
    assert all(points.threshold < each < 2 * points.threshold for each in points.cohort_distances)
    assert sorted(points.cohort_distances, reverse=True) == list(points.cohort_distances)


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_stranger_among_faces_that_lie_together_gets_no_name():
    people = crowd()
    asked = matcher(people)
    probe = stranger(0.98 * asked.threshold_now())
    alone = matcher(np.concatenate([people[:1], 3 * np.eye(DIM, dtype=np.float32)[:39]]))  # the others are far away
    (near,), (far,) = asked.match(probe[None]), alone.match(probe[None])
    assert far.subject == "person 0" and near.subject is None
    assert far.threshold == alone.threshold_now() and near.threshold < asked.threshold_now()
    assert near.distance == far.distance
    assert near.false_match_rate > far.false_match_rate  # the rate of the reply follows


def test_somebody_who_is_enrolled_there_keeps_the_name():
    people = crowd()
    (match,) = matcher(people).match(1.2 * people[[7]])
    assert match.subject == "person 7"


def test_one_relative_or_a_second_name_changes_nothing():
    """The two nearest are not looked at."""
    others = 3 * np.eye(DIM, dtype=np.float32)[:8]
    me = crowd(1)
    asked = matcher(np.concatenate([me, 0.99 * me, others]))
    probe = stranger(0.98 * asked.threshold_now())
    (match,) = asked.match(probe[None])
    assert match.subject is not None and match.ambiguous and match.threshold == asked.threshold_now()


def test_a_threshold_that_is_given_or_fixed_stays():
    people = crowd()
    limit = matcher(people).threshold_now()
    probe = stranger(0.98 * limit)[None]
    for match in (*matcher(people).match(probe, threshold=limit), *matcher(people, fixed=limit).match(probe)):
        assert match.subject == "person 0" and match.threshold == limit


def test_both_reasons_lower_the_limit_together():
    people = crowd()
    asked = matcher(people)
    probe = stranger(0.8 * asked.threshold_now())[None]
    (plain,), (doubtful,) = asked.match(probe), asked.match(probe, verdicts=[Comparability(True, -1.0, 20.0)])
    usual = asked.threshold_at(0.01 / 20)
    assert doubtful.threshold == pytest.approx(usual - (asked.threshold_now() - plain.threshold))


def test_several_faces_are_judged_each_by_itself():
    people = crowd()
    asked = matcher(people)
    probes = np.array([stranger(0.98 * asked.threshold_now()), people[1] * 1.1, -5 * people[2]])
    together = asked.match(probes)
    for one, each in zip(together, probes, strict=True):
        (alone,) = asked.match(each[None])
        assert one.threshold == pytest.approx(alone.threshold, rel=1e-5)  # sums of one row and of three end in different digits
        assert one == replace(alone, threshold=one.threshold)
    assert [each.subject for each in together] == [None, "person 1", None]
    assert together[2].threshold == asked.threshold_now()


# -- evaluation -------------------------------------------------------------------------------------------------------


def test_evaluation_measures_with_the_lowered_limit():
    people = crowd()
    gallery = Photos(np.arange(40), people, np.ones(40, bool))
    limit = matcher(people).threshold_now()
    probes = Photos(np.array([50]), stranger(0.98 * limit)[None], np.ones(1, bool))

    def lowerings(vectors, apart):
        return cohort.lowerings(apart, CALIBRATION.cohort_sizes, CALIBRATION.cohort_distances, CALIBRATION.threshold)

    named = [
        identification.rates([identification.search(gallery, probes, np.arange(40), lambda _: limit, *how)])["fpir"]
        for how in ((), (lowerings,))
    ]
    assert named == [1, 0]


def test_strangers_named_on_damaged_photos_are_counted_with_the_lowered_limit():
    people = crowd()
    apart = np.linalg.norm(people[:, None] - people[None], axis=2)
    others, limits = ~np.eye(40, dtype=bool), np.full(40, float(np.median(apart)))
    apart_calibration = replace(CALIBRATION, cohort_sizes=(), cohort_distances=())
    before = degrade.named(apart, others, limits, 10, apart_calibration)
    after = degrade.named(apart, others, limits, 10, CALIBRATION)
    assert before == pytest.approx(1, abs=0.05) and after < 0.5
    nobody = np.zeros((40, 40), bool)
    assert degrade.named(apart, nobody, limits, 10, CALIBRATION) == 0
    one = nobody.copy()
    one[0, 1:] = True  # one of 40 strangers is comparable
    assert degrade.named(apart, one, limits, 100, apart_calibration) == pytest.approx(1 / 40)
