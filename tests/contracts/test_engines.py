"""What every detector, every embedder and every pair of them does, on real photos with the real networks."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from data import folder

from recognizer.core import geometry
from recognizer.core.errors import InvalidParameter, ModelMissing
from recognizer.core.priorities import giving_way
from recognizer.core.types import LANDMARK_SCHEMES, PARTS_68, Faces
from recognizer.engines import DETECTORS, EMBEDDERS, Choice, Detector, Embedder, central, largest, make_engine, weights_for
from recognizer.engines.dlib import native
from recognizer.engines.dlib.native import DlibEmbedder, HogDetector, landmarks_68
from recognizer.engines.dlib.onnx import DlibOnnxEmbedder, face_chips
from recognizer.engines.joined import JoinedEmbedder
from recognizer.engines.yunet import YunetDetector
from recognizer.photos import images

from .. import fuzz
from ..remembering import remembered

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = {"obama.jpg": "Obama", "obama2.jpg": "Obama", "obama3.jpg": "Obama", "biden.jpg": "Biden", "astronaut.png": "Collins"}
PARTIAL = ("obama_partial_face.jpg", "obama_partial_face2.jpg")
PAIRS = [(detector, embedder) for detector in DETECTORS for embedder in EMBEDDERS]


@pytest.fixture(scope="module")
def pictures(photos) -> dict[str, np.ndarray]:
    """The photos at a size at which every detector is quick."""
    return {name: images.resize(images.decode(photos[name].read_bytes()).pixels, 640) for name in (*PEOPLE, *PARTIAL)}


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request, models_dir) -> Detector:
    return DETECTORS[request.param](Choice(models_dir))


@pytest.fixture(scope="module", params=[*EMBEDDERS, "dlib itself"])
def embedder(request, models_dir) -> Embedder:
    return DlibEmbedder() if request.param == "dlib itself" else EMBEDDERS[request.param](Choice(models_dir))


finding_once = cache(remembered)


@cache
def engine_of(models_dir: Path, *pair: str):
    """An engine for several tests. Engines with the same detector find the faces of each picture once."""
    made = make_engine(*pair, models_dir=models_dir)
    made.detector.detect = partial(finding_once(type(made.detector).detect), made.detector)
    return made


@pytest.fixture(scope="module", params=PAIRS, ids="+".join)
def engine(request, models_dir):
    return engine_of(models_dir, *request.param)


@pytest.fixture(scope="module")
def detected(detector, pictures) -> dict[str, Faces]:
    """What the detector finds in each picture, asked once."""
    return {name: detector.detect(pixels) for name, pixels in pictures.items()}


@pytest.fixture(scope="module")
def described(embedder, pictures, found) -> dict[str, np.ndarray]:
    """What the embedder says of the face of each picture, asked once."""
    return {name: embedder.embed(pictures[name], found["yunet5"][name]) for name in PEOPLE}


@pytest.fixture(scope="module")
def seen(engine, pictures) -> dict[str, tuple]:
    """Each picture with what the engine finds in it, asked once."""
    shown = {name: images.from_array(pictures[name]) for name in PEOPLE}
    return {name: (image, engine.find(image)) for name, image in shown.items()}


@pytest.fixture(scope="module")
def found(pictures, models_dir) -> dict[str, dict[str, Faces]]:
    """The faces of the pictures, in both schemes of landmarks: scheme -> name -> Faces."""
    detectors = {"yunet5": YunetDetector(models_dir / "face_detection_yunet_2023mar.onnx"), "dlib5": HogDetector()}
    return {
        scheme: {name: (faces := each.detect(pictures[name])).select([largest(faces)]) for name in PEOPLE}
        for scheme, each in detectors.items()
    }


def same_faces(one: Faces, other: Faces) -> bool:
    parts = ("boxes", "scores", "landmarks")
    return one.scheme == other.scheme and all(np.array_equal(getattr(one, p), getattr(other, p)) for p in parts)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(6).integers(0, 256, (height, width, 3)).astype(np.uint8)


WRONG = [
    (np.zeros((0, 0, 3), np.uint8), ValueError),
    (np.zeros((20, 20), np.uint8), ValueError),
    (np.zeros((20, 20, 4), np.uint8), ValueError),
    (np.zeros((20, 20, 3), np.float32), TypeError),
    (np.zeros((20, 20, 3), np.int8), TypeError),
    (None, TypeError),
]


# --- detectors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 400), (400, 1), (2, 3), (7, 5), (31, 33), (101, 97), (480, 641)])
def test_a_picture_without_a_face_gives_empty_faces(detector, size):
    for pixels in (np.zeros((*size, 3), np.uint8), np.full((*size, 3), 128, np.uint8), np.full((*size, 3), 255, np.uint8)):
        faces = detector.detect(pixels)
        assert isinstance(faces, Faces) and len(faces) == 0
        assert (faces.boxes.shape, faces.scores.shape, faces.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))
        assert faces.scheme in LANDMARK_SCHEMES


@pytest.mark.parametrize("size", [(1, 1), (16, 17), (255, 253), (400, 300)])
def test_noise_is_no_face(detector, size):
    assert len(detector.detect(noise(*size))) == 0


@pytest.mark.parametrize(("pixels", "error"), WRONG)
def test_a_detector_refuses_what_is_no_picture(detector, pixels, error):
    with pytest.raises(error, match="expected"):
        detector.detect(pixels)


def test_a_detector_says_what_it_is(detector):
    assert isinstance(detector, Detector)
    assert detector.name in DETECTORS and detector.preferred_size >= 320


@pytest.mark.slow
@pytest.mark.parametrize("name", PEOPLE)
def test_a_face_is_found_with_box_and_points_where_they_belong(pictures, detected, name):
    height, width = pictures[name].shape[:2]
    faces = detected[name]
    assert len(faces) >= 1
    assert (np.diff(faces.scores) <= 0).all()
    assert faces.boxes.dtype == np.float64 and faces.landmarks.dtype == np.float32
    best = faces[0]
    inside = geometry.clip(faces.boxes[:1], width, height)[0]
    assert (inside[2] - inside[0]) * (inside[3] - inside[1]) >= 0.9 * best.box.area
    assert 0.1 <= best.box.size / min(width, height) <= 0.8 and 0.6 <= best.box.width / best.box.height <= 1.1
    low = np.array([best.box.left - 0.25 * best.box.width, best.box.top - 0.25 * best.box.height])
    high = np.array([best.box.right + 0.25 * best.box.width, best.box.bottom + 0.25 * best.box.height])
    assert ((best.landmarks >= low) & (best.landmarks <= high)).all()
    names = LANDMARK_SCHEMES[faces.scheme]
    eyes = {side: best.landmarks[[n == f"{side}_eye" for n in names]].mean(axis=0) for side in ("left", "right")}
    nose = best.landmarks[names.index("nose_tip")]
    assert eyes["left"][0] < nose[0] < eyes["right"][0]  # left in the picture
    assert nose[1] > max(eyes["left"][1], eyes["right"][1])


@pytest.mark.parametrize("name", PARTIAL)
def test_a_face_cut_by_the_border_is_found_at_the_border(pictures, detected, name):
    faces = detected[name]
    assert len(faces) >= 1
    width = pictures[name].shape[1]
    left, _, right, _ = faces.boxes[largest(faces)]
    assert left <= 5 if name == PARTIAL[0] else right >= width - 5


@pytest.mark.parametrize("cut", [(0, 0), (1, 0), (0, 1), (3, 5), (13, 7)])
def test_odd_sizes_give_the_same_face(detector, pictures, detected, cut):
    pixels = pictures["obama.jpg"]
    whole = detected["obama.jpg"][0]
    part = np.ascontiguousarray(pixels[: pixels.shape[0] - cut[0], : pixels.shape[1] - cut[1]])
    boxes = detector.detect(part).boxes
    assert geometry.iou(np.array(tuple(whole.box)), boxes).max() > 0.85


def test_memory_layout_and_write_protection_change_nothing(detector, pictures, detected):
    pixels = pictures["astronaut.png"]
    expected = detected["astronaut.png"]
    kept = pixels.copy()
    strided = np.repeat(pixels, 2, axis=1)[:, ::2]
    mirrored = np.ascontiguousarray(pixels[:, ::-1])[:, ::-1]
    turned = np.ascontiguousarray(pixels.transpose(1, 0, 2)).transpose(1, 0, 2)
    swapped = np.ascontiguousarray(pixels[:, :, ::-1])[:, :, ::-1]
    frozen = pixels.copy()
    frozen.flags.writeable = False
    for layout in (strided, mirrored, turned, swapped, frozen):
        assert same_faces(detector.detect(layout), expected)
    assert np.array_equal(pixels, kept)


@pytest.mark.slow
def test_a_detector_gives_the_same_again_and_in_any_order(detector, pictures, detected):
    again = {name: detector.detect(pictures[name]) for name in reversed(PEOPLE)}
    assert all(same_faces(detected[name], again[name]) for name in PEOPLE)


@pytest.mark.slow
def test_a_detector_gives_four_threads_what_it_gives_one(detector, pictures, detected):
    names = [*PEOPLE] * 2
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda name: detector.detect(pictures[name]), names))
    assert all(same_faces(answer, detected[name]) for name, answer in zip(names, answers, strict=True))


# --- embedders -------------------------------------------------------------------------------------------------------


def test_an_embedder_of_no_faces_gives_no_rows(embedder, pictures):
    assert isinstance(embedder, Embedder)
    for scheme in LANDMARK_SCHEMES:
        rows = embedder.embed(pictures["obama.jpg"], Faces.empty(scheme))
        assert rows.shape == (0, embedder.dim) and rows.dtype == np.float32


@pytest.mark.slow
@pytest.mark.parametrize(("pixels", "error"), WRONG)
def test_an_embedder_refuses_what_is_no_picture(embedder, found, pixels, error):
    with pytest.raises(error, match="expected"):
        embedder.embed(pixels, found["yunet5"]["obama.jpg"])


@pytest.mark.parametrize("scheme", LANDMARK_SCHEMES)
def test_photos_of_one_person_are_nearer_than_of_two(embedder, pictures, found, described, scheme):
    if scheme == "yunet5":
        rows = {name: each[0] for name, each in described.items()}
    else:
        rows = {name: embedder.embed(pictures[name], found[scheme][name])[0] for name in PEOPLE}
    same, different = [], []
    for i, one in enumerate(PEOPLE):
        for other in list(PEOPLE)[i + 1 :]:
            distance = float(np.linalg.norm(rows[one] - rows[other]))
            (same if PEOPLE[one] == PEOPLE[other] else different).append(distance)
    assert max(same) < 0.8 * min(different)
    for row in rows.values():
        assert row.shape == (embedder.dim,) and row.dtype == np.float32 and np.isfinite(row).all()


@pytest.mark.slow
def test_faces_described_together_are_as_described_alone(embedder, pictures, found, described):
    names = ["obama.jpg", "biden.jpg", "astronaut.png"]
    heights = np.cumsum([0, *(pictures[name].shape[0] for name in names)])
    canvas = np.zeros((heights[-1], max(pictures[name].shape[1] for name in names), 3), np.uint8)
    parts = []
    for name, top in zip(names, heights, strict=False):
        canvas[top : top + pictures[name].shape[0], : pictures[name].shape[1]] = pictures[name]
        parts.append(found["yunet5"][name].shifted(0, top))
    arrays = (np.concatenate([getattr(each, part) for each in parts]) for part in ("boxes", "scores", "landmarks"))
    together = embedder.embed(canvas, Faces(*arrays))
    assert together.shape == (3, embedder.dim)
    for name, row, part in zip(names, together, parts, strict=True):
        assert np.abs(row - embedder.embed(canvas, part)[0]).max() < 1e-5
        assert np.linalg.norm(row - described[name][0]) < 0.05  # a chip at the border of its photo has other neighbours


@pytest.mark.slow
def test_photos_described_together_are_as_described_alone(embedder, pictures, found, described):
    photos = [(pictures[name], found["yunet5"][name]) for name in PEOPLE]
    photos.insert(2, (pictures["obama.jpg"], Faces.empty("yunet5")))
    alone = [described[name] for name in PEOPLE]
    alone.insert(2, embedder.embed(*photos[2]))
    together = embedder.embed_all(photos)
    assert [each.shape for each in together] == [(len(faces), embedder.dim) for _, faces in photos]
    for rows, expected in zip(together, alone, strict=True):
        assert rows.dtype == np.float32 and np.allclose(rows, expected, rtol=0, atol=1e-5)
    assert embedder.embed_all([]) == []


def test_memory_layout_changes_no_embedding(embedder, pictures, found, described):
    pixels, faces = pictures["astronaut.png"], found["yunet5"]["astronaut.png"]
    expected = described["astronaut.png"]
    frozen = pixels.copy()
    frozen.flags.writeable = False
    for layout in (np.ascontiguousarray(pixels[:, ::-1])[:, ::-1], np.repeat(pixels, 2, axis=0)[::2], frozen):
        assert np.array_equal(embedder.embed(layout, faces), expected)


@pytest.mark.slow
def test_a_face_partly_or_wholly_beyond_the_picture_is_described_with_numbers(embedder, pictures, found):
    pixels, faces = pictures["obama.jpg"], found["yunet5"]["obama.jpg"]
    for dx, dy in [(-150, 0), (150, 300), (0, -200), (5000, 5000), (-5000, 0)]:
        rows = embedder.embed(pixels, faces.shifted(dx, dy))
        assert rows.shape == (1, embedder.dim) and np.isfinite(rows).all()
    tiny = embedder.embed(pixels[:1, :1], faces)
    assert tiny.shape == (1, embedder.dim) and np.isfinite(tiny).all()


@pytest.mark.slow
def test_an_embedder_gives_four_threads_what_it_gives_one(embedder, pictures, found, described):
    names = [*PEOPLE] * 2
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda name: embedder.embed(pictures[name], found["yunet5"][name]), names))
    assert all(np.array_equal(answer, described[name]) for name, answer in zip(names, answers, strict=True))


def test_joined_templates_average_the_face_and_its_mirror_image(models_dir, pictures, found):
    """dlib's part; its landmarks, and how far the two are apart, are given along."""
    engine = make_engine("yunet", "dlib+sface", models_dir=models_dir)
    resnet = DlibOnnxEmbedder()._network
    for scheme in ("yunet5", "dlib5"):
        photos = [(pictures[name], found[scheme][name]) for name in ("obama.jpg", "astronaut.png")]
        for (pixels, faces), described in zip(photos, engine.embedder.describe_all(photos), strict=True):
            made = native.shapes(pixels, faces)
            chips = face_chips(pixels, made)
            straight, mirrored = resnet.describe(chips), resnet.describe(chips[:, :, ::-1])
            assert np.allclose(described.vectors[:, :128], (straight + mirrored) / 2, rtol=0, atol=1e-5)
            assert np.allclose(described.disagreements, np.linalg.norm(straight - mirrored, axis=1), rtol=0, atol=1e-5)
            assert np.array_equal(described.points, native.points_array(made)) or scheme == "dlib5"
            assert 0 < described.disagreements.max() < 0.4


