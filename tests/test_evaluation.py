"""The accuracy tools: statistics against tables worked out by hand and against brute force, files, and real runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recognizer.core.errors import InvalidParameter
from recognizer.core.settings import PREFIX
from recognizer.engines import make_engine
from recognizer.enrolment.bulk import BulkSettings
from recognizer.enrolment.cache import EncodingsCache
from recognizer.evaluation import detection, identification, intervals, run, verification
from recognizer.evaluation.boxes import Truth, read_boxes
from recognizer.evaluation.detection import DetectedFaces
from recognizer.evaluation.encode import encode
from recognizer.evaluation.identification import Photos, Plan
from recognizer.evaluation.pairs import Pairs, consecutive_folds, read_pairs
from recognizer.evaluation.people_folders import count_loose, read_people
from recognizer.galleries.thresholds import Curve

from . import data
from .commands import run_command

CURVE = Curve([1.0, 2.0], [0.001, 0.1])

# -- intervals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rate, count, expected",
    [
        (0, 0, (0, 1)),
        (0, 10, (0, 0.2775)),  # by hand: z^2 / (n + z^2)
        (1, 10, (0.7225, 1)),
        (0.5, 10, (0.2366, 0.7634)),
        (0.1, 100, (0.0552, 0.1744)),
        (0.99, 300, (0.9710, 0.9966)),
    ],
)
def test_wilson(rate, count, expected):
    assert intervals.wilson(rate, count) == pytest.approx(expected, abs=1e-4)


@given(st.integers(1, 5000), st.floats(0, 1))
def test_a_rate_lies_in_its_interval(count, rate):
    for each in (0.0, rate, 1.0):
        low, high = intervals.wilson(each, count)
        assert 0 <= low <= each <= high <= 1  # not even rounding puts it outside: it is drawn with bars from it


def _dyadic_brute_force(outcomes, people):
    off = outcomes - outcomes.mean()
    n, total = len(outcomes), 0.0
    for i in range(n):
        for j in range(n):
            shared = len(set(people[i]) & set(people[j]))
            total += off[i] * off[j] * (shared if i != j else 1)
    return max(0.0, total) / n**2


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.int64, st.tuples(st.integers(1, 12), st.just(2)), elements=st.integers(0, 5)),
    st.integers(0, 2**12 - 1),
)
def test_clustered_variance_sums_over_pairs_of_trials_that_share_a_person(people, bits):
    outcomes = np.array([bits >> i & 1 for i in range(len(people))], float)
    assert intervals.clustered_variance(outcomes, people) == pytest.approx(_dyadic_brute_force(outcomes, people), abs=1e-12)


def test_independent_people_give_wilsons_interval_and_shared_ones_a_wider():
    outcomes = np.arange(100) < 90
    alone = intervals.interval(outcomes, np.arange(100))
    assert alone == pytest.approx(intervals.wilson(0.9, 100))
    ten_each = intervals.interval(outcomes, np.arange(100) // 10)
    assert ten_each == pytest.approx(intervals.wilson(0.9, 10))  # one person failed ten times: 10 trials, not 100
    assert ten_each[0] < alone[0] < 0.9 < alone[1] < ten_each[1]


def test_without_errors_trials_count_as_many_as_there_are_people():
    assert intervals.interval(np.ones(50, bool), np.arange(50) // 5) == pytest.approx(intervals.wilson(1, 10))
    assert intervals.interval(np.zeros(0, bool), np.zeros((0, 2), int)) == (0, 1)


# -- one against one ------------------------------------------------------------------------------------------------


def _pairs(same, people=None, folds=None) -> Pairs:
    same = np.array(same, bool)
    n = len(same)
    people = np.arange(2 * n).reshape(n, 2) if people is None else np.array(people)
    folds = consecutive_folds(same) if folds is None else np.array(folds)
    return Pairs(tuple(Path(str(i)) for i in range(2 * n)), np.arange(n), np.arange(n) + n, same, people, folds)


@pytest.mark.parametrize(
    "distances, same, expected",
    [
        ([0.4, 0.6, 1.0, 1.2], [1, 1, 0, 0], 0.8),  # halfway
        ([1.0, 1.2], [0, 0], 0.5),  # below everything
        ([0.4, 0.6], [1, 1], 0.6),  # everything
        ([0.4, 0.5, 0.6, 1.0], [1, 0, 1, 0], 0.8),
        ([0.4, 0.4, 0.9], [1, 0, 0], 0.65),  # of two that are equally far both are accepted or none: all the same here
        ([np.inf, 0.4, 1.0], [1, 1, 0], 0.7),  # lost pairs decide nothing
        ([np.inf, np.inf], [1, 0], 0.0),
    ],
)
def test_best_threshold(distances, same, expected):
    assert verification.best_threshold(np.array(distances), np.array(same, bool)) == pytest.approx(expected)


finite = st.floats(0, 2, width=16)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(finite, st.booleans()), min_size=1, max_size=30))
def test_no_threshold_is_better_than_the_best(rows):
    distances, same = np.array([d for d, _ in rows], float), np.array([s for _, s in rows])
    chosen = np.mean((distances <= verification.best_threshold(distances, same)) == same)
    assert chosen == max(np.mean((distances <= t) == same) for t in [-1, *distances])


@settings(max_examples=100, deadline=None)
@given(st.lists(finite, min_size=1, max_size=40), st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.5, 0.9]))
def test_the_threshold_of_a_rate_is_the_largest_that_keeps_it(impostors, rate):
    ranked = np.sort(np.array(impostors, float))
    limit = verification.threshold_at(ranked, rate)
    assert np.mean(ranked < limit) <= rate + 1e-12
    if np.isfinite(limit):
        assert np.mean(ranked <= limit) > rate


def test_the_variance_of_true_accepts_is_what_repeating_shows():
    random = np.random.default_rng(0)
    same, people = np.arange(3000) < 1000, np.arange(6000).reshape(3000, 2)
    people[:1000, 1] = people[:1000, 0]
    shares, variances = [], []
    for _ in range(300):
        distances = np.where(same, random.normal(1.0, 0.2, 3000), random.normal(1.6, 0.1, 3000))
        impostors = np.sort(distances[~same])
        near = distances < verification.threshold_at(impostors, 0.01)
        shares.append(np.mean(near[same]))
        variances.append(verification.accepts_variance(near, same, ~same, people, distances, impostors))
    assert np.mean(variances) == pytest.approx(np.var(shares), rel=0.25)


def test_cross_validation_chooses_the_threshold_without_the_fold():
    # fold 0 alone would accept 0.9 as well; the others say no to anything from 0.6 on
    distances = np.array([0.9, 1.1, 0.2, 0.6, 0.6, 0.3, 0.6, 0.6])
    same = np.array([1, 0, 1, 0, 0, 1, 0, 0], bool)
    right = verification.cross_validated(distances, same, np.array([0, 0, 1, 1, 1, 2, 2, 2]))
    assert right.tolist() == [False, True, True, True, True, True, True, True]


def test_a_report_worked_out_by_hand():
    """20 pairs, two of them lost; at 1.0 one genuine is missed and one impostor of nine compared is accepted."""
    genuine = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.4, np.inf]
    impostors = [0.9, 1.5, 1.6, 1.7, 1.8, 1.9, 1.95, 1.97, 1.98, np.inf]
    pairs = _pairs([1] * 10 + [0] * 10)
    report = verification.measure(verification.Compared(pairs, np.array(genuine + impostors)), 1.0, CURVE)
    assert (report["pairs"], report["pairs_lost"], report["pairs_lost_same"], report["pairs_lost_different"]) == (
        20,
        2,
        1,
        1,
    )
    at = report["at_threshold"]
    assert at["fnmr"] == pytest.approx(2 / 10)  # the lost one is a false non-match
    assert at["fmr"] == pytest.approx(1 / 9)  # the lost one does not dilute it
    assert at["accuracy"] == pytest.approx(16 / 20)  # both lost ones are errors
    assert report["tar"]["1e-2"] == pytest.approx(8 / 10)  # nearer than 0.9
    assert report["tar_threshold"]["1e-2"] == pytest.approx(0.9)
    assert not report["tar_measurable"]["1e-2"]
    assert report["accuracy_lost_as_different"] - report["accuracy"] == pytest.approx(1 / 20)
    promise = report["calibration"]["1e-1"]
    assert promise["threshold"] == 2.0 and promise["fmr"] == 1.0
    assert sum(report["histogram"]["same"]) == 9 and sum(report["histogram"]["different"]) == 9
    json.dumps(report, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=1, max_size=30), st.lists(finite, min_size=1, max_size=30))
def test_every_point_of_the_curve_is_what_it_says(genuine, impostors):
    genuine, impostors = np.array(genuine, float), np.array(impostors, float)
    points = verification.roc(genuine, impostors)
    assert points[0][0] == 0
    for fmr, tar, limit in points:
        assert fmr == pytest.approx(np.mean(impostors < limit)) and tar == pytest.approx(np.mean(genuine < limit))
    assert [p[0] for p in points] == sorted(p[0] for p in points)


# -- pairs files ----------------------------------------------------------------------------------------------------

PHOTOS = ["A_B/A_B_0001.jpg", "A_B/A_B_0002.JPG", "C/C_0001.png", "C/C_0010.jpeg", "D/D_0003.jpg"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with files of these names; what is in them does not matter here."""
    root = tmp_path / "images"
    for name in PHOTOS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def _file(tmp_path, text: str, encoding="utf-8") -> Path:
    path = tmp_path / "pairs.txt"
    path.write_bytes(text.encode(encoding))
    return path


