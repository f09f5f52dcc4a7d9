"""YuNet on ONNX Runtime gives what cv2.FaceDetectorYN gives."""

import numpy as np
import pytest

from recognizer.core.errors import ModelCorrupt
from recognizer.engines.dlib.onnx import drawn_face
from recognizer.engines.yunet_ort import YuNet
from recognizer.weights import manifest

from .parallel import at_once

cv2 = pytest.importorskip("cv2")

SCORE = 0.3  # drawn faces do not score high


def by_opencv(model, pixels, score=SCORE):
    height, width = pixels.shape[:2]
    detector = cv2.FaceDetectorYN.create(str(model), "", (width, height), score, 0.3, 5000)
    rows = detector.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
    return np.zeros((0, 15), np.float32) if rows is None else rows


def scene(height, width, *faces):
    random = np.random.default_rng(3)
    pixels = cv2.GaussianBlur(random.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 6)
    for left, top, side in faces:
        pixels[top : top + side, left : left + side] = drawn_face(side)
    return pixels


SCENES = [
    scene(200, 300, (60, 20, 160)),
    scene(320, 640, (0, 0, 200), (230, 100, 90), (400, 40, 240)),
    scene(32, 32),
    scene(481, 643, (300, 200, 281)),
    scene(97, 700, (350, 10, 80)),
    np.zeros((64, 64, 3), np.uint8),
    np.full((1, 1, 3), 200, np.uint8),
    scene(5, 250),
]


@pytest.fixture(scope="session")
def model(models_dir):
    return manifest.path("yunet", models_dir)


@pytest.fixture(scope="module")
def yunet(model):
    return YuNet(model, score=SCORE)


@pytest.mark.parametrize("pixels", SCENES, ids=lambda pixels: f"{pixels.shape[1]}x{pixels.shape[0]}")
def test_gives_what_opencv_gives(yunet, model, pixels):
    rows, wanted = yunet.raw(pixels), by_opencv(model, pixels)
    assert rows.dtype == np.float32 and rows.shape == wanted.shape
    assert np.allclose(rows[:, :14], wanted[:, :14], rtol=0, atol=0.01)
    assert np.allclose(rows[:, 14], wanted[:, 14], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_gives_what_opencv_gives_of_photos(yunet, model, photos):
    for name in ("obama.jpg", "biden.jpg", "astronaut.png", "obama_partial_face.jpg"):
        pixels = cv2.cvtColor(cv2.imread(str(photos[name])), cv2.COLOR_BGR2RGB)
        rows, wanted = yunet.raw(pixels), by_opencv(model, pixels)
        assert len(rows) >= 1 and rows.shape == wanted.shape
        assert np.allclose(rows[:, :14], wanted[:, :14], rtol=0, atol=0.01)


def test_some_faces_are_found_at_all(yunet):
    assert len(yunet.raw(SCENES[1])) >= 2


def test_many_overlapping_boxes_are_suppressed_as_in_opencv(model):
    pixels = SCENES[1]
    rows, wanted = YuNet(model, score=0.02).raw(pixels), by_opencv(model, pixels, 0.02)
    assert len(wanted) > 2 and rows.shape == wanted.shape
    assert np.allclose(rows[:, :14], wanted[:, :14], rtol=0, atol=0.01)


def test_takes_pictures_that_are_not_contiguous(yunet):
    pixels = SCENES[1][:, ::-1]
    assert np.array_equal(yunet.raw(pixels), yunet.raw(np.ascontiguousarray(pixels)))


def test_threads_share_one_network(yunet):
    wanted = [yunet.raw(pixels) for pixels in SCENES]
    for found in at_once(lambda: [yunet.raw(pixels) for pixels in SCENES]):
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_another_model_is_refused(tmp_path):
    from recognizer.engines.dlib import convert, datfile, onnx

    network = datfile.read_mmod(manifest.dlib_file(onnx.MMOD_FILE).read_bytes())
    (tmp_path / "other.onnx").write_bytes(convert.mmod_to_onnx(network))
    with pytest.raises(ModelCorrupt, match="YuNet's outputs"):
        YuNet(tmp_path / "other.onnx")


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_cut_off_file_is_refused(model, tmp_path, share):
    data = model.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelCorrupt):
        YuNet(tmp_path / "cut.onnx")