def test_a_verdict_is_the_same_with_landmarks_at_hand_and_without(models_dir, pictures, found):
    engine = make_engine("yunet", "dlib+sface", models_dir=models_dir)
    image, faces = images.from_array(pictures["obama2.jpg"]), found["yunet5"]["obama2.jpg"]
    described = engine.described_all([(image, faces)])[0]
    qualities = engine.qualities(image, faces)
    with_points = engine.judged(image, faces, described, qualities).verdicts
    without = engine.judged(image, faces, replace(described, points=None), qualities).verdicts
    assert [each.doubt for each in with_points] == pytest.approx([each.doubt for each in without])


@pytest.mark.parametrize("scheme", ["yunet5", "dlib5"])
def test_a_verdict_is_the_same_with_qualities_at_hand_and_without(models_dir, pictures, found, scheme):
    """Where they are measured for the verdict, the aligned face is shared."""
    engine = engine_of(models_dir, "yunet" if scheme == "yunet5" else "hog", "dlib+sface")
    image, faces = images.from_array(pictures["obama2.jpg"]), found[scheme]["obama2.jpg"]
    described = engine.described_all([(image, faces)])[0]
    qualities = tuple(engine.qualities(image, faces))
    given, measured = engine.judged(image, faces, described, qualities), engine.judged(image, faces, described)
    assert [*map(repr, measured.qualities)] == [*map(repr, qualities)]  # NaN is not equal to itself
    assert measured.verdicts == given.verdicts