_SET = "A_B\t1\t2\nC\t1\t10\nA_B\t1\tC\t1\nC\t10\tD\t3\n"


@pytest.mark.parametrize(
    "text, folds",
    [
        ("2\n" + _SET, [0, 1, 0, 1]),
        (_SET, [0, 1, 0, 1]),  # no count at all
        ("1\t2\n" + _SET, [0, 1, 0, 1]),
        ("2\t1\nA_B\t1\t2\nA_B\t1\tC\t1\nC\t1\t10\nC\t10\tD\t3\n", [0, 0, 1, 1]),  # the file's own folds
        ("2\r\n" + _SET.replace("\n", "\r\n"), [0, 1, 0, 1]),
        (_SET.replace("\t", "  "), [0, 1, 0, 1]),
        ("\n2\n\n" + _SET + "\n\n", [0, 1, 0, 1]),
        ("2\t\n" + _SET.replace("\n", "\t \n"), [0, 1, 0, 1]),  # as a spreadsheet writes it
    ],
)
def test_lfw_pairs(tmp_path, folder, text, folds):
    pairs = read_pairs(_file(tmp_path, text), folder)
    assert len(pairs) == 4 and pairs.same.sum() == 2
    assert pairs.folds.tolist() == folds
    named = {
        (pairs.photos[a].name, pairs.photos[b].name): bool(same)
        for a, b, same in zip(pairs.first, pairs.second, pairs.same, strict=True)
    }
    assert named == {
        ("A_B_0001.jpg", "A_B_0002.JPG"): True,
        ("C_0001.png", "C_0010.jpeg"): True,
        ("A_B_0001.jpg", "C_0001.png"): False,
        ("C_0010.jpeg", "D_0003.jpg"): False,
    }
    assert len({person for row in pairs.people for person in row}) == 3


