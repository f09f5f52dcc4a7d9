"""recognizer.face_recognition against the package whose place it takes: its own tests, and its own answers."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recognizer import face_recognition as ours

from .remembering import looking_once

#: Puts ours in the package's place, its two command-line programs included, and runs its test file, which looks at seven
#: photos more than sixty times.
RUN_ITS_TESTS = """
import importlib.util, sys, unittest
from pathlib import Path
import recognizer.face_recognition as ours
from recognizer.face_recognition import api
from tests.remembering import looking_once
programs = Path(importlib.util.find_spec("face_recognition").origin).parent
sys.modules["face_recognition"], sys.modules["face_recognition.api"] = ours, api

def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

for program in ("face_recognition_cli", "face_detection_cli"):
    setattr(ours, program, load("face_recognition." + program, programs / (program + ".py")))
suite = unittest.defaultTestLoader.loadTestsFromModule(load("its_tests", sys.argv[1]))
with looking_once():
    result = unittest.TextTestRunner(verbosity=0).run(suite)
print("ran", result.testsRun)
sys.exit(not result.wasSuccessful() or result.testsRun < 30)
"""

#: Prints what the package itself says of some photos. In a process of its own, since importing it loads every model.
ASK_THE_PACKAGE = """
import sys
import numpy as np
import face_recognition as theirs
from face_recognition import api
hog, looked = api.face_detector, {}

def look_once(image, upsample):  # the photos stay in memory: an id is that of one photo
    if (id(image), upsample) not in looked:
        looked[id(image), upsample] = image, hog(image, upsample)
    return looked[id(image), upsample][1]

api.face_detector = look_once
out = {}
for path in sys.argv[2:]:
    image = theirs.load_image_file(path)
    name = path.rsplit("/", 1)[-1]
    for model in ("hog", "cnn"):
        small = image if model == "hog" else image[::4, ::4].copy()
        boxes = theirs.face_locations(small, 1 if model == "hog" else 0, model)
        out[f"{name} {model}"] = np.array(boxes).reshape(-1, 4)
    for model in ("small", "large"):
        encodings = theirs.face_encodings(image, model=model)
        out[f"{name} encodings {model}"] = np.array(encodings).reshape(-1, 128)
        points = [[point for part in face.values() for point in part] for face in theirs.face_landmarks(image, None, model)]
        out[f"{name} landmarks {model}"] = np.array(points)