# --- engines ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_engine_of_a_picture_without_a_face(engine):
    for pixels in (np.zeros((1, 1, 3), np.uint8), np.zeros((300, 2000, 3), np.uint8)):
        image = images.from_array(pixels)
        faces = engine.find(image)
        assert len(faces) == 0
        assert engine.describe(image, faces).shape == (0, engine.info.dim)
        assert engine.landmarks_68(image, faces).shape == (0, 68, 2)


@pytest.mark.slow
def test_an_engine_describes_several_photos_with_and_without_faces(engine, seen):
    empty = images.from_array(np.zeros((40, 50, 3), np.uint8))
    looked = [*seen.values()]
    looked.insert(1, (empty, engine.find(empty)))
    assert [bool(len(faces)) for _, faces in looked] == [True, False, True, True, True, True]
    for rows, each in zip(engine.describe_all(looked), looked, strict=True):
        assert rows.shape == (len(each[1]), engine.info.dim)
        assert np.allclose(rows, engine.describe(*each), rtol=0, atol=1e-5)


def test_an_engine_tells_who_is_who_at_its_own_threshold(engine, seen):
    rows = {}
    for name, (image, faces) in seen.items():
        rows[name] = engine.describe(image, faces.select([largest(faces)]))[0]
    limit = engine.info.calibration.threshold
    for one in PEOPLE:
        for other in PEOPLE:
            distance = np.linalg.norm(rows[one] - rows[other])
            assert (distance <= limit) == (PEOPLE[one] == PEOPLE[other]), (one, other, distance)