_CSV = "A_B/A_B_0001.jpg,A_B/A_B_0002.JPG,1\nC/C_0001.png, C/C_0010.jpeg ,TRUE\n" + (
    "A_B/A_B_0001.jpg,C/C_0001.png,0\nC/C_0010.jpeg,D/D_0003.jpg,false\n"
)


@pytest.mark.parametrize("text", [_CSV, "a,b,same\n" + _CSV, "\ufeffphoto,other,Same\r\n" + _CSV.replace("\n", "\r\n")])
def test_csv_pairs(tmp_path, folder, text):
    pairs = read_pairs(_file(tmp_path, text), folder)
    assert pairs.same.tolist() == [True, True, False, False]
    assert len(pairs.photos) == 5
    assert pairs.people.tolist() == [[0, 0], [1, 1], [0, 1], [1, 2]]  # whoever pairs call the same has one number


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "is empty"),
        ("3\n" + _SET, "announces 6 pairs, but it has 4"),
        (_SET + "A_B\t1\n", "line 5: expected `name i j`"),
        ("2\n" + _SET.replace("10\tD", "ten\tD"), "line 5: expected `name i j`"),
        (_SET + "A_B\t7\t8\n", r"2 of 7 photos are not in .*A_B/A_B_0007, A_B/A_B_0008"),
        ("A_B\t1\t2\nC\t1\t10\n", "expected at least 2 pairs of one person and 2 of two, got 2 and 0"),
        (_CSV + "A_B/A_B_0001.jpg,gone.jpg,1\n", "1 of 6 photos are not in .*gone.jpg"),
        (_CSV + "A_B/A_B_0001.jpg,maybe\n", "line 5: expected `a,b,same`"),
        (_CSV + "A_B/A_B_0001.jpg,C/C_0001.png,perhaps\n", "line 5: expected `a,b,same`"),
        ("a,b,same\n", "got 0 and 0"),
    ],
)
def test_pairs_that_cannot_be_used(tmp_path, folder, text, says):
    with pytest.raises(InvalidParameter, match=says):
        read_pairs(_file(tmp_path, text), folder)


def test_a_pairs_file_must_be_a_text_and_its_folder_a_folder(tmp_path, folder):
    with pytest.raises(InvalidParameter, match="UTF-8"):
        read_pairs(_file(tmp_path, _SET.replace("C", "\u00e9"), "latin-1"), folder)
    with pytest.raises(InvalidParameter, match="cannot be read"):
        read_pairs(tmp_path / "none.txt", folder)
    with pytest.raises(InvalidParameter, match="no such folder"):
        read_pairs(_file(tmp_path, _SET), tmp_path / "none")


@given(st.integers(2, 60), st.integers(2, 60))
def test_folds_share_pairs_of_both_kinds_evenly(genuine, impostors):
    same = np.arange(genuine + impostors) < genuine
    folds = consecutive_folds(same)
    count = min(10, genuine, impostors)
    for kind in (same, ~same):
        sizes = np.bincount(folds[kind], minlength=count)
        assert len(sizes) == count and sizes.max() - sizes.min() <= 1
        assert (np.diff(folds[kind]) >= 0).all()