np.savez(sys.argv[1], **out)
"""


@pytest.mark.slow
def test_the_packages_own_tests_pass(photos, tmp_path):
    tests = tmp_path / "tests"
    (tests / "test_images").mkdir(parents=True)
    for name, path in photos.items():
        if name != "astronaut.png":  # which is not one of its photos
            place = tests if name.endswith(".py") else tests / "test_images"
            (place / name).write_bytes(path.read_bytes())
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN_ITS_TESTS, str(tests / "test_face_recognition.py")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert ran.returncode == 0, ran.stderr
    assert "ran 30" in ran.stdout


@pytest.fixture(scope="module", autouse=True)
def each_photo_is_looked_at_once():
    with looking_once():
        yield


@pytest.fixture(scope="module")
def theirs(photos, tmp_path_factory) -> dict[str, np.ndarray]:
    answers = tmp_path_factory.mktemp("theirs") / "answers.npz"
    paths = [str(photos[name]) for name in PHOTOS]
    subprocess.run([sys.executable, "-W", "ignore", "-c", ASK_THE_PACKAGE, str(answers), *paths], check=True)
    with np.load(answers) as data:
        return dict(data)


PHOTOS = ("obama.jpg", "biden.jpg", "obama_partial_face.jpg", "astronaut.png")


@pytest.mark.parametrize("name", PHOTOS)
class TestSameAnswers:
    @pytest.mark.slow
    def test_hog_boxes_to_the_last_bit(self, photos, theirs, name):
        image = ours.load_image_file(str(photos[name]))
        found = np.array(ours.face_locations(image)).reshape(-1, 4)
        assert np.array_equal(found, theirs[f"{name} hog"])

    def test_cnn_boxes(self, photos, theirs, name):
        image = ours.load_image_file(str(photos[name]))[::4, ::4].copy()
        assert np.array_equal(np.array(ours.face_locations(image, 0, "cnn")).reshape(-1, 4), theirs[f"{name} cnn"])
        assert ours.batch_face_locations([image], 0) == [ours.face_locations(image, 0, "cnn")]

    @pytest.mark.slow
    @pytest.mark.parametrize("model", ["small", "large"])
    def test_landmarks_to_the_last_bit(self, photos, theirs, name, model):
        image = ours.load_image_file(str(photos[name]))
        faces = ours.face_landmarks(image, model=model)
        points = [[point for part in face.values() for point in part] for face in faces]
        assert np.array_equal(np.array(points), theirs[f"{name} landmarks {model}"])

    @pytest.mark.parametrize("model", ["small", "large"])
    def test_encodings_within_a_hundred_thousandth(self, photos, theirs, name, model):
        image = ours.load_image_file(str(photos[name]))
        found = ours.face_encodings(image, model=model)
        expected = theirs[f"{name} encodings {model}"]
        assert len(found) == len(expected) >= 1
        assert all(each.dtype == np.float64 and each.shape == (128,) for each in found)
        assert np.linalg.norm(np.array(found) - expected, axis=1).max() <= 1e-5


def test_no_face_gives_empty_lists():
    nothing = np.full((120, 160, 3), 127, np.uint8)
    assert ours.face_locations(nothing) == ours.face_locations(nothing, 0, "cnn") == []
    assert ours.face_landmarks(nothing) == ours.face_encodings(nothing) == []


def test_distances_and_comparison():
    known = [np.zeros(128), np.full(128, 0.1)]
    assert ours.face_distance([], known[0]).shape == (0,)
    assert ours.face_distance(known, known[0]).tolist() == pytest.approx([0, np.sqrt(1.28)])
    assert ours.compare_faces(known, known[0]) == [True, False]
    assert ours.compare_faces(known, known[0], tolerance=2) == [True, True]


def test_jitter_is_near_the_plain_encoding(photos):
    image = ours.load_image_file(str(photos["biden.jpg"]))
    boxes = ours.face_locations(image)
    plain, jittered = (ours.face_encodings(image, boxes, num_jitters=jitters)[0] for jitters in (1, 5))
    assert 0 < np.linalg.norm(plain - jittered) < 0.3


def test_images_of_any_layout(photos):
    image = ours.load_image_file(photos["obama2.jpg"])
    turned = image[:, :, ::-1]
    assert not turned.flags.c_contiguous
    for ask in (ours.face_locations, ours.face_landmarks, ours.face_encodings):
        assert len(ask(turned)) == 1
        assert np.array_equal(ask(turned), ask(turned.copy()))


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda image: ours.face_locations(image.tolist()), TypeError),
        (lambda image: ours.face_locations(None), TypeError),
        (lambda image: ours.face_encodings("photo.jpg"), TypeError),
        (lambda image: ours.face_encodings(image[..., 0], [(0, 90, 90, 0)]), TypeError),  # grey
        (lambda image: ours.face_locations(image.astype(float)), RuntimeError),
        (lambda image: ours.face_locations(image.astype(float), 0, "cnn"), RuntimeError),
        (lambda image: ours.face_locations(np.dstack([image, image[..., :1]]), 0, "cnn"), RuntimeError),
        (lambda image: ours.face_locations(None, 0, "cnn"), TypeError),
    ],
)
def test_what_is_no_rgb_image_is_the_same_error(ask, error):
    """The types of error that the package itself raises (dlib's bindings do)."""
    with pytest.raises(error):
        ask(np.zeros((100, 100, 3), np.uint8))


def test_unknown_landmark_model_is_the_same_error():
    with pytest.raises(ValueError, match="Supported models are"):
        ours.face_landmarks(np.zeros((20, 20, 3), np.uint8), model="huge")


def test_same_names_and_arguments():
    import importlib.util

    source = Path(importlib.util.find_spec("face_recognition").origin).with_name("api.py").read_text()
    for name in ours.__all__:
        arguments = source.split(f"def {name}(")[1].split("):")[0].split(",")
        theirs = [argument.split("=")[0].strip() for argument in arguments]
        assert list(inspect.signature(getattr(ours, name)).parameters) == theirs