def test_engines_have_ids_of_their_own(models_dir):
    engines = [engine_of(models_dir, *pair) for pair in PAIRS]
    engines += [make_engine("hog", "dlib", models_dir=models_dir, hog_upsample=0)]
    assert len({each.info.id for each in engines}) == len(engines)
    assert all(each.info.dim == each.embedder.dim for each in engines)


@pytest.mark.parametrize(("detector_name", "embedder_name"), [("", "dlib"), ("mtcnn", "dlib"), ("yunet", "arcface")])
def test_an_engine_that_does_not_exist_is_refused(models_dir, detector_name, embedder_name):
    with pytest.raises(InvalidParameter, match="expected a (detector|embedder) of .*, got "):
        make_engine(detector_name, embedder_name, models_dir=models_dir)


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_an_engine_without_its_weights_says_so_at_once(tmp_path, pair):
    if not weights_for(*pair):
        pytest.skip("its weights come with an installed package")
    with pytest.raises(ModelMissing):
        make_engine(*pair, models_dir=tmp_path)


@pytest.fixture(scope="module")
def large_photo(photos) -> tuple[bytes, float]:
    """A JPEG of 11 megapixels, and how many times larger than the photo it was made from."""
    pixels = images.decode(photos["obama.jpg"].read_bytes()).pixels
    scale = 3.3
    size = round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)
    return images.encode_jpeg(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)), scale