# -- one against many -----------------------------------------------------------------------------------------------


def _photos(rows) -> Photos:
    """Rows of (person, position on a line); None is a photo without a face."""
    people = np.array([person for person, _ in rows])
    vectors = np.array([[0.0 if x is None else x] for _, x in rows], np.float32)
    return Photos(people, vectors, np.array([x is not None for _, x in rows]))


GALLERY = _photos([(0, 0.0), (0, 0.1), (1, 1.0), (2, None)])
PROBES = _photos([(0, 0.05), (0, 0.9), (1, 1.05), (1, None), (2, 2.0), (8, 0.2), (8, 3.0), (9, None)])


def test_rates_of_one_gallery_worked_out_by_hand():
    trial = identification.search(GALLERY, PROBES, np.array([0, 1, 2]), lambda templates: 0.15 * (templates == 3))
    assert trial.templates == 3
    report = identification.rates([trial])
    assert report["fpir"] == pytest.approx(1 / 2)  # 0.2 is within 0.15 of 0.1; 3.0 is not; the lost one does not count
    # enrolled: 0.05 and 1.05 named; 0.9 named as 1; one lost; 2.0 belongs to somebody whose every photo was lost
    assert report["fnir"] == pytest.approx(3 / 5)
    assert report["rank1"] == pytest.approx(2 / 5)
    assert report["misnamed"] == 1
    assert (report["searches_strangers"], report["searches_enrolled"]) == (2, 5)


def test_probes_of_people_outside_a_gallery_are_strangers_to_it():
    trial = identification.search(GALLERY, PROBES, np.array([1]), lambda _: 0.15)
    assert trial.mated.tolist() == [False, False, True, True, False, False, False, False]
    assert identification.rates([trial])["fpir"] == pytest.approx(1 / 5)  # 0.9 is taken for 1


def test_an_empty_gallery_names_nobody():
    report = identification.rates([identification.search(GALLERY, PROBES, np.array([2]), lambda _: 1.0)])
    assert report["fpir"] == 0 and report["fnir"] == 1 and report["rank1"] == 0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nearest_is_what_brute_force_finds(drawn):
    rows = st.lists(st.tuples(st.integers(0, 4), st.integers(-50, 50)), min_size=1, max_size=12)
    gallery = _photos([(p, float(x)) for p, x in drawn.draw(rows)])
    probes = _photos([(p, x + 0.25) for p, x in drawn.draw(rows)])
    trial = identification.search(gallery, probes, np.arange(5), lambda _: 3.0)
    apart = np.abs(probes.vectors - gallery.vectors.T)
    assert trial.distance == pytest.approx(apart.min(axis=1), abs=1e-4)
    for i, correct in enumerate(trial.correct):
        nearest = set(gallery.people[apart[i] == apart[i].min()])
        assert correct <= (probes.people[i] in nearest)
        assert correct >= (nearest == {probes.people[i]})


def test_det_points_are_what_they_say():
    trial = identification.search(GALLERY, PROBES, np.array([0, 1]), lambda _: 0.15)
    strangers = trial.distance[~trial.mated & np.isfinite(trial.distance)]
    for fpir, fnir, limit in identification.det([trial]):
        assert fpir == pytest.approx(np.mean(strangers < limit))
        assert fnir == pytest.approx(np.mean(~(trial.correct & (trial.distance < limit))[trial.mated]))


def test_measuring_tries_every_size_and_always_everybody():
    random = np.random.default_rng(1)
    people = np.repeat(np.arange(40), 4)
    centres = random.normal(size=(40, 8)) * 4
    photos = Photos(people, (centres[people] + random.normal(size=(160, 8)) * 0.1).astype(np.float32), np.ones(160, bool))

    def split(seed):
        return identification.split_photos(photos, seed)

    report = identification.measure(*split(0), lambda _: 2.0, Plan((5, 20, 1000), 3), split)
    assert list(report["by_size"]) == ["5", "20", "all"]
    assert report["by_size"]["all"]["people"] == report["people_enrolled"] == 27
    assert report["rank1"] == 1 and report["fnir"] == 0 and report["fpir"] < 0.1
    assert report == identification.measure(*split(0), lambda _: 2.0, Plan((5, 20, 1000), 3), split)  # the same seed
    json.dumps(report, allow_nan=False)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=3, max_size=60), st.integers(0, 5))
