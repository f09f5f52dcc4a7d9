"""Finding objects on real photos: what is found and where, repeats, thresholds, threads, fetching on first use."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

import recognizer
from recognizer.core import geometry
from recognizer.core.errors import Busy, InvalidParameter, ModelCorrupt, ModelMissing, UnsupportedImage
from recognizer.core.settings import Settings
from recognizer.photos import images, objects
from recognizer.photos.objects import GRAPH, LABELS, LEAST_SCORE, WEIGHTS, ObjectDetector, check_labels, without_repeats
from recognizer.photos.results import FoundObject
from recognizer.service import make_service, needed_files
from recognizer.weights import manifest

from . import data


@pytest.fixture(scope="module")
def detector(models_dir) -> ObjectDetector:
    return ObjectDetector(manifest.path(WEIGHTS, models_dir), manifest.path(GRAPH, models_dir))


@pytest.fixture(scope="module")
def portrait(photos) -> np.ndarray:
    return images.decode(photos["astronaut.png"].read_bytes()).pixels


@pytest.fixture(scope="module")
def people(tmp_path_factory, models_dir):
    folder = tmp_path_factory.mktemp("people")
    with recognizer.open(folder / "known", state_dir=folder / "state", models_dir=models_dir) as people:
        yield people


# -- what is found ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 127, 255])
def test_an_even_picture_has_no_objects(detector, value):
    assert detector.find(np.full((240, 320, 3), value, np.uint8)) == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (2, 3)])
def test_the_smallest_pictures(detector, size):
    assert isinstance(detector.find(np.zeros((*size, 3), np.uint8), LEAST_SCORE), tuple)


def test_a_person_is_found_where_she_is(detector, portrait):
    found = detector.find(portrait)
    assert all(isinstance(each, FoundObject) for each in found)
    person = found[0]
    assert person.label == "person" and person.score > 0.6
    true = np.array([20.0, 0, 450, 512])
    assert geometry.iou(true, np.array([tuple(person.box)]))[0] > 0.7


def test_colours_are_red_green_blue(detector, portrait):
    """The network was trained on them in this order; the other way round it is less sure."""
    right, wrong = (detector.find(pixels, 0.3)[0].score for pixels in (portrait, portrait[:, :, ::-1].copy()))
    assert right > wrong


def test_boxes_lie_within_the_picture_best_first(detector, portrait):
    for pixels in (portrait, portrait[:, 200:], portrait[250:], portrait[:60]):
        found = detector.find(pixels, LEAST_SCORE)
        assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
        for each in found:
            left, top, right, bottom = each.box
            assert 0 <= left < right <= pixels.shape[1] and 0 <= top < bottom <= pixels.shape[0]
            assert each.label in LABELS.values() and LEAST_SCORE <= each.score <= 1


def test_boxes_are_in_pixels_of_the_size_that_is_named(detector, portrait):
    plain, larger = detector.find(portrait, 0.3), detector.find(portrait, 0.3, size=(1024, 2048))
    assert [each.label for each in plain] == [each.label for each in larger]
    for one, other in zip(plain, larger, strict=True):
        assert tuple(other.box) == pytest.approx(np.array(tuple(one.box)) * (2, 4, 2, 4))


@pytest.mark.parametrize("low, high", [(0.1, 0.3), (0.3, 0.5), (0.5, 0.9), (0.5, 1.0)])
def test_a_higher_threshold_leaves_the_best_of_what_a_lower_one_found(detector, portrait, low, high):
    more, fewer = detector.find(portrait, low), detector.find(portrait, high)
    assert fewer == tuple(each for each in more if each.score >= high)


def test_arrays_that_are_no_picture(detector):
    with pytest.raises(TypeError):
        detector.find(np.zeros((10, 10, 3), np.float32))
    with pytest.raises(ValueError):
        detector.find(np.zeros((10, 10), np.uint8))


@pytest.mark.slow
def test_many_threads_find_the_same(detector, photos, portrait):
    pictures = [portrait, images.decode(photos["obama.jpg"].read_bytes()).pixels, portrait[:, ::-1].copy()]
    alone = [detector.find(picture, 0.1) for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda i: detector.find(pictures[i % 3], 0.1), range(12)))
    for i, found in enumerate(together):
        assert [each.label for each in found] == [each.label for each in alone[i % 3]]
        for one, other in zip(found, alone[i % 3], strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("damaged", ["weights", "graph"])
def test_files_that_are_no_network(tmp_path, models_dir, damaged):
    files = {"weights": manifest.path(WEIGHTS, models_dir), "graph": manifest.path(GRAPH, models_dir)}
    (tmp_path / "bad").write_bytes(b"no network")
    with pytest.raises(ModelCorrupt):
        ObjectDetector(**{**files, damaged: tmp_path / "bad"})


# -- repeats ------------------------------------------------------------------------------------------------------------


def test_repeats_by_hand():
    boxes = np.array(
        [
            [0, 0, 100, 100],  # best
            [0, 0, 100, 90],  # the same kind, 0.9: a repeat
            [0, 0, 100, 97],  # another kind, 0.97: the same thing under another name
            [0, 0, 100, 80],  # another kind, 0.8: stays, perhaps a shirt on a person
            [0, 0, 100, 40],  # the same kind, 0.4: stays
        ],
        float,
    )
    scores, kinds = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array([1, 1, 2, 2, 1])
    assert without_repeats(boxes, scores, kinds).tolist() == [0, 3, 4]
    assert without_repeats(boxes[::-1], scores[::-1], kinds[::-1]).tolist() == [4, 1, 0]
    assert without_repeats(np.zeros((0, 4)), np.zeros(0), np.zeros(0)).tolist() == []


def test_nothing_is_found_twice(detector, portrait, photos):
    for pixels in (portrait, images.decode(photos["obama.jpg"].read_bytes()).pixels):
        found = detector.find(pixels, LEAST_SCORE)
        boxes = np.array([tuple(each.box) for each in found])
        for i in range(len(found)):
            same = np.array([found[j].label == found[i].label for j in range(i)], bool)
            overlap = geometry.iou(boxes[i], boxes[:i])
            assert (overlap[same] <= objects.SAME + 1e-9).all() and (overlap <= objects.SAME_PLACE + 1e-9).all()


def test_a_photo_of_many_things(detector):
    folder = data.folder("coco-dev") / "images"
    found = detector.find(images.decode((folder / "000000000009.jpg").read_bytes()).pixels)
    assert {"bowl", "broccoli"} & {each.label for each in found}


# -- labels -------------------------------------------------------------------------------------------------------------


def test_labels_are_cocos_eighty():
    assert len(LABELS) == len(set(LABELS.values())) == 80
    assert (LABELS[1], LABELS[12 + 1], LABELS[90]) == ("person", "stop sign", "toothbrush")
    assert not set(LABELS) & {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}


def test_labels_in_the_order_of_coco_data_sets():
    from recognizer.evaluation.yolo import read_classes

    assert read_classes(data.folder("coco-dev") / "classes.yaml") == list(LABELS.values())


def test_checking_labels():
    assert check_labels(["dog", "cat", "dog"]) == {"cat", "dog"}
    with pytest.raises(InvalidParameter, match="did you mean 'person'"):
        check_labels(["Persons"])
    with pytest.raises(InvalidParameter, match="not one of the 80 labels") as wrong:
        check_labels(["person", "qqqq"])
    assert wrong.value.details["labels"] == list(LABELS.values())
    with pytest.raises(InvalidParameter, match="at least one"):
        check_labels([])


# -- the service ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_from_python(people, photos, portrait):
    by_path, by_array = people.objects(photos["astronaut.png"]), people.objects(portrait)
    assert by_path == by_array and by_path[0].label == "person"
    assert people.objects(portrait, labels=["giraffe"]) == ()
    assert {each.label for each in people.objects(portrait, labels=["person"], threshold=0.05)} == {"person"}
    for wrong in ({"threshold": 1.5}, {"threshold": 0}, {"threshold": float("nan")}, {"labels": ["x"]}, {"labels": []}):
        with pytest.raises(InvalidParameter):
            people.objects(portrait, **wrong)
    with pytest.raises(UnsupportedImage):
        people.objects(b"no photo")


def test_a_large_photo_gets_boxes_of_its_own_size(people, portrait):
    large = cv2.resize(portrait, (3072, 3072), interpolation=cv2.INTER_CUBIC)
    seen = people.service.recognition.objects(images.encode_jpeg(large))
    assert (seen.image.width, seen.image.height) == (3072, 3072)
    assert seen.image.pixels.shape[0] < 3072  # decoded no sharper than the network sees
    small = people.objects(portrait)[0].box
    assert tuple(seen.objects[0].box) == pytest.approx(np.array(tuple(small)) * 6, abs=150)
    assert set(seen.timing_ms) == {"decode", "detect", "queue", "total"}
    assert people.service.recognition.annotated(seen)[:2] == b"\xff\xd8"


@pytest.mark.slow
def test_the_setting_is_the_threshold(tmp_path, models_dir, portrait):
    with recognizer.open(
        tmp_path / "known", state_dir=tmp_path / "state", models_dir=models_dir, object_threshold=1.0
    ) as strict:
        assert strict.objects(portrait) == ()
        assert strict.objects(portrait, threshold=0.5)


# -- fetched when first wanted ----------------------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path, models_dir):
    """A service whose folder of weights holds only what a start needs."""
    for key in manifest.BASIC:
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "models" / manifest.MANIFEST[key].file).symlink_to(manifest.path(key, models_dir))
    settings = Settings(
        known_faces=tmp_path / "known", state_dir=tmp_path / "state", models_dir=tmp_path / "models", watch=False
    )
    service = make_service(settings)
    yield service
    service.close()


def test_the_default_is_the_detectors_own():
    assert Settings().object_threshold == objects.THRESHOLD


def test_a_start_needs_nothing_for_objects():
    assert set(needed_files(Settings())) <= set(manifest.BASIC)


@pytest.mark.slow
def test_the_first_call_fetches_and_once(bare, models_dir, monkeypatch, portrait):
    asked = []

    def fetch(keys, folder, progress=None):
        asked.append((tuple(keys), folder))
        return [manifest.path(key, models_dir) for key in keys]

    monkeypatch.setattr(manifest, "fetch", fetch)
    photo = images.encode_jpeg(portrait)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: bare.recognition.objects(photo), range(8)))
    assert asked == [((WEIGHTS, GRAPH), bare.settings.models_dir)]
    assert {answer.objects[0].label for answer in answers} == {"person"}


@pytest.mark.slow
def test_without_a_network_one_sentence_says_what_to_do(bare, monkeypatch, models_dir, portrait):
    asked = []

    def fail(keys, folder, progress=None):
        asked.append(keys)
        raise ModelMissing("secret.host could not be reached")

    photo = images.encode_jpeg(portrait)
    monkeypatch.setattr(manifest, "fetch", fail)
    for _ in range(3):
        with pytest.raises(ModelMissing, match="python -m recognizer models fetch objects") as missing:
            bare.recognition.objects(photo)
        assert "secret" not in missing.value.message
    assert len(asked) == 1  # whoever asks again at once is not kept waiting
    for key in (WEIGHTS, GRAPH):  # somebody follows the advice
        (bare.settings.models_dir / manifest.MANIFEST[key].file).symlink_to(manifest.path(key, models_dir))
    assert bare.recognition.objects(photo).objects[0].label == "person"


@pytest.mark.slow
def test_while_one_fetches_others_are_told_to_come_back(bare, monkeypatch, models_dir, portrait):
    begun, go_on = threading.Event(), threading.Event()

    def slowly(keys, folder, progress=None):
        begun.set()
        assert go_on.wait(30)
        return [manifest.path(key, models_dir) for key in keys]

    monkeypatch.setattr(manifest, "fetch", slowly)
    monkeypatch.setattr("recognizer.service.object_finder.OBJECTS_WAIT", 0.05)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(bare.recognition.objects, images.encode_jpeg(portrait))
        assert begun.wait(30)
        with pytest.raises(Busy):
            bare.recognition.objects(images.encode_jpeg(portrait))
        assert bare.recognition.detect(images.encode_jpeg(portrait)).faces  # and nobody else waits
        go_on.set()
        assert first.result(60).objects