@pytest.fixture(scope="module")
def obama(photos):
    return images.decode(photos["obama.jpg"].read_bytes())


@pytest.mark.slow
def test_a_photo_of_eleven_megapixels_gives_boxes_of_its_own_pixels(engine, large_photo, obama):
    data, scale = large_photo
    big = images.decode(data, long_side=engine.decode_size)
    assert big.pixels.shape[1] < big.width  # it was decoded at a smaller scale
    small = obama
    found_big, found_small = engine.find(big), engine.find(small)
    assert len(found_big) == len(found_small) == 1
    assert geometry.iou(found_small.boxes[0] * scale, found_big.boxes)[0] > 0.75  # HOG's boxes come in steps
    away = np.abs(found_big.landmarks - found_small.landmarks * np.float32(scale)).max()
    assert away < 0.08 * found_big[0].box.width
    distance = np.linalg.norm(engine.describe(big, found_big) - engine.describe(small, found_small))
    assert distance < 0.5 * engine.info.calibration.threshold
    points = engine.landmarks_68(big, found_big) - engine.landmarks_68(small, found_small) * np.float32(scale)
    assert np.abs(points).mean() < 0.03 * found_big[0].box.width


class Counting:
    """A detector that counts the looks it is asked for, and their sizes."""

    def __init__(self, detector):
        self._detector, self.looks = detector, []
        self.name, self.preferred_size = detector.name, detector.preferred_size
        self.finds_in_tiles = detector.finds_in_tiles

    def detect(self, pixels):
        self.looks.append(max(pixels.shape[:2]))
        return self._detector.detect(pixels)