def test_a_split_keeps_every_photo_once_and_strangers_out(owners, seed):
    people = np.array(owners)
    photos = Photos(people, np.arange(len(people), dtype=np.float32)[:, None], np.ones(len(people), bool))
    counts = np.unique(people, return_counts=True)[1]
    if len(counts) < 3 or counts.max() < 2:
        with pytest.raises(InvalidParameter, match="expected at least 3 people"):
            identification.split_photos(photos, seed)
        return
    gallery, probes = identification.split_photos(photos, seed)
    together = np.concatenate([gallery.vectors, probes.vectors])[:, 0]
    assert sorted(together.tolist()) == list(range(len(people)))
    enrolled = np.unique(gallery.people)
    assert len(enrolled) == round(2 / 3 * len(counts))
    for person in enrolled:
        assert (gallery.people == person).sum() == -(-(people == person).sum() // 2)


# -- finding faces --------------------------------------------------------------------------------------------------


def _truth(boxes, valid=None) -> Truth:
    boxes = np.array(boxes, float).reshape(-1, 4)
    return Truth(Path("x.jpg"), boxes, np.ones(len(boxes), bool) if valid is None else np.array(valid, bool))


def _found(boxes, scores=None) -> DetectedFaces:
    boxes = np.array(boxes, float).reshape(-1, 4)
    return DetectedFaces(boxes, np.linspace(0.9, 0.1, len(boxes)) if scores is None else np.array(scores), 5.0, 4.0)


def test_detection_worked_out_by_hand():
    truths = [
        _truth([[0, 0, 50, 50], [100, 0, 130, 30], [200, 0, 215, 15], [300, 0, 340, 40]], [1, 1, 1, 0]),
        _truth([]),
    ]
    found = [
        # on the first face; again on it: a mistake; on the 15 px face; on the face that does not count: nothing
        _found([[0, 0, 50, 50], [2, 0, 52, 50], [200, 0, 215, 15], [300, 0, 340, 40]], [0.9, 0.8, 0.7, 0.6]),
        _found([[0, 0, 10, 10]], [0.95]),  # a mistake
    ]
    report = detection.measure(truths, found)
    assert report["faces"] == {">=40": 1, ">=20": 2, ">=10": 3}
    assert report["recall"] == {">=40": 1.0, ">=20": 0.5, ">=10": pytest.approx(2 / 3)}
    assert report["precision"] == pytest.approx(2 / 4) and report["boxes_found"] == 4
    # ranked: mistake, hit, mistake, hit (15 px)
    assert report["average_precision"] == {
        ">=40": pytest.approx(1 / 2),
        ">=20": pytest.approx(1 / 4),
        ">=10": pytest.approx((1 / 2 + 1 / 2) / 3),
    }
    assert report["ms"] == 5.0 and report["cpu_ms"] == 4.0
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("iou, hit", [(0.5, True), (0.55, False)])
def test_overlap_decides(iou, hit):
    # 10 x 10 against 10 x 10 moved by 3.2: 68 shared of 132
    assert detection.match(_truth([[0, 0, 10, 10]]), _found([[3.2, 0, 13.2, 10]]), iou).hit.tolist() == [hit]


def test_the_better_score_takes_the_face_it_overlaps_most():
    truth = _truth([[0, 0, 10, 10], [4, 0, 14, 10]])
    matched = detection.match(truth, _found([[3.5, 0, 13.5, 10], [3, 0, 13, 10]]))
    assert matched.match.tolist() == [1, 0] and matched.hit.all()


def test_average_precision_without_faces_or_boxes():
    assert detection.average_precision(np.zeros(0), np.zeros(0, bool), 0) is None
    assert detection.average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0


WIDER = """0--Parade/one.jpg
2
10 20 30 40 0 0 0 0 0 0
50 60 70 80 0 0 0 1 0 0
1--None/two.jpg
0
0 0 0 0 0 0 0 0 0 0
1--None/three.jpg
1
1 2 0 4 0 0 0 0 0 0
"""


@pytest.fixture
def box_folder(tmp_path) -> Path:
    for name in ("0--Parade/one.jpg", "1--None/two.jpg", "1--None/three.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_widers_list_and_json_say_the_same(box_folder):
    wider = read_boxes(_file(box_folder, WIDER), box_folder)
    faces = [{"bbox_xywh": [10, 20, 30, 40], "invalid": 0}, {"bbox_xywh": [50, 60, 70, 80], "invalid": 1}]
    content = {"0--Parade/one.jpg": faces, "1--None/two.jpg": [], "1--None/three.jpg": [{"bbox_xywh": [1, 2, 0, 4]}]}
    for truths in (wider, read_boxes(_file(box_folder, json.dumps(content)), box_folder)):
        assert [truth.path.name for truth in truths] == ["one.jpg", "two.jpg", "three.jpg"]
        assert truths[0].boxes.tolist() == [[10, 20, 40, 60], [50, 60, 120, 140]]
        assert truths[0].valid.tolist() == [True, False]
        assert len(truths[1].boxes) == 0 and len(truths[2].boxes) == 0  # no width: nothing to find


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "is empty"),
        ("{", "not valid JSON"),
        ('{"1--None/two.jpg": [{"box": [1, 2, 3, 4]}]}', "expected a list of"),
        ('{"1--None/two.jpg": [{"bbox_xywh": [1, 2, 3]}]}', "expected a list of"),
        ('{"gone.jpg": []}', "1 of 1 photos are not in .*gone.jpg"),
        ('{"1--None/two.jpg": []}', "at least one valid face, got none"),
        (WIDER + "1--None/two.jpg\n3\n1 2 3 4 0 0 0 0 0 0\n", "line 11: expected 3 faces"),
        (WIDER.replace("50 60 70 80", "50 60 70 wide"), "line 4: expected `left top width height`"),
        (WIDER + "1--None/two.jpg\n", "line 11: expected a photo's path"),
    ],
)
def test_boxes_that_cannot_be_used(box_folder, text, says):
    with pytest.raises(InvalidParameter, match=says):
        read_boxes(_file(box_folder, text), box_folder)


# -- folders of people ----------------------------------------------------------------------------------------------


def test_people_are_folders_and_unknown_is_nobody(tmp_path):
    names = (
        "Ann/1.jpg",
        "Ann/notes.txt",
        "Ann/.hidden.jpg",
        "Ann/2026/3.jpg",
        "Ann/.trash/4.jpg",
        "unknown/1.jpg",
        "unknown/2.png",
        "unknown/Bob/1.jpg",
        "flat.jpg",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"text")
    assert [(photo.person, photo.path.name) for photo in read_people(tmp_path)] == [
        ("Ann", "1.jpg"),
        ("Ann", "3.jpg"),
        ("unknown/1.jpg", "1.jpg"),
        ("unknown/2.png", "2.png"),
        ("unknown/Bob/1.jpg", "1.jpg"),
    ]
    assert count_loose(tmp_path) == 1
    with pytest.raises(InvalidParameter, match="one folder per person"):
        read_people(tmp_path / "unknown" / "Bob")


# -- real photos ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(models_dir) -> BulkSettings:
    recipe = {"detector": "yunet", "embedder": "dlib+sface", "models_dir": models_dir}
    return BulkSettings(make_engine(**recipe), recipe)


@pytest.fixture
def people(tmp_path, photos) -> Path:
    """Obama three times, Biden, an astronaut, somebody's broken photo, and a photo without a face."""
    root = tmp_path / "people"
    obama = ("obama.jpg", "obama2.jpg", "obama3.jpg")
    for number, name in enumerate(obama, 1):
        _copy(photos[name], root / "Obama" / f"Obama_{number:04d}.jpg")
    _copy(photos["biden.jpg"], root / "Biden" / "Biden_0001.jpg")
    _copy(photos["astronaut.png"], root / "Collins" / "Collins_0001.png")
    (root / "Lost").mkdir()
    (root / "Lost" / "Lost_0001.jpg").write_bytes(photos["biden.jpg"].read_bytes()[:5000])
    from recognizer.photos.images import encode_jpeg

    (root / "Lost" / "Lost_0002.jpg").write_bytes(encode_jpeg(np.full((200, 200, 3), 127, np.uint8)))
    return root


def _copy(file: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, to)


PAIRS = (
    "Obama\t1\t2\nObama\t1\t3\nObama\t2\t3\nLost\t1\t2\n"
    "Obama\t1\tBiden\t1\nObama\t2\tCollins\t1\nBiden\t1\tCollins\t1\nLost\t1\tBiden\t1\n"
)


@pytest.mark.slow
def test_photos_are_looked_at_once(tmp_path, people, source):
    paths = sorted(people.rglob("*_*.*"))
    cache = EncodingsCache(tmp_path / "evaluation.sqlite")
    told = []
    first = encode(paths, source, cache, lambda done, total: told.append((done, total)))
    assert told[-1] == (len(paths), len(paths))
    problems = {paths[i].name: problem for i, problem, _ in first.problems}
    assert problems == {"Lost_0001.jpg": "broken_image", "Lost_0002.jpg": "no_face"}
    again = encode(paths, source, cache, lambda *_: pytest.fail("a photo was looked at again"))
    assert (again.vectors == first.vectors).all() and again.problems == first.problems
    cache.close()


@pytest.mark.slow
def test_threads_and_processes_make_the_same_of_photos(tmp_path, people, source):
    from dataclasses import replace

    from recognizer.enrolment.bulk import in_batches, in_processes
    from recognizer.evaluation.encode import encode_file

    paths = [(path.name, path) for path in sorted(people.rglob("*_*.*"))]
    alone = [encode_file(source, item) for item in paths]
    many = replace(source, workers=2)
    for spread in (in_batches(encode_file, paths * 2, many), in_processes(encode_file, [paths * 2], many)):
        made = [one for part in spread for one in part]
        assert [one.photo for one in made] == [one.photo for one in alone] * 2
        for one, expected in zip(made, alone * 2, strict=True):
            assert one.problem == expected.problem
            assert one.vector is None or (one.vector == expected.vector).all()