def canvas_with(face: np.ndarray, height: int, at: tuple[int, int], width=3200, tall=2400) -> np.ndarray:
    """A grey photo of 7.7 megapixels with a portrait of that height pasted at x, y."""
    small = cv2.resize(face, (round(face.shape[1] * height / face.shape[0]), height), interpolation=cv2.INTER_AREA)
    canvas = np.full((tall, width, 3), 120, np.uint8)
    canvas[at[1] : at[1] + small.shape[0], at[0] : at[0] + small.shape[1]] = small
    return canvas


#: A photo on which nothing is found upright is looked at three times more, turned.
TURNED = [640] * 3


@pytest.fixture
def looking(models_dir):
    """An engine whose looks are counted: ``looking(large)``."""

    def make(large: int, **options):
        engine = make_engine("yunet", "sface", models_dir=models_dir, detect_size_large=large, **options)
        engine.detector = Counting(engine.detector)
        return engine

    return make


@pytest.mark.slow
def test_a_second_look_finds_the_small_face_that_the_first_missed(looking, pictures):
    canvas = canvas_with(pictures["astronaut.png"], 200, (2000, 1500))  # its face: 35 pixels, 7 in the first copy
    for data in (images.encode_jpeg(canvas, 95), None):
        one, two = looking(0), looking(1600)
        image = images.from_array(canvas) if data is None else images.decode(data, long_side=one.decode_size)
        assert len(one.find(image)) == 0 and one.detector.looks == [640, *TURNED]
        faces = two.find(image)
        assert two.detector.looks == [640, 1600]
        assert len(faces) == 1
        x, y = faces[0].box.centre
        assert 2000 < x < 2200 and 1500 < y < 1700 and 25 < faces[0].box.width < 50
        assert ((faces.landmarks[0] > (2000, 1500)) & (faces.landmarks[0] < (2200, 1700))).all()
        vector = two.describe(image, faces)[0]
        portrait = images.from_array(pictures["astronaut.png"])
        near = np.linalg.norm(two.describe(portrait, two.find(portrait)) - vector)
        assert near < two.info.calibration.threshold