def test_the_subject_is_the_central_or_the_largest_face(tmp_path, photos, source):
    from dataclasses import replace

    from recognizer.photos import images

    one, other = (images.decode(photos[name].read_bytes()).pixels for name in ("obama.jpg", "biden.jpg"))
    small = images.resize(other, 300)
    wide = np.full((max(len(one), 800), one.shape[1] * 2 + 800, 3), 127, np.uint8)
    wide[: len(one), : one.shape[1]] = one  # large, far to the left
    middle = (wide.shape[1] - small.shape[1]) // 2
    top = (len(wide) - len(small)) // 2
    wide[top : top + len(small), middle : middle + small.shape[1]] = small
    path = tmp_path / "both.jpg"
    path.write_bytes(images.encode_jpeg(wide))
    cache = EncodingsCache(":memory:")
    alone = encode([photos["obama.jpg"], photos["biden.jpg"]], source, cache).vectors
    for subject, expected in (("largest", 0), ("central", 1)):
        found = encode([path], replace(source, subject=subject), cache).vectors[0]
        assert np.linalg.norm(alone - found, axis=1).argmin() == expected
    cache.close()


def _bench(source) -> run.Bench:
    return run.Bench(source, EncodingsCache(":memory:"))


def test_probes_that_are_enrolled_are_left_out(tmp_path, people, source):
    gallery, probes = tmp_path / "gallery", tmp_path / "probes"
    _copy(people / "Obama" / "Obama_0001.jpg", gallery / "Obama" / "a.jpg")
    _copy(people / "Obama" / "Obama_0002.jpg", probes / "Obama" / "b.jpg")
    _copy(people / "Obama" / "Obama_0001.jpg", probes / "Obama" / "same.jpg")
    _copy(people / "Biden" / "Biden_0001.jpg", probes / "unknown" / "c.jpg")
    bench = _bench(source)
    report = run.identify(bench, gallery, probes, Plan((10,), 1))
    assert report["probes_also_enrolled"] == 1
    assert report["rank1"] == 1 and report["fnir"] == 0 and report["fpir"] == 0
    assert list(report["by_size"]) == ["all"]
    assert report["threshold"] == pytest.approx(bench.threshold(1))


def _evaluate(tmp_path, models_dir, *arguments, code=0) -> Result:
    settings = {f"{PREFIX}MODELS_DIR": str(models_dir), f"{PREFIX}STATE_DIR": str(tmp_path / "state")}
    done = run_command(settings, "evaluate", *arguments)
    assert done.exit_code == code, done.output
    return done


@pytest.mark.slow
def test_verification_from_the_command_line(tmp_path, people, models_dir):
    pairs, out, picture = _file(tmp_path, PAIRS), tmp_path / "out.json", tmp_path / "out.png"
    pytest.importorskip("matplotlib")
    arguments = ("--pairs", pairs, "--images", people, "--json", out, "--plot", picture)
    done = _evaluate(tmp_path, models_dir, *arguments)
    assert "pairs lost" in done.stdout and "Lost/Lost_0001.jpg [broken_image]" in done.stderr
    report = json.loads(out.read_text())
    part = report["verification"]
    assert set(report) >= {"engine", "date", "versions"}
    assert part["pairs_lost"] == 2 and part["accuracy"] == pytest.approx(6 / 8)
    assert part["at_threshold"]["fmr"] == 0 and part["at_threshold"]["fnmr"] == pytest.approx(1 / 4)
    assert set(part["tar"]) == {"1e-2", "1e-3", "1e-4"} and part["tar"]["1e-2"] == pytest.approx(3 / 4)
    assert 0 < part["threshold"] < 2
    assert str(tmp_path) not in out.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = _evaluate(tmp_path, models_dir, *arguments)
    assert "looking at photos" not in again.stderr and again.stdout == done.stdout


LOST_DIFFERENT = """a,b,same
Obama/Obama_0001.jpg,Obama/Obama_0002.jpg,1
Obama/Obama_0002.jpg,Obama/Obama_0001.jpg,1
Lost/Lost_0001.jpg,Obama/Obama_0001.jpg,0
Lost/Lost_0001.jpg,Obama/Obama_0002.jpg,0
"""


@pytest.mark.slow
def test_what_cannot_be_told_is_not_drawn_and_stays_json(tmp_path, people, models_dir):
    """No two different people that could be compared; no strangers; nobody who is enrolled."""
    pytest.importorskip("matplotlib")
    out, picture = tmp_path / "out.json", tmp_path / "out.png"

    def measured(*arguments):
        picture.unlink(missing_ok=True)
        _evaluate(tmp_path, models_dir, *arguments, "--json", out, "--plot", picture)
        assert picture.read_bytes().startswith(b"\x89PNG")
        return json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    part = measured("--pairs", _file(tmp_path, LOST_DIFFERENT), "--images", people)["verification"]
    assert part["pairs_lost"] == 2 and part["at_threshold"]["fmr"] is None and part["roc"] == []
    assert part["tar"]["1e-2"] == 0 and not part["tar_measurable"]["1e-2"]
    gallery, known, unknown = tmp_path / "gallery", tmp_path / "known", tmp_path / "strangers"
    _copy(people / "Obama" / "Obama_0001.jpg", gallery / "Obama" / "a.jpg")
    _copy(people / "Obama" / "Obama_0002.jpg", known / "Obama" / "b.jpg")
    _copy(people / "Biden" / "Biden_0001.jpg", unknown / "unknown" / "c.jpg")
    part = measured("--gallery", gallery, "--probes", known)["identification"]
    assert part["fpir"] is None and part["fnir"] == 0
    part = measured("--gallery", gallery, "--probes", unknown)["identification"]
    assert part["fpir"] == 0 and part["fnir"] is None


def test_engines_are_chosen_by_name(tmp_path, people, models_dir):
    out = tmp_path / "out.json"
    for choice in (("--engine", "sface"), ("--engine", "yunet+sface"), ("--detector", "yunet", "--embedder", "sface")):
        _evaluate(tmp_path, models_dir, "--pairs", _file(tmp_path, PAIRS), "--images", people, "--json", out, *choice)
        assert json.loads(out.read_text())["engine"].startswith("yunet+sface/")


def test_json_alone_goes_to_the_standard_output(tmp_path, people, models_dir):
    done = _evaluate(tmp_path, models_dir, "--split", people, "--repeats", 1, "--sizes", "1", "--json")
    assert set(json.loads(done.stdout)) >= {"engine", "identification"}


def test_identification_from_the_command_line(tmp_path, people, models_dir):
    out = tmp_path / "out.json"
    _evaluate(tmp_path, models_dir, "--split", people, "--json", out, "--repeats", 2, "--sizes", "1,2")
    part = json.loads(out.read_text())["identification"]
    assert list(part["by_size"]) == ["1", "2", "all"] and part["split"] == "people"
    assert {each["problem"] for each in part["photos_lost"]} == {"broken_image", "no_face"}


def test_detection_from_the_command_line(tmp_path, photos, models_dir, source):
    from recognizer.photos import images

    root = tmp_path / "photos"
    _copy(photos["obama.jpg"], root / "obama.jpg")
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    faces = source.engine.find(images.decode(photos["obama.jpg"].read_bytes()))
    left, top, right, bottom = faces.boxes[0]
    wanted = {"obama.jpg": [{"bbox_xywh": [left, top, right - left, bottom - top]}], "broken.jpg": []}
    boxes, out = tmp_path / "boxes.json", tmp_path / "out.json"
    boxes.write_text(json.dumps(wanted))
    _evaluate(tmp_path, models_dir, "--boxes", boxes, "--images", root, "--json", out)
    part = json.loads(out.read_text())["detection"]
    assert part["recall"] == {">=40": 1.0, ">=20": 1.0, ">=10": 1.0}
    assert part["precision"] == pytest.approx(1 / len(faces)) and part["ms"] > 0
    assert [each["photo"] for each in part["photos_lost"]] == ["broken.jpg"]


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        ((), 2, "expected --pairs"),
        (("--pairs", "none.txt"), 2, "--images goes with"),
        (("--gallery", "g"), 2, "go together"),
        (("--pairs", "none.txt", "--images", "."), 1, "none.txt: the file cannot be read"),
        (("--split", "nowhere"), 1, "there is no such folder"),
        (("--split", ".", "--engine", "magic"), 2, "expected one of"),
        (("--split", ".", "--engine", "hog+dlib", "--detector", "yunet"), 2, "contradict"),
        (("--split", ".", "--sizes", "ten"), 2, "expected numbers of people"),
        (("--split", ".", "--json", "nowhere/out.json"), 2, "no folder to write"),
    ],
)
def test_wrong_calls_are_explained(tmp_path, models_dir, arguments, code, says):
    assert says in _evaluate(tmp_path, models_dir, *arguments, code=code).stderr


def test_lfw_pairs_as_published(tmp_path, source):
    """A part of LFW's development pairs: most are told right, and the file reads as it was published."""
    lfw = data.folder("lfw-dev")
    lines = (lfw / "pairs-dev-test.txt").read_text().splitlines()
    assert len(read_pairs(lfw / "pairs-dev-test.txt", lfw / "images")) == 1000
    part = [*lines[1:13], *lines[501:513]]
    report = run.verify(_bench(source), _file(tmp_path, "12\n" + "\n".join(part)), lfw / "images")
    assert report["pairs"] == 24 and report["pairs_lost"] == 0
    assert report["accuracy"] > 0.9 and report["at_threshold"]["accuracy"] > 0.9