@pytest.mark.parametrize(
    ("height", "min_face", "looks"),
    [
        (2300, 20, [640]),  # a large face: there is no reason to look again
        (200, 20, [640, 1600]),
        (200, 160, [640, *TURNED]),  # whatever a second look could add is smaller than what is asked for
        (600, 20, [640, 1600]),  # found at the first look, but small in that copy: there may be smaller ones
    ],
)
def test_a_second_look_is_taken_only_where_it_can_pay(looking, pictures, height, min_face, looks):
    engine = looking(1600)
    engine.find(images.from_array(canvas_with(pictures["astronaut.png"], height, (0, 0))), min_face)
    assert engine.detector.looks == looks


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "face"), [(12_000, 2000, 60), (8000, 6000, 50)])
def test_small_faces_of_very_large_photos_are_found_in_tiles(looking, photos, width, height, face):
    """As face_recognition finds them, which looks at every pixel."""
    portrait = images.decode(photos["obama.jpg"].read_bytes()).pixels
    engine = looking(1280)
    scale = face / engine.find(images.from_array(portrait))[0].box.height
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((height, width, 3), 120, np.uint8)
    places = [(100, 100), (width // 2, height // 3), (width - 300, height - 300)]
    for x, y in places:
        canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
    engine.detector.looks.clear()
    faces = engine.find(images.from_array(canvas))
    assert engine.detector.looks[:2] == [640, 1280] and len(engine.detector.looks) > 4
    middles = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    for x, y in places:
        inside = (middles > (x, y)).all(axis=1) & (middles < (x + small.shape[1], y + small.shape[0])).all(axis=1)
        assert inside.sum() == 1
    assert len(engine.find_in_one_pass(images.from_array(canvas))) == 0  # live video takes one look


def test_a_photo_no_larger_than_the_first_look_is_looked_at_once_each_way_up(looking):
    engine = looking(1600)
    assert len(engine.find(images.from_array(np.zeros((400, 640, 3), np.uint8)))) == 0
    assert engine.detector.looks == [640, *TURNED]
    assert len(engine.find_in_one_pass(images.from_array(np.zeros((400, 640, 3), np.uint8)))) == 0
    assert engine.detector.looks == [640, *TURNED, 640]  # live video looks at a frame once


@pytest.mark.slow
def test_min_face_leaves_out_faces_below_it_and_no_others(engine, pictures):
    image = images.from_array(pictures["astronaut.png"])
    all_faces = engine.find(image, 1)
    sides = [face.box.size for face in all_faces]
    best = max(sides)
    assert len(engine.find(image, int(best) + 1)) == 0
    assert len(engine.find(image, int(best))) >= 1
    assert [face.box.size for face in engine.find(image, 30)] == [side for side in sides if side >= 30]


@pytest.mark.parametrize(
    ("boxes", "biggest", "middle"),
    [
        ([(0, 0, 10, 10)], 0, 0),
        ([(0, 0, 10, 10), (40, 40, 60, 60), (0, 0, 30, 30)], 2, 1),
        ([(45, 45, 55, 55), (0, 0, 99, 20)], 1, 0),
    ],
)
def test_largest_and_central(boxes, biggest, middle):
    faces = Faces(np.array(boxes, float), np.ones(len(boxes)), np.zeros((len(boxes), 5, 2), np.float32))
    assert (largest(faces), central(faces, 100, 100)) == (biggest, middle)


# --- the reference: face_recognition's own results to the last bit ----------------------------------------------------

THEIRS = """
import functools, json, sys
import numpy as np
import face_recognition
from face_recognition import api

pictures, out, hog = np.load(sys.argv[1]), {}, api.face_detector
for name in pictures.files:
    pixels = pictures[name]
    look = functools.cache(functools.partial(hog, pixels))
    api.face_detector = lambda _, upsample: look(upsample)  # it is asked twice of each picture
    boxes = face_recognition.face_locations(pixels)
    out[name] = {
        "boxes": boxes,
        "encodings": [encoding.tolist() for encoding in face_recognition.face_encodings(pixels, boxes)],
        "points_68": face_recognition.face_landmarks(pixels, boxes),
        "points_5": face_recognition.face_landmarks(pixels, boxes, model="small"),
        "at_once": [encoding.tolist() for encoding in face_recognition.face_encodings(pixels)],
    }
json.dump(out, open(sys.argv[2], "w"))
"""


def everything_real(photos) -> dict[str, np.ndarray]:
    names = [name for name in photos if name.endswith((".jpg", ".png"))]
    pictures = {name: images.resize(images.decode(photos[name].read_bytes()).pixels, 640) for name in names}
    try:
        groups, lfw = folder("groups"), folder("lfw-dev")
    except pytest.skip.Exception:
        return pictures
    files = sorted(groups.glob("0*_*.jpg"))[: 4 * fuzz.factor()]
    files += sorted(lfw.glob("images/*/*.jpg"))[: 8000 : max(100, 1600 // fuzz.factor())]
    return pictures | {file.name: images.resize(images.decode(file.read_bytes()).pixels, 900) for file in files}


@pytest.mark.slow
def test_hog_and_dlib_are_face_recognition_to_the_last_bit(photos, models_dir, tmp_path):
    """Run beside it in another process: importing face_recognition loads every model and changes Pillow.

    Boxes are cut to the picture, as ``face_locations`` gives them. ``face_encodings`` without locations takes dlib's
    uncut boxes, so there a face that leaves the picture is described a little differently.
    """
    pictures = everything_real(photos)
    np.savez(tmp_path / "pictures.npz", **pictures)
    command = [sys.executable, "-W", "ignore", "-c", THEIRS, tmp_path / "pictures.npz", tmp_path / "theirs.json"]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ, timeout=600)
    theirs = json.loads((tmp_path / "theirs.json").read_text())
    engine = make_engine("hog", "dlib", models_dir=models_dir, detect_size=8192, min_face=1)
    count = 0
    for name, pixels in pictures.items():
        image = images.from_array(pixels)
        faces = engine.find(image)
        boxes = [[int(face.box.top), int(face.box.right), int(face.box.bottom), int(face.box.left)] for face in faces]
        assert boxes == theirs[name]["boxes"], name
        count += len(faces)
        expected = np.array(theirs[name]["encodings"]).reshape(-1, 128)
        assert np.array_equal(engine.describe(image, faces).astype(np.float64), expected), name
        height, width = pixels.shape[:2]
        whole = (faces.boxes[:, :2] > 0).all(axis=1) & (faces.boxes[:, 2:] < (width, height)).all(axis=1)
        assert np.array_equal(expected[whole], np.array(theirs[name]["at_once"]).reshape(-1, 128)[whole]), name
        points = faces.landmarks.astype(int).tolist()
        small = [[*face["right_eye"], *face["left_eye"], *face["nose_tip"]] for face in theirs[name]["points_5"]]
        assert [sorted(each) for each in points] == [sorted(each) for each in small], name
        found = landmarks_68(pixels, faces).astype(int).tolist()
        named = [{part: [face[i] for i in indices] for part, indices in PARTS_68} for face in found]
        assert named == theirs[name]["points_68"], name
    assert count >= 8


def test_photos_that_give_way_use_no_second_thread_and_leave_it_to_others():
    joined = JoinedEmbedder(SimpleNamespace(dim=1), SimpleNamespace(dim=1))
    with giving_way(), joined._alone() as second:
        assert not second
        with ThreadPoolExecutor(1) as other:

            def asked() -> bool:
                with joined._alone() as alone:
                    return alone

            assert other.submit(asked).result(10)
    with joined._alone() as first, joined._alone() as second:
        assert first and not second
